"""Class shares of the target by expectation maximisation, and answers corrected by them.

Reference: Saerens, Latinne & Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
Probabilities, Neural Computation 14 (2002), equations 2.4 and 2.9 (MLLS); Alexandari, Kundaje &
Shrikumar, Maximum Likelihood with Bias-Corrected Calibration Is Hard to Beat at Label Shift
Adaptation, ICML 2020: calibration by a temperature and biases on held-out labels first.

Departures: the classifier is the benchmark's logistic regression; calibration uses the scores of
labelled rows by fits without them, in five parts (or as many as the scarcest class has rows; none
with one). The answer aims at accuracy on the estimated shares, as in the papers, not at average
recall: on even targets it cannot gain. The shares are drawn toward uniform by `prior_rows`
imagined rows of each class, chosen on the suite `wide` (results/selection/README.md).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.model_selection import StratifiedKFold

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import FLOOR, STRENGTH, logistic_scores
from clser_bench.shallow.sides import sides_of

PARTS = 5
"""Of the cross-validation, at most."""


@register("prior-em", version=2)
class PriorEm(Fitted):
    """Logistic regression with estimated class shares."""

    uses = ("labelled", "target")
    assumes_prior = "estimated"
    deterministic = True

    strength: float = hyper(
        STRENGTH, low=1e-6, high=1e6, log=True, grid=(0.01, 0.05, 0.2), about="C of the classifier"
    )
    prior_rows: float = hyper(
        300.0, low=0.0, high=1e6, grid=(30.0, 100.0, 300.0), about="imagined rows of a class"
    )
    iterations: int = hyper(100, low=0, high=100_000, about="most steps of the EM")

    def calibration(self, x: np.ndarray, y: np.ndarray, classes: int) -> tuple[float, np.ndarray]:
        """T and b [c], of sum zero, under which held-out log-probabilities / T + b are calibrated.

        By the likelihood of held-out labels, classes weighing alike; 1 and zeros where the
        scarcest class has one row.
        """
        present, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
        bias = np.zeros(classes)
        if len(present) < 2 or counts.min() < 2:
            return 1.0, bias
        size, rows = len(present), np.arange(len(labels))
        scores = np.empty((len(y), size))
        for train, held in StratifiedKFold(min(PARTS, int(counts.min()))).split(x, labels):
            scores[held] = logistic_scores(
                x[train], labels[train], x[held], classes=size, strength=self.strength
            )
        weight = 1 / (counts[labels] * size)
        # The biases are drawn to zero, as by one held-out row of unit deviation.
        ridge = 1 / len(labels)

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            inverse, offsets = np.exp(point[0]), point[1:]
            log_p = log_softmax(inverse * scores + offsets, axis=1)
            slope = weight[:, None] * (np.exp(log_p) - np.eye(size)[labels])
            value = ridge * (offsets @ offsets) / 2 - (weight * log_p[rows, labels]).sum()
            gradient = [inverse * (slope * scores).sum()], slope.sum(axis=0) + ridge * offsets
            return float(value), np.concatenate(gradient)

        bounds = [(-3.0, 3.0)] + [(None, None)] * size
        found = minimize(loss, np.zeros(1 + size), jac=True, method="L-BFGS-B", bounds=bounds).x
        bias[present] = found[1:] - found[1:].mean()
        return float(np.exp(-found[0])), bias

    def shares(self, scores: np.ndarray, *, tolerance: float = 1e-6) -> np.ndarray:
        """The class shares [c] under which scores [n, c] that assume uniform ones are likeliest.

        pi_k <- (prior_rows + sum_i p_ik pi_k / sum_l p_il pi_l) / (n + c prior_rows), the maximum
        a posteriori under a symmetric Dirichlet distribution.
        """
        n, classes = scores.shape
        shares = np.full(classes, 1 / classes)
        for _ in range(self.iterations):
            counts = softmax(scores + np.log(np.maximum(shares, FLOOR)), axis=1).sum(axis=0)
            moved = (self.prior_rows + counts) / (n + classes * self.prior_rows)
            change, shares = np.abs(moved - shares).max(), moved
            if change <= tolerance:
                break
        return np.asarray(np.maximum(shares, FLOOR))

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Fit, calibrate, estimate, return corrected log-probabilities [n, c]."""
        sides = sides_of(problem)
        rows = np.concatenate([sides.scored, sides.target])
        scores = logistic_scores(
            sides.known, sides.y, rows, classes=sides.classes, strength=self.strength
        )
        temperature, bias = self.calibration(sides.known, sides.y, sides.classes)
        scored, target = np.split(scores / temperature + bias, [len(sides.scored)])
        return np.asarray(scored + np.log(self.shares(target) * sides.classes))
