"""Linear discriminant analysis with a shrunken covariance; no adaptation.

Reference: Fisher's discriminant as in scikit-learn's LinearDiscriminantAnalysis (least squares
solver); shrinkage s gives the covariance (1 - s) S + s (tr S / f) I within the classes.

Departures: the classes' priors are uniform, so that uneven labelled classes weigh alike, as the
balanced class weights of `logistic` have it. At s = 1 it is the nearest class mean.
`lda-balanced` rescales the target's scores so that the classes' shares in the rows to adapt to are
uniform, as `logistic-balanced` does.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, NotApplicableError, Part, Prior, Problem, hyper, register
from clser_bench.shallow.classifiers import FLOOR, balanced_scores
from clser_bench.shallow.sides import one_hot, present_scores, sides_of, within_covariance


@register("lda", version=2, presets={"lda-balanced": {"balanced": True}})
class Lda(Fitted):
    """Shrunken linear discriminant."""

    deterministic = True

    shrinkage: float = hyper(
        0.8,
        low=0.0,
        high=1.0,
        grid=(0.1, 0.3, 0.6, 0.8, 0.9, 0.95, 1.0),
        about="s, toward a multiple of the identity",
    )
    balanced: bool = hyper(False, choices=(False, True), about="balance the target's scores")

    @property
    def uses(self) -> tuple[Part, ...]:
        """The target's share of each class too, where the scores are balanced."""
        return ("labelled", "target") if self.balanced else ("labelled",)

    @property
    def assumes_prior(self) -> Prior:
        """Uniform where the scores are balanced."""
        return "uniform" if self.balanced else "none"

    def discriminants(self, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> np.ndarray:
        """x'S^-1 m_k - m_k'S^-1 m_k / 2 [n, p], S the mean of the classes' own covariances."""
        covariance, label = within_covariance(x, y), one_hot(y, int(y.max()) + 1)
        means = label.T @ x / label.sum(axis=0)[:, None]
        size = len(covariance)
        pooled = (1 - self.shrinkage) * covariance
        pooled[np.diag_indices(size)] += max(self.shrinkage * np.trace(covariance) / size, FLOOR)
        direction = np.linalg.solve(pooled, means.T)
        return np.asarray(target @ direction - (means.T * direction).sum(axis=0) / 2)

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Fit on the labelled rows, return the discriminants [n, c].

        Raises:
            NotApplicableError: no class has two labelled utterances, so there is no covariance.
        """
        sides = sides_of(problem)
        present, y, counts = np.unique(sides.y, return_inverse=True, return_counts=True)
        if len(present) > 1 and counts.max() < 2:
            raise NotApplicableError(
                "needs two labelled utterances of a class for a covariance; give more shots"
            )
        rows = np.concatenate([sides.scored, sides.target])
        found = self.discriminants(sides.known, y, rows)
        scored, target = np.split(found, [len(sides.scored)])
        scores = balanced_scores(scored, target) if self.balanced else scored
        return present_scores(scores, present, sides.classes)
