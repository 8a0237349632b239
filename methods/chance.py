"""Random scores: what a method must beat.

Reference: the expected UAR of uniform guessing is 100 / c, whatever the class shares.

Departures: none.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, register


@register("chance", version=1)
class Chance(Fitted):
    """Uniform random scores."""

    uses = ()
    role = "bound"
    unequal_sizes = True  # no feature is looked at

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Draw scores [n, c] uniformly from 0 to 1."""
        return rng.random((len(problem.scored), len(problem.classes)))
