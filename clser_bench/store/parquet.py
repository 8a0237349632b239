"""Results as a Parquet file, to publish them or to pool those of several laboratories.

A row is a trial of a table, planned or run, with its predicted classes; its columns are those of
`Store.frame`. Answer keys and the order of pairs are JSON in the file's metadata, under
`clser-bench`. A request, which names folders of the machine, and tracebacks are not written.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict, Field, Json, StringConstraints, ValidationError

from clser_bench.errors import ClserError, SpecError, StoreError, did_you_mean
from clser_bench.files import is_file, require_file, whole
from clser_bench.problem import AnswerKey, Finding, SkippedFile, Trial
from clser_bench.protocol import EMOTIONS, PROTOCOL_VERSION, Condition, Pair
from clser_bench.store import records
from clser_bench.store.records import CLOSE, MethodNote, Metrics, Record, one_line, plain
from clser_bench.store.rows import answers_hash
from clser_bench.store.schema import FIELDS
from clser_bench.store.sqlite import Store

_NAME = b"clser-bench"
_GROUP = 1000
_MOST_BYTES = 4 << 30
_MOST_ROWS = 2_000_000
_MOST_HEADING = 64 << 20
# no control or format characters: texts of others are printed in terminals
_PRINTED = r"^[^\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]*$"
_Text = Annotated[str, StringConstraints(max_length=20_000, pattern=_PRINTED)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PRINTED)]
_Key = Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=_PRINTED)]
_Count = Annotated[int, Field(ge=0, lt=1 << 31)]
_Value = int | Annotated[float, Field(allow_inf_nan=False)] | bool | _Text
_Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class FaultyError(StoreError):
    """A file cannot be imported; names the file, the place, the value and the remedy."""

    def __init__(self, path: Path, where: str, problem: str) -> None:
        remedy = "nothing was imported; ask for the file again, as `clser-bench export` writes it"
        super().__init__(f"{path}: {where}: {problem}; {remedy}")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Row(_Model):
    """A trial of a table; fields of its condition are added below."""

    method: _Name
    title: _Name
    role: Literal["ranked", "bound", "reference", "submitted"]
    assumes_prior: _Text
    uses: _Text
    note: _Text
    kind: _Text
    version: _Count
    engine_version: _Count
    source: _Name
    target: _Name
    emotions: tuple[_Name, ...]
    seed: _Count
    status: Literal["ok", "failed", "not_applicable", ""]
    reason: _Text
    uar: float | None
    war: float | None
    macro_f1: float | None
    seconds: _Cost
    energy: _Cost
    parameters: Json[tuple[tuple[_Text, _Value], ...]]
    source_key: _Key
    target_key: _Key
    added: _Text
    synthetic: bool
    trial: _Key
    answers: _Text


class Sheet(_Model):
    """An answer key: class, speaker and name of each scored utterance."""

    y: tuple[Annotated[int, Field(ge=0, lt=len(EMOTIONS))], ...]
    speakers: tuple[_Text, ...]
    names: tuple[_Text, ...]


class Heading(_Model):
    """Values that the rows of a file share."""

    format: Literal[2] = 2
    rows: _Count
    suites: dict[_Name, tuple[tuple[_Name, _Name], ...]]
    answers: dict[str, Sheet]
    skipped: tuple[tuple[_Name, _Text, _Text], ...]
    findings: tuple[tuple[_Name, _Text, _Text], ...] = ()


_TEXTS: dict[str, Any] = dict.fromkeys(FIELDS, (_Text, ...))
_RowOfFile: Any = pydantic.create_model("RowOfFile", __base__=_Row, **_TEXTS)
_KINDS: dict[str, Any] = {
    **dict.fromkeys(_RowOfFile.model_fields, pa.string()),
    **dict.fromkeys(("version", "engine_version", "seed"), pa.int64()),
    **dict.fromkeys(("uar", "war", "macro_f1", "seconds", "energy"), pa.float64()),
    "emotions": pa.list_(pa.string()),
    "synthetic": pa.bool_(),
}
_ARRAYS = {"predictions": pa.list_(pa.uint8()), "scores": pa.list_(pa.float32())}


class Entry(NamedTuple):
    """A trial of a file with the note of its method; its record is None where it was not run."""

    trial: Trial
    note: MethodNote
    record: Record | None


@contextlib.contextmanager
def _checked(path: Path, where: str) -> Iterator[None]:
    """Turn errors about a value of a file into one that names the file, the place and the value."""
    try:
        yield
    except FaultyError:
        raise
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:  # no JSON at all: what was got is the whole text
            raise FaultyError(path, where, first["msg"]) from error
        got = f"{first['msg']}, got {str(first['input'])[:80]!r}"
        place = ascii(".".join(map(str, first["loc"])))[1:-1][:80]
        raise FaultyError(path, where, f"{place}: {got}") from error
    except (ClserError, ValueError) as error:
        raise FaultyError(path, where, str(error)) from error


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
    """Write the tables of a results file as one Parquet file, whole or not at all.

    The same results give the same bytes.

    Args:
        wanted: values that a condition must have, as `Condition.matches` takes them.
        scores: with the scores of all classes, float32, which are most of a results file.
    """
    found: Any = {}
    with contextlib.suppress(pa.ArrowException, OSError):
        found = parquet.read_metadata(out).metadata or {}
    if is_file(out) and _NAME not in found:  # a manifest, a table of features
        raise StoreError(f"{out}: is there and is no export; name another file")
    with Store(results, create=False, read_only=True) as store:
        known = {line.method for line in store.lines() if line.configuration is None}
        for name in (name for name in methods if name not in known):
            near = did_you_mean(name, known)
            raise SpecError(f"there are no results of method '{name}'{near}")
        frame = store.frame(wanted)
        frame = frame[frame["method"].isin(list(methods))] if methods else frame
        current = frame["protocol_version"] == PROTOCOL_VERSION
        new, old = frame[current], frame[~current]
        if new.empty:
            only = f" of protocol version {PROTOCOL_VERSION}" if len(old) else ""
            raise StoreError(f"{results}: has no results{only} to export, or none like that")
        rows = _rows(store, new, scores=scores)
        heading = _heading(store, new)
    kinds = {**_KINDS, **_ARRAYS}
    columns = pa.schema((name, kind) for name, kind in kinds.items() if scores or name != "scores")
    table = pa.Table.from_pandas(rows, columns, preserve_index=False)
    options: Any = {"compression": "zstd", "write_page_checksum": True, "write_statistics": False}
    # predictions as bytes: those of a pair stand together, and bits would hide that they are alike
    options |= {"compression_level": 19, "use_dictionary": list(_KINDS)}
    with (
        whole(out) as temporary,
        # without the schema of Arrow, which would hold the heading a second time
        parquet.ParquetWriter(temporary, columns, store_schema=False, **options) as writer,
    ):
        writer.write_table(table, _GROUP)
        writer.add_key_value_metadata({_NAME: heading.model_dump_json().encode()})
    good = rows[rows["status"] == "ok"]
    run, ok, named = (x.nunique() for x in (rows["trial"], good["trial"], rows["method"]))
    return Written(run, ok, named, len(old[[*FIELDS, "method"]].drop_duplicates()))


def _rows(store: Store, frame: pd.DataFrame, *, scores: bool) -> pd.DataFrame:
    """The columns of a file, in a fixed order of rows."""
    ids = frame["trial"].unique().tolist()
    asked, of = (json.dumps(ids),), "IN (SELECT value FROM json_each(?))"
    more = ["engine_version", "source_key", "target_key"]
    keys = store.query(f"SELECT id, {', '.join(more)} FROM trials WHERE id {of}", asked)  # noqa: S608
    order = ["target", "source", *FIELDS, "seed", "method", "trial"]
    rows = frame.merge(pd.DataFrame(keys, columns=["trial", *more]), on="trial").sort_values(order)
    columns: dict[str, dict[str, Any]] = {"predictions": {}}
    for _, trials, classes in store.predicted(ids):
        columns["predictions"] |= zip(trials, classes, strict=True)
    if scores:
        columns["scores"] = {}
        for name, blob in store.query(f"SELECT * FROM scores WHERE trial {of}", asked):  # noqa: S608
            array = records.unpack_array(blob, f"scores of trial {name[:12]}")
            columns["scores"][name] = array.ravel()
    for name, arrays in columns.items():
        cells = [arrays.get(trial) for trial in rows["trial"]]
        rows[name] = pd.Series(cells, rows.index, dtype=object)
    rows["protocol_version"] = rows["protocol_version"].astype(str)
    rows["parameters"] = rows["parameters"].map(json.dumps)
    rows["reason"] = rows["reason"].map(lambda text: plain(one_line(text)) if text else "")
    for name in ("title", "note"):
        rows[name] = rows[name].map(plain)
    return rows[[*_KINDS, *columns]].reset_index(drop=True)


def _heading(store: Store, frame: pd.DataFrame) -> Heading:
    suites = {
        name: tuple((pair.source, pair.target) for pair in store.pairs(name))
        for name in sorted(frame["suite"].unique())
    }
    corpora = {code for pairs in suites.values() for pair in pairs for code in pair}
    found = {key: store.answers(key) for key in sorted(set(frame["answers"]) - {""})}
    findings = dict.fromkeys(itertools.chain.from_iterable(store.findings().values()))
    return Heading(
        rows=len(frame),
        suites=suites,
        answers={
            key: Sheet(y=tuple(one.y.tolist()), speakers=one.speakers, names=one.names)
            for key, one in found.items()
        },
        skipped=tuple(
            (one.corpus, plain(one.name), plain(one_line(one.reason)))
            for one in store.skipped()
            if one.corpus in corpora
        ),
        findings=tuple(
            (one.kind, one.corpus, plain(one.sentence))
            for one in findings
            if set(one.corpus.split("→")) <= {"", *corpora}
        ),
    )


def read(path: Path) -> Submission:
    """Read a file of `write`, and check everything that can be checked.

    The checks find damage, mistakes and careless changes. They cannot tell whether predictions
    were made as the protocol wants: whoever sends a file is trusted in that.
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
        problem = f"damaged, cut short or of another kind ({error})"
        raise FaultyError(path, "Parquet", problem) from error
    if len(entries) != heading.rows:
        raise FaultyError(path, "rows", f"{len(entries)}, and it was written with {heading.rows}")
    suites = {}
    for name, pairs in heading.suites.items():
        with _checked(path, f"suite {name}"):
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
            problem = f"{got}, and at most {most} are read; export fewer methods"
            raise FaultyError(path, name, problem)
    wanted, found = {**_KINDS, **_ARRAYS}, file.schema_arrow
    for name in dict.fromkeys([*found.names, *(wanted.keys() - {"scores"})]):
        where, problem = f"column {name!r}", ""
        if name not in found.names:
            problem = "is missing"
        elif name not in wanted or found.names.count(name) > 1:
            problem = "is not of an export, or is there twice"
        elif (kind := found.field(name).type) != wanted[name]:
            problem = f"is of type {kind}, not {wanted[name]}"
        if problem:
            raise FaultyError(path, where, problem)
    if not text:
        raise FaultyError(path, "metadata 'clser-bench'", "is missing; it is no export")
    with _checked(path, "metadata 'clser-bench'"):
        heading = Heading.model_validate_json(text)
    answers = {}
    for key, sheet in heading.answers.items():
        where, y = f"answers {key[:12]!r}", np.array(sheet.y, np.int64)
        sizes = sorted({len(y), len(sheet.speakers), len(sheet.names)})
        if len(sizes) > 1 or not len(y):
            raise FaultyError(path, where, f"lengths of classes, speakers and names: {sizes}")
        if answers_hash(y, sheet.speakers, sheet.names) != key:
            problem = "the answers do not have this hash, so they were changed"
            raise FaultyError(path, where, problem)
        answers[key] = AnswerKey(classes=(), y=y, speakers=sheet.speakers, names=sheet.names)
    return heading, answers


