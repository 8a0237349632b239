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

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifier import STRENGTH, logistic_scores
from clser_bench.shallow.sides import sides_of
from clser_bench.shallow.transport import barycentres, class_regularised_plan, scaled_distances


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
