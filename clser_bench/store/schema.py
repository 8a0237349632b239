"""The tables of a results file, and how a file is opened, migrated or refused.

A line is a method under one condition in one plan: what a row of a leaderboard is made of. Columns
of conditions are the fields of `Condition`; a file that lacks a field gets it with its default.

`sums` holds, of each table that decides what is shown, the sum of the CRC-32 of its rows. Triggers
of the connection that writes keep it, so a row that anything else changed, lost or added is seen.
Arrays have checksums of their own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from clser_bench.errors import StoreError
from clser_bench.hashing import digest
from clser_bench.protocol import CLEAN, Condition

NONE_YET = "there are no results yet; make some with `clser-bench run`"
SCHEMA_VERSION = 4  # 3 had no sums, and would not keep them
APPLICATION_ID = 0x636C7372  # "clsr"
_WAIT = 30.0  # seconds for another process that writes

FIELDS = tuple(Condition.__dataclass_fields__)
OF_TRIALS = tuple(name for name in FIELDS if name not in ("suite", "selection"))
"""Fields of a condition that are part of a trial."""

OF_TRIAL = (
    "id", "source", "target", "emotions", "seed", "method", "version", "parameters", "source_key",
    "target_key", "engine_version", "synthetic", *OF_TRIALS,
)  # fmt: skip
"""Columns of a trial."""

_ADDED_TO = {"trials": OF_TRIALS, "lines": FIELDS}

_DEFAULTS = Condition().texts()


def _columns(names: Sequence[str]) -> str:
    return ", ".join(f"{name} TEXT NOT NULL DEFAULT '{_DEFAULTS[name]}'" for name in names)


# Metrics are columns of their own, and arrays lie in tables of their own, so that a leaderboard
# reads neither scores nor predictions unless it needs them.
_TABLES = {
    "trials": f"""
      id TEXT PRIMARY KEY, source TEXT NOT NULL, target TEXT NOT NULL, emotions TEXT NOT NULL,
      seed INTEGER NOT NULL, method TEXT NOT NULL, version INTEGER NOT NULL,
      parameters TEXT NOT NULL, source_key TEXT NOT NULL, target_key TEXT NOT NULL,
      engine_version INTEGER NOT NULL, synthetic INTEGER NOT NULL, {_columns(OF_TRIALS)}""",
    "records": """
      trial TEXT PRIMARY KEY REFERENCES trials(id),
      status TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'not_applicable')),
      reason TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL, pack TEXT NOT NULL,
      uar REAL, war REAL, macro_f1 REAL, recalls TEXT, confusion TEXT,
      answers TEXT REFERENCES answers(hash), energy REAL,
      CHECK ((status = 'ok') = (uar IS NOT NULL AND answers IS NOT NULL))""",
    "answers": """
      hash TEXT PRIMARY KEY, y BLOB NOT NULL, speakers TEXT NOT NULL, names TEXT NOT NULL""",
    "predictions": "trial TEXT PRIMARY KEY REFERENCES records(trial), classes BLOB NOT NULL",
    "scores": "trial TEXT PRIMARY KEY REFERENCES records(trial), scores BLOB NOT NULL",
    "requests": """
      id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE, turn INTEGER NOT NULL,
      request TEXT NOT NULL, pairs TEXT NOT NULL""",
    "lines": f"""
      id INTEGER PRIMARY KEY, request INTEGER NOT NULL REFERENCES requests(id),
      method TEXT NOT NULL, note TEXT NOT NULL, configuration INTEGER, {_columns(FIELDS)}""",
    "planned": """
      line INTEGER NOT NULL REFERENCES lines(id), trial TEXT NOT NULL REFERENCES trials(id),
      position INTEGER NOT NULL, PRIMARY KEY (line, trial)""",
    "skipped": """
      corpus TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (corpus, name)""",
    "findings": """
      request INTEGER NOT NULL REFERENCES requests(id), kind TEXT NOT NULL, corpus TEXT NOT NULL,
      sentence TEXT NOT NULL, PRIMARY KEY (request, sentence)""",
    "sums": "name TEXT PRIMARY KEY, crc INTEGER NOT NULL",
}

_SUMMED: dict[str, tuple[str, ...]] = {
    "trials": OF_TRIAL,
    "records": (
        "trial", "status", "reason", "attempts", "seconds", "uar", "war", "macro_f1", "answers",
        "energy",
    ),
    "answers": ("hash",),
    "requests": ("id", "content", "turn", "pairs", "confirms"),  # only that of the request's text
    "lines": ("id", "request", "method", "note", "configuration", *FIELDS),
    "planned": ("line", "position"),  # whose trial is missed where it is another
    "skipped": ("corpus", "name", "reason"),
    "findings": ("request", "kind", "corpus", "sentence"),
}  # fmt: skip
_CELLS = {
    # reals as whole millionths, which every SQLite writes alike
    **dict.fromkeys(
        ("seconds", "uar", "war", "macro_f1", "energy"), "CAST({row}{name} * 1e6 AS INTEGER)"
    ),
    "confirms": "iif(json_valid({row}request), json_extract({row}request, '$.confirms'), '')",
}

# What the new tables are in terms of those of schema 2, where one text held features, alignment and
# corruption, and a selection the number of a candidate.
_OLD_RULES = f"""part(s.features, 1) AS features, part(s.features, 2) AS alignment,
  ifnull(nullif(part(s.features, 3), ''), '{CLEAN}') AS corruption, s.normalisation,
  s.setting, s.prior, iif(s.fixed4, 'fixed4', 'shared') AS classes, s.shots,
  CAST(s.protocol_version AS TEXT) AS protocol_version"""
_FROM_SCHEMA_2 = {
    "trials": f"""SELECT id, source, target, classes AS emotions, seed, method, version, parameters,
      source_key, target_key, engine_version, synthetic, {_OLD_RULES} FROM main.trials s""",  # noqa: S608 (literals are put in)
    "requests": "SELECT id, content, turn, config AS request, pairs FROM main.runs",
    "lines": f"""SELECT s.id, s.run AS request, s.method,
      json_object('assumes_prior', n.assumes_prior, 'role', n.role, 'note', n.note) AS note,
      candidate(s.selection) AS configuration, r.suite, {_OLD_RULES},
      selection(s.selection) AS selection
      FROM main.slices s JOIN main.runs r ON r.id = s.run
      LEFT JOIN main.notes n ON n.run = s.run AND n.method = s.method""",  # noqa: S608
    "planned": "SELECT slice AS line, trial, position FROM main.planned",
}
_LABEL = re.compile(
    r"(.+?)(?:, aligned by (\w+))?(?:, target ([a-z]+:-?\d+(?:\.\d+)?(?:e[+-]?\d+)?))?", re.DOTALL
)


@functools.lru_cache
def _part(label: str, number: int) -> str:
    """Features, alignment or corruption of what schema 2 called features."""
    found = _LABEL.fullmatch(label)
    return (found.groups(default="") if found else (label, "", ""))[number - 1]


Query = Callable[..., list[Any]]
"""Runs a query with values, and returns all rows."""


def content_of(
    request: str, pairs: str, lines: Iterable[tuple[Sequence[Any], Sequence[str]]]
) -> str:
    """The hash of a plan: of its request, its pairs, and the trials of each line."""
    return digest([request, pairs, [[list(line), list(ids)] for line, ids in lines]])


def stored_content(query: Query, number: int, request: str, pairs: str) -> str:
    """The hash of a plan by what is stored of it."""
    own = f"""SELECT id, method, note, configuration, {", ".join(FIELDS)} FROM lines
        WHERE request = ? ORDER BY id"""  # noqa: S608 (only column names are put in)
    lines = query(own, (number,))
    members: dict[int, list[str]] = {}
    of_lines = """SELECT p.line, p.trial FROM planned p JOIN lines l ON l.id = p.line
        WHERE l.request = ? ORDER BY p.line, p.position"""
    for line, trial in query(of_lines, (number,)):
        members.setdefault(line, []).append(trial)
    return content_of(request, pairs, [(row[1:], members.get(row[0], [])) for row in lines])


def connect(path: Path, *, create: bool, read_only: bool) -> sqlite3.Connection:
    """Open a results file.

    Args:
        create: make it, and its folder, where absent.
        read_only: change nothing; the file may be on a medium that cannot be written, and a file of
            an earlier schema stays as it is.
    """
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; name a file with --results")
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: is no regular file; name another with --results")
    if not path.exists() and (read_only or not create):
        raise StoreError(f"{path}: {NONE_YET}")
    if read_only:
        with guarded(path):
            return _opened_to_read(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({error.strerror}); name another place with --results"
        raise StoreError(f"{path.parent}: {problem}") from error
    with guarded(path), _closing_on_error(_connect(path)) as connection:
        if not _version(connection, path) and not create:
            raise StoreError(f"{path}: {NONE_YET}")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")
        with transaction(connection):
            _update(connection, _version(connection, path))
            # written every time: shows that the place can be written, before hours of work
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        # whatever this connection writes keeps the sums right; gone with the connection
        for table in _SUMMED:
            new, old = _crc(table, "NEW."), _crc(table, "OLD.")
            changes = {"INSERT": f"+ {new}", "DELETE": f"- {old}", "UPDATE": f"- {old} + {new}"}
            for event, change in changes.items():
                connection.execute(
                    f"CREATE TEMP TRIGGER {event}_{table} AFTER {event} ON main.{table} BEGIN "  # noqa: S608
                    f"UPDATE sums SET crc = crc {change} WHERE name = '{table}'; END"
                )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Set the journal to WAL, for which SQLite does not wait where another process does it too."""
    last = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > last:
                raise
            time.sleep(0.01)
        else:
            return


