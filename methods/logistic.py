"""Logistic regression on the summary of the labelled source; no adaptation.

Reference: multinomial logistic regression with L2 penalty as in scikit-learn, C = 0.05, balanced
class weights, 500 iterations: the recipe of the figures at the end of docs/protocol.md.

Departures: none. `logistic-balanced` rescales the target's scores so that the classes' shares
are uniform (Sinkhorn steps): knowledge about the target that the plain form does not use, and
the row that a method which balances its assignments has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from clser_bench.nn.balance import balance
from clser_bench.registry import register
from clser_bench.spec import hyper
from clser_bench.train.contract import Fitted, Prior
from clser_bench.trial import Problem

SINKHORN_STEPS = 50


@register("logistic", version=1, presets={"logistic-balanced": {"balanced": True}})
@dataclass(frozen=True, kw_only=True)
class Logistic(Fitted):
    """scikit-learn's LogisticRegression on z-scored summaries."""

    deterministic = True

    strength: float = hyper(
        0.05, low=1e-6, high=1e6, log=True, about="C, inverse of the L2 penalty"
    )
    iterations: int = hyper(500, low=1, high=100_000, about="most iterations of L-BFGS")
    balanced: bool = hyper(False, choices=(False, True), about="balance the target's scores")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Fit on the labelled rows, return log-probabilities [n, c]."""
        model = LogisticRegression(
            C=self.strength, class_weight="balanced", max_iter=self.iterations
        )
        model.fit(problem.source.summary[problem.labelled.rows], problem.labelled.y)
        x = problem.target.summary[problem.scored]
        scores: npt.NDArray[np.float64] = np.full((len(x), len(problem.classes)), -np.inf)
        scores[:, model.classes_] = model.predict_log_proba(x)
        # A probability that underflows would be minus infinity.
        np.maximum(scores, np.log(1e-12), out=scores)
        if not self.balanced:
            return scores
        uniform = torch.full((scores.shape[1],), 1 / scores.shape[1], dtype=torch.float64)
        balanced = balance(torch.from_numpy(scores), uniform, steps=SINKHORN_STEPS)
        return np.asarray(balanced.log(), dtype=np.float64)

    @property
    def assumes_prior(self) -> Prior:
        """Uniform where the scores are balanced."""
        return "uniform" if self.balanced else "none"
