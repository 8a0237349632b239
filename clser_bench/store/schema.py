"""The tables of the database, and how a file is opened or refused."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from clser_bench.errors import StoreError

SCHEMA_VERSION = 2
APPLICATION_ID = 0x636C7372  # "clsr"

# Metrics are columns of their own, and blobs lie in tables of their own, so that a leaderboard
# reads neither scores nor predictions unless it needs them.
_TABLES = """
CREATE TABLE trials (
  id TEXT PRIMARY KEY,
  source TEXT NOT NULL, target TEXT NOT NULL, classes TEXT NOT NULL,
  shots TEXT NOT NULL, seed INTEGER NOT NULL,
  method TEXT NOT NULL, version INTEGER NOT NULL, parameters TEXT NOT NULL,
  features TEXT NOT NULL, normalisation TEXT NOT NULL, setting TEXT NOT NULL,
  prior TEXT NOT NULL, fixed4 INTEGER NOT NULL,
  source_key TEXT NOT NULL, target_key TEXT NOT NULL,
  engine_version INTEGER NOT NULL, protocol_version INTEGER NOT NULL,
  synthetic INTEGER NOT NULL
);
CREATE TABLE records (
  trial TEXT PRIMARY KEY REFERENCES trials(id),
  status TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'not_applicable')),
  reason TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL, pack TEXT NOT NULL,
  uar REAL, war REAL, macro_f1 REAL, recalls TEXT, confusion TEXT,
  answers TEXT REFERENCES answers(hash), energy REAL,
  CHECK ((status = 'ok') = (uar IS NOT NULL AND answers IS NOT NULL))
);
CREATE TABLE answers (
  hash TEXT PRIMARY KEY, y BLOB NOT NULL, speakers TEXT NOT NULL, names TEXT NOT NULL
);
CREATE TABLE predictions (trial TEXT PRIMARY KEY REFERENCES records(trial), classes BLOB NOT NULL);
CREATE TABLE scores (trial TEXT PRIMARY KEY REFERENCES records(trial), scores BLOB NOT NULL);
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE, turn INTEGER NOT NULL,
  suite TEXT NOT NULL, pairs TEXT NOT NULL, config TEXT NOT NULL
);
CREATE TABLE notes (
  run INTEGER NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, method TEXT NOT NULL,
  assumes_prior TEXT NOT NULL, role TEXT NOT NULL, note TEXT NOT NULL,
  PRIMARY KEY (run, method)
);
CREATE TABLE slices (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id),
  features TEXT NOT NULL, normalisation TEXT NOT NULL, setting TEXT NOT NULL,
  prior TEXT NOT NULL, fixed4 INTEGER NOT NULL, selection TEXT NOT NULL, shots TEXT NOT NULL,
  protocol_version INTEGER NOT NULL, method TEXT NOT NULL
);
CREATE TABLE planned (
  slice INTEGER NOT NULL REFERENCES slices(id), trial TEXT NOT NULL REFERENCES trials(id),
  position INTEGER NOT NULL,
  PRIMARY KEY (slice, trial)
) WITHOUT ROWID;
CREATE TABLE skipped (
  corpus TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (corpus, name)
);
"""


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open a results database for reading and writing.

    Args:
        path: the file.
        create: make it, and its folder, where absent.

    Raises:
        StoreError: it is absent and may not be made, it is no results database, it is of a
            newer clser-bench, or it cannot be written.
    """
    if not create and not path.is_file():
        raise StoreError(f"{path}: there are no results yet; make some with `clser-bench run`")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path.parent}: cannot be made ({error.strerror}); name another place with --results"
        ) from error
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; name a file with --results")
    with guarded(path):
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into errors that name the file and the remedy.

    Args:
        path: the file.

    Raises:
        StoreError: SQLite failed.
    """
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        known = {
            "not a database": "is no results database; name another file with --results",
            "malformed": "is damaged; take it from a backup, or delete it and run again",
            "readonly": "cannot be written; name a writable place with --results",
            "unable to open": "cannot be opened for writing; name a writable place with --results",
            "locked": "is in use by another clser-bench; wait for it or name another file with "
            "--results",
            "full": "the disk is full; make room and run `clser-bench resume`",
        }
        remedy = next((words for part, words in known.items() if part in text), None)
        message = f"{remedy} ({text})" if remedy else f"SQLite says: {text}"
        raise StoreError(f"{path}: {message}") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing.

    Args:
        connection: of a database that is in no transaction.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application != APPLICATION_ID and not (empty and application == 0 and version == 0):
        raise StoreError(
            f"{path}: is an SQLite database of something else, not of clser-bench; name another "
            "file with --results"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: was written by a newer clser-bench (schema {version}, this one reads "
            f"{SCHEMA_VERSION}); upgrade clser-bench or name another file with --results"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    with transaction(connection):
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        # read again: another process may have been faster
        elif connection.execute("PRAGMA user_version").fetchone()[0] < 2:
            connection.execute("ALTER TABLE records ADD COLUMN energy REAL")
        # written every time: shows that the place can be written, before hours of work
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
