"""Unsupervised model selection: criteria that say which candidate to take without target labels.

All are larger where a candidate is better. Those with labels need labelled source utterances that
the candidate was not trained on. Axis letters: n target utterances, c classes, m held-out source
utterances, p candidates, f features of an utterance (for deep embedded validation: its embedding).
`p` are class probabilities, `y` true classes from 0 to c - 1. Every function raises ValueError for
shapes that do not fit, a row of `p` that is no distribution, and a value that is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from scipy.special import entr, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

FLOOR = 1e-12
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LOG_RATIO_LIMIT = 50.0
ITERATIONS = 2000
BLOCK_CELLS = 2_000_000
"""Similarities held at a time: 16 MB, and as much for each of two temporary arrays."""


def probabilities(scores: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    """exp(s[i, k]) / sum_j exp(s[i, j]), in double precision.

    Args:
        scores: logits or log-probabilities of any offset per row; minus infinity gives zero, unless
            it fills a row, which is an error.
    """
    found = _array(scores, "scores", axes="n c")
    broken = int((~np.isfinite(found.max(axis=1))).sum())
    if broken:
        raise ValueError(f"{broken} of {len(found)} rows of scores hold NaN or no finite maximum")
    return np.asarray(softmax(found, axis=1), dtype=np.float64)


def mutual_information(p: Float[np.ndarray, "n c"]) -> float:
    """H(mean_i p[i]) - mean_i H(p[i]), H(q) = -sum_k q[k] log q[k], in nats.

    From 0 (all rows alike) to log c (rows certain, predicted classes equally frequent, whatever
    their true shares). Sources: Bridle, Heading and MacKay, Unsupervised Classifiers, Mutual
    Information and "Phantom Targets", NIPS 1991; as L_ent + L_div with the sign turned, Liang et
    al., Do We Really Need to Access the Source Data?, ICML 2020.
    """
    found = _distributions(p)
    return float(entr(found.mean(axis=0)).sum() - entr(found).sum(axis=1).mean())


def negative_entropy(p: Float[np.ndarray, "n c"]) -> float:
    """mean_i sum_k p[i, k] log p[i, k]: minus the mean entropy, in nats.

    From -log c (all rows uniform) to 0 (all certain, be it of one and the same class). Source:
    Morerio, Cavazza and Murino, Minimal-Entropy Correlation Alignment for Unsupervised Deep Domain
    Adaptation, ICLR 2018: the weight of the alignment is the one of least entropy on the target.
    """
    return 0.0 - float(entr(_distributions(p)).sum(axis=1).mean())


def soft_neighbourhood_density(p: Float[np.ndarray, "n c"], temperature: float = 0.05) -> float:
    """mean_i H(q[i]), q[i, j] = softmax over j ≠ i of cos(p[i], p[j]) / temperature, in nats.

    From 0 (one neighbour each) to log(n - 1) (all rows alike, so a candidate that predicts one
    class throughout is best); 0 for a single row, which has no neighbour. It grows with n, so
    compare candidates on the same utterances only. Similarities are made block by block: memory
    grows with n, not with its square. Source: Saito et al., Tune it the Right Way: Unsupervised
    Validation of Domain Adaptation via Soft Neighborhood Density, ICCV 2021, on softmax outputs.

    Args:
        temperature: above 0; 0.05 in the paper.
    """
    found = _distributions(p)
    if not 0 < temperature < np.inf:
        raise ValueError(f"the temperature is {temperature}; wanted a finite one above 0")
    if len(found) < 2:
        return 0.0
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    blocks = np.array_split(np.arange(len(unit)), -(-(len(unit) ** 2) // BLOCK_CELLS))
    return sum(_neighbour_entropies(unit, rows, temperature) for rows in blocks) / len(unit)


def _neighbour_entropies(unit: Array, rows: Indices, temperature: float) -> float:
    """The sum of H(q[i]) over these rows, as log z - sum_j e^s s / z with z = sum_j e^s."""
    s = unit[rows] @ unit.T / temperature
    own = (np.arange(len(rows)), rows)
    s[own] = -np.inf
    s -= s.max(axis=1, keepdims=True)
    weights = np.exp(s)
    s[own] = 0.0  # its weight is zero, and zero times infinity would be NaN
    z = weights.sum(axis=1)
    return float((np.log(z) - np.einsum("ij,ij->i", weights, s) / z).sum())


def cross_entropies(p: Float[np.ndarray, "m c"], y: Int[np.ndarray, " m"]) -> Float[Any, " m"]:
    """-log max(p[i, y[i]], 1e-12) of each utterance, in nats."""
    found, classes = _labelled(p, y)
    return -np.log(np.maximum(found[np.arange(len(found)), classes], FLOOR))


def source_risk(p: Float[np.ndarray, "m c"], y: Int[np.ndarray, " m"]) -> float:
    """mean_i log p[i, y[i]]: minus the mean cross-entropy of held-out source utterances, in nats.

    It ignores the target: the source risk that You et al. (see `deep_embedded_validation`) compare
    with.
    """
    return 0.0 - float(cross_entropies(p, y).mean())


def source_accuracy(p: Float[np.ndarray, "m c"], y: Int[np.ndarray, " m"]) -> float:
    """Unweighted average recall of held-out source utterances, 0 to 1.

    mean over classes k in y of |{i: y[i] = k, argmax p[i] = k}| / |{i: y[i] = k}|; ties go to the
    lowest class. It ignores the target.
    """
    found, classes = _labelled(p, y)
    return _average_recall(found.argmax(axis=1), classes)


def importance_weights(
    source: Float[np.ndarray, "m2 f"],
    held_out: Float[np.ndarray, "m f"],
    target: Float[np.ndarray, "n f"],
    *,
    rng: np.random.Generator,
    strengths: Sequence[float] = STRENGTHS,
) -> Float[np.ndarray, " m"]:
    """w[i] = (n_source / n_target) P(target | x[i]) / P(source | x[i]) of held-out source rows.

    P is a logistic regression that tells source from target, on features standardised over both.
    Source: You et al. (see `deep_embedded_validation`); as in their code, the penalty is chosen on
    a fifth of the rows. Departures: theirs is a perceptron and its penalty the one of best
    accuracy; here it is the one of least log-loss, since the ratio needs probabilities, and
    log-odds are cut at ±50, so that weights are finite.

    Args:
        source: labelled source rows that the domain classifier learns from, two at least.
        held_out: source rows to weigh, none of them in `source`.
        target: unlabelled target rows, two at least.
        rng: draws the fifth; nothing is drawn where there is one strength.
        strengths: C, the inverse of the penalty, to choose from, in ascending order.
    """
    given = {"source": source, "held_out": held_out, "target": target}
    own, asked, other = (_array(given[name], name, axes="m f", finite=True) for name in given)
    if len({own.shape[1], asked.shape[1], other.shape[1]}) > 1 or min(len(own), len(other)) < 2:
        got = f"source {own.shape}, held_out {asked.shape} and target {other.shape}"
        raise ValueError(f"got {got}; wanted equally many features, and two source and target rows")
    both = np.concatenate([own, other])
    scaler = StandardScaler().fit(both)
    x, is_target = scaler.transform(both), np.repeat([False, True], [len(own), len(other)])
    strength = strengths[0] if len(strengths) == 1 else _strength(x, is_target, strengths, rng=rng)
    log_odds = _log_odds(x, is_target, scaler.transform(asked), strength=strength)
    ratio = np.exp(np.clip(log_odds, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT))
    return np.asarray(ratio * len(own) / len(other), dtype=np.float64)


def _log_odds(x: Array, is_target: Mask, asked: Array, *, strength: float) -> Array:
    """The logarithm of P(target | x) / P(source | x) of the rows asked."""
    model = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(x, is_target)
    return np.asarray(model.decision_function(asked), dtype=np.float64)


def _strength(
    x: Array, is_target: Mask, strengths: Sequence[float], *, rng: np.random.Generator
) -> float:
    """The strength of least log-loss on a fifth of each domain; the first of equals."""
    asked = np.zeros(len(x), dtype=bool)
    for rows in (np.flatnonzero(~is_target), np.flatnonzero(is_target)):
        asked[rng.permutation(rows)[: max(1, len(rows) // 5)]] = True
    sign = np.where(is_target[asked], -1.0, 1.0)
    losses = []
    for strength in strengths:
        found = _log_odds(x[~asked], is_target[~asked], x[asked], strength=strength)
        losses.append(np.logaddexp(0.0, sign * found).mean())
    return strengths[int(np.argmin(losses))]


def deep_embedded_validation(
    losses: Float[np.ndarray, " m"], weights: Float[np.ndarray, " m"]
) -> float:
    """-(mean(w l) + eta mean(w) - eta), eta = -cov(w l, w) / var(w), with m - 1 in both.

    Minus an estimate of the target risk from held-out source utterances, the weight's mean (1 in
    expectation) serving as control variate. Where the weights do not differ, by more than rounding
    does, eta = 0. Source: You et al., Towards Accurate Model Selection in Deep Unsupervised Domain
    Adaptation, ICML 2019, algorithm 1.

    Args:
        losses: of the held-out source utterances, such as `cross_entropies`.
        weights: density ratios of the same, not negative, such as `importance_weights`.
    """
    loss = _array(losses, "losses", axes="m", finite=True)
    weight = _array(weights, "weights", axes="m", finite=True)
    if loss.shape != weight.shape or weight.min() < 0:
        got = f"losses {loss.shape} and weights {weight.shape} from {weight.min()}"
        raise ValueError(f"got {got}; wanted as many of both and no weight below 0")
    weighted, centred = weight * loss, weight - weight.mean()
    eta = 0.0
    if np.ptp(weight) > 1e-12 * weight.max():
        eta = -float(centred @ (weighted - weighted.mean())) / float(centred @ centred)
    return 0.0 - float(weighted.mean() + eta * weight.mean() - eta)


def ensemble_agreement(p: Float[np.ndarray, "p n c"]) -> Float[np.ndarray, " p"]:
    """How far each candidate predicts what the mean of all candidates' probabilities predicts.

    With z[i] = argmax_k mean_q p[q, i, k], the mean over the classes k in z of
    |{i: z[i] = k, argmax p[q, i] = k}| / |{i: z[i] = k}|, 0 to 1; ties go to the lowest class.
    Source: Hu et al., Towards Reliable Model Selection for Unsupervised Domain Adaptation: An
    Empirical Study and a Certified Baseline, NeurIPS 2024 (EnsV). Departure: the authors take the
    share of all utterances; here classes count alike, as in the score that tables show, so a class
    that the ensemble gives few utterances counts as much as a frequent one.
    """
    found = _distributions(p, axes="p n c")
    wanted = found.mean(axis=0).argmax(axis=1)
    return np.array([_average_recall(each.argmax(axis=1), wanted) for each in found])


def _average_recall(found: Indices, wanted: Indices) -> float:
    """The mean over the classes in `wanted` of the share of their rows that `found` gives them."""
    return float(recall_score(wanted, found, labels=np.unique(wanted), average="macro"))


def _labelled(p: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Indices]:
    """Distributions [m, c] and their classes [m], checked."""
    found, classes = _distributions(p, axes="m c"), np.asarray(y)
    m, c = found.shape
    if classes.shape != (m,) or classes.dtype.kind not in "iu":
        raise ValueError(f"y has shape {classes.shape}, of {classes.dtype}; wanted {m} integers")
    low, high = classes.min(), classes.max()
    if low < 0 or high >= c:
        raise ValueError(f"y runs from {low} to {high}; wanted classes 0 to {c - 1}")
    return found, classes.astype(np.intp)


def _distributions(p: npt.ArrayLike, *, axes: str = "n c") -> Array:
    """Class probabilities in double precision, checked: not negative, each row of sum 1."""
    found = _array(p, "p", axes=axes, finite=True)
    off = float(np.abs(found.sum(axis=-1) - 1.0).max())
    if found.min() < 0 or off > 1e-3:
        got = f"a least value of {found.min():.3g}, and a row of a sum off 1 by {off:.3g}"
        raise ValueError(f"p has {got}; wanted class probabilities (see `probabilities`)")
    return found


def _array(values: npt.ArrayLike, name: str, *, axes: str, finite: bool = False) -> Array:
    """Values in double precision, with the axes named and at least one entry."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != len(axes.split()) or not found.size:
        wanted = ", ".join(axes.split())
        raise ValueError(f"{name} has shape {found.shape}; wanted [{wanted}], none of them 0")
    broken = int((~np.isfinite(found)).sum()) if finite else 0
    if broken:
        raise ValueError(f"{broken} of {found.size} values of {name} are NaN or infinite")
    return found