_BACKUP = "take it from a backup, or delete it and run again"
_DAMAGED = f"is damaged; {_BACKUP}"
_AGAIN = "repeat the command, which goes on with what is stored"
_REMEDIES = {
    "not a database": "is no results database; name another file with --results",
    **dict.fromkeys(("malformed", "no such", "Could not decode"), _DAMAGED),
    "readonly": "cannot be written; name a writable place with --results",
    "unable to open": "cannot be opened for writing; name a writable place with --results",
    "locked": "is in use by another clser-bench; wait for it or name another file with --results",
    "full": f"the disk is full; make room and {_AGAIN}",
    "disk I/O": f"cannot be read or written; if the disk is full make room, and {_AGAIN}",
}
"""Remedies for errors of SQLite, by a part of their texts."""


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into StoreErrors that name the file and the remedy."""
    try:
        yield
    except UnicodeDecodeError as error:  # of a name, or of a message that quotes the file
        raise StoreError(f"{path}: is damaged ({error}); {_BACKUP}") from error
    except sqlite3.Error as error:
        text = str(error).partition(" with text ")[0]  # else all of a column that is no UTF-8
        remedy = next((words for part, words in _REMEDIES.items() if part in text), None)
        message = f"{remedy} ({text})" if remedy else f"SQLite says: {text}"
        raise StoreError(f"{path}: {message}") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def _closing_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def _connect(name: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    if isinstance(name, Path):
        name = name.absolute()  # SQLite takes `:memory:` and `file:x` for other things than files
    connection = sqlite3.connect(name, timeout=_WAIT, isolation_level=None, uri=uri)
    connection.execute("PRAGMA cache_size = -65536")  # KiB: rows lie between arrays
    functions: dict[str, Callable[..., Any]] = {
        "part": _part,
        "candidate": lambda text: int(n) if (n := text.partition("/")[2]).isdecimal() else None,
        "selection": lambda text: text.partition("/")[0],
        "crc": zlib.crc32,
    }
    for function, code in functions.items():
        connection.create_function(function, 1 + (function == "part"), code, deterministic=True)
    return connection


def _opened_to_read(path: Path) -> sqlite3.Connection:
    """A connection that only reads; of an earlier schema, an updated temporary copy."""
    with _closing_on_error(_reader(path)) as connection:
        version = _version(connection, path)
        if not version:
            raise StoreError(f"{path}: {NONE_YET}")
        if version == SCHEMA_VERSION and not any(_missing(connection, name) for name in _ADDED_TO):
            connection.execute("PRAGMA query_only = ON")
            return connection
        with _closing_on_error(_connect("")) as copy:  # a file that SQLite removes
            connection.backup(copy)
            connection.close()
            _update(copy, version)
            copy.execute("PRAGMA query_only = ON")
            return copy


def _reader(path: Path) -> sqlite3.Connection:
    """SQLite writes beside a file even to read it; where it cannot, the file cannot change."""
    try:
        with _closing_on_error(_connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
    except sqlite3.OperationalError:
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        return _connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _crc(table: str, row: str = "") -> str:
    """The CRC-32 of a row, as SQL; of numbers alone a sum, which is faster."""
    if table == "planned":
        return f"({row}line * 1000003 + {row}position)"
    cells = (_CELLS.get(n, "{row}{name}").format(row=row, name=n) for n in _SUMMED[table])
    text = f"printf('{'%s|' * len(_SUMMED[table])}', {', '.join(cells)})"
    return f"crc(CAST({text} AS BLOB))"


def _sum(table: str) -> str:
    return f"(SELECT ifnull(sum({_crc(table)}), 0) FROM main.{table})"  # noqa: S608 (own names)


def changed_tables(query: Query) -> list[str]:
    """Tables with rows that something else than clser-bench changed, lost or added.

    Of a file that an earlier clser-bench wrote, which has no sums, nothing is known.
    """
    # in one statement, since another process may write meanwhile
    pairs = (
        f"(SELECT crc FROM sums WHERE name = '{name}') IS {_sum(name)}"  # noqa: S608
        for name in _SUMMED
    )
    (found,) = query(f"SELECT {', '.join(pairs)}")
    changed = []
    for table, same in zip(_SUMMED, found, strict=True):
        # bytes in place of a text may have its sum
        kinds = ", ".join(f"typeof({name})" for name in _SUMMED[table] if name != "confirms")
        if not same or query(f"SELECT 1 FROM main.{table} WHERE 'blob' IN ({kinds}) LIMIT 1"):  # noqa: S608
            changed.append(table)
    return changed


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a file, 0 for an empty one; raises StoreError for what is no file of ours."""
    # in one statement, since another process may be making the tables
    application, version, tables = connection.execute(
        """SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)
        FROM pragma_application_id, pragma_user_version"""
    ).fetchone()
    empty = tables == 0
    another = "name another file with --results"
    if application != APPLICATION_ID and not (empty and application == 0 and version == 0):
        what = "is an SQLite database of something else, not of clser-bench"
        raise StoreError(f"{path}: {what}; {another}")
    if version > SCHEMA_VERSION:
        own = f"schema {version}, this one reads {SCHEMA_VERSION}"
        what = f"was written by a newer clser-bench ({own}); upgrade clser-bench"
        raise StoreError(f"{path}: {what} or {another}")
    if version < 1 and not empty:
        raise StoreError(f"{path}: is damaged (schema {version}); take the file from a backup")
    return int(version)


