"""The choice of hyper-parameters among the points of a method, all of which run on every pair.

`other-pairs`: for s→t the point with the best mean UAR over the suite's pairs of other corpora is
taken, so no label of s or t has a say in it. A criterion (`sweep.objectives`): for each pair and
draw the point that it prefers, which is what a user with that draw would take. `oracle`: the point
that is best on the pair's own labels, an upper bound.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from clser_bench.errors import SpecError
from clser_bench.problem import Trial
from clser_bench.protocol import Condition, Pair
from clser_bench.run.sweep.objectives import DEV, OBJECTIVES, ORACLE

OTHER_PAIRS = "other-pairs"
CRITERIA = tuple(name for name in OBJECTIVES if name not in (DEV, ORACLE))
SELECTIONS = ("default", OTHER_PAIRS, *CRITERIA, ORACLE)
"""What `run --select` takes."""

POINTS = "points"
"""Stands for the selection where every point runs and none is chosen."""

Point = dict[Pair, list[Trial]]
"""The trials of one point of a method with one number of shots."""


def several(condition: Condition) -> bool:
    """Whether the rules ask for all points of a method."""
    return condition.selection in (OTHER_PAIRS, *CRITERIA, ORACLE, POINTS)


def of_point(condition: Condition, number: int) -> Condition:
    """The rules under which the trials of one point are planned.

    Args:
        condition: the rules.
        number: of the point; of no effect where a method has but one under these rules.
    """
    if not several(condition):
        return condition
    return dataclasses.replace(condition, selection=f"{condition.selection}/{number}")


def without_numbers(trials: Iterable[Trial]) -> tuple[tuple[Trial, ...], dict[str, int]]:
    """Trials without the numbers of their points, which are returned by trial id."""
    plain, numbers = [], {}
    for trial in trials:
        selection, slash, number = trial.condition.selection.partition("/")
        if slash:
            numbers[trial.id] = int(number)
        plain.append(relabelled(trial, selection))
    return tuple(plain), numbers


def others(pair: Pair, pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs of corpora that are neither the source nor the target of this one."""
    ends = {pair.source, pair.target}
    return tuple(other for other in pairs if not ends & {other.source, other.target})


def check(suite: str, table: Sequence[Pair], *, asked: Sequence[Pair]) -> None:
    """Refuse what `other-pairs` cannot choose for.

    Args:
        suite: its name.
        table: its pairs.
        asked: those that the user named; empty for all.

    Raises:
        SpecError: pairs are named, or a pair has no pair of other corpora.
    """
    if asked:
        raise SpecError(f"--select {OTHER_PAIRS} looks at all pairs of a suite; leave --pairs out")
    for pair in table:
        if not others(pair, table):
            raise SpecError(
                f"--select {OTHER_PAIRS} chooses for {pair} by the pairs of other corpora, and "
                f"suite {suite} has none here: a suite needs four corpora"
            )


def choose(trials: Sequence[Trial], uars: Mapping[str, float]) -> tuple[Trial, ...]:
    """Take for each method, number of shots and pair the trials of one point.

    A point counts for a pair where every trial on the other pairs has a result. Ties go to the
    earlier point, the shipped one first; it also stands where no point counts.

    Args:
        trials: of all points of all methods.
        uars: UAR of the trials that have one, by id.

    Returns:
        Trials under the selection `other-pairs`, in the order of a plan.
    """
    groups: dict[tuple[str, str], dict[str, Point]] = {}
    for trial in trials:
        group = groups.setdefault((trial.method, str(trial.shots)), {})
        point = group.setdefault(trial.condition.selection, {})
        point.setdefault(trial.pair, []).append(trial)
    chosen = []
    for labelled in groups.values():
        points = list(labelled.values())
        means = [{pair: mean(cell, uars) for pair, cell in point.items()} for point in points]
        for pair in points[0]:
            chosen += points[_best(means, others(pair, points[0]))][pair]
    return tuple(relabelled(trial, OTHER_PAIRS) for trial in chosen)


def mean(trials: Sequence[Trial], uars: Mapping[str, float]) -> float:
    """Mean UAR of some trials; NaN where one has none."""
    return sum(uars.get(trial.id, math.nan) for trial in trials) / len(trials)


def _best(means: Sequence[Mapping[Pair, float]], pairs: Sequence[Pair]) -> int:
    values = [sum(point[pair] for pair in pairs) / len(pairs) for point in means]
    counting = [number for number, value in enumerate(values) if not math.isnan(value)]
    return max(counting, key=lambda number: (values[number], -number), default=0)


def relabelled(trial: Trial, selection: str) -> Trial:
    """A trial under the selection that took it.

    Args:
        trial: of a point.
        selection: its name.
    """
    condition = dataclasses.replace(trial.condition, selection=selection)
    return dataclasses.replace(trial, condition=condition)
