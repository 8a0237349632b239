"""Results as tables of pandas: a row a trial, a row an utterance."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clser_bench.errors import DamagedError
from clser_bench.problem import AnswerKey
from clser_bench.protocol import Condition
from clser_bench.store.records import RENAMED, Guesses, Line, from_json
from clser_bench.store.schema import FIELDS, Query

_OF_LINES = [
    *FIELDS, "method", "title", "role", "assumes_prior", "uses", "note", "kind", "candidate",
    "configuration",
]  # fmt: skip
_OF_TRIALS = [
    "trial", "version", "source", "target", "emotions", "seed", "parameters", "tables", "added",
    "synthetic", "status", "reason", "uar", "war", "macro_f1", "seconds", "energy", "answers",
]  # fmt: skip
_NOT_RUN = ("", "", *(None,) * 5, "")
_KINDS = {
    **dict.fromkeys(("uar", "war", "macro_f1", "seconds", "energy"), float),
    **dict.fromkeys(("version", "seed", "protocol_version", "configuration"), int),
    **dict.fromkeys(("synthetic", "candidate"), bool),
}


def frame(lines: Sequence[Line], query: Query) -> pd.DataFrame:
    """The table of `Store.frame`."""
    asked = (json.dumps([line.id for line in lines]),)
    planned = "FROM planned NOT INDEXED WHERE line IN (SELECT value FROM json_each(?))"
    places = query(f"SELECT line, position, trial {planned}", asked)
    # joined here, since what an index of a damaged file lacks would be missing without a word
    trials, records = (
        {name: tuple(rest) for name, *rest in query(f"{select} IN (SELECT trial {planned})", asked)}
        for select in (
            """SELECT id, version, source, target, emotions, seed, parameters,
            substr(source_key, 1, 16) || substr(target_key, 1, 16), unlabelled, synthetic
            FROM trials NOT INDEXED WHERE id""",
            """SELECT trial, status, reason, uar, war, macro_f1, seconds, energy,
            coalesce(answers, '') FROM records NOT INDEXED WHERE trial""",
        )
    )
    places.sort(key=operator.itemgetter(0, 1))
    if any(trial not in trials for _, _, trial in places):
        raise DamagedError(
            "trials of a plan are not in the file; run `clser-bench results verify`, and take the "
            "file from a backup or run again"
        )
    rows = [(name, *trials[name], *records.get(name, _NOT_RUN)) for _, _, name in places]
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


def _cells(line: Line) -> tuple[Any, ...]:
    condition, note = line.condition, line.note
    values = {name: getattr(condition, name) for name in Condition.__dataclass_fields__}
    values |= {"shots": str(condition.shots), "unlabelled": "+".join(condition.unlabelled)}
    by_labels = condition.selection == "oracle" and note.role == "ranked"
    return (
        *values.values(),
        line.method,
        note.title or line.method,
        "reference" if by_labels else note.role,
        note.assumes_prior,
        "+".join(note.uses),
        note.note,
        note.kind,
        line.configuration is not None,
        line.configuration or 0,
    )


@functools.lru_cache(4096)
def _tuple(text: str) -> tuple[str, ...]:
    return tuple(from_json(text, "classes of a trial"))


@functools.lru_cache(4096)
def _pairs(text: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in from_json(text, "parameters of a trial"))
