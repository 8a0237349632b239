"""Files of several laboratories, merged into one results file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clser_bench.problem import AnswerKey, Trial
from clser_bench.store import queries, schema, writing
from clser_bench.store.blobs import pack_array, pack_metrics, unpack_array
from clser_bench.store.heading import Part
from clser_bench.store.pooled_plans import pool
from clser_bench.store.submission import Entry, FaultyError, Submission


class Conflict(NamedTuple):
    """A trial that two laboratories have different results of: UAR here, and in the file."""

    path: Path
    trial: Trial
    here: float
    there: float


class Merged(NamedTuple):
    """What became of the trials of files.

    Attributes:
        added: stored now.
        known: were there with the same result, or with a better one than the file's hole.
        missing: planned in a file, but not run there.
        conflicts: stored otherwise, and left as they are.
        apart: rows of tables that were not pooled, since the trials here are of another version,
            point or audio.
        scored: of the known ones, those that had no scores and have the file's now.
    """

    added: int
    known: int
    missing: int
    conflicts: tuple[Conflict, ...]
    apart: tuple[Part, ...]
    scored: int


def merge(results: Path, submissions: Sequence[Submission]) -> Merged:
    """Add files to a results file, all or nothing.

    A stored result is never overwritten; one without scores takes those of a file that has the same
    result. The trials of a method under the same rules are pooled
    with those that tables show already, where version, point and audio are the same.

    Args:
        results: the results file; made where absent.
        submissions: as `read` made them.

    Raises:
        StoreError: the answers to a problem differ from others to the same problem, or the
            results file cannot be written.
    """
    seen: dict[tuple[Any, ...], bytes] = {}
    for submission in submissions:
        _agree(submission, seen)
    connection = schema.connect(results, create=True)
    with (
        contextlib.closing(connection),
        schema.guarded(results),
        schema.transaction(connection),
    ):
        stored = _stored_answers(connection)
        for submission in submissions:
            _agree(submission, stored)
        parts = [_merge(connection, submission) for submission in submissions]
    return Merged(
        added=sum(part.added for part in parts),
        known=sum(part.known for part in parts),
        missing=sum(part.missing for part in parts),
        conflicts=tuple(item for part in parts for item in part.conflicts),
        apart=tuple(item for part in parts for item in part.apart),
        scored=sum(part.scored for part in parts),
    )


def _stored_answers(connection: sqlite3.Connection) -> dict[tuple[Any, ...], bytes]:
    """The answers to each problem in the store, as bytes of their classes."""
    keys: dict[str, bytes] = {}
    found: dict[tuple[Any, ...], bytes] = {}
    for classes, shots, seed, key, *place in connection.execute(
        """SELECT t.classes, t.shots, t.seed, r.answers, t.source, t.target, t.target_key,
          t.setting, t.prior, t.protocol_version
        FROM records r JOIN trials t ON t.id = r.trial WHERE r.status = 'ok'"""
    ).fetchall():
        if key not in keys:
            keys[key] = queries.answers(connection, key, ()).y.tobytes()
        found[(*place, *json.loads(classes), shots, seed)] = keys[key]
    return found


def _agree(submission: Submission, known: dict[tuple[Any, ...], bytes]) -> None:
    """Refuse answers that differ from known ones to the same problem; remember the others."""
    for row, entry in enumerate(submission.entries, 1):
        if entry.status != "ok":
            continue
        y = submission.answers[entry.answers].y.tobytes()
        if known.setdefault(_problem(entry.trial), y) != y:
            raise FaultyError(
                submission.path,
                f"row {row}",
                f"answers {entry.answers[:12]!r}: other answers to the same problem "
                f"({entry.trial.pair}, {entry.trial.shots} shots, seed {entry.trial.seed}) are "
                "known from another file or from the results file",
            )


def _merge(connection: sqlite3.Connection, submission: Submission) -> Merged:
    writing.put_trials(connection, [entry.trial for entry in submission.entries])
    connection.executemany(
        "INSERT OR IGNORE INTO skipped VALUES (?, ?, ?)",
        [(item.corpus, item.name, item.reason) for item in submission.heading.skipped],
    )
    added = known = missing = scored = 0
    conflicts = []
    for entry in submission.entries:
        row = connection.execute(
            """SELECT r.status, r.uar, c.classes FROM records r
            LEFT JOIN predictions c ON c.trial = r.trial WHERE r.trial = ?""",
            (entry.trial.id,),
        ).fetchone()
        if entry.status is None:
            missing += 1
        elif row is None or (row[0] != "ok" and entry.metrics is not None):
            _put(connection, entry, submission.answers)
            added += 1
        elif entry.metrics is not None and not _same(row[2], entry):
            there = entry.metrics.uar
            conflicts.append(Conflict(submission.path, entry.trial, row[1], there))
        else:
            known += 1
            scored += _put_scores(connection, entry)
    apart = pool(connection, submission)
    return Merged(added, known, missing, tuple(conflicts), tuple(apart), scored)


def _same(blob: bytes, entry: Entry) -> bool:
    what = f"predictions of trial {entry.trial.id[:12]}"
    return np.array_equal(unpack_array(blob, what), entry.predictions)


def _put(connection: sqlite3.Connection, entry: Entry, answers: Mapping[str, AnswerKey]) -> None:
    """Store a result where there is none."""
    trial = entry.trial.id
    metrics: Sequence[Any] = (None,) * 5
    if entry.metrics is not None:
        key = answers[entry.answers]
        texts = [json.dumps(part, ensure_ascii=False) for part in (key.speakers, key.names)]
        connection.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
            (entry.answers, pack_array(key.y), *texts),
        )
        metrics = pack_metrics(entry.metrics)
    about = (trial, entry.status, entry.reason, entry.seconds, entry.pack)
    connection.execute(
        """INSERT OR REPLACE INTO records (trial, status, reason, attempts, seconds, pack,
          uar, war, macro_f1, recalls, confusion, answers)
        VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (*about, *metrics, entry.answers or None),
    )
    if entry.metrics is not None:
        predictions = pack_array(entry.predictions)
        connection.execute("INSERT INTO predictions VALUES (?, ?)", (trial, predictions))
        _put_scores(connection, entry)


def _put_scores(connection: sqlite3.Connection, entry: Entry) -> int:
    """Store scores where there are none; how many trials got some, 0 or 1."""
    if entry.scores is None:
        return 0
    return connection.execute(
        "INSERT OR IGNORE INTO scores VALUES (?, ?)", (entry.trial.id, pack_array(entry.scores))
    ).rowcount


def _problem(trial: Trial) -> tuple[Any, ...]:
    """What two trials share that must have the same answers."""
    rules = trial.condition
    drawn = (*trial.classes, str(trial.shots), trial.seed)
    place = (trial.pair.source, trial.pair.target, trial.target_key, rules.setting, rules.prior)
    return (*place, rules.protocol_version, *drawn)
