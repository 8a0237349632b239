"""Random scores: what a method must beat.

Reference: the expected UAR of uniform guessing is 100 / c, whatever the class shares.

Departures: none.
"""

import numpy as np

from clser_bench.plugin import Fitted, Problem, register


@register("chance", version=1)
class Chance(Fitted):
    """Uniform random scores."""

    uses = ()
    role = "bound"
    unequal_sizes = True  # no feature is looked at

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        return rng.random((len(problem.scored), len(problem.classes)))
