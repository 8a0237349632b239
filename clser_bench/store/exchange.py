"""Results as Parquet, so that laboratories can pool them.

One file: a row a trial, planned or run, with its predictions; the tables' rows, the answer keys
and the order of pairs stand as JSON in the file's metadata, under `clser-bench`. A run's options,
which name folders of the machine, and tracebacks stay at home.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pydantic import ValidationError

from clser_bench.errors import SpecError, StoreError, did_you_mean
from clser_bench.hashing import digest
from clser_bench.spec import PROTOCOL_VERSION
from clser_bench.store import queries, schema, writing
from clser_bench.store.blobs import pack_array, pack_metrics, pack_options, unpack_array
from clser_bench.store.records import MethodNote, Slice
from clser_bench.store.submission import (
    CONTROL,
    FORMAT,
    Entry,
    FaultyError,
    Heading,
    Left,
    Measure,
    Part,
    Sheet,
    Submission,
    check_heading,
    check_result,
    check_trial,
    problem,
)
from clser_bench.trial import AnswerKey, Trial

_NAME = b"clser-bench"
_BATCH = 1000
_MOST_BYTES = 4 << 30
_MOST_ROWS = 2_000_000
_MOST_HEADING = 64 << 20

_TEXTS = ("id", "source", "target", "shots", "method", "parameters", "features", "normalisation")
_TEXTS_TOO = ("setting", "prior", "source_key", "target_key")
_NUMBERS = ("seed", "version", "engine_version", "protocol_version")
_SCORES = pa.field("scores", pa.list_(pa.float32()))
_COLUMNS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in (*_TEXTS, *_TEXTS_TOO)),
        *(pa.field(name, pa.int64()) for name in _NUMBERS),
        pa.field("synthetic", pa.bool_()),
        pa.field("classes", pa.list_(pa.string())),
        pa.field("parts", pa.list_(pa.int64())),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("pack", pa.string()),
        pa.field("uar", pa.float64()),
        pa.field("war", pa.float64()),
        pa.field("macro_f1", pa.float64()),
        pa.field("answers", pa.string()),
        pa.field("predictions", pa.list_(pa.uint8())),
    ]
)
_MAY_BE_NULL = ("status", "uar", "war", "macro_f1", "answers", "predictions", "scores")
_ARRAYS = ("predictions", "scores")

_Lineage = tuple[Any, ...]
"""Version, engine, classes, hyper-parameters, keys of both tables."""

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
        columns = _COLUMNS.append(_SCORES) if scores else _COLUMNS
        done = 0
        start(len(places))
        with _whole(out) as temporary, _writer(temporary, columns) as writer:
            for batch in _batched(list(places)):
                rows = _rows(connection, batch, places, shorten=shorten, scores=scores)
                done += sum(row["status"] == "ok" for row in rows)
                writer.write_table(pa.Table.from_pylist(rows, schema=columns))
                advance(len(rows))
            writer.add_key_value_metadata({_NAME: heading.model_dump_json().encode()})
    return Written(len(places), done, len({item.method for item in slices}), old)


def read(path: Path, *, measure: Measure, advance: Advance = lambda _: None) -> Submission:
    """Read a file of `write`, and believe nothing that can be checked.

    Args:
        path: the file.
        measure: finds metrics again from predictions.
        advance: told how many more rows are checked.

    Raises:
        StoreError: the file is absent, damaged, something else, too large, of another version, or
            says what cannot be; names the row and the value.
    """
    file = _opened(path)
    heading = _read_heading(path, file)
    answers = check_heading(path, heading)
    entries: list[Entry] = []
    rows: dict[str, int] = {}
    places: dict[tuple[Any, ...], int] = {}
    with contextlib.closing(file):
        for batch in _decoded(path, file):
            for cells in batch:
                number = len(entries) + 1
                where = f"row {number}"
                trial = check_trial(path, where, cells, heading)
                if rows.setdefault(trial.id, number) != number:
                    raise FaultyError(
                        path, where, f"trial {trial.id!r} is in row {rows[trial.id]} too"
                    )
                for part in cells["parts"]:
                    first = places.setdefault((part, trial.pair, trial.seed), number)
                    if first != number:
                        raise FaultyError(
                            path, where, f"part {part}: row {first} has the same draw"
                        )
                entries.append(
                    check_result(path, where, trial, cells=cells, answers=answers, measure=measure)
                )
            advance(len(batch))
    return Submission(path=path, heading=heading, answers=answers, entries=tuple(entries))


def count(path: Path) -> int:
    """How many rows a file has.

    Raises:
        StoreError: as `read`.
    """
    with contextlib.closing(_opened(path)) as file:
        return int(file.metadata.num_rows)


def _chosen(
    connection: sqlite3.Connection, suite: str | None, methods: Collection[str] | None
) -> tuple[list[Slice], int]:
    """The slices asked for in a fixed order, and how many of an older protocol are left out."""
    every = queries.latest_slices(connection)
    for what, asked, known in (
        ("suite", [] if suite is None else [suite], {item.suite for item in every}),
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
        if suite in (None, item.suite) and (not methods or item.method in methods)
    ]
    new = [item for item in found if item.protocol_version == PROTOCOL_VERSION]
    return sorted(new, key=lambda item: _part(item).rules), len(found) - len(new)


def _part(item: Slice) -> Part:
    values = {name: getattr(item, name) for name in Part.model_fields if hasattr(item, name)}
    said = {"assumes_prior": item.note.assumes_prior, "role": item.note.role}
    return Part(**values | said | {"note": item.note.note})


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
    suites: dict[str, dict[tuple[str, str], None]] = {item.suite: {} for item in slices}
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
        parts=tuple(map(_part, slices)),
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
) -> list[dict[str, Any]]:
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
        for name in _ARRAYS:
            if row.get(name) is not None:
                row[name] = unpack_array(row[name], f"{name} of trial {trial[:12]}").ravel()
    return [found[trial] for trial in batch]


def _batched(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


def _writer(path: Path, columns: Any) -> Any:
    # without the schema of Arrow, which would hold the heading a second time
    return parquet.ParquetWriter(
        path, columns, compression="zstd", write_page_checksum=True, store_schema=False
    )


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes the file where nothing goes wrong."""
    temporary = path.parent / f".part-{uuid.uuid4().hex[:12]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        what = error.strerror or error
        raise StoreError(f"{path}: cannot be written ({what}); name another place") from error
    finally:
        temporary.unlink(missing_ok=True)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file; name what `clser-bench export` wrote")
    with _decoding(path):
        file = parquet.ParquetFile(path, page_checksum_verification=True)
        held = file.metadata
        # claims of the file, read group by group: pyarrow ends the process on a damaged column
        groups = [held.row_group(number) for number in range(held.num_row_groups)]
        size = max(path.stat().st_size, sum(group.total_byte_size for group in groups))
    for what, got, most in (("bytes", size, _MOST_BYTES), ("rows", held.num_rows, _MOST_ROWS)):
        if got > most:
            raise FaultyError(
                path, what, f"{got}, and at most {most} are read; export fewer methods"
            )
    return file


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FaultyError(
            path, "Parquet", f"damaged, cut short or of another kind ({error})"
        ) from error


