"""The most frequent class of the labelled source for every utterance; the bound of no features.

Reference: none; its UAR is 100 / c on any target that holds every class.

Departures: none. In a k-shot draw all classes are equally frequent: the first one is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from clser_bench.problem import Problem
from clser_bench.registry import register
from clser_bench.train.contract import Fitted


@register("majority", version=1)
@dataclass(frozen=True, kw_only=True)
class Majority(Fitted):
    """The same scores for every utterance."""

    deterministic = True
    role: ClassVar[Literal["ranked", "bound"]] = "bound"
    unequal_sizes: ClassVar[bool] = True  # no feature is looked at

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Scores [n, c]: one for the most frequent class, of equal ones the first; zero else."""
        counts = np.bincount(problem.labelled.y, minlength=len(problem.classes))
        scores = np.zeros((len(problem.scored), len(problem.classes)))
        scores[:, counts.argmax()] = 1.0
        return scores
