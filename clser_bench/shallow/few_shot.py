"""Transductive few-shot classifiers: prototypes of few labelled rows, moved by unlabelled ones.

All functions take rows of some front (`sides_of`), classes numbered without gaps, and give
prototypes or assignments; a method turns these into scores.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from clser_bench.shallow.classifier import class_offsets
from clser_bench.shallow.regression import class_means
from clser_bench.shallow.sides import one_hot, unit_rows

FLOOR = 1e-12
CHANGE = 1e-6
"""Iterations stop where no entry of a prototype changes by more."""


def squared_distances(
    x: Float[np.ndarray, "n f"], prototypes: Float[np.ndarray, "c f"]
) -> Float[np.ndarray, "n c"]:
    """Squared Euclidean distances of rows to prototypes."""
    square = (x**2).sum(axis=1)[:, None] - 2 * x @ prototypes.T + (prototypes**2).sum(axis=1)
    return np.asarray(np.maximum(square, 0.0))


def masses(
    known: Float[np.ndarray, "m f"], target: Float[np.ndarray, "n f"], mass: float
) -> Float[np.ndarray, " both"]:
    """Weights of labelled and target rows in a mean: the labelled ones have one each.

    The papers have 75 query rows beside 5 or 25 labelled ones, a corpus has a thousand: without
    this a prototype would forget its labelled rows at once.

    Args:
        known: m labelled rows.
        target: n target rows.
        mass: of all target rows, in that of all labelled rows.
    """
    each = mass * len(known) / len(target)
    return np.concatenate([np.ones(len(known)), np.full(len(target), each)])


def rectified_prototypes(
    known: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    scale: float,
    mass: float,
) -> tuple[Float[np.ndarray, "c f"], Float[np.ndarray, " f"]]:
    """Class means over labelled rows and the shifted target rows that are nearest to them.

    Reference: Liu, Song & Qin, Prototype Rectification for Few-Shot Learning, ECCV 2020
    (BD-CSPN): the shift xi (cross-class bias) and the weighted means of pseudo-labelled rows
    (intra-class bias), with weights softmax(scale · cosine).

    Args:
        known: labelled rows at unit length.
        y: their classes.
        target: rows to adapt to, at unit length.
        scale: of the cosines, epsilon of the paper.
        mass: of all target rows, the labelled rows having one together.

    Returns:
        Prototypes, and the shift to be added to a target row.
    """
    shift = known.mean(axis=0) - target.mean(axis=0)
    both = np.concatenate([known, target + shift])
    basic, _ = class_means(known, y, int(y.max()) + 1)
    cosine = unit_rows(both) @ unit_rows(basic).T
    nearest = one_hot(cosine.argmax(axis=1), len(basic))
    weight = softmax(scale * cosine, axis=1) * nearest * masses(known, target, mass)[:, None]
    total = weight.sum(axis=0)[:, None]
    # A class that is nearest to nothing keeps its mean.
    moved = np.where(total > 0, weight.T @ both / np.maximum(total, FLOOR), basic)
    return np.asarray(moved), np.asarray(shift)


def tim_logits(
    x: Float[np.ndarray, "n f"], prototypes: Float[np.ndarray, "c f"], temperature: float
) -> Float[np.ndarray, "n c"]:
    """-temperature / 2 · |x - w_k|^2 (equation 2 of the TIM paper)."""
    return -temperature / 2 * squared_distances(x, prototypes)


def tim_prototypes(
    known: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    temperature: float,
    supervised: float,
    conditional: float,
    iterations: int,
) -> Float[np.ndarray, "c f"]:
    """Prototypes that maximise mutual information of target rows and classes, in closed steps.

    Minimises lambda · CE(known) - H(mean p) + alpha · mean H(p) by alternating directions: with
    q the auxiliary assignments of target rows,

        q_ik ~ p_ik^(1 + alpha) / (sum_i p_ik^(1 + alpha))^(1/2)
        w_k <- [lambda / (1 + alpha) sum_S (y_ik x_i + p_ik (w_k - x_i))
                + m / n sum_T (q_ik x_i + p_ik (w_k - x_i))]
               / [lambda / (1 + alpha) sum_S y_ik + m / n sum_T q_ik]

    Reference: Boudiaf et al., Transductive Information Maximization for Few-Shot Learning,
    NeurIPS 2020, equation 4 and proposition 1 (TIM-ADM).

    Args:
        known: labelled rows at unit length.
        y: their classes.
        target: rows to adapt to, at unit length.
        temperature: of the logits.
        supervised: lambda.
        conditional: alpha.
        iterations: most steps.
    """
    label = one_hot(y, int(y.max()) + 1)
    w, _ = class_means(known, y, label.shape[1])
    share, ratio = supervised / (1 + conditional), len(known) / len(target)
    for _ in range(iterations):
        p_known = softmax(tim_logits(known, w, temperature), axis=1)
        p = softmax(tim_logits(target, w, temperature), axis=1)
        q = p ** (1 + conditional)
        q = q / np.sqrt(np.maximum(q.sum(axis=0), FLOOR))
        q = q / q.sum(axis=1, keepdims=True)
        pull = share * (label - p_known).T @ known + ratio * (q - p).T @ target
        stay = share * p_known.sum(axis=0) + ratio * p.sum(axis=0)
        mass = share * label.sum(axis=0) + ratio * q.sum(axis=0)
        moved = (pull + stay[:, None] * w) / mass[:, None]
        change, w = np.abs(moved - w).max(), moved
        if change <= CHANGE:
            break
    return w


def alpha_tim_prototypes(
    known: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    temperature: float,
    alpha: float,
    supervised: float,
    learning_rate: float,
    iterations: int,
) -> Float[np.ndarray, "c f"]:
    """Prototypes that maximise the alpha-mutual information, by Adam steps.

    Minimises lambda · CE(known) - H_a(mean p) + mean H_a(p), H_a(p) = (1 - sum_k p_k^a) / (a - 1):
    for a > 1 the first entropy pulls less toward uniform shares than Shannon's.

    Reference: Veilleux et al., Realistic Evaluation of Transductive Few-Shot Learning, NeurIPS
    2021, equations 5 to 8; Kingma & Ba, Adam, ICLR 2015.

    Args:
        known: labelled rows at unit length.
        y: their classes.
        target: rows to adapt to, at unit length.
        temperature: of the logits.
        alpha: a, above 1.
        supervised: lambda.
        learning_rate: of Adam.
        iterations: steps.
    """
    label = one_hot(y, int(y.max()) + 1)
    w, _ = class_means(known, y, label.shape[1])
    mean, square = np.zeros_like(w), np.zeros_like(w)
    for step in range(1, iterations + 1):
        p_known = softmax(tim_logits(known, w, temperature), axis=1)
        p = softmax(tim_logits(target, w, temperature), axis=1)
        slope = alpha / (alpha - 1) * (p.mean(axis=0) ** (alpha - 1) - p ** (alpha - 1))
        on_target = p * (slope - (p * slope).sum(axis=1, keepdims=True)) / len(target)
        on_known = supervised * (p_known - label) / len(known)
        # The slope of logit k at w_k is temperature · (x - w_k).
        pull = on_known.T @ known + on_target.T @ target
        mass = on_known.sum(axis=0) + on_target.sum(axis=0)
        gradient = temperature * (pull - mass[:, None] * w)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        corrected = mean / (1 - 0.9**step)
        w = w - learning_rate * corrected / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return w


def transported_prototypes(
    known: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    scale: float,
    rate: float,
    mass: float,
    rounds: int,
) -> tuple[Float[np.ndarray, "c f"], Float[np.ndarray, " c"]]:
    """Prototypes and balanced assignments in turn.

    Reference: Hu, Gripon & Pateux, Leveraging the Feature Distribution in Transfer-Based Few-Shot
    Learning, ICANN 2021 (PT-MAP), algorithm 1: Sinkhorn with cost squared distance and uniform
    class shares (equation 4), means over labelled and assigned rows (equation 5), a step of
    `rate` toward them (equation 6).

    Args:
        known: labelled rows.
        y: their classes.
        target: rows to adapt to.
        scale: lambda, inverse weight of the entropy.
        rate: alpha, 0 to 1.
        mass: of all target rows, the labelled rows having one together.
        rounds: of both steps.

    Returns:
        Prototypes, and what to add to -scale · squared distance before the softmax.
    """
    label = one_hot(y, int(y.max()) + 1)
    mu, _ = class_means(known, y, label.shape[1])
    both, weight = np.concatenate([known, target]), masses(known, target, mass)[:, None]
    for _ in range(rounds):
        logit = -scale * squared_distances(target, mu)
        q = softmax(logit + class_offsets(logit), axis=1)
        member = np.concatenate([label, q]) * weight
        mu = mu + rate * (member.T @ both / member.sum(axis=0)[:, None] - mu)
    return mu, class_offsets(-scale * squared_distances(target, mu))


def description_length_prototypes(
    known: Float[np.ndarray, "m f"],
    y: Int[np.ndarray, " m"],
    target: Float[np.ndarray, "n f"],
    *,
    temperature: float,
    complexity: float,
    mass: float,
    iterations: int,
) -> tuple[Float[np.ndarray, "c f"], Float[np.ndarray, " c"]]:
    """Prototypes of a clustering that pays for every class it uses.

    Minimises sum_i u_i · (temperature / 2 d_i) + sum_i u_i · log u_i - complexity · n sum_k
    pi_k log pi_k, d_ik the squared distances and pi the mean of the assignments u of target rows,
    those of labelled rows being fixed, by u_i = softmax(-temperature / 2 d_i + complexity
    (1 + log pi)) and prototypes as weighted means in turn.

    Reference: Martin et al., Towards Practical Few-Shot Query Sets: Transductive Minimum
    Description Length Inference, NeurIPS 2022 (PADDLE), equations 4 to 9; complexity is lambda
    divided by the number of target rows.

    Args:
        known: labelled rows at unit length.
        y: their classes.
        target: rows to adapt to, at unit length.
        temperature: of the distances.
        complexity: not negative.
        mass: of all target rows, the labelled rows having one together.
        iterations: most rounds.

    Returns:
        Prototypes, and what to add to -temperature / 2 · squared distance before the softmax.
    """
    label = one_hot(y, int(y.max()) + 1)
    w, _ = class_means(known, y, label.shape[1])
    both, weight = np.concatenate([known, target]), masses(known, target, mass)[:, None]
    offset = np.zeros(len(w))
    for _ in range(iterations):
        u = softmax(tim_logits(target, w, temperature) + offset, axis=1)
        offset = complexity * (np.log(u.mean(axis=0) + CHANGE) + 1)
        member = np.concatenate([label, u]) * weight
        moved = member.T @ both / member.sum(axis=0)[:, None]
        change, w = np.abs(moved - w).max(), moved
        if change <= CHANGE:
            break
    return w, offset


def laplacian_assignments(
    cost: Float[np.ndarray, "n c"],
    neighbours: Int[np.ndarray, "n k"],
    *,
    smoothness: float,
    iterations: int,
) -> Float[np.ndarray, "n c"]:
    """Assignments that are near their prototypes and like their neighbours'.

    y_i <- softmax(-a_i + lambda sum_j w_ij y_j), a the costs: bound optimisation of
    sum_i y_i · a_i + lambda / 2 sum_ij w_ij |y_i - y_j|^2 with a concave-convex relaxation.

    Reference: Ziko et al., Laplacian Regularized Few-Shot Learning, ICML 2020 (LaplacianShot),
    equation 10 and algorithm 1.

    Args:
        cost: a, squared distances to prototypes.
        neighbours: positions of the rows with w_ij = 1, the others having 0.
        smoothness: lambda.
        iterations: most rounds.
    """
    y = softmax(-cost, axis=1)
    for _ in range(iterations):
        before = y
        y = softmax(smoothness * y[neighbours].sum(axis=1) - cost, axis=1)
        if np.abs(y - before).max() <= CHANGE:
            break
    return np.asarray(y)
