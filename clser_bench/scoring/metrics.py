"""Unweighted average recall and what is kept beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from clser_bench.errors import MethodError, printable
from clser_bench.problem import AnswerKey, Floats, Outcome, Trial, read_only
from clser_bench.store.records import Metrics, Record, predictions

__all__ = ["Metrics", "join", "measure", "score"]


def measure(scores: Floats, key: AnswerKey) -> Metrics:
    """Compare class scores [n, c] with the answers; `Metrics.of` has the formulas.

    The predicted class has the largest score; ties go to the lowest index.

    Raises:
        MethodError: the scores have another shape than [n, c] or hold NaN.
    """
    _check_shape(scores, key, least=1)
    broken = int(np.isnan(scores).any(axis=1).sum())
    if broken:
        raise MethodError(f"scores of {broken} of {len(scores)} utterances are NaN")
    return Metrics.of(predictions(scores), key.y, classes=len(key.classes))


def _check_shape(scores: Floats, key: AnswerKey, *, least: int = 0) -> None:
    expected = (len(key.y), len(key.classes))
    if scores.shape != expected or len(key.y) < least:
        raise MethodError(
            f"scores have shape {scores.shape}; wanted {expected}: a row for each scored "
            "utterance (at least one), a column for each class"
        )


def join(outcomes: Sequence[Outcome], keys: Sequence[AnswerKey]) -> tuple[Floats, AnswerKey]:
    """Put the folds of a trial, all ok, together, so that they are measured as one.

    Returns:
        Scores [n, c] of all folds, one after the other, and their answers.

    Raises:
        MethodError: the scores of a fold do not fit its answers.
    """
    for outcome, key in zip(outcomes, keys, strict=True):
        _check_shape(outcome.scores, key)
    joined = AnswerKey(
        classes=keys[0].classes,
        y=np.concatenate([key.y for key in keys]),
        speakers=tuple(name for key in keys for name in key.speakers),
        names=tuple(name for key in keys for name in key.names),
    )
    scores = np.concatenate([outcome.scores for outcome in outcomes]).astype(np.float32, copy=False)
    return read_only(scores), joined


def score(
    trial: Trial, outcomes: Sequence[Outcome], keys: Sequence[AnswerKey], *, pack: str = ""
) -> Record:
    """Make the record of a trial from its folds.

    A failed fold makes a failed trial, a fold that does not apply one that does not apply, and
    scores that cannot be measured are a failure of the method.
    """
    joules = [outcome.energy for outcome in outcomes if outcome.energy is not None]
    record = functools.partial(
        Record,
        trial=trial,
        seconds=sum(outcome.seconds for outcome in outcomes),
        energy=sum(joules) if joules and len(joules) == len(outcomes) else None,
        pack=pack,
    )
    for status in ("failed", "not_applicable"):
        for outcome in outcomes:
            if outcome.status == status:
                return record(status=status, reason=printable(outcome.reason))
    try:
        scores, key = join(outcomes, keys)
        metrics = measure(scores, key)
    except MethodError as error:
        return record(status="failed", reason=printable(str(error)))
    record = functools.partial(record, y=key.y, names=key.names, speakers=key.speakers)
    return record(status="ok", metrics=metrics, scores=scores)
