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

    `matrix`: eigenvalues below 1e-12 times the largest are raised to that.
    """
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, FLOOR * max(float(values[-1]), FLOOR))
    return np.asarray((vectors * values**exponent) @ vectors.T)


def principal_basis(x: Float[np.ndarray, "n f"], dimension: int) -> Float[np.ndarray, "f k"]:
    """Orthonormal directions of largest variance, as columns.

    `dimension`: at most this many; fewer where there are fewer rows or features.
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

    `label`: predicted classes of the target; None for the marginal difference alone.
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
        dimension: at most this many components.
    """
    cost = gaps.T @ gaps + regularisation * np.eye(len(scatter))
    values, vectors = scipy.linalg.eigh(scatter, cost)
    count = max(1, min(dimension, int((values > FLOOR * max(values[-1], FLOOR)).sum())))
    kept = vectors[:, ::-1][:, :count]
    kept = kept / np.linalg.norm(kept, axis=0)
    largest = np.abs(kept).argmax(axis=0)
    return np.asarray(kept * np.sign(kept[largest, np.arange(count)]))
