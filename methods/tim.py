"""Transductive information maximisation: prototypes for which the target is sure and balanced.

Reference: Boudiaf et al., Transductive Information Maximization for Few-Shot Learning, NeurIPS
2020: equations 2 to 4 and proposition 1 (the alternating direction solver), with temperature 15,
lambda = alpha = 0.1 and 150 steps of the authors' code.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front,
centred and brought to unit length; the steps end early where nothing moves.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.few_shot import tim_logits, tim_prototypes
from clser_bench.shallow.sides import present_scores, sides_of, unit_rows


@register("tim", version=1)
class Tim(Fitted):
    """TIM-ADM on summaries."""

    uses = ("labelled", "source", "target")
    assumes_prior = "uniform"
    deterministic = True
    front = "axes"

    temperature: float = hyper(
        15.0, low=0.01, high=1e4, log=True, grid=(5.0, 15.0, 30.0), about="tau, of the logits"
    )
    supervised: float = hyper(
        1.0, low=0.0, high=1e4, grid=(0.3, 1.0, 3.0), about="lambda, weight of the labelled rows"
    )
    conditional: float = hyper(0.1, low=0.0, high=100.0, about="alpha, of the rows' own entropy")
    iterations: int = hyper(150, low=0, high=100_000, about="most steps")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Move the prototypes, return logits [n, c]."""
        sides = sides_of(problem, front=self.front)
        present, y = np.unique(sides.y, return_inverse=True)
        prototypes = tim_prototypes(
            unit_rows(sides.known),
            y,
            unit_rows(sides.target),
            temperature=self.temperature,
            supervised=self.supervised,
            conditional=self.conditional,
            iterations=self.iterations,
        )
        logits = tim_logits(unit_rows(sides.scored), prototypes, self.temperature)
        return present_scores(logits, present, sides.classes)
