"""Ridge regression onto class indicators; no adaptation.

Reference: Hoerl & Kennard, Ridge Regression, Technometrics 12 (1970), as in scikit-learn's
RidgeClassifier with balanced class weights: one indicator of +1 and -1 a class.

Departures: none.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import RidgeClassifier

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.sides import present_scores, sides_of


@register("ridge", version=1)
class Ridge(Fitted):
    """scikit-learn's RidgeClassifier on summaries."""

    uses = ("labelled",)
    deterministic = True

    penalty: float = hyper(
        1000.0,
        low=1e-6,
        high=1e9,
        log=True,
        grid=(10.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0),
        about="alpha, of the weights",
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Fit on the labelled rows, return the regression's values [n, c]."""
        sides = sides_of(problem)
        present = np.unique(sides.y)
        if len(present) < 2:
            return present_scores(np.zeros((len(sides.scored), 1)), present, sides.classes)
        model = RidgeClassifier(alpha=self.penalty, class_weight="balanced")
        found = model.fit(sides.known, sides.y).decision_function(sides.scored)
        if len(present) == 2:
            found = np.stack([-found, found], axis=1)
        return present_scores(found, present, sides.classes)
