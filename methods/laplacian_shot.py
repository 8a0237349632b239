"""Prototypes, and target rows that like the class of their neighbours.

Reference: Ziko, Dolz, Granger & Ben Ayed, Laplacian Regularized Few-Shot Learning, ICML 2020
(LaplacianShot): equation 10 and algorithm 1, with three neighbours and 20
rounds of the authors' code.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front,
centred and brought to unit length; prototypes are class means, not rectified ones, which cost two
points on encoder features (`bd-cspn` has them); a scored row that was not adapted to gets one
update from its nearest rows that were.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.few_shot import (
    laplacian_assignments,
    squared_distances,
)
from clser_bench.shallow.regression import class_means
from clser_bench.shallow.sides import present_scores, sides_of, target_neighbours, unit_rows


@register("laplacian-shot", version=1)
class LaplacianShot(Fitted):
    """Squared distances with a Laplacian term."""

    uses = ("labelled", "source", "target")
    deterministic = True
    front = "axes"

    smoothness: float = hyper(
        0.1,
        low=0.0,
        high=100.0,
        grid=(0.03, 0.1, 0.3, 0.7),
        about="lambda, weight of the neighbours",
    )
    neighbours: int = hyper(3, low=1, high=10_000, about="of a target row")
    iterations: int = hyper(20, low=0, high=10_000, about="most rounds")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Assign the target together, return logits [n, c]."""
        sides = sides_of(problem, front=self.front)
        present, y = np.unique(sides.y, return_inverse=True)
        target, scored = unit_rows(sides.target), unit_rows(sides.scored)
        means, _ = class_means(unit_rows(sides.known), y, len(present))
        graph = target_neighbours(problem, front=self.front, count=self.neighbours)
        assigned = laplacian_assignments(
            squared_distances(target, means),
            graph.inside,
            smoothness=self.smoothness,
            iterations=self.iterations,
        )
        near = assigned[graph.scored].sum(axis=1)
        logits = self.smoothness * near - squared_distances(scored, means)
        return present_scores(logits, present, sides.classes)
