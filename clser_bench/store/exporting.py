"""What of a results file travels: the trials that tables show, and what they were made of."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from clser_bench.errors import SpecError, StoreError, did_you_mean
from clser_bench.problem import AnswerKey
from clser_bench.protocol import PROTOCOL_VERSION
from clser_bench.store import exchange, queries, schema
from clser_bench.store.blobs import unpack_array
from clser_bench.store.checking import check_heading
from clser_bench.store.heading import FORMAT, Heading, Left, Sheet, part_of
from clser_bench.store.records import Slice
from clser_bench.store.submission import CONTROL

Advance = Callable[[int], object]
"""Told a number of trials."""


class Written(NamedTuple):
    """What was exported: trials, those with a result, methods, and rows of older rules left out."""

    trials: int
    ok: int
    methods: int
    old: int


def write(
    results: Path,
    out: Path,
    *,
    suite: str | None = None,
    methods: Collection[str] | None = None,
    scores: bool = False,
    shorten: Callable[[str], str] = str,
    start: Advance = lambda _: None,
    advance: Advance = lambda _: None,
) -> Written:
    """Write what the tables of a results file are made of as one Parquet file.

    For each method under each set of rules the trials of the latest plan, as in tables. The same
    results give the same bytes.

    Args:
        results: the results file.
        out: the Parquet file; appears whole or not at all.
        suite: only this suite.
        methods: only these methods.
        scores: with the scores of all classes, float32, which are most of a results file.
        shorten: what is told of the reason of a hole.
        start: told how many trials there are.
        advance: told how many more are written.

    Raises:
        SpecError: there is no such suite or method.
        StoreError: there are no results, or a file cannot be read or written.
    """
    connection = schema.connect(results, create=False)
    with contextlib.closing(connection), schema.guarded(results):
        connection.execute("BEGIN")  # one state of the file, whoever writes meanwhile
        slices, old = _chosen(connection, suite, methods)
        if not slices:
            raise StoreError(f"{results}: has no results to export; make some with a run")
        places = _places(connection, slices)
        heading = _heading(connection, slices, list(places), shorten)
        check_heading(out, heading)
        done = 0
        start(len(places))
        with exchange.new(out, heading, scores=scores) as add:
            for batch in _batched(list(places)):
                rows = _rows(connection, batch, places, shorten=shorten, scores=scores)
                done += sum(row["status"] == "ok" for row in rows)
                add(rows)
                advance(len(rows))
    return Written(len(places), done, len({item.method for item in slices}), old)


def _chosen(
    connection: sqlite3.Connection, suite: str | None, methods: Collection[str] | None
) -> tuple[list[Slice], int]:
    """The slices asked for in a fixed order, and how many of an older protocol are left out."""
    every = queries.latest_slices(connection)
    for what, asked, known in (
        ("suite", [] if suite is None else [suite], {item.condition.suite for item in every}),
        ("method", methods or (), {item.method for item in every}),
    ):
        for name in asked:
            if name not in known:
                raise SpecError(
                    f"there are no results of {what} '{name}'{did_you_mean(name, known)}"
                )
    found = [
        item
        for item in every
        if suite in (None, item.condition.suite) and (not methods or item.method in methods)
    ]
    new = [item for item in found if item.condition.protocol_version == PROTOCOL_VERSION]
    return sorted(new, key=lambda item: part_of(item).rules), len(found) - len(new)


def _places(connection: sqlite3.Connection, slices: Sequence[Slice]) -> dict[str, list[int]]:
    """Trials in the order of the file, with the numbers of their parts."""
    numbers = {item.id: number for number, item in enumerate(slices)}
    found: dict[str, list[int]] = {}
    for trial, part in connection.execute(
        """SELECT p.trial, p.slice FROM planned p JOIN trials t ON t.id = p.trial
        WHERE p.slice IN (SELECT value FROM json_each(?))
        ORDER BY t.method, t.source, t.target, t.shots, t.seed, t.id""",
        (json.dumps(list(numbers)),),
    ):
        found.setdefault(trial, []).append(numbers[part])
    return {trial: sorted(parts) for trial, parts in found.items()}


def _heading(
    connection: sqlite3.Connection,
    slices: Sequence[Slice],
    ids: Sequence[str],
    shorten: Callable[[str], str],
) -> Heading:
    suites: dict[str, dict[tuple[str, str], None]] = {item.condition.suite: {} for item in slices}
    # as tables order pairs: those of the largest plan, then what others add
    for run in sorted(queries.runs(connection), key=lambda run: (-len(run.pairs), run.pairs)):
        if run.suite in suites:
            suites[run.suite].update(dict.fromkeys((p.source, p.target) for p in run.pairs))
    keys = connection.execute(
        """SELECT DISTINCT answers FROM records WHERE answers IS NOT NULL
        AND trial IN (SELECT value FROM json_each(?)) ORDER BY answers""",
        (json.dumps(list(ids)),),
    ).fetchall()
    corpora = {code for pairs in suites.values() for pair in pairs for code in pair}
    skipped = connection.execute("SELECT * FROM skipped ORDER BY corpus, name").fetchall()
    return Heading(
        format=FORMAT,
        protocol_version=PROTOCOL_VERSION,
        suites={name: tuple(suites[name]) for name in sorted(suites)},
        parts=tuple(map(part_of, slices)),
        answers=tuple(_sheet(key, queries.answers(connection, key, ())) for (key,) in keys),
        skipped=tuple(
            Left(corpus=code, name=name, reason=_clean(shorten(why)))
            for code, name, why in skipped
            if code in corpora
        ),
    )


def _sheet(key: str, answer: AnswerKey) -> Sheet:
    y = tuple(answer.y.tolist())
    return Sheet(hash=key, y=y, speakers=answer.speakers, names=answer.names)


def _clean(text: str) -> str:
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _rows(
    connection: sqlite3.Connection,
    batch: Sequence[str],
    places: Mapping[str, list[int]],
    *,
    shorten: Callable[[str], str],
    scores: bool,
) -> exchange.Rows:
    joined = "LEFT JOIN scores s ON s.trial = t.id" if scores else ""
    cursor = connection.execute(
        f"""SELECT t.*, r.status, coalesce(r.reason, '') AS reason,
          coalesce(r.seconds, 0.0) AS seconds, coalesce(r.pack, '') AS pack,
          r.uar, r.war, r.macro_f1, r.answers, c.classes AS predictions
          {", s.scores" if scores else ""}
        FROM trials t LEFT JOIN records r ON r.trial = t.id
        LEFT JOIN predictions c ON c.trial = t.id {joined}
        WHERE t.id IN (SELECT value FROM json_each(?))""",  # noqa: S608 (literals are put in)
        (json.dumps(batch),),
    )
    names = [column[0] for column in cursor.description]
    found = {row[0]: dict(zip(names, row, strict=True)) for row in cursor}
    for trial, row in found.items():
        row["parts"] = places[trial]
        row["classes"] = json.loads(row["classes"])
        row["synthetic"] = bool(row["synthetic"])
        row["reason"] = _clean(shorten(row["reason"])) if row["reason"] else ""
        for name in exchange.ARRAYS:
            if row.get(name) is not None:
                row[name] = unpack_array(row[name], f"{name} of trial {trial[:12]}").ravel()
    return [found[trial] for trial in batch]


def _batched(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), exchange.BATCH):
        yield ids[start : start + exchange.BATCH]
