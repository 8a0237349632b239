"""Linear support vector machine on the summary of the labelled source; no adaptation.

Reference: Cortes & Vapnik, Support-Vector Networks, Machine Learning 20 (1995): hinge loss, one
class against one, as in scikit-learn's SVC with a linear kernel and balanced class weights.

Departures: C is divided by the mean squared length of the labelled rows, as in Joachims' SVMlight,
and by their number in thousands, so that the penalty means the same with 25 rows and 2,000 and with
88 columns and 1,024 (results/selection/README.md says why). With five rows a class the classes can
be separated whatever C is; each of the machines then rests on ten rows, and lies below logistic
regression, which has all classes in one model.
"""

import numpy as np
from sklearn.svm import SVC

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifier import FLOOR
from clser_bench.shallow.sides import present_scores, sides_of


@register("svm", version=2)
class Svm(Fitted):
    """scikit-learn's SVC with a linear kernel on z-scored summaries."""

    uses = ("labelled",)
    deterministic = True
    strength: float = hyper(
        1.0,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        about="C of a thousand rows of unit length",
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem)
        present = np.unique(sides.y)
        if len(present) < 2:
            return present_scores(np.zeros((len(sides.scored), 1)), present, sides.classes)
        size = len(sides.y) / 1000 * float((sides.known**2).sum(axis=1).mean())
        strength = self.strength / max(size, FLOOR)
        model = SVC(C=strength, kernel="linear", class_weight="balanced")
        found = model.fit(sides.known, sides.y).decision_function(sides.scored)
        if len(present) == 2:
            found = np.stack([-found, found], axis=1)
        return present_scores(found, present, sides.classes)