def _entries(
    path: Path, batch: Any, done: int, answers: Mapping[str, AnswerKey]
) -> Iterator[Entry]:
    arrays = {name: _arrays(batch.column(name)) for name in _ARRAYS if name in batch.schema.names}
    rest = batch.drop_columns(list(arrays)).to_pylist()
    for number, values in enumerate(rest):
        values["emotions"] = tuple(values["emotions"] or ())
        own = {name: column[number] for name, column in arrays.items()}
        with _checked(path, f"row {done + number + 1}"):
            row = _RowOfFile.model_validate(values)
            trial = _trial_of(row)
            record = _record_of(row, trial, own, answers) if row.status else None
            note = MethodNote(
                title="" if row.title == row.method else row.title,
                uses=tuple(filter(None, row.uses.split("+"))),
                **{name: getattr(row, name) for name in ("assumes_prior", "role", "note", "kind")},
            )
        yield Entry(trial, note, record)


def _arrays(column: Any) -> list[Any]:
    """The lists of a column as arrays, None where there is none."""
    inner = column.flatten()
    if inner.null_count:
        raise ValueError("a list has a null")
    ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy())
    parts = zip(np.split(np.asarray(inner), ends[:-1]), column.is_valid().to_pylist(), strict=True)
    return [part if there else None for part, there in parts]


