"""Linear maps under which source and target summaries become alike."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

FLOOR = 1e-12


def covariance(x: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "f f"]:
    """Covariance with divisor n; zero for a lone row."""
    centred = x - x.mean(axis=0)
    return np.asarray(centred.T @ centred / len(x))


def power(matrix: Float[np.ndarray, "f f"], exponent: float) -> Float[np.ndarray, "f f"]:
    """A power of a symmetric positive definite matrix.

    Args:
        matrix: eigenvalues below 1e-12 times the largest are raised to that.
        exponent: any.
    """
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, FLOOR * max(float(values[-1]), FLOOR))
    return np.asarray((vectors * values**exponent) @ vectors.T)


def recolouring(
    source: Float[np.ndarray, "n f"], target: Float[np.ndarray, "m f"], ridge: float
) -> Float[np.ndarray, "f f"]:
    """The map A = C_s^(-1/2) C_t^(1/2) that gives the source the target's covariance.

    Reference: Sun, Feng & Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016,
    algorithm 1: C = cov + ridge · I on both sides (ridge 1 there).

    Args:
        source: observations.
        target: of the other side.
        ridge: positive.
    """
    eye = ridge * np.eye(source.shape[1])
    return np.asarray(power(covariance(source) + eye, -0.5) @ power(covariance(target) + eye, 0.5))


def principal_basis(x: Float[np.ndarray, "n f"], dimension: int) -> Float[np.ndarray, "f k"]:
    """Orthonormal directions of largest variance, as columns.

    Args:
        x: observations.
        dimension: at most this many; fewer where there are fewer rows or features.
    """
    _, vectors = np.linalg.eigh(covariance(x))
    count = max(1, min(dimension, x.shape[1], len(x) - 1))
    axes = vectors[:, ::-1][:, :count]
    largest = np.abs(axes).argmax(axis=0)
    # The sign of an eigenvector is arbitrary: its largest component is made positive.
    return np.asarray(axes * np.sign(axes[largest, np.arange(count)]))


def mean_gaps(
    source_mean: Float[np.ndarray, " f"],
    target: Float[np.ndarray, "m f"],
    known: Float[np.ndarray, "k f"],
    y: Int[np.ndarray, " k"],
    label: Int[np.ndarray, " m"] | None,
) -> Float[np.ndarray, "g f"]:
    """Differences of the sides' means, and of the means of each class that both have.

    Args:
        source_mean: mean of the whole source.
        target: the target's observations.
        known: labelled observations of the source.
        y: their classes.
        label: predicted classes of the target; None for the marginal difference alone.
    """
    gaps = [source_mean - target.mean(axis=0)]
    if label is not None:
        gaps += [
            known[y == k].mean(axis=0) - target[label == k].mean(axis=0)
            for k in np.intersect1d(y, label)
        ]
    return np.stack(gaps)


def transfer_components(
    gaps: Float[np.ndarray, "g f"],
    scatter: Float[np.ndarray, "f f"],
    *,
    dimension: int,
    regularisation: float,
) -> Float[np.ndarray, "f k"]:
    """The map W that keeps variance and closes gaps between means.

    min_W tr(W'(G'G + r I)W) subject to W'SW = I, G the gaps as rows and S the scatter: the leading
    generalised eigenvectors of S W = (G'G + r I) W Phi. With a linear kernel, G'G is X M X' of the
    papers, M the matrix of the maximum mean discrepancy.

    Reference: Pan et al., Domain Adaptation via Transfer Component Analysis, IEEE Transactions on
    Neural Networks 2011; Long et al., Transfer Feature Learning with Joint Distribution
    Adaptation, ICCV 2013. The constraint W'SW = I fixes the subspace up to the scale of its axes;
    as in skada's transfer components every axis is brought to unit length, so that a component
    keeps its variance: a penalised classifier would take the noise of the last components for as
    good as the first.

    Args:
        gaps: differences of means.
        scatter: covariance of all observations.
        dimension: at most this many components.
        regularisation: r, positive.
    """
    cost = gaps.T @ gaps + regularisation * np.eye(len(scatter))
    values, vectors = scipy.linalg.eigh(scatter, cost)
    count = max(1, min(dimension, int((values > FLOOR * max(values[-1], FLOOR)).sum())))
    kept = vectors[:, ::-1][:, :count]
    kept = kept / np.linalg.norm(kept, axis=0)
    largest = np.abs(kept).argmax(axis=0)
    return np.asarray(kept * np.sign(kept[largest, np.arange(count)]))


def geodesic_flow_kernel(
    source: Float[np.ndarray, "f k"], target: Float[np.ndarray, "f k"]
) -> Float[np.ndarray, "f f"]:
    """G = integral over t from 0 to 1 of P(t)P(t)', P(t) the geodesic between two subspaces.

    With P_s'P_t = U cos(theta) V' and Q the directions (I - P_s P_s')P_t V at unit length,
    G = [P_s U, -Q] [[l1, l2], [l2, l3]] [P_s U, -Q]' / 2, l1 = 1 + sin(2 theta) / (2 theta),
    l2 = (cos(2 theta) - 1) / (2 theta), l3 = 1 - sin(2 theta) / (2 theta).

    Reference: Gong et al., Geodesic Flow Kernel for Unsupervised Domain Adaptation, CVPR 2012,
    the closed form by principal angles (there without the factor 1/2).

    Args:
        source: orthonormal columns.
        target: as many orthonormal columns.
    """
    u, cosine, vt = np.linalg.svd(source.T @ target)
    start = source @ u
    across = target @ vt.T - start * cosine
    length = np.linalg.norm(across, axis=0)
    theta = np.arctan2(length, cosine)
    turned = np.where(theta > FLOOR, theta, 1.0)
    sine, versed = np.sin(2 * theta) / (2 * turned), (np.cos(2 * theta) - 1) / (2 * turned)
    sine = np.where(theta > FLOOR, sine, 1.0)
    # Where both subspaces agree there is no way across, and its weights are zero.
    across = -across / np.maximum(length, FLOOR)
    both = (start * versed) @ across.T
    return np.asarray(
        ((start * (1 + sine)) @ start.T + both + both.T + (across * (1 - sine)) @ across.T) / 2
    )
