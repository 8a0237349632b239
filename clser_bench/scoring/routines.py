"""Rows of a table that are no methods: routines that are given the answers.

A routine runs in the process that scores, where the answers are; no worker ever sees it, and it
is no plugin, since a plugin is never given an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clser_bench.problem import Outcome

if TYPE_CHECKING:
    from clser_bench.splits import Fold


@dataclass(frozen=True, kw_only=True)
class Routine:
    """A routine by its name.

    Attributes:
        name: what users write.
        version: raised when its numbers move.
        about: one line.
        note: printed under tables.
        solve: from the folds of a trial to an outcome each.
    """

    name: str
    version: int
    about: str
    note: str
    solve: Callable[[Sequence[Fold]], list[Outcome]]


def _within_target(folds: Sequence[Fold]) -> list[Outcome]:
    from clser_bench.scoring.within_target import within_target  # noqa: PLC0415 (scikit-learn, torch)

    return within_target(folds)


ROUTINES: Mapping[str, Routine] = {
    "within-target": Routine(
        name="within-target",
        version=1,
        about="Reference: logistic regression on target labels, across the target's speakers.",
        note="trained on the target's labels, on other speakers than it scores: no competitor",
        solve=_within_target,
    )
}
