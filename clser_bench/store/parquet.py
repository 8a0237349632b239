"""Results as a Parquet file, to publish them or to pool those of several laboratories.

A row is a trial of a table, planned or run, with its predicted classes; its columns are those of
`Store.frame`. Answer keys and the order of pairs are JSON in the file's metadata, under
`clser-bench`. A request, which names folders of the machine, and tracebacks are not written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from clser_bench.errors import SpecError, StoreError, did_you_mean
from clser_bench.files import require_file, whole
from clser_bench.problem import AnswerKey, Finding, SkippedFile
from clser_bench.protocol import PROTOCOL_VERSION, Condition, Pair
from clser_bench.store.exported import (
    ARRAYS,
    KINDS,
    Entry,
    FaultyError,
    Heading,
    RowOfFile,
    Sheet,
    checked,
    plain,
    record_of_row,
    trial_of_row,
)
from clser_bench.store.records import (
    MethodNote,
    one_line,
    unpack_array,
)
from clser_bench.store.rows import answers_hash
from clser_bench.store.schema import FIELDS
from clser_bench.store.sqlite import Store

_NAME = b"clser-bench"
_GROUP = 1000
_MOST_BYTES = 4 << 30
_MOST_ROWS = 2_000_000
_MOST_HEADING = 64 << 20


class Written(NamedTuple):
    """Counts of an export: trials, those with a result, methods, lines of older rules."""

    trials: int
    ok: int
    methods: int
    old: int


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A file that passed all checks."""

    path: Path
    suites: Mapping[str, tuple[Pair, ...]]
    skipped: tuple[SkippedFile, ...]
    findings: tuple[Finding, ...]
    entries: tuple[Entry, ...]


def write(
    results: Path,
    out: Path,
    *,
    wanted: Mapping[str, str] | None = None,
    methods: Collection[str] = (),
    scores: bool = False,
) -> Written:
    """Write the tables of a results file as one Parquet file.

    The same results give the same bytes.

    Args:
        out: the Parquet file; appears whole or not at all.
        wanted: values that a condition must have, as `Condition.matches` takes them.
        scores: with the scores of all classes, float32, which are most of a results file.

    Raises:
        SpecError: there is no such method.
        StoreError: there are no results like that, one does not verify, or a file cannot be read
            or written.
    """
    with Store(results, create=False, read_only=True) as store:
        every = store.frame()
        known = set(every["method"])
        for name in methods:
            if name not in known:
                near = did_you_mean(name, known)
                raise SpecError(f"there are no results of method '{name}'{near}")
        frame = store.frame(wanted)
        frame = frame[frame["method"].isin(list(methods))] if methods else frame
        new = frame[frame["protocol_version"] == PROTOCOL_VERSION]
        old = frame[frame["protocol_version"] != PROTOCOL_VERSION]
        if new.empty:
            only = f" of protocol version {PROTOCOL_VERSION}" if len(old) else ""
            raise StoreError(f"{results}: has no results{only} to export, or none like that")
        rows = _rows(store, new, scores=scores)
        heading = _heading(store, new)
    kinds = {**KINDS, **ARRAYS}
    if not scores:
        del kinds["scores"]
    columns = pa.schema(kinds.items())
    table = pa.Table.from_pandas(rows, columns, preserve_index=False)
    options: Any = {"compression": "zstd", "write_page_checksum": True, "write_statistics": False}
    with (
        whole(out) as temporary,
        # without the schema of Arrow, which would hold the heading a second time
        parquet.ParquetWriter(temporary, columns, store_schema=False, **options) as writer,
    ):
        writer.write_table(table, _GROUP)
        writer.add_key_value_metadata({_NAME: heading.model_dump_json().encode()})
    lines = [*FIELDS, "method"]
    return Written(
        trials=rows["trial"].nunique(),
        ok=rows[rows["status"] == "ok"]["trial"].nunique(),
        methods=rows["method"].nunique(),
        old=len(old[lines].drop_duplicates()),
    )


