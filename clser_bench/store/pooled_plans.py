"""The plans of pooled results: what stands in one row of a table, and what cannot."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from clser_bench.hashing import digest
from clser_bench.problem import Trial
from clser_bench.protocol import PROTOCOL_VERSION
from clser_bench.store import queries, writing
from clser_bench.store.blobs import pack_options
from clser_bench.store.heading import Part, part_of
from clser_bench.store.records import MethodNote
from clser_bench.store.submission import Submission

_Lineage = tuple[Any, ...]
"""Version, engine, classes, hyper-parameters, keys of both tables."""


class _Row(NamedTuple):
    """A row of a table after pooling: what it says, the slice it had, and trials that are new."""

    part: Part
    slice: int | None
    note: MethodNote
    fresh: list[Trial]


def pool(connection: sqlite3.Connection, submission: Submission) -> list[Part]:
    """Plan the trials of a file beside those that tables show.

    Args:
        connection: in a transaction; the trials are stored.
        submission: the file.

    Returns:
        The rows that do not go together with those of the same name that tables show.
    """
    mine = {
        part_of(item).rules: item
        for item in queries.latest_slices(connection)
        if item.condition.protocol_version == PROTOCOL_VERSION
    }
    members: list[list[Trial]] = [[] for _ in submission.heading.parts]
    for entry in submission.entries:
        for number in entry.parts:
            members[number].append(entry.trial)
    rows, apart = [], []
    for part, trials in zip(submission.heading.parts, members, strict=True):
        own = mine.get(part.rules)
        there = {} if own is None else _drawn(connection, own.id)
        if not _alike(there, trials):
            apart.append(part)
            continue
        fresh = [trial for trial in trials if _place(trial) not in there]
        if fresh:
            rows.append(_Row(part, own.id if own else None, own.note if own else part.said, fresh))
    for group in _plans(rows):
        _plan(connection, submission, group)
    return apart


def _drawn(connection: sqlite3.Connection, part: int) -> dict[tuple[str, str, int], _Lineage]:
    """Source, target and seed of the trials of a slice, to what they were made of."""
    rows = connection.execute(
        """SELECT t.source, t.target, t.seed, t.version, t.engine_version, t.classes,
          t.parameters, t.source_key, t.target_key
        FROM planned p JOIN trials t ON t.id = p.trial WHERE p.slice = ?""",
        (part,),
    )
    return {(source, target, seed): tuple(rest) for source, target, seed, *rest in rows}


def _place(trial: Trial) -> tuple[str, str, int]:
    return trial.pair.source, trial.pair.target, trial.seed


def _alike(there: Mapping[tuple[str, str, int], _Lineage], trials: Iterable[Trial]) -> bool:
    """Whether trials may stand in a row with others: one version; per pair, one point and audio."""
    versions = {lineage[:2] for lineage in there.values()}
    pairs: dict[tuple[str, str], set[_Lineage]] = {}
    for (source, target, _), lineage in there.items():
        pairs.setdefault((source, target), set()).add(lineage)
    for trial in trials:
        classes, parameters = json.dumps(trial.classes), json.dumps(trial.parameters)
        keys = (trial.source_key, trial.target_key)
        own = (trial.version, trial.engine_version, classes, parameters, *keys)
        if versions and own[:2] not in versions:
            return False
        if own not in pairs.get(_place(trial)[:2], {own}):
            return False
    return True


def _plans(rows: Iterable[_Row]) -> list[list[_Row]]:
    """Part rows into plans: of one suite, each method with one note."""
    plans: list[list[_Row]] = []
    for row in rows:
        for plan in plans:
            notes = {other.part.method: other.note for other in plan}
            together = plan[0].part.suite == row.part.suite
            if together and notes.get(row.part.method, row.note) == row.note:
                plan.append(row)
                break
        else:
            plans.append([row])
    return plans


def _plan(connection: sqlite3.Connection, submission: Submission, rows: Sequence[_Row]) -> None:
    """Make a plan of pooled rows, the latest one."""
    suite = rows[0].part.suite
    pairs = submission.heading.suites[suite]
    known = [_planned(connection, row.slice) for row in rows]
    members = [
        [*before, *(trial.id for trial in row.fresh)]
        for before, row in zip(known, rows, strict=True)
    ]
    content = digest(
        {
            "imported": [[*row.part.rules, row.note.note] for row in rows],
            "pairs": [list(pair) for pair in pairs],
            "trials": members,
        }
    )
    options = pack_options({"imported": submission.path.name})
    place = (content, suite, json.dumps(pairs), options)
    run, new = writing.put_run(connection, place)
    if not new:
        return
    writing.put_notes(connection, run, {row.part.method: row.note for row in rows})
    position = 0
    for row, ids in zip(rows, members, strict=True):
        part = row.part
        rules = (part.features, part.normalisation, part.setting, part.prior, part.fixed4)
        made = connection.execute(
            "INSERT INTO slices VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (run, *rules, part.selection, part.shots, PROTOCOL_VERSION, part.method),
        )
        connection.executemany(
            "INSERT INTO planned VALUES (?, ?, ?)",
            [(made.lastrowid, trial, position + n) for n, trial in enumerate(ids)],
        )
        position += len(ids)


def _planned(connection: sqlite3.Connection, part: int | None) -> list[str]:
    rows = connection.execute(
        "SELECT trial FROM planned WHERE slice = ? ORDER BY position", (part,)
    )
    return [trial for (trial,) in rows]
