"""Transport plans between labelled source and target, and weights that match kernel means."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

BLOCK = 20
FLOOR = 1e-200
EPSILON = 1e-3
"""Added to a class's mass before its root, as in POT."""


def balanced_masses(y: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Masses that sum to one, every class that is present having the same share.

    Args:
        y: classes of labelled rows.
    """
    _, place, count = np.unique(y, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(count) * count[place]), dtype=np.float64)


def scaled_distances(
    x: Float[np.ndarray, "m f"], target: Float[np.ndarray, "n f"]
) -> Float[np.ndarray, "m n"]:
    """Squared Euclidean distances divided by the largest; zero where all are."""
    distance = cdist(x, target, "sqeuclidean")
    largest = float(distance.max())
    return np.asarray(distance / (largest if largest > 0 else 1.0))


class Sinkhorn:
    """Entropic transport that goes on from its potentials when the cost changes.

    Solves min_G <G, C> + r · sum G log G with row sums a and column sums b by scaling rows and
    columns in turn (Cuturi, Sinkhorn Distances, NIPS 2013). The scalings are absorbed into the
    potentials f, g of G = exp((f + g - C) / r) every 20 steps, so that a small r does not
    underflow (Schmitzer, Stabilized Sparse Scaling Algorithms for Entropy Regularized Transport
    Problems, SIAM J. Scientific Computing 2019).

    Args:
        a: masses of the rows, positive, of sum one.
        b: masses of the columns, likewise.
        regularisation: r, positive.
    """

    def __init__(
        self, a: Float[np.ndarray, " m"], b: Float[np.ndarray, " n"], *, regularisation: float
    ) -> None:
        self.a, self.b, self.regularisation = a, b, regularisation
        self.f, self.g = np.zeros(len(a)), np.zeros(len(b))

    def plan(
        self, cost: Float[np.ndarray, "m n"], *, iterations: int, tolerance: float
    ) -> Float[np.ndarray, "m n"]:
        """The plan for a cost; its column sums are exact, its row sums to the tolerance.

        Args:
            cost: C.
            iterations: at most about this many steps.
            tolerance: stop where the row sums miss theirs by no more than this in total.
        """
        # The largest entry of every row, then of every column, of the first kernel is one.
        self.f = (cost - self.g).min(axis=1)
        self.g = (cost - self.f[:, None]).min(axis=0)
        kernel = self._kernel(cost)
        for _ in range(math.ceil(iterations / BLOCK)):
            v = np.ones(len(self.b))
            for _ in range(BLOCK):
                u = self.a / np.maximum(kernel @ v, FLOOR)
                v = self.b / np.maximum(u @ kernel, FLOOR)
            missed = float(np.abs(u * (kernel @ v) - self.a).sum())
            self.f = self.f + self.regularisation * np.log(u)
            self.g = self.g + self.regularisation * np.log(v)
            kernel = self._kernel(cost)
            if missed <= tolerance:
                break
        return kernel

    def _kernel(self, cost: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
        return np.asarray(np.exp((self.f[:, None] + self.g - cost) / self.regularisation))


def class_regularised_plan(
    cost: Float[np.ndarray, "m n"],
    y: Int[np.ndarray, " m"],
    *,
    entropy: float,
    group: float,
    rounds: int,
    iterations: int,
    tolerance: float,
) -> Float[np.ndarray, "m n"]:
    """Entropic transport in which a target row prefers to receive mass of few classes.

    Minimises <G, C> + entropy · sum G log G + group · sum_jk (s_jk + 0.001)^(1/2), s_jk the mass
    that target row j receives from class k, by replacing the concave last term by its tangent
    round after round (majorisation-minimisation). Rows have balanced masses, columns equal ones.

    Reference: Courty et al., Optimal Transport for Domain Adaptation, IEEE TPAMI 2017, the
    class-regularised problem with the l_p-l_1 term, p = 1/2; `ot.da.sinkhorn_lpl1_mm` of POT.

    Args:
        cost: C.
        y: classes of the rows.
        entropy: positive.
        group: not negative.
        rounds: how often transport is solved, at least once; once where `group` is zero.
        iterations: most Sinkhorn steps in a round.
        tolerance: see `Sinkhorn.plan`.
    """
    member = np.eye(int(y.max()) + 1)[y]
    columns = cost.shape[1]
    solver = Sinkhorn(balanced_masses(y), np.full(columns, 1 / columns), regularisation=entropy)
    plan = solver.plan(cost, iterations=iterations, tolerance=tolerance)
    for _ in range(rounds - 1 if group > 0 else 0):
        slope = 0.5 / np.sqrt(member.T @ plan + EPSILON)
        plan = solver.plan(cost + group * slope[y], iterations=iterations, tolerance=tolerance)
    return plan


def barycentres(
    plan: Float[np.ndarray, "m n"], target: Float[np.ndarray, "n f"]
) -> Float[np.ndarray, "m f"]:
    """Where a plan sends each row: the mean of the target rows, weighted by its mass there."""
    return np.asarray(plan @ target / np.maximum(plan.sum(axis=1, keepdims=True), FLOOR))


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

    Reference: Huang et al., Correcting Sample Selection Bias by Unlabeled Data, NIPS 2006, the
    quadratic programme of kernel mean matching.

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
