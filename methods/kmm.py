"""Kernel mean matching: labelled rows are weighted to resemble the target, then a classifier.

Reference: Huang, Smola, Gretton, Borgwardt & Schoelkopf, Correcting Sample Selection Bias by
Unlabeled Data, NIPS 2006: the quadratic programme for the weights, with B = 1000 and
epsilon = (sqrt(m) - 1) / sqrt(m) of its experiments, m the number of weighted rows.

Departures: the labelled rows are matched with the target, not the whole source, because only
labelled rows enter the classifier (with five labelled rows an emotion these are few weights); a
Gaussian kernel whose width is a multiple of the median distance from labelled to target rows; no
row weighs less than 0.001 of the mean weight, so that no emotion vanishes; the classifier is the
benchmark's logistic regression, whose class weights undo a change of the emotions' shares. The
width and C were chosen on the suite `wide` (results/selection/defaults.md).
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import logistic_scores
from clser_bench.shallow.sides import sides_of

LEAST = 1e-3


@register("kmm", version=2)
class Kmm(Fitted):
    """Kernel mean matching of summaries."""

    deterministic = True
    front = "axes"
    width: float = hyper(
        0.3, low=1e-3, high=1e3, log=True, grid=(0.3, 0.5, 1.0, 2.0), about="in median distances"
    )
    bound: float = hyper(1000.0, low=1.0, high=1e9, log=True, about="largest weight of a row")
    strength: float = hyper(
        0.05, low=1e-6, high=1e6, log=True, grid=(0.01, 0.05, 0.2), about="C of the classifier"
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        within = cdist(sides.known, sides.known, "sqeuclidean")
        across = cdist(sides.known, sides.target, "sqeuclidean")
        median = float(np.median(across))
        scale = 2 * self.width**2 * (median if median > 0 else 1.0)
        root = np.sqrt(len(sides.known))
        weights = matching_weights(
            np.exp(-within / scale),
            np.exp(-across / scale).mean(axis=1),
            bound=self.bound,
            slack=float((root - 1) / root),
        )
        return logistic_scores(
            sides.known,
            sides.y,
            sides.scored,
            classes=sides.classes,
            strength=self.strength,
            weights=np.maximum(weights, LEAST * weights.mean()),
        )


def matching_weights(
    kernel: Float[np.ndarray, "m m"],
    mean: Float[np.ndarray, " m"],
    *,
    bound: float,
    slack: float,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Float[np.ndarray, " m"]:
    """Weights w with which the kernel mean of some rows comes closest to another's.

    Minimises w'Kw / 2 - m · w'k subject to 0 <= w <= bound and |sum w - m| <= m · slack:
    accelerated projected gradient steps that lose their momentum where it points uphill.

    Args:
        kernel: K, between the rows.
        mean: k, each row's mean kernel with the other sample.
        bound: at least one, so that a solution exists.
        slack: 0 to 1.
        iterations: most steps.
        tolerance: stop where a step changes no weight by more.
    """
    m = len(mean)
    curvature = float(np.linalg.norm(kernel, 2))
    weights = ahead = np.ones(m)
    momentum = 1.0
    for _ in range(iterations):
        slope = kernel @ ahead - m * mean
        stepped = project(
            ahead - slope / curvature, bound=bound, low=m * (1 - slack), high=m * (1 + slack)
        )
        change = stepped - weights
        if (ahead - stepped) @ change > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = stepped + (momentum - 1) / following * change
        weights, momentum = stepped, following
        if np.abs(change).max() <= tolerance:
            break
    return weights


def project(
    z: Float[np.ndarray, " m"], *, bound: float, low: float, high: float
) -> Float[np.ndarray, " m"]:
    """The nearest point with entries from 0 to `bound` whose sum is from `low` to `high`.

    It is clip(z - s) for the shift s that brings the sum into its interval, found by halving.

    Args:
        z: any point.
        bound: at least `low` divided by the size of z.
        low: not negative.
        high: not below `low`.
    """
    clipped = np.clip(z, 0, bound)
    total = float(clipped.sum())
    if low <= total <= high:
        return np.asarray(clipped)
    wanted = low if total < low else high
    below, above = float(z.min()) - bound, float(z.max())
    for _ in range(60):
        shift = (below + above) / 2
        if np.clip(z - shift, 0, bound).sum() > wanted:
            below = shift
        else:
            above = shift
    return np.asarray(np.clip(z - above, 0, bound))
