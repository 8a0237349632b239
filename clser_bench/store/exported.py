"""The rows of an exported file: their columns, and what is checked of each."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, create_model

from clser_bench.errors import ClserError, StoreError
from clser_bench.problem import AnswerKey, Trial, Value
from clser_bench.protocol import EMOTIONS, PROTOCOL_VERSION, Condition, Pair
from clser_bench.store.records import CLOSE, MethodNote, Metrics, Record, predictions
from clser_bench.store.schema import FIELDS

_REMEDY = "nothing was imported; ask for the file again, as `clser-bench export` writes it"

# no control or format characters: texts of others are printed in terminals
_PRINTED = r"^[^\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]*$"
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]")
_Text = Annotated[str, StringConstraints(max_length=20_000, pattern=_PRINTED)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PRINTED)]
_Key = Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=_PRINTED)]
_Count = Annotated[int, Field(ge=0, lt=1 << 31)]


class FaultyError(StoreError):
    """A file cannot be imported; names the file, the place, the value and the remedy."""

    def __init__(self, path: Path, where: str, problem: str) -> None:
        super().__init__(f"{path}: {where}: {problem}; {_REMEDY}")


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
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    energy: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    parameters: _Text
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
    """What the rows of a file share."""

    format: Literal[2] = 2
    rows: _Count
    suites: dict[_Name, tuple[tuple[_Name, _Name], ...]]
    answers: dict[str, Sheet]
    skipped: tuple[tuple[_Name, _Text, _Text], ...]
    findings: tuple[tuple[_Name, _Text, _Text], ...] = ()


_TEXTS: dict[str, Any] = dict.fromkeys(FIELDS, (_Text, ...))
RowOfFile: Any = create_model("RowOfFile", __base__=_Row, **_TEXTS)
KINDS: dict[str, Any] = {
    **dict.fromkeys(RowOfFile.model_fields, pa.string()),
    **dict.fromkeys(("version", "engine_version", "seed"), pa.int64()),
    **dict.fromkeys(("uar", "war", "macro_f1", "seconds", "energy"), pa.float64()),
    "emotions": pa.list_(pa.string()),
    "synthetic": pa.bool_(),
}
ARRAYS = {"predictions": pa.list_(pa.uint8()), "scores": pa.list_(pa.float32())}


class Entry(NamedTuple):
    """A trial of a file with the note of its method; its record is None where it was not run."""

    trial: Trial
    note: MethodNote
    record: Record | None


def plain(text: str) -> str:
    """A text without what steers a terminal, at most 20,000 characters."""
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)[:20_000]


@contextlib.contextmanager
def checked(path: Path, where: str) -> Iterator[None]:
    """Turn errors about a value of a file into one that names the file, the place and the value.

    Raises:
        FaultyError: something is refused.
    """
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


def trial_of_row(row: Any) -> Trial:
    """The trial of a row, which must have the id that it claims.

    Raises:
        ClserError: a value is not allowed.
    """
    condition = Condition.from_texts({name: getattr(row, name) for name in FIELDS})
    if condition.protocol_version != PROTOCOL_VERSION:
        raise StoreError(
            f"protocol version {condition.protocol_version}, but this clser-bench has "
            f"{PROTOCOL_VERSION}"
        )
    added = tuple(filter(None, row.added.split("+")))
    if not {item.partition(":")[0] for item in added} <= set(condition.unlabelled):
        raise StoreError(
            f"added {row.added[:80]!r}: the condition adds "
            f"{'+'.join(condition.unlabelled) or 'none'}"
        )
    if len(row.emotions) < 2 or row.emotions != tuple(e for e in EMOTIONS if e in row.emotions):
        raise StoreError(f"emotions {row.emotions}: some of {', '.join(EMOTIONS)}, in order")
    trial = Trial(
        pair=Pair.parse(f"{row.source}->{row.target}"),
        classes=row.emotions,
        seed=row.seed,
        method=row.method,
        version=row.version,
        parameters=_parameters(row.parameters),
        condition=condition,
        source_key=row.source_key,
        target_key=row.target_key,
        added=added,
        engine_version=row.engine_version,
        synthetic=row.synthetic,
    )
    if trial.id != row.trial:
        raise StoreError(f"trial {row.trial!r}: the other columns give {trial.id!r}")
    return trial


def _parameters(text: str) -> tuple[tuple[str, Value], ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"parameters {text[:80]!r}: are no JSON") from error
    if not isinstance(found, list) or not all(map(_is_parameter, found)):
        raise StoreError(f"parameters {text[:80]!r}: [name, value] pairs are needed")
    names = [name for name, _ in found]
    if names != sorted(set(names)):
        raise StoreError(f"parameters {names}: are not sorted, or are there twice")
    return tuple((name, value) for name, value in found)


def _is_parameter(item: Any) -> bool:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
        return False
    name, value = item
    finite = math.isfinite(value) if isinstance(value, float) else isinstance(value, int | str)
    return finite and not _HIDDEN.search(f"{name}{value}")


def record_of_row(
    row: Any, trial: Trial, arrays: Mapping[str, Any], answers: Mapping[str, AnswerKey]
) -> Record:
    """The record of a row, whose metrics must be those of its predictions.

    Raises:
        StoreError: they are not, or a value does not go with the status.
    """
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
        if not np.array_equal(predictions(scores), predicted):
            raise StoreError("the largest scores are not those of the predictions")
    found = Metrics.of(predicted, key.y, classes=size)
    for name in ("uar", "war", "macro_f1"):
        given, right = getattr(row, name), getattr(found, name)
        if not abs(given - right) <= CLOSE:  # NaN is not close to anything
            raise StoreError(f"{name} {given}: predictions and answers give {right}")
    return Record(
        **common,
        metrics=found,
        scores=np.zeros((0, 0), np.float32) if scores is None else scores,
        predicted=predicted,
        y=key.y,
        names=key.names,
        speakers=key.speakers,
    )
