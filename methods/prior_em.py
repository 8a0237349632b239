"""Class shares of the target by expectation maximisation, and answers corrected by them.

Reference: Saerens, Latinne & Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
Probabilities, Neural Computation 14 (2002), equations 2.4 and 2.9 (MLLS); Alexandari, Kundaje &
Shrikumar, Maximum Likelihood with Bias-Corrected Calibration Is Hard to Beat at Label Shift
Adaptation, ICML 2020: calibration by a temperature and biases on held-out labels first.

Departures: the classifier is the benchmark's logistic regression; calibration uses the scores of
labelled rows by fits without them, in five parts (or as many as the scarcest class has rows; none
with one). The answer aims at accuracy on the estimated shares, as in the papers, not at average
recall: on even targets it cannot gain. The shares are drawn toward uniform by `prior_rows`
imagined rows of each class.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifier import (
    STRENGTH,
    estimated_shares,
    logistic_calibration,
    logistic_scores,
)
from clser_bench.shallow.sides import sides_of


@register("prior-em", version=1)
class PriorEm(Fitted):
    """Logistic regression with estimated class shares."""

    uses = ("labelled", "target")
    assumes_prior = "estimated"
    deterministic = True

    strength: float = hyper(
        STRENGTH, low=1e-6, high=1e6, log=True, grid=(0.01, 0.05, 0.2), about="C of the classifier"
    )
    prior_rows: float = hyper(
        100.0, low=0.0, high=1e6, grid=(30.0, 100.0, 300.0), about="imagined rows of a class"
    )
    iterations: int = hyper(100, low=0, high=100_000, about="most steps of the EM")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Fit, calibrate, estimate, return corrected log-probabilities [n, c]."""
        sides = sides_of(problem)
        rows = np.concatenate([sides.scored, sides.target])
        scores = logistic_scores(
            sides.known, sides.y, rows, classes=sides.classes, strength=self.strength
        )
        temperature, bias = logistic_calibration(
            sides.known, sides.y, classes=sides.classes, strength=self.strength
        )
        scored, target = np.split(scores / temperature + bias, [len(sides.scored)])
        shares = estimated_shares(target, imagined=self.prior_rows, iterations=self.iterations)
        return np.asarray(scored + np.log(shares * sides.classes))
