"""Linear discriminant analysis with a shrunken covariance; no adaptation.

Reference: Fisher's discriminant as in scikit-learn's LinearDiscriminantAnalysis (least squares
solver); shrinkage s gives the covariance (1 - s) S + s (tr S / f) I within the classes.

Departures: the classes' priors are uniform, so that uneven labelled classes weigh alike, as the
balanced class weights of `logistic` have it. The suite `dev` (results/selection) chose s = 1, which
leaves the nearest class mean.
"""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from clser_bench.plugin import Fitted, NotApplicableError, Problem, hyper, register
from clser_bench.shallow.sides import sides_of


@register("lda", version=1)
class Lda(Fitted):
    """scikit-learn's LinearDiscriminantAnalysis on z-scored summaries."""

    uses = ("labelled",)
    deterministic = True
    shrinkage: float = hyper(
        1.0,
        low=0.0,
        high=1.0,
        grid=(0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        about="s, toward a multiple of the identity",
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Fit on the labelled rows, return the discriminants [n, c].

        Raises:
            NotApplicableError: no class has two labelled utterances, so there is no covariance.
        """
        sides = sides_of(problem)
        present, counts = np.unique(sides.y, return_counts=True)
        scores = np.zeros((len(sides.scored), sides.classes))
        if len(present) < 2:
            return scores
        if counts.max() < 2:
            raise NotApplicableError(
                "needs two labelled utterances of a class for a covariance; give more shots"
            )
        model = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=self.shrinkage, priors=np.full(len(present), 1 / len(present))
        )
        found = model.fit(sides.known, sides.y).decision_function(sides.scored)
        if len(present) == 2:
            found = np.stack([-found, found], axis=1)
        scores[:] = found.min() - 1
        scores[:, present] = found
        return scores
