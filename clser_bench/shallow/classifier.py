"""The classifier that all shallow adaptations end in, so that a table compares adaptations."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from clser_bench.nn.balance import balancing_offsets

STRENGTH = 0.05
ITERATIONS = 500
SINKHORN_STEPS = 50
FLOOR = 1e-12


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

    Args:
        x: labelled observations.
        y: their classes, 0 to `classes` - 1; a class may be absent.
        target: observations to score.
        classes: c.
        strength: C, the inverse of the penalty.
        iterations: most iterations of L-BFGS.
        weights: of the labelled observations, not negative; all alike where None.

    Returns:
        Log-probabilities, not below log(1e-12); those of an absent class are at that floor.
    """
    scores = np.full((len(target), classes), np.log(FLOOR))
    present = np.unique(y)
    if len(present) < 2:
        scores[:, present] = 0.0
        return scores
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=iterations)
    model.fit(x, y, sample_weight=weights)
    # A probability that underflows would be minus infinity.
    with np.errstate(divide="ignore"):
        scores[:, model.classes_] = model.predict_log_proba(target)
    return np.asarray(np.maximum(scores, np.log(FLOOR)), dtype=np.float64)


def class_offsets(scores: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " c"]:
    """What to add to log-probabilities so that the classes' shares are uniform; sums to zero.

    Args:
        scores: log-probabilities, of any offset per row.
    """
    classes = scores.shape[1]
    uniform = torch.full((classes,), 1 / classes, dtype=torch.float64)
    offsets = balancing_offsets(torch.from_numpy(scores), uniform, steps=SINKHORN_STEPS)
    return np.asarray(offsets - offsets.mean(), dtype=np.float64)


def balanced_scores(
    scores: Float[np.ndarray, "n c"], reference: Float[np.ndarray, "a c"] | None = None
) -> Float[np.ndarray, "n c"]:
    """Log-probabilities rescaled so that the classes' shares are uniform, by Sinkhorn steps.

    Args:
        scores: log-probabilities, of any offset per row.
        reference: those of the rows whose shares are made uniform, where these are others than
            the scored ones (the rows to adapt to, in the inductive setting).
    """
    offsets = class_offsets(scores if reference is None else reference)
    found = log_softmax(scores + offsets, axis=1)
    return np.asarray(np.maximum(found, np.log(FLOOR)), dtype=np.float64)
