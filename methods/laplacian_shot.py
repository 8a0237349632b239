"""Prototypes, and target rows that like the class of their neighbours.

Reference: Ziko, Dolz, Granger & Ben Ayed, Laplacian Regularized Few-Shot Learning, ICML 2020
(LaplacianShot): equation 10 and algorithm 1, with three neighbours and 20
rounds of the authors' code.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front
`axes-within` (results/selection/README.md says why), brought to unit length; prototypes are class
means, not rectified ones, which cost two points on encoder features (`bd-cspn` has them); a scored
row that was not adapted to gets one update from its nearest rows that were.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import CHANGE, episode, squared_distances
from clser_bench.shallow.sides import Front, places, sides_of, unit_rows

BLOCK = 512
"""Rows whose products with all others are in memory at once."""


class Neighbours(NamedTuple):
    """Positions among the rows to adapt to.

    Attributes:
        inside: of the neighbours of each row to adapt to, itself left out [a, k].
        scored: of those of each scored row [s, k].
    """

    inside: Int[np.ndarray, "a k"]
    scored: Int[np.ndarray, "s k"]


@register("laplacian-shot", version=2)
class LaplacianShot(Fitted):
    """Squared distances with a Laplacian term."""

    uses = ("labelled", "source", "target")
    deterministic = True
    front = "axes-within"

    smoothness: float = hyper(
        0.1,
        low=0.0,
        high=100.0,
        grid=(0.03, 0.1, 0.3, 0.7),
        about="lambda, weight of the neighbours",
    )
    neighbours: int = hyper(3, low=1, high=10_000, about="of a target row")
    iterations: int = hyper(20, low=0, high=10_000, about="most rounds")

    def assignments(self, cost: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
        """Shares [n, p]: y_i <- softmax(-a_i + lambda sum_j y_j), j the neighbours of i.

        Bound optimisation of sum_i y_i · a_i + lambda / 2 sum_ij w_ij |y_i - y_j|^2.

        Args:
            cost: a, squared distances to prototypes [n, p].
            neighbours: positions of the rows with w_ij = 1, the others having 0 [n, k].
        """
        y = softmax(-cost, axis=1)
        for _ in range(self.iterations):
            before = y
            y = softmax(self.smoothness * y[neighbours].sum(axis=1) - cost, axis=1)
            if np.abs(y - before).max() <= CHANGE:
                break
        return np.asarray(y)

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Assign the target together, return logits [n, c]."""
        rows = episode(problem, front=self.front)
        graph = target_neighbours(problem, front=self.front, count=self.neighbours)
        assigned = self.assignments(squared_distances(rows.target, rows.means), graph.inside)
        near = assigned[graph.scored].sum(axis=1)
        return rows.scores(self.smoothness * near - squared_distances(rows.scored, rows.means))


def target_neighbours(problem: Problem, *, front: Front, count: int) -> Neighbours:
    """The nearest rows to adapt to by cosine, of these and of the scored rows.

    Args:
        problem: of equal feature sizes on both sides.
        front: as for `sides_of`.
        count: neighbours of a row, at most as many as there are other rows.
    """
    sides = sides_of(problem, front=front)
    u = unit_rows(sides.target)
    count = max(min(count, len(u) - 1), 1)
    inside, place = nearest(u, u, count), places(problem)
    if (place >= 0).all():
        return Neighbours(inside, inside[place])
    new = nearest(unit_rows(sides.scored), u, count)
    return Neighbours(inside, np.where(place[:, None] >= 0, inside[place], new))


def nearest(
    rows: Float[np.ndarray, "n f"], u: Float[np.ndarray, "m f"], count: int
) -> Int[np.ndarray, "n k"]:
    """Positions of the rows of `u` with the largest products, of each row, in no order.

    Args:
        rows: blocks of them are multiplied, so that memory does not grow with n · m.
        u: the same object where no row is a neighbour of itself.
        count: k.
    """
    found = np.empty((len(rows), count), np.int64)
    for start in range(0, len(rows), BLOCK):
        distance = -rows[start : start + BLOCK] @ u.T
        if rows is u:
            np.fill_diagonal(distance[:, start:], np.inf)
        part = np.argpartition(distance, count - 1, axis=1)[:, :count]
        found[start : start + BLOCK] = part
    return found
