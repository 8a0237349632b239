"""Subspace alignment: the source's principal axes are turned onto the target's.

Reference: Fernando et al., Unsupervised Visual Domain Adaptation Using Subspace Alignment, ICCV
2013: source X P_s P_s' P_t, target X P_t.

Departures: axes are those of the whole source and of the target, both centred; the number of axes
is a hyper-parameter instead of the paper's bound; the classifier is the benchmark's logistic
regression instead of nearest neighbour or a support vector machine. The number of axes and C were
chosen on the suite `wide` (results/selection/defaults.md).
"""

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import logistic_scores
from clser_bench.shallow.sides import principal_basis, sides_of


@register("subspace-alignment", version=2)
class SubspaceAlignment(Fitted):
    """Subspace alignment on summaries."""

    deterministic = True
    front = "axes"
    dimension: int = hyper(
        60, low=1, high=10_000, grid=(20, 40, 60, 80), about="principal axes of each side, at most"
    )
    strength: float = hyper(
        0.05, low=1e-6, high=1e6, log=True, grid=(0.01, 0.05, 0.2), about="C of the classifier"
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        count = min(self.dimension, len(sides.source) - 1, len(sides.target) - 1)
        source = principal_basis(sides.source, count)
        target = principal_basis(sides.target, count)
        known = (sides.known - sides.source.mean(axis=0)) @ source @ (source.T @ target)
        return logistic_scores(
            known,
            sides.y,
            (sides.scored - sides.target.mean(axis=0)) @ target,
            classes=sides.classes,
            strength=self.strength,
        )