def _read_heading(path: Path, file: Any) -> Heading:
    found = {field.name: field.type for field in file.schema_arrow}
    wanted = {field.name: field.type for field in (*_COLUMNS, _SCORES)}
    for name in file.schema_arrow.names:
        if name not in wanted or file.schema_arrow.names.count(name) > 1:
            raise FaultyError(
                path, f"column {name!r}", "is not of an export, or stands there twice"
            )
    for name, kind in wanted.items():
        if name not in found and name != _SCORES.name:
            raise FaultyError(path, f"column {name!r}", "is missing")
        if found.get(name, kind) != kind:
            raise FaultyError(path, f"column {name!r}", f"is of type {found[name]}, not {kind}")
    text = (file.metadata.metadata or {}).get(_NAME, b"")
    if not text or len(text) > _MOST_HEADING:
        raise FaultyError(path, "metadata 'clser-bench'", f"{len(text)} bytes; it is no export")
    try:
        return Heading.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        got = f"{first['msg']}, got {str(first['input'])[:80]!r}"
        raise FaultyError(path, f"metadata 'clser-bench' {place}", got) from error


def _decoded(path: Path, file: Any) -> Iterator[list[dict[str, Any]]]:
    batches = file.iter_batches(_BATCH)
    done = 0
    while True:
        with _decoding(path):
            batch = next(batches, None)
            if batch is None:
                return
            columns = {name: batch.column(name) for name in batch.schema.names}
            cells = {
                name: _arrays(column) if name in _ARRAYS else column.to_pylist()
                for name, column in columns.items()
            }
        for name, column in columns.items():
            inner = column.flatten() if pa.types.is_list(column.type) else ()
            if (column.null_count and name not in _MAY_BE_NULL) or getattr(inner, "null_count", 0):
                rows = f"rows {done + 1} to {done + len(batch)}"
                raise FaultyError(path, rows, f"column {name!r} has a null")
        done += len(batch)
        cells.setdefault("scores", [None] * len(batch))
        yield [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _arrays(column: Any) -> list[Any]:
    """The lists of a column as arrays, None where there is none."""
    values = np.asarray(column.flatten())
    sizes = column.value_lengths().fill_null(0).to_numpy()
    parts = np.split(values, np.cumsum(sizes)[:-1])
    valid = column.is_valid().to_pylist()
    return [part if there else None for part, there in zip(parts, valid, strict=True)]


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
    """

    added: int
    known: int
    missing: int
    conflicts: tuple[Conflict, ...]
    apart: tuple[Part, ...]


def merge(results: Path, submissions: Sequence[Submission]) -> Merged:
    """Add files to a results file, all or nothing.

    A stored result is never overwritten. The trials of a method under the same rules are pooled
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
        if known.setdefault(problem(entry.trial), y) != y:
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
    added = known = missing = 0
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
    apart = _pool(connection, submission)
    return Merged(added, known, missing, tuple(conflicts), tuple(apart))


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
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*about, *metrics, entry.answers or None),
    )
    for table, array in (("predictions", entry.predictions), ("scores", entry.scores)):
        if entry.metrics is not None and array is not None:
            connection.execute(
                f"INSERT INTO {table} VALUES (?, ?)",  # noqa: S608 (one of two literals)
                (trial, pack_array(array)),
            )


class _Row(NamedTuple):
    """A row of a table after pooling: what it says, the slice it had, and trials that are new."""

    part: Part
    slice: int | None
    note: MethodNote
    fresh: list[Trial]


def _pool(connection: sqlite3.Connection, submission: Submission) -> list[Part]:
    """Plan the trials of a file beside those that tables show; tell what does not go together."""
    mine = {
        _part(item).rules: item
        for item in queries.latest_slices(connection)
        if item.protocol_version == PROTOCOL_VERSION
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
