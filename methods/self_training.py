"""Balanced self-training: logistic regression learns from its surest answers, class by class.

Reference: Zou et al., Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training, ECCV 2018: pseudo-labels and refitting in turn, an equal share of
each class's pseudo-labels, the most confident first, a larger share every round.

Departures: utterances instead of pixels, logistic regression on summaries instead of a deep
network; no spatial priors; the scores are balanced over the classes by Sinkhorn steps before
pseudo-labels are taken, where the paper normalises each class's confidence by a threshold of its
own; in the end the share is all utterances (`last_share`), in the paper a half; pseudo-labels are
assigned again every round, as in the paper, and the classifier is fitted from scratch. C and the
weight of pseudo-labels (1 in the paper) were chosen on the suite `wide`
(results/selection/defaults.md).
"""

import math

import numpy as np
from jaxtyping import Float, Int

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import balanced_scores, logistic_scores
from clser_bench.shallow.sides import sides_of


@register("self-training", version=2)
class SelfTraining(Fitted):
    """Rounds of balanced pseudo-labels and logistic regression."""

    assumes_prior = "uniform"
    deterministic = True
    front = "axes"
    strength: float = hyper(
        0.01,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(2e-3, 0.01, 0.05),
        about="C, inverse of the L2 penalty",
    )
    pseudo_weight: float = hyper(
        0.01, low=0.0, high=100.0, grid=(0.01, 0.03, 0.1, 0.3), about="of a pseudo-label"
    )
    rounds: int = hyper(5, low=0, high=100, about="times that pseudo-labels are made")
    last_share: float = hyper(
        1.0, low=0.0, high=1.0, about="share of each class's pseudo-labels in the last round"
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        known, y = sides.known, sides.y
        # In an order of their own, so that the order of the table does not matter to the last
        # digits of a fit, nor to ties between equally sure utterances.
        target = sides.target[np.lexsort(sides.target.T)]
        x, labels, weights = known, y, np.ones(len(y))
        for number in range(1, self.rounds + 1):
            scores = self._scores(x, labels, weights, target, len(problem.classes))
            balanced = balanced_scores(scores)
            label = balanced.argmax(axis=1)
            chosen = surest(balanced.max(axis=1), label, self.last_share * number / self.rounds)
            x = np.concatenate([known, target[chosen]])
            labels = np.concatenate([y, label[chosen]])
            weights = np.concatenate([np.ones(len(y)), np.full(len(chosen), self.pseudo_weight)])
        both = np.concatenate([target, sides.scored])
        scores = self._scores(x, labels, weights, both, len(problem.classes))
        # Balanced over the rows to adapt to: scored rows may be others.
        return balanced_scores(scores[len(target) :], scores[: len(target)])

    def _scores(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray, target: np.ndarray, classes: int
    ) -> np.ndarray:
        return logistic_scores(
            x, y, target, classes=classes, strength=self.strength, weights=weights
        )


def surest(
    confidence: Float[np.ndarray, " n"], label: Int[np.ndarray, " n"], share: float
) -> Int[np.ndarray, " m"]:
    """Positions of the most confident share of each class, rounded up, in ascending order.

    Args:
        confidence: of each row, larger is surer.
        label: of each row.
        share: 0 to 1.
    """
    chosen = []
    for k in np.unique(label):
        members = np.flatnonzero(label == k)
        order = np.argsort(-confidence[members], kind="stable")
        # A share such as 0.6 of 5 is 3 for certain, whatever its last binary digit.
        chosen.append(members[order[: math.ceil(share * len(members) - 1e-9)]])
    return np.sort(np.concatenate(chosen))
