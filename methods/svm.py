"""Linear support vector machine on the summary of the labelled source; no adaptation.

Reference: Cortes & Vapnik, Support-Vector Networks, Machine Learning 20 (1995): hinge loss, one
class against one, as in scikit-learn's SVC with a linear kernel and balanced class weights.

Departures: C (0.01, the recipe of the figures at the end of docs/protocol.md) is that of labelled
rows whose squared lengths sum to at most 100,000, such as 1,000 rows of 100 z-scored columns; where
they sum to more, it falls in proportion (results/selection/README.md says why). With five rows a
class of wide features the classes can be separated whatever C is: each of the machines of two
classes then rests on ten rows, and the whole lies below logistic regression, which has all classes
in one model.
"""

import numpy as np
from sklearn.svm import SVC

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.sides import present_scores, sides_of

LENGTHS = 1e5
"""Sum of squared lengths from which on C falls."""


@register("svm", version=2)
class Svm(Fitted):
    """scikit-learn's SVC with a linear kernel on z-scored summaries."""

    uses = ("labelled",)
    deterministic = True
    strength: float = hyper(
        0.01,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        about="C, inverse of the penalty, at most",
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem)
        present = np.unique(sides.y)
        if len(present) < 2:
            return present_scores(np.zeros((len(sides.scored), 1)), present, sides.classes)
        strength = self.strength / max(1.0, float((sides.known**2).sum()) / LENGTHS)
        model = SVC(C=strength, kernel="linear", class_weight="balanced")
        found = model.fit(sides.known, sides.y).decision_function(sides.scored)
        if len(present) == 2:
            found = np.stack([-found, found], axis=1)
        return present_scores(found, present, sides.classes)
