"""Soft clusters around the labelled rows that pay for every class they use.

Reference: Martin et al., Towards Practical Few-Shot Query Sets: Transductive Minimum Description
Length Inference, NeurIPS 2022 (PADDLE): equations 4 to 9 and algorithm 1, 20 rounds.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front
`axes-within` (results/selection/README.md says why), brought to unit length, with a temperature,
where the paper scales each column to [0, 1] and has none; lambda is given per target row. The
target's rows in a prototype weigh `mass` together where the labelled ones weigh 1: the paper has 75
unlabelled rows, a corpus has a thousand.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import CHANGE, Episode, episode, tim_logits


@register("paddle", version=2)
class Paddle(Fitted):
    """Prototypes by minimum description length."""

    uses = ("labelled", "source", "target")
    assumes_prior = "estimated"
    deterministic = True
    front = "axes-within"

    temperature: float = hyper(
        5.0, low=0.01, high=1e4, log=True, grid=(3.0, 5.0, 10.0), about="factor of distances"
    )
    complexity: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.03, 0.1, 0.3), about="lambda per target row"
    )
    iterations: int = hyper(20, low=0, high=10_000, about="most rounds")
    mass: float = hyper(1.0, low=0.0, high=1e4, about="of the target rows, in labelled rows")

    def prototypes(self, rows: Episode) -> tuple[np.ndarray, np.ndarray]:
        """Prototypes [p, f], and what to add to the logits before the softmax.

        Minimises sum_i u_i · (temperature / 2 d_i) + sum_i u_i · log u_i - complexity · n
        sum_k pi_k log pi_k, d_ik the squared distances and pi the mean of the assignments u of
        target rows, those of labelled rows being fixed.
        """
        w, offset = rows.means, np.zeros(len(rows.present))
        for _ in range(self.iterations):
            u = softmax(tim_logits(rows.target, w, self.temperature) + offset, axis=1)
            offset = self.complexity * (np.log(u.mean(axis=0) + CHANGE) + 1)
            sums, mass = rows.pooled(u, self.mass)
            moved = sums / mass[:, None]
            change, w = np.abs(moved - w).max(), moved
            if change <= CHANGE:
                break
        return w, offset

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Cluster, return logits [n, c]."""
        rows = episode(problem, front=self.front)
        prototypes, offset = self.prototypes(rows)
        return rows.scores(tim_logits(rows.scored, prototypes, self.temperature) + offset)
