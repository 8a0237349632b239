"""Optimal transport: the labelled source is moved onto the target, then logistic regression.

Reference: Courty, Flamary, Tuia & Rakotomamonjy, Optimal Transport for Domain Adaptation, IEEE
TPAMI 39 (2017): entropic transport with the class regulariser (the l_p-l_1 term, p = 1/2) and the
barycentric mapping; the constant 0.001 in the regulariser and the ten rounds are those of the
public code, POT's `ot.da.SinkhornLpl1Transport`.

Departures: only the labelled source rows are transported, and every emotion has the same mass, so
that the target is assumed to have uniform class shares; distances are divided by the largest; the
last plan is what the allowed Sinkhorn steps reach; the weights of both regularisers were chosen on
the suite `wide` (results/selection/defaults.md), where the paper validates them per problem; the
classifier is the benchmark's logistic regression instead of nearest neighbour.
"""

import math

import numpy as np
from jaxtyping import Float, Int

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import STRENGTH, logistic_scores
from clser_bench.shallow.sides import balanced_masses, scaled_distances, sides_of

BLOCK = 20
FLOOR = 1e-200
ABSORBED = 50.0
"""Scalings are absorbed where the logarithm of one is larger than this, either way."""
EPSILON = 1e-3
"""Added to a class's mass before its root, as in POT."""


@register("ot", version=2)
class Transported(Fitted):
    """Class-regularised entropic optimal transport on summaries."""

    assumes_prior = "uniform"
    deterministic = True
    front = "axes"
    entropy: float = hyper(
        0.03,
        low=1e-3,
        high=1e3,
        log=True,
        grid=(1e-3, 3e-3, 0.01, 0.03),
        about="weight of the entropy",
    )
    group: float = hyper(
        0.1, low=0.0, high=1e3, grid=(0.0, 0.1, 1.0), about="weight of the class regulariser"
    )
    strength: float = hyper(STRENGTH, low=1e-6, high=1e6, log=True, about="C of the classifier")
    rounds: int = hyper(10, low=1, high=1000, about="times that transport is solved")
    iterations: int = hyper(100, low=1, high=1_000_000, about="most Sinkhorn steps of a round")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        plan = class_regularised_plan(
            scaled_distances(sides.known, sides.target),
            sides.y,
            entropy=self.entropy,
            group=self.group,
            rounds=self.rounds,
            iterations=self.iterations,
            tolerance=1e-6,
        )
        return logistic_scores(
            barycentres(plan, sides.target),
            sides.y,
            sides.scored,
            classes=sides.classes,
            strength=self.strength,
        )


class Sinkhorn:
    """Entropic transport that goes on from its potentials when the cost changes.

    Solves min_G <G, C> + r · sum G log G with row sums a and column sums b by scaling rows and
    columns in turn (Cuturi, Sinkhorn Distances, NIPS 2013). Scalings that become large or small
    are absorbed into the potentials f, g of G = exp((f + g - C) / r), so that a small r does not
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
        self.g = np.zeros(len(b))

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
        f = (cost - self.g).min(axis=1)
        g = (cost - f[:, None]).min(axis=0)
        kernel = self._kernel(cost, f, g)
        log_u, log_v = np.zeros(len(f)), np.zeros(len(g))
        rows = kernel.sum(axis=1)
        for _ in range(math.ceil(iterations / BLOCK)):
            if max(np.abs(log_u).max(), np.abs(log_v).max()) > ABSORBED:
                f, g = f + self.regularisation * log_u, g + self.regularisation * log_v
                kernel = self._kernel(cost, f, g)
                rows = kernel.sum(axis=1)
            for _ in range(BLOCK):
                u = self.a / np.maximum(rows, FLOOR)
                v = self.b / np.maximum(u @ kernel, FLOOR)
                rows = kernel @ v
            log_u, log_v = np.log(u), np.log(v)
            if float(np.abs(u * rows - self.a).sum()) <= tolerance:
                break
        self.g = g + self.regularisation * log_v
        kernel *= u[:, None]
        kernel *= v
        return kernel

    def _kernel(
        self, cost: Float[np.ndarray, "m n"], f: Float[np.ndarray, " m"], g: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "m n"]:
        exponent = f[:, None] - cost
        exponent += g
        exponent /= self.regularisation
        return np.asarray(np.exp(exponent, out=exponent))


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
