"""Transductive information maximisation: prototypes for which the target is sure and balanced.

Reference: Boudiaf et al., Transductive Information Maximization for Few-Shot Learning, NeurIPS
2020: equations 2 to 4 and proposition 1 (the alternating direction solver), with temperature 15,
lambda = alpha = 0.1 and 150 steps of the authors' code.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front,
centred and brought to unit length; the steps end early where nothing moves.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import CHANGE, FLOOR, Episode, episode, tim_logits


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

    def prototypes(self, rows: Episode) -> np.ndarray:
        """Prototypes [p, f] after the steps of proposition 1.

        q_ik ~ p_ik^(1 + alpha) / (sum_i p_ik^(1 + alpha))^(1/2)
        w_k <- [lambda / (1 + alpha) sum_S (y_ik x_i + p_ik (w_k - x_i))
                + m / n sum_T (q_ik x_i + p_ik (w_k - x_i))]
               / [lambda / (1 + alpha) sum_S y_ik + m / n sum_T q_ik]
        """
        known, target, label, w = rows.known, rows.target, rows.label, rows.means
        share, ratio = self.supervised / (1 + self.conditional), len(known) / len(target)
        for _ in range(self.iterations):
            p_known = softmax(tim_logits(known, w, self.temperature), axis=1)
            p = softmax(tim_logits(target, w, self.temperature), axis=1)
            q = p ** (1 + self.conditional)
            q = q / np.sqrt(np.maximum(q.sum(axis=0), FLOOR))
            q = q / q.sum(axis=1, keepdims=True)
            pull = share * (label - p_known).T @ known + ratio * (q - p).T @ target
            stay = share * p_known.sum(axis=0) + ratio * p.sum(axis=0)
            mass = share * label.sum(axis=0) + ratio * q.sum(axis=0)
            moved = (pull + stay[:, None] * w) / mass[:, None]
            change, w = np.abs(moved - w).max(), moved
            if change <= CHANGE:
                break
        return w

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Move the prototypes, return logits [n, c]."""
        rows = episode(problem, front=self.front)
        return rows.scores(tim_logits(rows.scored, self.prototypes(rows), self.temperature))
