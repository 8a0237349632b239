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
    """Compare class scores with the answers.

    The predicted class has the largest score; ties go to the lowest index. `Metrics.of` has the
    formulas.

    Args:
        scores: float [n, c], larger is likelier.

    Returns:
        Percentages and the confusion matrix.

    Raises:
        MethodError: the scores have another shape than [n, c] or hold NaN.
    """
    expected = (len(key.y), len(key.classes))
    if scores.shape != expected or not len(key.y):
        raise MethodError(
            f"scores have shape {scores.shape}; wanted {expected}: a row for each scored "
            "utterance (at least one), a column for each class"
        )
    broken = int(np.isnan(scores).any(axis=1).sum())
    if broken:
        raise MethodError(f"scores of {broken} of {len(scores)} utterances are NaN")
    return Metrics.of(predictions(scores), key.y, classes=len(key.classes))


def join(outcomes: Sequence[Outcome], keys: Sequence[AnswerKey]) -> tuple[Floats, AnswerKey]:
    """Put the folds of a trial together, so that they are measured as one.

    Args:
        outcomes: of the folds, all ok.

    Returns:
        Scores [n, c] of all folds, one after the other, and their answers.

    Raises:
        MethodError: the scores of a fold do not fit its answers.
        ValueError: a fold is not ok, or there are not as many answers as folds.
    """
    for outcome, key in zip(outcomes, keys, strict=True):
        if outcome.status != "ok":
            raise ValueError(f"fold {outcome.id}: is {outcome.status}, so there is nothing to join")
        if outcome.scores.shape != (len(key.y), len(key.classes)):
            raise MethodError(
                f"scores have shape {outcome.scores.shape}; wanted "
                f"{(len(key.y), len(key.classes))}: a row for each scored utterance"
            )
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
    record = functools.partial(
        Record,
        trial=trial,
        seconds=sum(outcome.seconds for outcome in outcomes),
        energy=_energy(outcomes),
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
    return record(
        status="ok",
        metrics=metrics,
        scores=scores,
        y=key.y,
        names=key.names,
        speakers=key.speakers,
    )


def _energy(outcomes: Sequence[Outcome]) -> float | None:
    """Joules of all folds; None unless each was measured."""
    found = [outcome.energy for outcome in outcomes if outcome.energy is not None]
    return sum(found) if found and len(found) == len(outcomes) else None
