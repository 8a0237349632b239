"""Geodesic flow kernel: inner products over all subspaces between source and target.

Reference: Gong, Shi, Sha & Grauman, Geodesic Flow Kernel for Unsupervised Domain Adaptation, CVPR
2012: the closed form of the kernel by principal angles.

Departures: the subspaces are principal axes of the whole source and of the target, both centred;
their dimension is a hyper-parameter, not chosen by the paper's disagreement measure; the classifier
is the benchmark's logistic regression on x G^(1/2) instead of nearest neighbour. C was chosen on
the suite `wide` (results/selection/defaults.md).
"""

import numpy as np
from jaxtyping import Float

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import logistic_scores
from clser_bench.shallow.sides import FLOOR, power, principal_basis, sides_of


@register("gfk", version=2)
class Gfk(Fitted):
    """Geodesic flow kernel on summaries."""

    deterministic = True
    front = "axes"
    dimension: int = hyper(
        40, low=1, high=10_000, grid=(10, 20, 40, 60), about="axes of each side, at most f / 2"
    )
    strength: float = hyper(
        0.05, low=1e-6, high=1e6, log=True, grid=(0.01, 0.05, 0.2), about="C of the classifier"
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        half = max(1, sides.source.shape[1] // 2)
        count = min(self.dimension, half, len(sides.source) - 1, len(sides.target) - 1)
        kernel = geodesic_flow_kernel(
            principal_basis(sides.source, count), principal_basis(sides.target, count)
        )
        root = power(kernel, 0.5)
        return logistic_scores(
            (sides.known - sides.source.mean(axis=0)) @ root,
            sides.y,
            (sides.scored - sides.target.mean(axis=0)) @ root,
            classes=sides.classes,
            strength=self.strength,
        )


def geodesic_flow_kernel(
    source: Float[np.ndarray, "f k"], target: Float[np.ndarray, "f k"]
) -> Float[np.ndarray, "f f"]:
    """G = integral over t from 0 to 1 of P(t)P(t)', P(t) the geodesic between two subspaces.

    With P_s'P_t = U cos(theta) V' and Q the directions (I - P_s P_s')P_t V at unit length,
    G = [P_s U, -Q] [[l1, l2], [l2, l3]] [P_s U, -Q]' / 2, l1 = 1 + sin(2 theta) / (2 theta),
    l2 = (cos(2 theta) - 1) / (2 theta), l3 = 1 - sin(2 theta) / (2 theta).

    Reference: Gong et al., Geodesic Flow Kernel for Unsupervised Domain Adaptation, CVPR 2012,
    the closed form by principal angles (there without the factor 1/2).

    Args:
        source: orthonormal columns.
        target: as many orthonormal columns.
    """
    u, cosine, vt = np.linalg.svd(source.T @ target)
    start = source @ u
    across = target @ vt.T - start * cosine
    length = np.linalg.norm(across, axis=0)
    theta = np.arctan2(length, cosine)
    turned = np.where(theta > FLOOR, theta, 1.0)
    sine, versed = np.sin(2 * theta) / (2 * turned), (np.cos(2 * theta) - 1) / (2 * turned)
    sine = np.where(theta > FLOOR, sine, 1.0)
    # Where both subspaces agree there is no way across, and its weights are zero.
    across = -across / np.maximum(length, FLOOR)
    both = (start * versed) @ across.T
    return np.asarray(
        ((start * (1 + sine)) @ start.T + both + both.T + (across * (1 - sine)) @ across.T) / 2
    )