def _check_together(path: Path, entries: Iterable[Entry], suites: Collection[str]) -> None:
    """Refuse rows that contradict each other."""
    places: dict[tuple[Any, ...], int] = {}
    results: dict[str, tuple[int, bytes]] = {}
    notes: dict[tuple[Condition, str], MethodNote] = {}
    for number, (trial, note, record) in enumerate(entries, 1):
        where, condition = f"row {number}", trial.condition
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


def _trial_of(row: Any) -> Trial:
    """The trial of a row, which must have the id that it claims."""
    condition = Condition.from_texts({name: getattr(row, name) for name in FIELDS})
    if (version := condition.protocol_version) != PROTOCOL_VERSION:
        raise StoreError(f"protocol version {version}, but this clser-bench has {PROTOCOL_VERSION}")
    added = tuple(filter(None, row.added.split("+")))
    if not {item.partition(":")[0] for item in added} <= set(condition.unlabelled):
        adds = "+".join(condition.unlabelled) or "none"
        raise StoreError(f"added {row.added[:80]!r}: the condition adds {adds}")
    if len(row.emotions) < 2 or row.emotions != tuple(e for e in EMOTIONS if e in row.emotions):
        raise StoreError(f"emotions {row.emotions}: some of {', '.join(EMOTIONS)}, in order")
    known = [name for name, _ in row.parameters]
    if known != sorted(set(known)):
        raise StoreError(f"parameters {known}: are not sorted, or are there twice")
    names = ("seed", "method", "version", "source_key", "target_key", "engine_version", "synthetic")
    trial = Trial(
        pair=Pair.parse(f"{row.source}->{row.target}"),
        classes=row.emotions,
        parameters=row.parameters,
        condition=condition,
        added=added,
        **{name: getattr(row, name) for name in names},
    )
    if trial.id != row.trial:
        raise StoreError(f"trial {row.trial!r}: the other columns give {trial.id!r}")
    return trial


