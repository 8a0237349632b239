"""Nearest labelled neighbours on the summary; no adaptation.

Reference: Cover & Hart, Nearest Neighbor Pattern Classification, IEEE Transactions on Information
Theory 13 (1967), as in scikit-learn's KNeighborsClassifier: k neighbours by cosine.

Departures: rows are behind the front `within` (results/selection/README.md says why), where raw
columns count what utterances of one emotion differ in; a neighbour's vote is its cosine plus one
and divided by its class's labelled rows, so that uneven classes weigh alike and votes seldom tie.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.sides import one_hot, sides_of, unit_rows


@register("knn", version=2)
class Knn(Fitted):
    """Votes of the nearest labelled rows."""

    uses = ("labelled",)
    deterministic = True
    front = "within"

    neighbours: int = hyper(
        31, low=1, high=100_000, grid=(1, 3, 7, 15, 31), about="that vote, at most all"
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Vote, return the sum of votes [n, c]."""
        sides = sides_of(problem, front=self.front)
        cosine = unit_rows(sides.scored) @ unit_rows(sides.known).T
        count = min(self.neighbours, len(sides.known))
        least = np.sort(cosine, axis=1)[:, -count][:, None]
        label = one_hot(sides.y, sides.classes)
        label = label / np.maximum(label.sum(axis=0), 1)
        return np.asarray(np.where(cosine >= least, cosine + 1, 0.0) @ label)
