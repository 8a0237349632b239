"""Templates of a linear classifier adjusted by the target rows it is surest of.

Reference: Iwasawa & Matsuo, Test-Time Classifier Adjustment Module for Model-Agnostic Domain
Generalization, NeurIPS 2021 (T3A): algorithm 1, the classifier's weights as first members of each
support set, the M rows of least entropy of each class, unit-length members, their mean as template.

Departures: the classifier is the benchmark's logistic regression on summaries behind the common
front instead of a network's last layer; all rows to adapt to come at once instead of one by one.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import logistic_model
from clser_bench.shallow.sides import present_scores, sides_of, unit_rows


@register("t3a", version=1)
class T3a(Fitted):
    """Inner products with adjusted templates."""

    uses = ("labelled", "source", "target")
    deterministic = True
    front = "axes"

    members: int = hyper(
        100,
        low=1,
        high=100_000,
        grid=(1, 20, 100, 300),
        about="M, target rows of a support set, at most",
    )
    strength: float = hyper(
        0.05, low=1e-6, high=1e6, log=True, grid=(0.01, 0.05, 0.2), about="C of the classifier"
    )

    def templates(
        self, target: np.ndarray, coefficients: np.ndarray, offsets: np.ndarray
    ) -> np.ndarray:
        """A classifier's rows [p, f], each averaged with the surest target rows of its class."""
        logits = log_softmax(target @ coefficients.T + offsets, axis=1)
        label, entropy = logits.argmax(axis=1), -(np.exp(logits) * logits).sum(axis=1)
        order = np.argsort(entropy, kind="stable")
        templates = []
        for k, row in enumerate(coefficients):
            surest = order[label[order] == k][: self.members]
            templates.append(unit_rows(np.vstack([row, target[surest]])).sum(axis=0))
        return unit_rows(np.stack(templates))

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Adjust, return inner products [n, c]."""
        sides = sides_of(problem, front=self.front)
        present, y = np.unique(sides.y, return_inverse=True)
        if len(present) < 2:
            return present_scores(np.zeros((len(sides.scored), 1)), present, sides.classes)
        model = logistic_model(sides.known, y, strength=self.strength)
        found = sides.scored @ self.templates(sides.target, *model).T
        return present_scores(found, present, sides.classes)
