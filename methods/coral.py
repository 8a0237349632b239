"""Correlation alignment: the source gets the target's covariance, then logistic regression.

Reference: Sun, Feng & Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016,
algorithm 1, with its ridge of 1.

Departures: covariances are those of the whole source and of the target around their means, and the
means are exchanged too; the classifier is the benchmark's logistic regression on the labelled rows
instead of a support vector machine. The ridge (1 in the paper) and C were chosen on the suite
`wide` (results/selection/defaults.md).
"""

import numpy as np
from jaxtyping import Float

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import logistic_scores
from clser_bench.shallow.sides import covariance, power, sides_of


@register("coral", version=2)
class Coral(Fitted):
    """CORAL on summaries."""

    deterministic = True
    front = "axes"
    ridge: float = hyper(
        10.0, low=1e-6, high=1e6, log=True, grid=(1.0, 10.0, 100.0), about="added to the variances"
    )
    strength: float = hyper(
        0.01,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(2e-3, 0.01, 0.05),
        about="C of the classifier",
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        colour = recolouring(sides.source, sides.target, self.ridge)
        moved = (sides.known - sides.source.mean(axis=0)) @ colour + sides.target.mean(axis=0)
        return logistic_scores(
            moved, sides.y, sides.scored, classes=sides.classes, strength=self.strength
        )


def recolouring(
    source: Float[np.ndarray, "n f"], target: Float[np.ndarray, "m f"], ridge: float
) -> Float[np.ndarray, "f f"]:
    """The map A = C_s^(-1/2) C_t^(1/2) that gives the source the target's covariance.

    Reference: Sun, Feng & Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016,
    algorithm 1: C = cov + ridge · I on both sides (ridge 1 there).

    Args:
        source: observations.
        target: of the other side.
        ridge: positive.
    """
    eye = ridge * np.eye(source.shape[1])
    return np.asarray(power(covariance(source) + eye, -0.5) @ power(covariance(target) + eye, 0.5))
