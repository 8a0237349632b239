"""Soft clusters around the labelled rows that pay for every class they use.

Reference: Martin et al., Towards Practical Few-Shot Query Sets: Transductive Minimum Description
Length Inference, NeurIPS 2022 (PADDLE): equations 4 to 9 and algorithm 1, 20 rounds.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front,
centred and brought to unit length, with a temperature, where the paper scales each column to [0, 1]
and has none; lambda is given per target row. The target's rows in a prototype weigh `mass` together
where the labelled ones weigh 1: the paper has 75 unlabelled rows, a corpus has a thousand.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.few_shot import description_length_prototypes, tim_logits
from clser_bench.shallow.sides import present_scores, sides_of, unit_rows


@register("paddle", version=1)
class Paddle(Fitted):
    """Prototypes by minimum description length."""

    uses = ("labelled", "source", "target")
    assumes_prior = "estimated"
    deterministic = True
    front = "axes"

    temperature: float = hyper(
        5.0, low=0.01, high=1e4, log=True, grid=(3.0, 5.0, 10.0), about="factor of distances"
    )
    complexity: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.03, 0.1, 0.3), about="lambda per target row"
    )
    iterations: int = hyper(20, low=0, high=10_000, about="most rounds")
    mass: float = hyper(1.0, low=0.0, high=1e4, about="of the target rows, in labelled rows")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Cluster, return logits [n, c]."""
        sides = sides_of(problem, front=self.front)
        present, y = np.unique(sides.y, return_inverse=True)
        prototypes, offset = description_length_prototypes(
            unit_rows(sides.known),
            y,
            unit_rows(sides.target),
            temperature=self.temperature,
            complexity=self.complexity,
            mass=self.mass,
            iterations=self.iterations,
        )
        logits = tim_logits(unit_rows(sides.scored), prototypes, self.temperature)
        return present_scores(logits + offset, present, sides.classes)