def _missing(connection: sqlite3.Connection, table: str) -> list[str]:
    """Fields of conditions that a table has no column for."""
    there = {column[1] for column in connection.execute(f"PRAGMA main.table_info({table})")}
    return [field for field in _ADDED_TO[table] if field not in there]


def _update(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or bring those of an earlier schema up to this one."""
    # a sum that is lost is a change that something else made, and stays one
    listed = connection.execute("SELECT name FROM sqlite_master") if version >= 4 else ()
    summed = {name for (name,) in listed}
    if version in (1, 2):
        _migrate(connection, version)
    for name, columns in _TABLES.items():
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for name in _ADDED_TO:
        for field in _missing(connection, name):
            connection.execute(f"ALTER TABLE {name} ADD COLUMN {_columns([field])}")
            summed.discard(name)
    for name in _SUMMED:
        if name not in summed:
            connection.execute(f"INSERT OR REPLACE INTO sums VALUES ('{name}', {_sum(name)})")  # noqa: S608


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Rewrite plans and trials of schema 1 and 2; records and arrays stay as they are."""
    if version == 1:
        connection.execute("ALTER TABLE records ADD COLUMN energy REAL")
    for name, select in _FROM_SCHEMA_2.items():
        connection.execute(f"CREATE TABLE new_{name} ({_TABLES[name]})")
        names = [column[0] for column in connection.execute(f"{select} LIMIT 0").description]
        connection.execute(f"INSERT INTO new_{name} ({', '.join(names)}) {select}")
    for name in ("planned", "slices", "notes", "runs", "trials"):
        connection.execute(f"DROP TABLE {name}")
    for name in _FROM_SCHEMA_2:
        connection.execute(f"ALTER TABLE new_{name} RENAME TO {name}")

    def query(text: str, values: Sequence[Any] = ()) -> list[Any]:
        return connection.execute(text, values).fetchall()

    for number, request, pairs in query("SELECT id, request, pairs FROM requests"):
        content = stored_content(query, number, request, pairs)
        connection.execute("UPDATE requests SET content = ? WHERE id = ?", (content, number))


def dump(values: object) -> str:
    """A value as JSON with sorted keys; what is none raises StoreError."""
    try:
        return json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"the request cannot be stored as JSON ({error}): {values}") from error
