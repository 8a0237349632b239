"""The points that a criterion, or the oracle, takes for each pair and draw of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from clser_bench.problem import Trial
from clser_bench.run.plan import Plan
from clser_bench.run.select import relabelled
from clser_bench.run.sweep.evaluate import Place, cells
from clser_bench.run.sweep.objectives import Objective
from clser_bench.store.sqlite import Store

Group = tuple[str, str]
"""A method and a number of shots."""


def choose_by(chosen: Objective, plan: Plan, held: Plan | None, store: Store) -> tuple[Trial, ...]:
    """Take for each method, number of shots, pair and draw the trial of one point.

    Ties go to the earlier point, the shipped one first; it also stands where no point has a
    value.

    Args:
        chosen: a criterion or the oracle.
        plan: of all points; its trials are stored.
        held: the same points with labels kept back, where the criterion looks at these.
        store: the results.

    Returns:
        Trials under the criterion's name, in the order of a plan.
    """
    kept = _points(held or plan)
    taken: list[Trial] = []
    for group, points in _points(plan).items():
        found = cells(chosen, kept[group], store, (held or plan).folds)
        if chosen.looks == "labels":
            found = [_over_draws(values) for values in found]
        for row in zip(*points, strict=True):
            place = (row[0].pair, row[0].seed)
            values = [point.get(place, -math.inf) for point in found]
            taken.append(row[int(np.argmax(values))])
    return tuple(relabelled(trial, chosen.name) for trial in taken)


def _points(plan: Plan) -> dict[Group, list[list[Trial]]]:
    """The trials of each point by method and number of shots, the shipped point first."""
    made: dict[Group, dict[str, list[Trial]]] = {}
    for trial in plan.trials:
        group = made.setdefault((trial.method, str(trial.shots)), {})
        group.setdefault(trial.condition.selection, []).append(trial)
    return {group: list(points.values()) for group, points in made.items()}


def _over_draws(values: Mapping[Place, float]) -> dict[Place, float]:
    """The mean over draws of each pair, for all its draws: less noise to choose by."""
    pairs: dict[object, list[float]] = {}
    for (pair, _), value in values.items():
        pairs.setdefault(pair, []).append(value)
    return {place: float(np.mean(pairs[place[0]])) for place in values}
