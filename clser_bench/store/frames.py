"""Results as tables of pandas: a row a trial, a row an utterance."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clser_bench.protocol import Condition
from clser_bench.store import queries

_TRIAL_COLUMNS = (
    "version", "source", "target", "emotions", "seed", "status", "reason", "uar", "war",
    "macro_f1", "seconds", "energy", "parameters", "tables", "synthetic", "trial", "answers",
)  # fmt: skip


def frame(
    connection: sqlite3.Connection, wanted: Mapping[str, str], *, candidates: bool
) -> pd.DataFrame:
    """The table of `Store.frame`."""
    slices = []
    for item in queries.latest_slices(connection):
        selection, _, number = item.condition.selection.partition("/")
        condition = item.condition.replace(selection=selection)
        if condition.matches(wanted) and (candidates or not item.candidate):
            slices.append((item, condition, int(number or 0)))
    heads: dict[int, tuple[Any, ...]] = {}
    for item, condition, configuration in slices:
        note = item.note
        oracle = condition.selection == "oracle" and note.role == "ranked"
        heads[item.id] = (
            *_fields(condition),
            item.method,
            item.method,
            "oracle" if oracle else note.role,
            note.assumes_prior,
            "",
            note.note,
            "",
            configuration,
        )
    rows = connection.execute(
        """SELECT p.slice, t.version, t.source, t.target, t.classes, t.seed,
          coalesce(r.status, ''), coalesce(r.reason, ''), r.uar, r.war, r.macro_f1, r.seconds,
          r.energy, t.parameters, substr(t.source_key, 1, 16) || substr(t.target_key, 1, 16),
          t.synthetic, t.id, coalesce(r.answers, '')
        FROM planned p JOIN trials t ON t.id = p.trial LEFT JOIN records r ON r.trial = p.trial
        WHERE p.slice IN (SELECT value FROM json_each(?))
        ORDER BY p.slice, p.position""",
        (json.dumps(list(heads)),),
    ).fetchall()
    names = [*Condition.__dataclass_fields__, "method", "title", "role", "assumes_prior", "uses",
             "note", "kind", "configuration"]  # fmt: skip
    order = {number: place for place, number in enumerate(heads)}
    head = pd.DataFrame(list(heads.values()), columns=names)
    body = pd.DataFrame([row[1:] for row in rows], columns=list(_TRIAL_COLUMNS))
    body["emotions"] = body["emotions"].map(_tuple)
    body["parameters"] = body["parameters"].map(_pairs)
    body["synthetic"] = body["synthetic"].astype(bool)
    body["pair"] = body["source"] + "→" + body["target"]
    floats = ["uar", "war", "macro_f1", "seconds", "energy"]
    body[floats] = body[floats].astype(float)
    places = [order[row[0]] for row in rows]
    return pd.concat([head.take(places).reset_index(drop=True), body], axis=1)


def predictions(connection: sqlite3.Connection, ids: Sequence[str]) -> pd.DataFrame:
    """The table of `Store.predictions`."""
    names: dict[str, int] = {}
    people: dict[str, int] = {}
    sheets: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]] = {}
    trials, parts = [], []
    for trial, key, classes in queries.predicted_of(connection, ids):
        if key not in sheets:
            answer = queries.answers(connection, key, ())
            sheets[key] = (
                np.array([names.setdefault(name, len(names)) for name in answer.names]),
                np.array([people.setdefault(name, len(people)) for name in answer.speakers]),
                answer.y.astype(np.uint8),
            )
        trials.append(trial)
        parts.append((*sheets[key], classes))
    empty = np.zeros(0, np.int64)
    sizes = [len(part[0]) for part in parts]
    utterance, speaker, y, found = (
        np.concatenate([empty, *(part[number] for part in parts)]) for number in range(4)
    )
    codes = np.repeat(np.arange(len(sizes)), sizes)
    return pd.DataFrame(
        {
            "trial": pd.Categorical.from_codes(codes, pd.Index(trials, dtype=str)),
            "utterance": pd.Categorical.from_codes(utterance, pd.Index(list(names), dtype=str)),
            "speaker": pd.Categorical.from_codes(speaker, pd.Index(list(people), dtype=str)),
            "y": y.astype(np.uint8),
            "predicted": found.astype(np.uint8),
        }
    )


def _fields(condition: Condition) -> tuple[Any, ...]:
    values = {name: getattr(condition, name) for name in Condition.__dataclass_fields__}
    values |= {"shots": str(condition.shots), "unlabelled": "+".join(condition.unlabelled)}
    return tuple(values.values())


@functools.lru_cache(4096)
def _tuple(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@functools.lru_cache(4096)
def _pairs(text: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in json.loads(text))
