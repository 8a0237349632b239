"""Regression onto class indicators with few non-zero rows, and gaps between domain means."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

ITERATIONS = 2000
TOLERANCE = 1e-7


def row_sparse_regression(
    gram: Float[np.ndarray, "f f"],
    cross: Float[np.ndarray, "f c"],
    penalty: float,
    *,
    start: Float[np.ndarray, "f c"] | None = None,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Float[np.ndarray, "f c"]:
    """The P that minimises tr(P'AP) - 2 tr(P'B) + penalty · sum_j ||P_j||, P_j the rows of P.

    With A = X'X and B = X'Y this is ||Y - XP||^2 plus the L2,1 norm, up to a constant. Accelerated
    proximal gradient steps (Beck & Teboulle, FISTA, SIAM J. Imaging Sciences 2009) that lose their
    momentum where it points uphill (O'Donoghue & Candes, Foundations of Computational Mathematics
    2015, gradient scheme). Rows that the penalty removes are exactly zero.

    Args:
        gram: A, symmetric and positive semi-definite.
        cross: B.
        penalty: not negative.
        start: where to start; zero where None.
        iterations: most steps.
        tolerance: stop where a step changes no value by more than this share of the largest.
    """
    p = np.zeros_like(cross) if start is None else start
    curvature = 2 * float(np.linalg.norm(gram, 2))
    if curvature == 0:
        return np.zeros_like(cross)
    ahead, momentum = p, 1.0
    for _ in range(iterations):
        stepped = shrink_rows(ahead - 2 * (gram @ ahead - cross) / curvature, penalty / curvature)
        change = stepped - p
        if np.sum((ahead - stepped) * change) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = stepped + (momentum - 1) / following * change
        p, momentum = stepped, following
        if np.abs(change).max() <= tolerance * np.abs(p).max():
            break
    return p


def shrink_rows(p: Float[np.ndarray, "f c"], amount: float) -> Float[np.ndarray, "f c"]:
    """Shorten each row by `amount`; a row that is not longer becomes zero.

    Args:
        p: any matrix.
        amount: not negative.
    """
    length = np.linalg.norm(p, axis=1, keepdims=True)
    kept = np.divide(length - amount, length, out=np.zeros_like(length), where=length > amount)
    shortened: np.ndarray = p * kept
    return shortened


def class_means(
    x: Float[np.ndarray, "n f"], label: Int[np.ndarray, " n"], classes: int
) -> tuple[Float[np.ndarray, "c f"], Bool[np.ndarray, " c"]]:
    """The mean of each class, zero for a class without rows, and whether a class has rows.

    Args:
        x: observations.
        label: their classes, 0 to `classes` - 1.
        classes: c.
    """
    member = np.eye(classes)[label]
    count = member.sum(axis=0)
    return member.T @ x / np.maximum(count, 1)[:, None], count > 0


def joint_adaptive_regression(
    x: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    source_mean: Float[np.ndarray, " f"],
    classes: int,
    alignment: float,
    sparsity: float,
    rounds: int,
) -> tuple[Float[np.ndarray, "f c"], Float[np.ndarray, " c"]]:
    """Row-sparse regression onto class indicators whose outputs have equal means on both sides.

    The P and b that minimise sum_i w_i ||e_i - P'x_i - b||^2 + alignment · (||P'(m_s - m_t)||^2
    + sum_k ||P'(m_s,k - m_t,k)||^2) + sparsity · sum_j ||P_j||: e_i one-hot, w_i of mean one so
    that the present classes weigh alike, m the means of the sides, m_k those of class k, over the
    labelled rows and over the target rows whose largest entry of P'x + b is the k-th.

    Reference: Zhang et al., Cross-Corpus Speech Emotion Recognition Using Joint Distribution
    Adaptive Regression, ICASSP 2021; methods/jdar.py names the departures.

    Args:
        x: labelled source observations.
        y: their classes, 0 to `classes` - 1.
        target: observations to adapt to.
        source_mean: of the whole source.
        classes: c.
        alignment: not negative.
        sparsity: not negative.
        rounds: most times that the target's classes are predicted; the P before the first knows
            the marginal means only.

    Returns:
        P and b.
    """
    emotion = np.eye(classes)[y]
    count = emotion.sum(axis=0)
    weight = len(y) / (count[y] * np.count_nonzero(count))
    middle, level = weight @ x / weight.sum(), weight @ emotion / weight.sum()
    centred = x - middle
    error, cross = (centred.T * weight) @ centred, (centred.T * weight) @ (emotion - level)
    marginal = (source_mean - target.mean(axis=0))[None]
    means, known = class_means(x, y, classes)
    p = row_sparse_regression(error + alignment * marginal.T @ marginal, cross, sparsity)
    before = np.full(len(target), -1)
    for _ in range(rounds):
        label = np.argmax((target - middle) @ p + level, axis=1)
        if np.array_equal(before, label):
            break
        before = label
        found, predicted = class_means(target, label, classes)
        gaps = np.concatenate([marginal, (means - found)[known & predicted]])
        p = row_sparse_regression(error + alignment * gaps.T @ gaps, cross, sparsity, start=p)
    return p, level - middle @ p
