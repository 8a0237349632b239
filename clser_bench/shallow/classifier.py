"""The classifiers that shallow adaptations end in, and what is done with their scores."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

STRENGTH = 0.05
ITERATIONS = 500
SINKHORN_STEPS = 200
FLOOR = 1e-12
BALANCED = 1e-9
"""Sinkhorn steps end where they change no factor by a larger share."""


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

    Args:
        x: labelled observations.
        y: their classes, without gaps, at least two.
        strength: C, the inverse of the penalty.
        iterations: most iterations of L-BFGS.
        weights: of the labelled observations; all alike where None.
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

    Args:
        scores: log-probabilities, of any offset per row.
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

    Args:
        scores: log-probabilities, of any offset per row.
        reference: those of the rows whose shares are made uniform, where these are others than
            the scored ones (the rows to adapt to, in the inductive setting).
    """
    offsets = class_offsets(scores if reference is None else reference)
    found = log_softmax(scores + offsets, axis=1)
    return np.asarray(np.maximum(found, np.log(FLOOR)), dtype=np.float64)


def discriminant_scores(
    x: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    shrinkage: float,
) -> Float[np.ndarray, "n c"]:
    """x'S^-1 m_k - m_k'S^-1 m_k / 2 with S the shrunken covariance within the classes.

    S = (1 - s) W + s (tr W / f) I, W the mean of the classes' own covariances, so that uneven
    labelled classes weigh alike, with uniform priors.

    Args:
        x: labelled observations.
        y: their classes, without gaps.
        target: observations to score.
        shrinkage: s, 0 to 1; above 0 where there are fewer rows than features.
    """
    member = np.eye(int(y.max()) + 1)[y]
    weight = member / member.sum(axis=0)
    means = weight.T @ x
    within = x - means[y]
    each = weight.sum(axis=1)[:, None] / member.shape[1]
    covariance = (within * each).T @ within
    size = len(covariance)
    pooled = (1 - shrinkage) * covariance
    pooled[np.diag_indices(size)] += max(shrinkage * np.trace(covariance) / size, FLOOR)
    direction = np.linalg.solve(pooled, means.T)
    return np.asarray(target @ direction - (means.T * direction).sum(axis=0) / 2)


def adjusted_templates(
    target: Float[np.ndarray, "n f"],
    coefficients: Float[np.ndarray, "c f"],
    offsets: Float[np.ndarray, " c"],
    *,
    members: int,
) -> Float[np.ndarray, "c f"]:
    """A linear classifier's rows averaged with the target rows of least entropy in each class.

    Reference: Iwasawa & Matsuo, Test-Time Classifier Adjustment Module, NeurIPS 2021 (T3A),
    algorithm 1 and equation 4; members and templates at unit length, as in the authors' code.

    Args:
        target: rows to adapt to.
        coefficients: of the classifier.
        offsets: likewise.
        members: M, target rows of a class, at most.
    """
    logits = log_softmax(target @ coefficients.T + offsets, axis=1)
    label, entropy = logits.argmax(axis=1), -(np.exp(logits) * logits).sum(axis=1)
    order = np.argsort(entropy, kind="stable")
    templates = []
    for k, row in enumerate(coefficients):
        surest = order[label[order] == k][:members]
        group = np.concatenate([row[None], target[surest]])
        length = np.linalg.norm(group, axis=1, keepdims=True)
        whole = (group / np.maximum(length, FLOOR)).sum(axis=0)
        templates.append(whole / max(float(np.linalg.norm(whole)), FLOOR))
    return np.stack(templates)


def logistic_calibration(
    x: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    *,
    classes: int,
    strength: float,
    parts: int = 5,
) -> tuple[float, Float[np.ndarray, " c"]]:
    """A temperature and biases under which held-out log-probabilities / T + b are calibrated.

    Reference: Alexandari, Kundaje & Shrikumar, ICML 2020, section 3.1: bias-corrected temperature
    scaling, by the likelihood of held-out labels; classes weigh alike.

    Args:
        x: labelled observations.
        y: their classes.
        classes: c.
        strength: C of the classifier.
        parts: of the cross-validation, at most.

    Returns:
        T and b, of sum zero; 1 and zeros where the scarcest class has one row.
    """
    present, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    bias = np.zeros(classes)
    if len(present) < 2 or counts.min() < 2:
        return 1.0, bias
    scores = np.empty((len(y), len(present)))
    folds = StratifiedKFold(min(parts, int(counts.min())))
    for train, held in folds.split(x, labels):
        found = logistic_scores(
            x[train], labels[train], x[held], classes=len(present), strength=strength
        )
        scores[held] = found
    weight = 1 / (counts[labels] * len(present))

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        inverse, offsets = np.exp(point[0]), point[1:]
        log_p = log_softmax(inverse * scores + offsets, axis=1)
        slope = weight[:, None] * (np.exp(log_p) - np.eye(len(present))[labels])
        value = -(weight * log_p[np.arange(len(labels)), labels]).sum()
        # The biases are drawn to zero, as by one held-out row of unit deviation.
        ridge = 1 / len(labels)
        gradient = np.concatenate([[inverse * (slope * scores).sum()], slope.sum(axis=0)])
        gradient[1:] += ridge * offsets
        return float(value + ridge * (offsets @ offsets) / 2), gradient

    bounds = [(-3.0, 3.0)] + [(None, None)] * len(present)
    found = minimize(loss, np.zeros(1 + len(present)), jac=True, method="L-BFGS-B", bounds=bounds).x
    bias[present] = found[1:] - found[1:].mean()
    return float(np.exp(-found[0])), bias


def estimated_shares(
    scores: Float[np.ndarray, "n c"], *, imagined: float, iterations: int, tolerance: float = 1e-6
) -> Float[np.ndarray, " c"]:
    """The class shares under which scores that assume uniform ones are likeliest.

    pi_k <- (imagined + sum_i p_ik pi_k / sum_l p_il pi_l) / (n + c imagined).

    Reference: Saerens, Latinne & Decaestecker, Neural Computation 14 (2002), equation 2.9, from
    uniform shares; with `imagined` above zero the maximum a posteriori under a symmetric Dirichlet
    distribution.

    Args:
        scores: log-probabilities under uniform shares, of any offset per row.
        imagined: rows of each class that are added, not negative.
        iterations: most steps.
        tolerance: stop where no share changes by more.
    """
    n, classes = scores.shape
    shares = np.full(classes, 1 / classes)
    for _ in range(iterations):
        counts = softmax(scores + np.log(np.maximum(shares, FLOOR)), axis=1).sum(axis=0)
        moved = (imagined + counts) / (n + classes * imagined)
        change, shares = np.abs(moved - shares).max(), moved
        if change <= tolerance:
            break
    return np.asarray(np.maximum(shares, FLOOR))
