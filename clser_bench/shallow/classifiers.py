"""Classifiers without a network: logistic regression and its scores; few-shot classifiers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from clser_bench.problem import Problem
from clser_bench.shallow.sides import Front, one_hot, present_scores, sides_of, unit_rows

STRENGTH = 0.05
ITERATIONS = 500
SINKHORN_STEPS = 200
FLOOR = 1e-12
BALANCED = 1e-9  # Sinkhorn steps end where they change no factor by a larger share


def logistic_scores(
    x: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    classes: int,
    strength: float = STRENGTH,
    iterations: int = ITERATIONS,
    weights: Float[np.ndarray, " m"] | None = None,
) -> Float[np.ndarray, "n c"]:
    """Log-probabilities of logistic regression with L2 penalty and balanced class weights.

    Not below log(1e-12); those of an absent class are at that floor. `strength` is C, the inverse
    of the penalty; `weights` are those of the labelled observations.
    """
    scores = np.full((len(target), classes), np.log(FLOOR))
    present, labels = np.unique(y, return_inverse=True)
    if len(present) < 2:
        scores[:, present] = 0.0
        return scores
    coefficients, offsets = logistic_model(
        x, labels, strength=strength, iterations=iterations, weights=weights
    )
    found = log_softmax(target @ coefficients.T + offsets, axis=1)
    # A probability that underflows would be minus infinity.
    scores[:, present] = np.maximum(found, np.log(FLOOR))
    return scores


def logistic_model(
    x: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    *,
    strength: float = STRENGTH,
    iterations: int = ITERATIONS,
    weights: Float[np.ndarray, " m"] | None = None,
) -> tuple[Float[np.ndarray, "c f"], Float[np.ndarray, " c"]]:
    """Coefficients and offsets of the logistic regression of `logistic_scores`, a row a class.

    `y`: their classes, without gaps, at least two.
    """
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=iterations)
    model.fit(x, y, sample_weight=weights)
    coefficients, offsets = model.coef_, model.intercept_
    if len(offsets) == 1:
        # Of two classes scikit-learn keeps the difference alone.
        coefficients, offsets = (np.concatenate([-v, v]) / 2 for v in (coefficients, offsets))
    return np.asarray(coefficients), np.asarray(offsets)


def class_offsets(scores: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " c"]:
    """What to add to log-probabilities so that the classes' shares are uniform; sums to zero.

    Reference: Cuturi, Sinkhorn Distances, NIPS 2013, algorithm 1; rows have mass 1 / n.
    """
    n, classes = scores.shape
    kernel = np.exp(scores - scores.max(axis=1, keepdims=True))
    factor = np.ones(classes)
    for _ in range(SINKHORN_STEPS):
        rows = kernel @ factor
        before, factor = factor, n / classes / np.maximum(kernel.T @ (1 / rows), FLOOR)
        if np.abs(factor / before - 1).max() <= BALANCED:
            break
    offsets = np.log(factor)
    return np.asarray(offsets - offsets.mean())


def balanced_scores(
    scores: Float[np.ndarray, "n c"], reference: Float[np.ndarray, "a c"] | None = None
) -> Float[np.ndarray, "n c"]:
    """Log-probabilities rescaled so that the classes' shares are uniform, by Sinkhorn steps.

    `reference`: those of the rows whose shares are made uniform, where these are others than the
    scored ones (the rows to adapt to, in the inductive setting).
    """
    offsets = class_offsets(scores if reference is None else reference)
    found = log_softmax(scores + offsets, axis=1)
    return np.asarray(np.maximum(found, np.log(FLOOR)), dtype=np.float64)


CHANGE = 1e-6  # iterations stop where no entry of a prototype changes by more


class Episode(NamedTuple):
    """A problem as the few-shot literature has it, in rows at unit length."""

    known: Float[np.ndarray, "m f"]  # labelled rows, the support set [m, f]
    y: Int[np.ndarray, " m"]  # their classes, without gaps [m]
    target: Float[np.ndarray, "n f"]  # rows to adapt to, the query set [n, f]
    scored: Float[np.ndarray, "s f"]  # rows to score [s, f]
    present: Int[np.ndarray, " p"]  # the problem's classes that have labelled rows [p]
    classes: int  # c

    @property
    def label(self) -> Float[np.ndarray, "m p"]:
        """One-hot classes of the labelled rows."""
        return one_hot(self.y, len(self.present))

    @property
    def means(self) -> Float[np.ndarray, "p f"]:
        """Mean of each class's labelled rows: the prototypes without a target."""
        return np.asarray(self.label.T @ self.known / self.label.sum(axis=0)[:, None])

    def pooled(
        self, assigned: Float[np.ndarray, "n p"], mass: float
    ) -> tuple[Float[np.ndarray, "p f"], Float[np.ndarray, " p"]]:
        """Sums of labelled and target rows by class, and the weights in them.

        The papers have 75 query rows beside 5 or 25 labelled ones, a corpus has a thousand: with a
        weight of one each, a prototype would forget its labelled rows at once.

        Args:
            mass: of all target rows, in that of all labelled rows.
        """
        each = mass * len(self.known) / len(self.target)
        sums = self.label.T @ self.known + each * assigned.T @ self.target
        return sums, self.label.sum(axis=0) + each * assigned.sum(axis=0)

    def scores(self, found: Float[np.ndarray, "s p"]) -> Float[np.ndarray, "s c"]:
        """Scores of all classes from those of the present ones."""
        return present_scores(found, self.present, self.classes)


def episode(problem: Problem, *, front: Front) -> Episode:
    """The rows of a problem behind a front (`sides_of`), at unit length."""
    sides = sides_of(problem, front=front)
    present, y = np.unique(sides.y, return_inverse=True)
    rows = map(unit_rows, (sides.known, sides.target, sides.scored))
    known, target, scored = rows
    return Episode(known, y, target, scored, present, sides.classes)


def squared_distances(
    x: Float[np.ndarray, "n f"], prototypes: Float[np.ndarray, "c f"]
) -> Float[np.ndarray, "n c"]:
    """Squared Euclidean distances of rows to prototypes."""
    square = (x**2).sum(axis=1)[:, None] - 2 * x @ prototypes.T + (prototypes**2).sum(axis=1)
    return np.asarray(np.maximum(square, 0.0))


def tim_logits(
    x: Float[np.ndarray, "n f"], prototypes: Float[np.ndarray, "c f"], temperature: float
) -> Float[np.ndarray, "n c"]:
    """-temperature / 2 · |x - w_k|^2 (Boudiaf et al., NeurIPS 2020, TIM, equation 2)."""
    return -temperature / 2 * squared_distances(x, prototypes)
