"""Nearest class mean on the summary of the labelled source; no adaptation.

Reference: Snell, Swersky & Zemel, Prototypical Networks for Few-Shot Learning, NIPS 2017,
equations 1 and 2: a class is the mean of its labelled rows, the nearest in squared Euclidean
distance is the answer; with rows centred and brought to unit length, SimpleShot's CL2N (Wang et
al., arXiv 1911.04623).

Departures: no network is trained, the rows are the benchmark's summaries behind the front `within`
(results/selection/README.md says why); each side is centred around its own mean by normalisation.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import squared_distances
from clser_bench.shallow.sides import one_hot, present_scores, sides_of, unit_rows


@register("prototype", version=2)
class Prototype(Fitted):
    """Squared distances to class means."""

    uses = ("labelled",)
    deterministic = True
    front = "within"

    unit: bool = hyper(True, choices=(False, True), grid=(False, True), about="rows at unit length")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Average, return negative squared distances [n, c]."""
        sides = sides_of(problem, front=self.front)
        present, y = np.unique(sides.y, return_inverse=True)
        rows = (sides.known, sides.scored)
        known, scored = map(unit_rows, rows) if self.unit else rows
        label = one_hot(y, len(present))
        means = label.T @ known / label.sum(axis=0)[:, None]
        return present_scores(-squared_distances(scored, means), present, sides.classes)
