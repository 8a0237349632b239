"""The classifiers that shallow adaptations end in, and what is done with their scores."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

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
