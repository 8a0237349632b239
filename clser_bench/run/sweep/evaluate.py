"""The objective of points whose trials are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clser_bench.problem import Trial
from clser_bench.protocol import Pair
from clser_bench.run.ground import Folds
from clser_bench.run.sweep import measures
from clser_bench.run.sweep.objectives import Objective
from clser_bench.store.sqlite import Store

Place = tuple[Pair, int]
"""A pair and a draw."""

Cells = Mapping[Place, float]
"""The objective of a point by pair and draw; a place without a result is absent."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The objective of a point, draw by draw.

    Attributes:
        values: of each draw, the mean over pairs; up to the first with a hole.
        missing: the first place without a result; None where there is none.
    """

    values: tuple[float, ...]
    missing: Place | None = None


def cells(
    chosen: Objective, points: Sequence[Sequence[Trial]], store: Store, folds: Folds
) -> list[dict[Place, float]]:
    """The objective of every trial of some points.

    Args:
        chosen: the objective.
        points: the trials of each, of one number of shots.
        store: the results.
        folds: problems of trials, for what weighs by features.

    Returns:
        One mapping a point.
    """
    if chosen.looks == "labels":
        uars = store.uars([trial.id for point in points for trial in point])
        return [{_place(t): uars[t.id] for t in point if t.id in uars} for point in points]
    if chosen.looks == "candidates":
        return _agreement(points, store)
    weights: dict[Place, np.ndarray] = {}
    found: list[dict[Place, float]] = []
    for point in points:
        known = {trial.id: trial for trial in point}
        found.append({})
        for record in store.records(list(known), status="ok"):
            place = _place(known[record.trial.id])
            if chosen.looks == "target":
                found[-1][place] = measures.of_target(chosen.name, record)
                continue
            if chosen.name == "embedded-validation" and place not in weights:
                (fold,) = folds(known[record.trial.id])
                weights[place] = measures.importance(fold.problem, seed=place[1])
            found[-1][place] = measures.of_source(
                chosen.name, record, weights.get(place, np.zeros(0))
            )
    return found


def by_draw(values: Cells, pairs: Sequence[Pair], draws: int) -> Drawn:
    """Means over pairs, draw by draw.

    Args:
        values: of one point.
        pairs: all of them.
        draws: how many were run.
    """
    means: list[float] = []
    for seed in range(draws):
        for pair in pairs:
            if (pair, seed) not in values:
                return Drawn(values=tuple(means), missing=(pair, seed))
        means.append(float(np.mean([values[pair, seed] for pair in pairs])))
    return Drawn(values=tuple(means))


def _agreement(points: Sequence[Sequence[Trial]], store: Store) -> list[dict[Place, float]]:
    """A place at a time, so that the scores of one pair and draw are in memory."""
    by_place: dict[Place, dict[str, int]] = {}
    for number, point in enumerate(points):
        for trial in point:
            by_place.setdefault(_place(trial), {})[trial.id] = number
    found: list[dict[Place, float]] = [{} for _ in points]
    for place, ids in by_place.items():
        records = list(store.records(list(ids), status="ok"))
        if records:
            agreed = measures.of_candidates(records)
            for record, value in zip(records, agreed.tolist(), strict=True):
                found[ids[record.trial.id]][place] = value
    return found


def _place(trial: Trial) -> Place:
    return trial.pair, trial.seed
