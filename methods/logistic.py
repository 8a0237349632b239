"""Logistic regression on the summary of the labelled source; no adaptation.

Reference: multinomial logistic regression with L2 penalty as in scikit-learn, C = 0.05, balanced
class weights, 500 iterations: the recipe of the figures at the end of docs/protocol.md.

Departures: none. `logistic-balanced` rescales the target's scores so that the classes' shares in
the rows to adapt to are uniform (Sinkhorn steps): knowledge about the target that the plain form
does not use, and the row that a method which balances its assignments has to beat.
"""

import numpy as np

from clser_bench.plugin import Fitted, Part, Prior, Problem, hyper, register
from clser_bench.shallow.classifiers import (
    ITERATIONS,
    STRENGTH,
    balanced_scores,
    logistic_scores,
)


@register("logistic", version=2, presets={"logistic-balanced": {"balanced": True}})
class Logistic(Fitted):
    """scikit-learn's LogisticRegression on z-scored summaries."""

    deterministic = True
    strength: float = hyper(
        STRENGTH,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0),
        about="C, inverse of the L2 penalty",
    )
    iterations: int = hyper(ITERATIONS, low=1, high=100_000, about="most iterations of L-BFGS")
    balanced: bool = hyper(False, about="balance the target's scores")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        rows = np.concatenate([problem.scored, problem.adapt])
        scores = logistic_scores(
            problem.source.summary[problem.labelled.rows],
            problem.labelled.y,
            problem.target.summary[rows],
            classes=len(problem.classes),
            strength=self.strength,
            iterations=self.iterations,
        )
        scored, adapted = np.split(scores, [len(problem.scored)])
        return balanced_scores(scored, adapted) if self.balanced else scored

    @property
    def uses(self) -> tuple[Part, ...]:
        return ("labelled", "target") if self.balanced else ("labelled",)

    @property
    def assumes_prior(self) -> Prior:
        return "uniform" if self.balanced else "none"