def _rows(store: Store, frame: pd.DataFrame, *, scores: bool) -> pd.DataFrame:
    """The columns of a file, in a fixed order of rows."""
    ids = frame["trial"].unique().tolist()
    more = pd.DataFrame(
        store.query(
            """SELECT id AS trial, engine_version, source_key, target_key FROM trials
            WHERE id IN (SELECT value FROM json_each(?))""",
            (json.dumps(ids),),
        ),
        columns=["trial", "engine_version", "source_key", "target_key"],
    )
    rows = frame.merge(more, on="trial").sort_values(
        [*FIELDS, "method", "source", "target", "seed", "trial"], kind="stable"
    )
    guesses: dict[str, Any] = {}
    for _, trials, classes in store.predicted(ids):
        guesses |= zip(trials, classes, strict=True)
    rows["predictions"] = _column(rows, guesses)
    if scores:
        found = store.query(
            "SELECT trial, scores FROM scores WHERE trial IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
        arrays = {t: unpack_array(blob, f"scores of trial {t[:12]}").ravel() for t, blob in found}
        rows["scores"] = _column(rows, arrays)
    rows["protocol_version"] = rows["protocol_version"].astype(str)
    rows["parameters"] = rows["parameters"].map(json.dumps)
    rows["reason"] = rows["reason"].map(lambda text: plain(one_line(text)) if text else "")
    for name in ("title", "note"):
        rows[name] = rows[name].map(plain)
    names = [*KINDS, "predictions", *(("scores",) if scores else ())]
    return rows[names].reset_index(drop=True)


def _column(rows: pd.DataFrame, arrays: Mapping[str, Any]) -> pd.Series:
    return pd.Series([arrays.get(trial) for trial in rows["trial"]], rows.index, dtype=object)


def _heading(store: Store, frame: pd.DataFrame) -> Heading:
    suites = {suite: store.pairs(suite) for suite in sorted(frame["suite"].unique())}
    answers = {}
    for key in sorted(set(frame["answers"]) - {""}):
        found = store.answers(key)
        answers[key] = Sheet(y=tuple(found.y.tolist()), speakers=found.speakers, names=found.names)
    corpora = {
        code for pairs in suites.values() for pair in pairs for code in (pair.source, pair.target)
    }
    return Heading(
        rows=len(frame),
        suites={name: tuple((p.source, p.target) for p in pairs) for name, pairs in suites.items()},
        answers=answers,
        skipped=tuple(
            (item.corpus, plain(item.name), plain(one_line(item.reason)))
            for item in store.skipped()
            if item.corpus in corpora
        ),
        findings=tuple(
            (item.kind, item.corpus, plain(item.sentence))
            for item in dict.fromkeys(item for items in store.findings().values() for item in items)
            if set(item.corpus.split("→")) <= {"", *corpora}
        ),
    )


def read(path: Path) -> Submission:
    """Read a file of `write`, and check everything that can be checked.

    The checks find damage, mistakes and careless changes. They cannot tell whether predictions
    were made as the protocol wants: whoever sends a file is trusted in that.

    Raises:
        StoreError: the file is absent, damaged, something else, too large, of another version, or
            contradicts itself; names the row and the value.
    """
    require_file(path, error=StoreError, about="; name one that `clser-bench export` wrote")
    try:
        # claims of the file, read group by group: pyarrow ends the process on a damaged column
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            heading, answers = _checked_heading(path, file)
            entries: list[Entry] = []
            for batch in file.iter_batches(_GROUP):
                entries += _entries(path, batch, len(entries), answers)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FaultyError(
            path, "Parquet", f"damaged, cut short or of another kind ({error})"
        ) from error
    if len(entries) != heading.rows:
        raise FaultyError(path, "rows", f"{len(entries)}, and it was written with {heading.rows}")
    suites = {}
    for name, pairs in heading.suites.items():
        with checked(path, f"suite {name}"):
            suites[name] = tuple(Pair.parse(f"{source}->{target}") for source, target in pairs)
    _check_together(path, entries, suites)
    return Submission(
        path=path,
        suites=suites,
        skipped=tuple(SkippedFile(corpus=c, name=n, reason=why) for c, n, why in heading.skipped),
        findings=tuple(Finding(kind=k, corpus=c, sentence=s) for k, c, s in heading.findings),
        entries=tuple(entries),
    )


def _checked_heading(path: Path, file: Any) -> tuple[Heading, dict[str, AnswerKey]]:
    held = file.metadata
    groups = [held.row_group(number) for number in range(held.num_row_groups)]
    size = max(path.stat().st_size, sum(group.total_byte_size for group in groups))
    text = (held.metadata or {}).get(_NAME, b"")
    for name, got, most in (
        ("bytes", size, _MOST_BYTES),
        ("rows", held.num_rows, _MOST_ROWS),
        ("bytes of metadata", len(text), _MOST_HEADING),
    ):
        if got > most:
            raise FaultyError(
                path, name, f"{got}, and at most {most} are read; export fewer methods"
            )
    wanted, found = {**KINDS, **ARRAYS}, file.schema_arrow
    for name in found.names:
        if name not in wanted or found.names.count(name) > 1:
            raise FaultyError(path, f"column {name!r}", "is not of an export, or is there twice")
        if found.field(name).type != wanted[name]:
            kind = found.field(name).type
            raise FaultyError(path, f"column {name!r}", f"is of type {kind}, not {wanted[name]}")
    for name in wanted:
        if name not in found.names and name != "scores":
            raise FaultyError(path, f"column {name!r}", "is missing")
    if not text:
        raise FaultyError(path, "metadata 'clser-bench'", "is missing; it is no export")
    with checked(path, "metadata 'clser-bench'"):
        heading = Heading.model_validate_json(text)
    return heading, {key: _answer_key(path, key, sheet) for key, sheet in heading.answers.items()}


def _answer_key(path: Path, key: str, sheet: Sheet) -> AnswerKey:
    where = f"answers {key[:12]!r}"
    sizes = {len(sheet.y), len(sheet.speakers), len(sheet.names)}
    if len(sizes) > 1 or not sheet.y:
        raise FaultyError(path, where, f"lengths of classes, speakers and names: {sorted(sizes)}")
    y = np.array(sheet.y, np.int64)
    if answers_hash(y, sheet.speakers, sheet.names) != key:
        raise FaultyError(path, where, "the answers do not have this hash, so they were changed")
    return AnswerKey(classes=(), y=y, speakers=sheet.speakers, names=sheet.names)


def _entries(
    path: Path, batch: Any, before: int, answers: Mapping[str, AnswerKey]
) -> Iterator[Entry]:
    arrays = {name: _arrays(batch.column(name)) for name in ARRAYS if name in batch.schema.names}
    rest = batch.drop_columns(list(arrays)).to_pylist()
    for number, values in enumerate(rest):
        values["emotions"] = tuple(values["emotions"] or ())
        own = {name: column[number] for name, column in arrays.items()}
        with checked(path, f"row {before + number + 1}"):
            row = RowOfFile.model_validate(values)
            trial = trial_of_row(row)
            record = record_of_row(row, trial, own, answers) if row.status else None
            note = MethodNote(
                assumes_prior=row.assumes_prior,
                role=row.role,
                note=row.note,
                title="" if row.title == row.method else row.title,
                uses=tuple(filter(None, row.uses.split("+"))),
                kind=row.kind,
            )
        yield Entry(trial, note, record)


def _arrays(column: Any) -> list[Any]:
    """The lists of a column as arrays, None where there is none."""
    inner = column.flatten()
    if inner.null_count:
        raise ValueError("a list has a null")
    parts = np.split(
        np.asarray(inner), np.cumsum(column.value_lengths().fill_null(0).to_numpy())[:-1]
    )
    return [
        part if there else None
        for part, there in zip(parts, column.is_valid().to_pylist(), strict=True)
    ]


def _check_together(path: Path, entries: Iterable[Entry], suites: Collection[str]) -> None:
    """Refuse rows that contradict each other."""
    places: dict[tuple[Any, ...], int] = {}
    results: dict[str, tuple[int, bytes]] = {}
    notes: dict[tuple[Condition, str], MethodNote] = {}
    for number, (trial, note, record) in enumerate(entries, 1):
        where = f"row {number}"
        condition = trial.condition
        if condition.suite not in suites:
            raise FaultyError(path, where, f"suite {condition.suite!r}: it has no pairs")
        first = places.setdefault((condition, trial.method, trial.pair, trial.seed), number)
        if first != number:
            raise FaultyError(path, where, f"row {first} has the same condition, method and draw")
        if notes.setdefault((condition, trial.method), note) != note:
            raise FaultyError(path, where, f"{trial.method} has another note in a row before")
        content = b"" if record is None else record.predicted.tobytes()
        first, same = results.setdefault(trial.id, (number, content))
        if same != content:
            raise FaultyError(path, where, f"row {first} has another result of the same trial")
