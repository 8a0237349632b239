"""What is checked before a row of another laboratory is believed.

The checks find damage, mistakes and careless changes. They cannot tell whether predictions were
made as the protocol wants: whoever sends a file is believed in that.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clser_bench.errors import ClserError
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import AnswerKey, Trial, Value
from clser_bench.protocol import EMOTIONS, PROTOCOL_VERSION, Pair
from clser_bench.store.heading import FORMAT, Heading, Part, Sheet
from clser_bench.store.queries import condition_of
from clser_bench.store.records import STATUSES, predictions
from clser_bench.store.submission import CONTROL, Entry, FaultyError, Measure

_CLOSE = 1e-6
_MEASURED = ("uar", "war", "macro_f1")
_LONGEST = 20_000
_LARGEST = 1 << 31


def check_heading(path: Path, heading: Heading) -> dict[str, AnswerKey]:
    """Check all that stands beside the rows.

    Args:
        path: the file, for messages.
        heading: of the right form.

    Returns:
        Answer keys by hash, without classes.

    Raises:
        FaultyError: another format or protocol version, a part that stands there twice, an unusable
            name, or answers that do not have their hash.
    """
    versions = [("format", heading.format, FORMAT)]
    versions += [("protocol_version", heading.protocol_version, PROTOCOL_VERSION)]
    for number, part in enumerate(heading.parts):
        versions.append((f"part {number}", part.protocol_version, PROTOCOL_VERSION))
    for where, got, known in versions:
        if got != known:
            raise FaultyError(path, where, f"version {got}, but this clser-bench knows {known}")
    if len({part.rules for part in heading.parts}) < len(heading.parts):
        raise FaultyError(path, "parts", "one stands there twice")
    for suite, pairs in heading.suites.items():
        _check_texts(path, "suites", {"suite": suite})
        for source, target in pairs:
            _pair(path, f"suite {suite!r}", source, target)
    for number, item in enumerate((*heading.parts, *heading.skipped)):
        _check_texts(path, f"part or skipped file {number}", item.model_dump())
    for part in heading.parts:
        if part.suite not in heading.suites:
            raise FaultyError(path, f"suite {part.suite!r}", "it has no pairs")
    return {sheet.hash: _answer_key(path, sheet) for sheet in heading.answers}


def _answer_key(path: Path, sheet: Sheet) -> AnswerKey:
    where = f"answers {sheet.hash[:12]!r}"
    sizes = {len(sheet.y), len(sheet.speakers), len(sheet.names)}
    if len(sizes) > 1 or not sheet.y:
        raise FaultyError(path, where, f"lengths of classes, speakers and names: {sorted(sizes)}")
    if min(sheet.y) < 0 or max(sheet.y) >= len(EMOTIONS):
        raise FaultyError(path, where, f"classes {min(sheet.y)} to {max(sheet.y)}")
    for text in (*sheet.speakers, *sheet.names):
        _check_texts(path, where, {"name": text})
    y = np.array(sheet.y, np.int64)
    if digest([digest_array(y), list(sheet.speakers), list(sheet.names)]) != sheet.hash:
        raise FaultyError(path, where, "the answers do not have this hash, so they were changed")
    return AnswerKey(classes=(), y=y, speakers=sheet.speakers, names=sheet.names)


def check_trial(path: Path, where: str, cells: Mapping[str, Any], heading: Heading) -> Trial:
    """Build the trial of a row and check that it has the id it claims.

    Args:
        path: the file, for messages.
        where: the row, for messages.
        cells: column to value.
        heading: of the file.

    Returns:
        The trial, under the selection of its first part.

    Raises:
        FaultyError: a value is not allowed, or the id is another one.
    """
    parts, known = cells["parts"], len(heading.parts)
    if not parts or len(set(parts)) < len(parts) or not all(0 <= n < known for n in parts):
        raise FaultyError(
            path, where, f"parts {parts}: numbers below {known} are needed, each once"
        )
    _check_texts(path, where, cells)
    _check_texts(path, where, {f"class {n}": name for n, name in enumerate(cells["classes"])})
    classes = tuple(cells["classes"])
    if len(classes) < 2 or classes != tuple(name for name in EMOTIONS if name in classes):
        raise FaultyError(
            path, where, f"classes {classes}: some of {', '.join(EMOTIONS)}, in order"
        )
    for name in ("seed", "version", "engine_version", "protocol_version"):
        if not 0 <= cells[name] < _LARGEST:
            raise FaultyError(path, where, f"{name} {cells[name]}: must be 0 to {_LARGEST - 1}")
    for name in ("source_key", "target_key"):
        if len(cells[name]) != 64:
            raise FaultyError(path, where, f"{name} {cells[name]!r}: 64 characters are needed")
    part = heading.parts[parts[0]]
    try:
        trial = Trial(
            pair=_pair(path, where, cells["source"], cells["target"]),
            classes=classes,
            seed=cells["seed"],
            method=cells["method"],
            version=cells["version"],
            parameters=_parameters(path, where, cells["parameters"]),
            condition=condition_of(
                part.suite,
                cells["features"],
                cells["normalisation"],
                cells["setting"],
                cells["prior"],
                part.fixed4,
                part.selection,
                cells["shots"],
                cells["protocol_version"],
            ),
            source_key=cells["source_key"],
            target_key=cells["target_key"],
            engine_version=cells["engine_version"],
            synthetic=cells["synthetic"],
        )
    except FaultyError:
        raise
    except (ClserError, ValueError) as error:
        raise FaultyError(path, where, str(error)) from error
    if trial.id != cells["id"]:
        raise FaultyError(path, where, f"id {cells['id']!r}: the other columns give {trial.id!r}")
    own = _rules(trial)
    for number in parts:
        if _part_rules(heading.parts[number]) != own:
            raise FaultyError(path, where, f"part {number}: has other rules than the row")
    return trial


def _rules(trial: Trial) -> tuple[str | int, ...]:
    own = trial.condition
    shared = (own.features_label, own.normalisation, own.setting, own.prior)
    return (*shared, str(own.shots), trial.method, own.protocol_version)


def _part_rules(part: Part) -> tuple[str | int, ...]:
    shared = (part.features, part.normalisation, part.setting, part.prior)
    return (*shared, part.shots, part.method, part.protocol_version)


def check_result(
    path: Path,
    where: str,
    trial: Trial,
    *,
    cells: Mapping[str, Any],
    answers: Mapping[str, AnswerKey],
    measure: Measure,
) -> Entry:
    """Check what came of a trial.

    Args:
        path: the file, for messages.
        where: the row, for messages.
        trial: of the row.
        cells: column to value; predictions and scores are flat arrays, or None.
        answers: of the file.
        measure: finds the metrics again from the predictions.

    Raises:
        FaultyError: a value is out of range, or the metrics are not those of the predictions.
    """
    status, reason, seconds = cells["status"], cells["reason"], cells["seconds"]
    if status is not None and status not in STATUSES:
        raise FaultyError(path, where, f"status {status!r}: one of {', '.join(STATUSES)}, or null")
    if not 0 <= seconds < math.inf:
        raise FaultyError(path, where, f"seconds {seconds}: a time is needed")
    there = [cells[name] is not None for name in (*_MEASURED, "answers", "predictions")]
    if set(there) != {status == "ok"} or (cells["scores"] is not None and status != "ok"):
        raise FaultyError(
            path, where, f"status {status!r}: metrics, answers and predictions go with ok"
        )
    if reason and status in (None, "ok"):
        raise FaultyError(path, where, f"status {status!r}: has the reason {reason[:80]!r}")
    entry = Entry(trial, tuple(cells["parts"]), status, reason, seconds, cells["pack"])
    if status != "ok":
        return entry
    key = answers.get(cells["answers"])
    if key is None:
        raise FaultyError(path, where, f"answers {cells['answers']!r}: are not in the file")
    key = dataclasses.replace(key, classes=trial.classes)
    _check_predictions(path, where, cells, key)
    found = measure(cells["predictions"], key)
    for name in _MEASURED:
        # NaN is not close to anything
        if not abs(cells[name] - getattr(found, name)) <= _CLOSE:
            given = f"{name} {cells[name]}: predictions and answers give {getattr(found, name)}"
            raise FaultyError(path, where, given)
    return entry._replace(
        metrics=dataclasses.replace(found, **{name: cells[name] for name in _MEASURED}),
        answers=cells["answers"],
        predictions=cells["predictions"],
        scores=None if cells["scores"] is None else cells["scores"].reshape(len(key.y), -1),
    )


def _check_predictions(path: Path, where: str, cells: Mapping[str, Any], key: AnswerKey) -> None:
    predicted, scores, size = cells["predictions"], cells["scores"], len(key.classes)
    if len(predicted) != len(key.y):
        raise FaultyError(
            path, where, f"{len(predicted)} predictions: there are {len(key.y)} answers"
        )
    for what, values in (("predictions", predicted), ("answers", key.y)):
        if values.max() >= size:
            raise FaultyError(
                path, where, f"class {values.max()} in {what}: there are {size} classes"
            )
    if scores is None:
        return
    if len(scores) != len(key.y) * size or np.isnan(scores).any():
        raise FaultyError(
            path, where, f"{len(scores)} scores: {len(key.y) * size} numbers are needed"
        )
    if not np.array_equal(predictions(scores.reshape(-1, size)), predicted):
        raise FaultyError(path, where, "the largest scores are not those of the predictions")


def _pair(path: Path, where: str, source: str, target: str) -> Pair:
    try:
        return Pair.parse(f"{source}->{target}")
    except ClserError as error:
        raise FaultyError(path, where, str(error)) from error


def _parameters(path: Path, where: str, text: str) -> tuple[tuple[str, Value], ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FaultyError(path, where, f"parameters {text[:80]!r}: are no JSON") from error
    if not isinstance(found, list) or not all(map(_is_parameter, found)):
        raise FaultyError(path, where, f"parameters {text[:80]!r}: [name, value] pairs are needed")
    names = [name for name, _ in found]
    if names != sorted(set(names)):
        raise FaultyError(path, where, f"parameters {names}: are not sorted, or stand there twice")
    _check_texts(path, where, {f"parameter {name!r}": f"{name} {value}" for name, value in found})
    return tuple((name, value) for name, value in found)


def _is_parameter(item: object) -> bool:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
        return False
    value = item[1]
    return isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value))


def _check_texts(path: Path, where: str, values: Mapping[str, Any]) -> None:
    for name, text in values.items():
        if isinstance(text, str) and (len(text) > _LONGEST or CONTROL.search(text)):
            raise FaultyError(
                path, where, f"{name} {text[:80]!r}: too long, or with control characters"
            )
