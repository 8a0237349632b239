"""Random scores: what a method must beat.

Reference: the expected UAR of uniform guessing is 100 / c, whatever the class shares.

Departures: none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from clser_bench.problem import Problem
from clser_bench.registry import register
from clser_bench.train.contract import Fitted


@register("chance", version=1)
@dataclass(frozen=True, kw_only=True)
class Chance(Fitted):
    """Uniform random scores."""

    role: ClassVar[Literal["ranked", "bound"]] = "bound"
    unequal_sizes: ClassVar[bool] = True  # no feature is looked at

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Draw scores [n, c] uniformly from 0 to 1."""
        return rng.random((len(problem.scored), len(problem.classes)))
