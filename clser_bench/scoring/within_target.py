"""Reference: logistic regression on target labels, across the target's speakers.

No bound: a method with many source labels and the scored speakers' unlabelled speech can be better.
The classifier of `logistic` with its defaults, given what no method is given: the classes of
the target. Each utterance is scored by a model that was trained on other speakers only: every
speaker is left out in turn, or, where there are more than ten, every one of ten groups of them.
In the inductive setting, each half is scored with the features of its own fold, by models that
were trained on both halves without the speaker or group.

Such a routine is a row of a table, but no method: it runs in the process that scores, where the
answers are. No worker ever sees it, and it is no plugin, since a plugin is never given an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clser_bench.hashing import digest

if TYPE_CHECKING:
    from clser_bench.problem import Outcome
    from clser_bench.splits import Fold

GROUPS = 10
"""The most models a fold: leave-one-speaker-out up to so many speakers."""


def within_target(folds: Sequence[Fold]) -> list[Outcome]:
    """Score the target from its own labels, by models that have not seen the speaker.

    Args:
        folds: of one trial; together they hold the answers of the whole target.

    Returns:
        An outcome a fold, named by its number; not applicable where the target has one speaker.
    """
    import numpy as np  # noqa: PLC0415 (listing the routines needs none of these)
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    from clser_bench.problem import Outcome  # noqa: PLC0415
    from clser_bench.shallow.classifiers import logistic_scores  # noqa: PLC0415 (scikit-learn)

    names = [name for fold in folds for name in fold.key.speakers]
    groups = speaker_groups(names)
    if len(groups) < 2:
        reason = "the target has one speaker, so no other speaker's labels can be learned from"
        numbers = map(str, range(len(folds)))
        return [Outcome(id=n, status="not_applicable", reason=reason) for n in numbers]
    rows = np.concatenate([fold.problem.scored for fold in folds])
    y = np.concatenate([fold.key.y for fold in folds])
    group = np.array([groups[name] for name in names])
    outcomes = []
    for number, fold in enumerate(folds):
        started = time.perf_counter()
        features = fold.problem.target.summary
        own = np.array([groups[name] for name in fold.key.speakers])
        scores = np.empty((len(own), len(fold.problem.classes)), np.float32)
        with threadpool_limits(limits=1):  # the same bytes on any number of cores
            for each in np.unique(own):
                left_out, others = own == each, group != each
                scores[left_out] = logistic_scores(
                    features[rows[others]],
                    y[others],
                    features[fold.problem.scored[left_out]],
                    classes=scores.shape[1],
                )
        seconds = time.perf_counter() - started
        outcomes.append(Outcome(id=str(number), status="ok", scores=scores, seconds=seconds))
    return outcomes


def speaker_groups(speakers: Sequence[str]) -> dict[str, int]:
    """The group of each speaker: one of its own, or one of ten where there are more speakers.

    Args:
        speakers: names, each any number of times.

    Returns:
        Name to group. Sizes differ by one at most; names alone decide, by their hash.
    """
    ordered = sorted(set(speakers), key=lambda name: (digest(["oracle", name]), name))
    return {name: place % GROUPS for place, name in enumerate(ordered)}


@dataclass(frozen=True, kw_only=True)
class Routine:
    """A routine by its name."""

    name: str  # what users write
    version: int  # raised when its numbers move
    about: str  # one line
    note: str  # printed under tables
    solve: Callable[[Sequence[Fold]], list[Outcome]]  # from the folds of a trial to an outcome each


ROUTINES: Mapping[str, Routine] = {
    "within-target": Routine(
        name="within-target",
        version=1,
        about="Reference: logistic regression on target labels, across the target's speakers.",
        note="trained on the target's labels, on other speakers than it scores: no competitor",
        solve=within_target,
    )
}
