"""Which hyper-parameters of a sweep matter: permutation importance in a random forest.

The forest is fitted to the points: where each value lies in its dimension, against the objective.
A point's objective is the mean of x[p, s] - c[s] over its draws, c[s] the mean of draw s over the
points with the most draws, so a point that was given up early is not judged by the luck of its
few draws. Each tree is asked only about points that it was not fitted to (out of the bag), so
neither R2 nor an importance rewards what was learnt by heart. The importance of a
hyper-parameter is how far that R2 falls when its values are shuffled among the points.

Nothing is said where R2 is not above 0, nor where it is not above that of all of `TRIED` forests
that were fitted to shuffled objectives: in noise, that happens once in `TRIED` + 1 times.

Reference: Breiman, Random forests, Machine Learning 45 (2001). An importance speaks of the points
that were tried: a dimension that was varied little, or that matters only together with a value that
was seldom tried, has a small one. Its sd is over shuffles, not over other points.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.hyperparameters import Dimension
from clser_bench.problem import Value
from clser_bench.sweeps import Configuration, SweepResult

FEWEST = 8
"""Of fewer points nothing is said."""

TREES = 100
SHUFFLES = 20
TRIED = 19

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much a hyper-parameter matters for the objective, among the points of a sweep.

    Attributes:
        name: of the hyper-parameter.
        mean: fall of the out-of-bag R2 when its values are shuffled, mean over the shuffles; None
            where nothing can be told.
        std: over the shuffles.
        share: of all falls that are positive, 0 to 1; shares sum to 1.
        points: that have an objective.
        r2: out-of-bag R2 of the forest; None where none was fitted.
        reason: why nothing can be told; empty where something can.
    """

    name: str
    mean: float | None = None
    std: float | None = None
    share: float | None = None
    points: int
    r2: float | None = None
    reason: str = ""


@functools.lru_cache(maxsize=4)  # every format of a report asks for them
def importances(swept: SweepResult) -> tuple[Importance, ...]:
    """The importance of each dimension, in the order of the dimensions.

    Args:
        swept: the sweep.
    """
    points = [point for point in swept.configurations if point.draws]
    if len(points) < FEWEST:
        reason = f"points with an objective: {len(points)}; {FEWEST} are needed"
        return _refused(swept, len(points), reason)
    y = _objectives(points)
    if np.ptp(y) <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return _refused(swept, len(points), "the objective is the same at all points")
    columns, owners = _columns(swept.dimensions, points)
    predict = _forest(columns, y)
    r2 = _r2(y, predict(columns))
    reason = _doubt(columns, y, r2)
    if reason:
        return _refused(swept, len(points), reason, r2=r2)
    falls = r2 - _shuffled(columns, owners, y, predict)
    means = falls.mean(axis=1)
    positive = means.clip(min=0)
    shares = positive / positive.sum() if positive.sum() else positive
    return tuple(
        Importance(
            name=dimension.name,
            mean=float(means[place]),
            std=float(falls[place].std(ddof=1)),
            share=float(shares[place]),
            points=len(points),
            r2=r2,
        )
        for place, dimension in enumerate(swept.dimensions)
    )


def _refused(
    swept: SweepResult, points: int, reason: str, *, r2: float | None = None
) -> tuple[Importance, ...]:
    return tuple(
        Importance(name=dimension.name, points=points, r2=r2, reason=reason)
        for dimension in swept.dimensions
    )


def _doubt(columns: Reals, y: Reals, r2: float) -> str:
    """Why a forest is not to be believed; empty where it is."""
    if r2 <= 0:
        return (
            "a forest foretells points that it has not seen no better than their mean "
            f"(out-of-bag R2 {r2:.2f})"
        )
    rng = np.random.default_rng(1)
    as_good = sum(_fitted(columns, rng.permutation(y)).oob_score_ >= r2 for _ in range(TRIED))
    if not as_good:
        return ""
    return (
        f"a forest foretells shuffled objectives as well in {as_good} of {TRIED} shuffles "
        f"(out-of-bag R2 {r2:.2f})"
    )


def _objectives(points: Sequence[Configuration]) -> Reals:
    """The objective of each point [points], free of what makes a draw easy or hard for all."""
    most = max(len(point.draws) for point in points)
    full = np.array([point.draws for point in points if len(point.draws) == most])
    centre = full.mean(axis=0)
    return np.array([np.mean(np.subtract(p.draws, centre[: len(p.draws)])) for p in points])


def _columns(
    dimensions: Sequence[Dimension], points: Sequence[Configuration]
) -> tuple[Reals, npt.NDArray[np.intp]]:
    """Inputs of the forest [points, columns], and the dimension that each column is of."""
    made, owners = [], []
    for place, dimension in enumerate(dimensions):
        values = [point.values[place] for point in points]
        for column in _coded(dimension, values):
            made.append(column)
            owners.append(place)
    return np.column_stack(made), np.array(owners, dtype=np.intp)


def _coded(dimension: Dimension, values: Sequence[Value]) -> list[Reals]:
    """A column of places where values have an order, else one for each kind."""
    if not dimension.choices:
        return [np.array([dimension.place(value) for value in values])]
    kinds = sorted({*dimension.choices, *values}, key=lambda value: (isinstance(value, str), value))
    if any(isinstance(kind, str) for kind in kinds) and len(kinds) > 2:
        return [np.array([float(value == kind) for value in values]) for kind in kinds]
    return [np.array([float(kinds.index(value)) for value in values])]


def _fitted(columns: Reals, y: Reals) -> Any:
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 (slow to import)

    return RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(columns, y)


def _forest(columns: Reals, y: Reals) -> Callable[[Reals], Reals]:
    """Fit a forest; gives its out-of-bag predictions for the same points with other inputs."""
    forest = _fitted(columns, y)
    outside = np.ones((TREES, len(y)))
    for row, inside in zip(outside, forest.estimators_samples_, strict=True):
        row[inside] = 0.0
    # a tree takes single precision, and rows [inputs * points] at once
    trees, weights = forest.estimators_, outside / outside.sum(axis=0)

    def predict(changed: Reals) -> Reals:
        inputs = np.ascontiguousarray(changed.reshape(-1, columns.shape[1]), dtype=np.float32)
        total = np.zeros(changed.shape[:-1])
        for tree, weight in zip(trees, weights, strict=True):
            total += weight * tree.predict(inputs, check_input=False).reshape(total.shape)
        return total

    return predict


def _shuffled(
    columns: Reals,
    owners: npt.NDArray[np.intp],
    y: Reals,
    predict: Callable[[Reals], Reals],
) -> Reals:
    """Out-of-bag R2 with one dimension shuffled [dimensions, shuffles]."""
    rng = np.random.default_rng(0)
    orders = np.array([rng.permutation(len(y)) for _ in range(SHUFFLES)])
    found = []
    for place in range(int(owners.max()) + 1):
        changed = np.repeat(columns[None], SHUFFLES, axis=0)
        changed[:, :, owners == place] = columns[orders][:, :, owners == place]
        found.append([_r2(y, one) for one in predict(changed)])
    return np.array(found)


def _r2(y: Reals, predicted: Reals) -> float:
    return 1.0 - float(((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())
