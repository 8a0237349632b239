"""Stored values as rows of the database, and back; and as frames of pandas.

Whatever reads a stored value raises `DamagedError` where it is none.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clser_bench.errors import ClserError, DamagedError, StoreError
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import AnswerKey, Trial
from clser_bench.protocol import Condition, Pair
from clser_bench.store import records
from clser_bench.store.records import (
    CLOSE,
    RENAMED,
    Fault,
    Guesses,
    MethodNote,
    Metrics,
    Record,
    from_json,
    pack_array,
)
from clser_bench.store.schema import (
    FIELDS,
    OF_TRIAL,
    OF_TRIALS,
    Query,
    changed_tables,
    dump,
    stored_content,
)

if TYPE_CHECKING:
    import pandas as pd

    from clser_bench.store.sqlite import Store

Line = tuple[Any, ...]
"""Method, note as JSON, configuration, and the fields of a condition as texts."""


def answers_hash(y: npt.NDArray[Any], speakers: Sequence[str], names: Sequence[str]) -> str:
    """The name of an answer key: the hash of its content."""
    return _answers_hash(digest_array(y), tuple(speakers), tuple(names))


@functools.lru_cache(1024)  # many trials have the same answers
def _answers_hash(y: str, speakers: tuple[str, ...], names: tuple[str, ...]) -> str:
    return digest([y, list(speakers), list(names)])


def condition_of(texts: Mapping[str, str], what: str) -> Condition:
    """The condition of its stored fields."""
    try:
        return Condition.from_texts(texts)
    except (ClserError, AttributeError, TypeError) as error:  # of bytes: the last two
        raise DamagedError(f"{what}: its condition is damaged ({error})") from error


def trial_of(row: Sequence[Any]) -> Trial:
    """The trial of its columns."""
    cells = dict(zip(OF_TRIAL, row, strict=True))
    what = f"trial {str(cells['id'])[:12]}"
    if wrong := [name for name, value in cells.items() if isinstance(value, bytes)]:
        raise DamagedError(f"{what}: is damaged ({wrong[0]} holds bytes)")
    try:
        added = tuple(filter(None, cells["unlabelled"].split("+")))
        cells["unlabelled"] = "+".join(item.partition(":")[0] for item in added)
        as_stored = ("seed", "method", "version", "source_key", "target_key", "engine_version")
        return Trial(
            pair=Pair(cells["source"], cells["target"]),
            classes=tuple(from_json(cells["emotions"], what)),
            parameters=tuple((name, value) for name, value in from_json(cells["parameters"], what)),
            condition=condition_of({name: cells[name] for name in OF_TRIALS}, what),
            added=added,
            synthetic=bool(cells["synthetic"]),
            **{name: cells[name] for name in as_stored},
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedError(f"{what}: is damaged ({error})") from error


def row_of(trial: Trial) -> tuple[Any, ...]:
    """The columns of a trial; `unlabelled` has what the trial is given, not what was asked for."""
    texts: dict[str, Any] = {**trial.condition.texts(), "unlabelled": "+".join(trial.added)}
    texts |= {"source": trial.pair.source, "target": trial.pair.target}
    texts |= {"emotions": json.dumps(trial.classes), "parameters": json.dumps(trial.parameters)}
    return tuple(texts[name] if name in texts else getattr(trial, name) for name in OF_TRIAL)


def note_of(text: str) -> MethodNote:
    """A note of its JSON; fields that are null or absent have their defaults."""
    values = from_json(text, "a note of a method")
    try:
        given = {name: value for name, value in values.items() if value is not None}
        if given.get("role") == "oracle":  # its name until `within-target` was no "bound" any more
            given["role"] = "reference"
        return MethodNote(**given | {"uses": tuple(given.get("uses", ()))})
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedError(f"a note of a method is damaged ({error})") from error


def metrics_of(cells: Sequence[Any], what: str) -> Metrics:
    """Metrics of their columns."""
    uar, war, macro_f1, recalls, confusion = cells
    if not all(isinstance(value, (int, float)) for value in (uar, war, macro_f1)):
        raise DamagedError(f"metrics {what}: are damaged (one is no number)")
    try:
        of_classes = tuple(math.nan if v is None else v for v in from_json(recalls, what))
        counts = tuple(tuple(row) for row in from_json(confusion, what))
        own = {"uar": uar, "war": war, "macro_f1": macro_f1}
        return Metrics(**own, recalls=of_classes, confusion=counts)
    except TypeError as error:
        raise DamagedError(f"metrics {what}: are damaged ({error})") from error


def lines_of(
    trials: Sequence[Trial], notes: Mapping[str, MethodNote], candidates: Mapping[str, int]
) -> list[tuple[Line, dict[int, Trial]]]:
    """Group the trials of a plan by their place in the tables; none is of two.

    Lines are in the order of the notes, then of the plan, with position and trial of each member.
    """
    found: dict[Line, dict[int, Trial]] = {}
    taken: dict[tuple[Any, ...], str] = {}
    for position, trial in enumerate(trials):
        configuration = candidates.get(trial.id)
        rules = (trial.condition, trial.method, configuration)
        place = (*rules, trial.pair, trial.seed)
        if taken.get(place) == trial.id:
            continue
        if place in taken:
            raise StoreError(
                f"plan: {trial.method}, {trial.pair}, {trial.shots} shots, seed {trial.seed} is "
                "asked for with two sets of hyper-parameters or versions; give each its own "
                "selection"
            )
        taken[place] = trial.id
        found.setdefault(rules, {})[position] = trial
    order = {name: place for place, name in enumerate(notes)}
    ordered = sorted(found.items(), key=lambda item: order.get(item[0][1], len(order)))
    made = []
    for (condition, method, configuration), members in ordered:
        note = dump(asdict(notes.get(method, MethodNote())))
        made.append(((method, note, configuration, *condition.texts().values()), members))
    return made


def insert(connection: sqlite3.Connection, table: str, row: Sequence[Any]) -> int:
    """Insert a row with a value for each column; its number."""
    marks = ", ".join("?" * len(row))
    done = connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608
    return int(done.lastrowid or 0)


def put_trials(connection: sqlite3.Connection, trials: Iterable[Trial]) -> None:
    """Store what determines each trial, where it is not stored yet."""
    marks = ", ".join("?" * len(OF_TRIAL))
    connection.executemany(
        f"INSERT OR IGNORE INTO trials ({', '.join(OF_TRIAL)}) VALUES ({marks})",  # noqa: S608
        map(row_of, trials),
    )


def put_record(connection: sqlite3.Connection, record: Record) -> None:
    """Store a record unless an ok one of the same trial is stored."""
    metrics, key = record.metrics, None
    columns: tuple[Any, ...] = (None,) * 5
    if metrics is not None:
        recalls = [None if math.isnan(value) else value for value in metrics.recalls]
        columns = (metrics.uar, metrics.war, metrics.macro_f1)
        columns += (json.dumps(recalls), json.dumps(metrics.confusion))
        key = answers_hash(record.y, record.speakers, record.names)
        if not connection.execute("SELECT 1 FROM answers WHERE hash = ?", (key,)).fetchone():
            texts = (json.dumps(p, ensure_ascii=False) for p in (record.speakers, record.names))
            insert(connection, "answers", (key, pack_array(record.y), *texts))
    written = connection.execute(
        """INSERT INTO records VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (trial) DO UPDATE SET
          status = excluded.status, reason = excluded.reason, attempts = attempts + 1,
          seconds = excluded.seconds, pack = excluded.pack, uar = excluded.uar,
          war = excluded.war, macro_f1 = excluded.macro_f1, recalls = excluded.recalls,
          confusion = excluded.confusion, answers = excluded.answers, energy = excluded.energy
        WHERE status <> 'ok'""",
        (
            *(record.trial.id, record.status, record.reason, record.seconds, record.pack),
            *(*columns, key, record.energy),
        ),
    )
    if metrics is not None and written.rowcount:
        insert(connection, "predictions", (record.trial.id, pack_array(record.predicted)))
        put_scores(connection, record)


def put_scores(connection: sqlite3.Connection, record: Record) -> int:
    """Store scores where there are none; how many trials got some, 0 or 1."""
    if not len(record.scores):
        return 0
    return connection.execute(
        "INSERT OR IGNORE INTO scores VALUES (?, ?)", (record.trial.id, pack_array(record.scores))
    ).rowcount


LOST = (
    "trials of a plan are not in the file; run `clser-bench results verify`, and take the file "
    "from a backup or run again"
)
_OF_LINES = [
    *FIELDS, "method", "title", "role", "assumes_prior", "uses", "note", "kind", "candidate",
    "configuration",
]  # fmt: skip
_OF_TRIALS = [
    "trial", "version", "source", "target", "emotions", "seed", "parameters", "tables", "added",
    "synthetic", "status", "reason", "uar", "war", "macro_f1", "seconds", "energy", "answers",
]  # fmt: skip
_CHUNK = 500  # records that are checked, and in memory, at once
_NOT_RUN = ("", "", "", *(None,) * 5, "")
_KINDS = {
    **dict.fromkeys(("uar", "war", "macro_f1", "seconds", "energy"), float),
    **dict.fromkeys(("version", "seed", "protocol_version", "configuration"), int),
    **dict.fromkeys(("synthetic", "candidate"), bool),
}


def frame(lines: Sequence[records.Line], query: Query) -> pd.DataFrame:
    """The table of `Store.frame`."""
    import pandas as pd  # noqa: PLC0415 (0.3 s)

    asked = (json.dumps([line.id for line in lines]),)
    planned = "FROM planned NOT INDEXED WHERE line IN (SELECT value FROM json_each(?))"
    places = query(f"SELECT line, position, trial {planned}", asked)
    # joined here, since what an index of a damaged file lacks would be missing without a word
    trials, stored = (
        {row[0]: row for row in query(f"SELECT {columns} NOT INDEXED")}
        for columns in (
            """id, version, source, target, emotions, seed, parameters,
            substr(source_key, 1, 16) || substr(target_key, 1, 16), unlabelled, synthetic
            FROM trials""",
            """trial, status, reason, uar, war, macro_f1, seconds, energy,
            coalesce(answers, '') FROM records""",
        )
    )
    places.sort(key=operator.itemgetter(0, 1))
    if any(trial not in trials for _, _, trial in places):
        raise DamagedError(LOST)
    rows = [trials[name] + stored.get(name, _NOT_RUN)[1:] for _, _, name in places]
    # plain objects: most texts recur, and arrays of strings are slow to make and to iterate
    head = pd.DataFrame([_cells(line) for line in lines], columns=_OF_LINES, dtype=object)
    body = pd.DataFrame(rows, columns=_OF_TRIALS, dtype=object)
    body["emotions"] = body["emotions"].map(_tuple)
    body["parameters"] = body["parameters"].map(_pairs)
    body["pair"] = body["source"] + "→" + body["target"]
    numbers = {line.id: number for number, line in enumerate(lines)}
    head = head.take([numbers[line] for line, _, _ in places]).reset_index(drop=True)
    return pd.concat([head, body], axis=1).astype(_KINDS)


def predictions(
    predicted: Iterable[tuple[str, list[str], Guesses]], answers: Callable[[str], AnswerKey]
) -> pd.DataFrame:
    """The table of `Store.predictions`."""
    import pandas as pd  # noqa: PLC0415

    columns = ("trial", "utterance", "speaker", "y", "predicted")
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [np.zeros(0, np.uint8)] for name in columns}
    numbers: dict[str, dict[str, int]] = {name: {} for name in columns[:3]}
    for key, trials, classes in predicted:
        answer = answers(key)
        k, n = classes.shape
        texts = {"trial": trials, "utterance": answer.names, "speaker": answer.speakers}
        for name, values in texts.items():
            known = numbers[name]
            codes = np.array([known.setdefault(value, len(known)) for value in values])
            parts[name].append(codes.repeat(n) if name == "trial" else np.tile(codes, k))
        parts["y"].append(np.tile(answer.y.astype(np.uint8), k))
        parts["predicted"].append(classes.ravel())
    whole = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    texts_of = {name: pd.Index(list(known), dtype=str) for name, known in numbers.items()}
    return pd.DataFrame(
        {n: pd.Categorical.from_codes(whole[n], i) for n, i in texts_of.items()}
        | {name: whole[name] for name in columns[3:]}
    )


def looks(query: Query) -> pd.DataFrame:
    """The table of `Store.looks`."""
    import pandas as pd  # noqa: PLC0415

    fields = [name for name in FIELDS if name != "selection"]
    names = ", ".join([*(f"l.{name}" for name in fields), "l.method", "t.version"])
    stored = query(
        f"""SELECT {names}, count(DISTINCT t.parameters)
        FROM lines l JOIN planned p ON p.line = l.id JOIN trials t ON t.id = p.trial
        JOIN records r ON r.trial = t.id WHERE r.status = 'ok'
        GROUP BY {names} ORDER BY {names}"""  # noqa: S608 (only column names are put in)
    )
    table = pd.DataFrame(stored, columns=[*fields, "method", "version", "evaluations"])
    return table.replace({"method": RENAMED})


def _cells(line: records.Line) -> tuple[Any, ...]:
    condition, note = line.condition, line.note
    values = {name: getattr(condition, name) for name in Condition.__dataclass_fields__}
    values |= {"shots": str(condition.shots), "unlabelled": "+".join(condition.unlabelled)}
    by_labels = condition.selection == "oracle" and note.role == "ranked"
    role = "reference" if by_labels else note.role
    named = line.method, note.title or line.method, role, note.assumes_prior, "+".join(note.uses)
    candidate = line.configuration is not None, line.configuration or 0
    return (*values.values(), *named, note.note, note.kind, *candidate)


@functools.lru_cache(4096)
def _tuple(text: str) -> tuple[str, ...]:
    return tuple(from_json(text, "classes of a trial"))


@functools.lru_cache(4096)
def _pairs(text: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in from_json(text, "parameters of a trial"))


def faults(store: Store, query: Query) -> tuple[Fault, ...]:
    """Check all that `_faults` checks and, where that finds nothing, the sums over the rows."""
    found = tuple(_faults(store, query))
    problem = "its rows are not those that were written"
    return found or tuple(Fault("file", name, problem) for name in changed_tables(query))


def _faults(store: Store, query: Query) -> Iterator[Fault]:
    """Check the file, ids by columns, answers and plans by hashes, metrics by predictions."""
    for (text,) in query("PRAGMA main.integrity_check"):
        if text != "ok":
            yield Fault("file", store.path.name, text)
    for table, row, *_ in query("PRAGMA main.foreign_key_check"):
        yield Fault("file", table, f"row {row} refers to what is not there")
    records = query(
        """SELECT r.trial, r.status, count(c.trial) FROM records r
        LEFT JOIN predictions c ON c.trial = r.trial GROUP BY r.trial ORDER BY r.trial"""
    )
    for name, status, count in records:
        if (status == "ok") != (count == 1):
            yield Fault("record", str(name), f"is {status}, with {count} arrays of predictions")
    for row in query(f"SELECT {', '.join(OF_TRIAL)} FROM trials ORDER BY id"):  # noqa: S608
        yield from _tried("trial", row[0], _check_trial, row)
    for (name,) in query("SELECT hash FROM answers ORDER BY hash"):
        yield from _tried("answers", name, store.answers, str(name))
    ids = [name for name, status, count in records if status == "ok" and count]
    for start in range(0, len(ids), _CHUNK):
        yield from _check_records(store, ids[start : start + _CHUNK])
    for (number,) in query("SELECT id FROM requests ORDER BY id"):
        yield from _tried("request", number, _check_plan, query, number)


def _tried(place: str, name: object, check: Callable[..., object], *of: Any) -> Iterator[Fault]:
    try:
        check(*of)
    except StoreError as error:
        yield Fault(place, str(name), str(error))
    except TypeError as error:  # a cell of another type than was written
        yield Fault(place, str(name), f"is damaged ({error})")


def _check_trial(row: tuple[object, ...]) -> None:
    if (found := trial_of(row).id) != row[0]:
        raise StoreError(f"its columns give the id {found[:12]}")


def _check_records(store: Store, names: Sequence[str]) -> Iterator[Fault]:
    """Check records together; one by one where one of them cannot be read."""
    try:
        records = {record.trial.id: record for record in store.records(names)}
    except StoreError as error:
        if len(names) == 1:
            yield Fault("record", names[0], str(error))
            return
        for name in names:
            yield from _check_records(store, [name])
        return
    for name in names:
        yield from _tried("record", name, _check_record, records.get(name))


def _check_record(record: Record | None) -> None:
    if record is None or record.metrics is None:
        raise StoreError("its trial or its metrics are not in the file")
    size = len(record.trial.classes)
    if len(record.y) and max(record.predicted.max(), record.y.max()) >= size:
        raise StoreError(f"it has classes beyond the {size} of its pair")
    found = Metrics.of(record.predicted, record.y, classes=size)
    for what in ("uar", "war", "macro_f1", "recalls", "confusion"):
        given, value = getattr(record.metrics, what), getattr(found, what)
        if given != value and not np.allclose(given, value, rtol=0, atol=CLOSE, equal_nan=True):
            raise StoreError(f"{what} is {given}, and its predictions give {value}")
    if len(record.scores) and not np.array_equal(record.scores.argmax(axis=1), record.predicted):
        raise StoreError("its largest scores are not those of its predictions")


def _check_plan(query: Query, number: int) -> None:
    text, pairs, content = query(
        "SELECT request, pairs, content FROM requests WHERE id = ?", (number,)
    )[0]
    from_json(text, "the request")
    from_json(pairs, "the list of pairs")
    if stored_content(query, number, text, pairs) != content:
        raise StoreError("its trials, notes or request are not those that were planned")