def _record_of(
    row: Any, trial: Trial, arrays: Mapping[str, Any], answers: Mapping[str, AnswerKey]
) -> Record:
    """The record of a row, whose metrics must be those of its predictions."""
    predicted, scores = arrays["predictions"], arrays.get("scores")
    there = {value is not None for value in (row.uar, row.war, row.macro_f1, predicted)}
    if there | {bool(row.answers)} != {row.status == "ok"} or (
        scores is not None and there == {False}
    ):
        raise StoreError(f"status '{row.status}': metrics, answers and predictions go with ok")
    common = {"trial": trial, "status": row.status, "reason": row.reason}
    common |= {"seconds": row.seconds or 0.0, "energy": row.energy}
    if row.status != "ok":
        return Record(**common)
    if row.reason:
        raise StoreError(f"status 'ok': has the reason {row.reason[:80]!r}")
    key, size = answers.get(row.answers), len(trial.classes)
    if key is None:
        raise StoreError(f"answers {row.answers[:80]!r}: are not in the file")
    if len(predicted) != len(key.y):
        raise StoreError(f"{len(predicted)} predictions: there are {len(key.y)} answers")
    if max(predicted.max(), key.y.max()) >= size:
        raise StoreError(f"a class in predictions or answers: there are {size} classes")
    if scores is not None:
        if len(scores) != len(key.y) * size or np.isnan(scores).any():
            raise StoreError(f"{len(scores)} scores: {len(key.y) * size} numbers are needed")
        scores = scores.reshape(-1, size)
        if not np.array_equal(records.predictions(scores), predicted):
            raise StoreError("the largest scores are not those of the predictions")
        common["scores"] = scores
    found = Metrics.of(predicted, key.y, classes=size)
    for name in ("uar", "war", "macro_f1"):
        given, right = getattr(row, name), getattr(found, name)
        if not abs(given - right) <= CLOSE:  # NaN is not close to anything
            raise StoreError(f"{name} {given}: predictions and answers give {right}")
    common |= {"y": key.y, "names": key.names, "speakers": key.speakers}
    return Record(**common, metrics=found, predicted=predicted)
