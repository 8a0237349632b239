"""Summaries as points of a plane, to be looked at: PCA, t-SNE, or UMAP where it is installed.

PCA keeps distances as well as two straight axes can. t-SNE (van der Maaten & Hinton, JMLR 2008)
and UMAP (McInnes, Healy & Melville, 2018) keep neighbours: how far groups lie apart, and how wide
they are, means nothing in them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.hashing import seed_of

PROJECTIONS = ("pca", "tsne", "umap")
"""The projections there are."""

LEAST = 5
"""Utterances that t-SNE and UMAP need."""

_PERPLEXITY = 30.0
_NEIGHBOURS = 15
_FIRST = 50  # principal components that t-SNE and UMAP start from, as is usual
_SPREAD = 1e-4  # deviation of t-SNE's first layout, as scikit-learn's own from PCA

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Projection:
    """Points of a plane.

    Attributes:
        points: [n, 2], in the order of the rows.
        explained: share of the variance along each of the two axes, 0 to 1; None where axes
            mean nothing (t-SNE, UMAP).
    """

    points: Doubles
    explained: tuple[float, float] | None = None


def check(how: str) -> None:
    """Raise unless a projection can be made here.

    Raises:
        FeatureError: it is unknown, or its package is not installed.
    """
    if how not in PROJECTIONS:
        raise FeatureError(f"projection '{how}' is unknown{did_you_mean(how, PROJECTIONS)}")
    if how == "umap":
        _umap()


def project(values: npt.NDArray[np.floating[Any]], how: str = "pca") -> Projection:
    """Bring rows into a plane; the same rows always come to the same place.

    Args:
        values: [n, f], finite; columns should have one scale (see `standardised`).
        how: of `PROJECTIONS`.

    Raises:
        FeatureError: the projection is unknown or not installed, there are too few rows, or a
            value is not finite.
    """
    check(how)
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise FeatureError(f"values to project must be [n, f] and not empty, got {rows.shape}")
    if not np.isfinite(rows).all():
        where = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise FeatureError(f"row {where} of the values to project is not finite; extract it again")
    if how == "pca":
        return _pca(rows)
    if len(rows) < LEAST:
        raise FeatureError(
            f"projection '{how}' needs {LEAST} utterances or more, got {len(rows)}; take pca"
        )
    return Projection(points=_tsne(rows) if how == "tsne" else _by_umap(rows))


def standardised(values: npt.NDArray[np.floating[Any]]) -> Doubles:
    """Z-scores of each column over all rows, so that no unit decides; constant columns become 0.

    Args:
        values: [n, f].
    """
    rows = np.asarray(values, np.float64)
    centred = rows - rows.mean(axis=0)
    deviation = centred.std(axis=0)
    # rounding leaves a constant column a deviation that is tiny beside its values
    constant = deviation <= 1e-12 * np.abs(rows).max(axis=0, initial=0.0)
    scores: Doubles = np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))
    return scores


def _pca(rows: Doubles) -> Projection:
    components, shares = _principal(rows, 2)
    points = np.zeros((len(rows), 2))
    points[:, : components.shape[1]] = components
    explained = (*shares.tolist(), 0.0, 0.0)
    return Projection(points=points, explained=explained[:2])


def _principal(rows: Doubles, count: int) -> tuple[Doubles, Doubles]:
    """The first principal components [n, m ≤ count] and their shares of the variance [m].

    The sign of a component is arbitrary: its largest loading is made positive.
    """
    left, sizes, right = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    left, right = left[:, :count], right[:count]
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    total = np.square(sizes).sum()
    shares = np.square(sizes[:count]) / (total if total > 0 else 1.0)
    return left * sizes[:count] * np.where(signs == 0, 1.0, signs), shares


def _tsne(rows: Doubles) -> Doubles:
    from sklearn.manifold import TSNE  # noqa: PLC0415 - takes long to import, and is seldom needed

    components, _ = _principal(rows, _FIRST)
    start = np.zeros((len(rows), 2), np.float32)
    start[:, : components.shape[1]] = components[:, :2]
    deviation = float(start[:, 0].std())
    start *= _SPREAD / deviation if deviation > 0 else 0.0
    model = TSNE(
        perplexity=min(_PERPLEXITY, (len(rows) - 1) / 3),
        init=start,
        learning_rate="auto",
        random_state=seed_of("projection", "tsne") % 2**32,
    )
    return np.asarray(model.fit_transform(components), np.float64)


def _by_umap(rows: Doubles) -> Doubles:
    components, _ = _principal(rows, _FIRST)
    # with a seed umap uses one thread, and warns unless n_jobs says so
    model = _umap().UMAP(
        n_neighbors=min(_NEIGHBOURS, len(rows) - 1),
        random_state=seed_of("projection", "umap") % 2**32,
        n_jobs=1,
    )
    return np.asarray(model.fit_transform(components), np.float64)


def _umap() -> ModuleType:
    try:
        return importlib.import_module("umap")
    except ImportError as error:
        raise FeatureError(
            "projection 'umap' needs the package umap-learn, which is not installed: "
            "pip install umap-learn, or take pca or tsne"
        ) from error
