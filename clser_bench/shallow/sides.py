"""The summaries of a problem behind a common front, and linear maps that make two sides alike."""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from clser_bench.errors import MethodError
from clser_bench.problem import Problem, Table, read_only

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


LARGEST = 1e6  # beyond this, squares and exponentials lose their digits; z-scores do not exceed 5
AXES = 128
"""Most principal axes that the front keeps; they hold nearly all variance of either kind of set."""
LENGTH = 10.0  # root mean square length of the rows behind the front, about that of 100 z-scores
PAIRS = 4  # pairs of tables whose sides a process keeps: the draws of a pair follow one another
TRUST = 0.2  # most weight of the labelled rows' own covariance in the front `within`, as in `lda`
Front = Literal["none", "axes", "within", "axes-within"]


class Sides(NamedTuple):
    """What a shallow adaptation works on."""

    known: Float[np.ndarray, "m f"]  # labelled source [m, f]
    y: Int[np.ndarray, " m"]  # their classes [m]
    # the whole source, labelled or not [n, f], in the order of the table
    source: Float[np.ndarray, "n f"]
    target: Float[np.ndarray, "a f"]  # the rows to adapt to [a, f]
    scored: Float[np.ndarray, "s f"]  # the rows to score [s, f]
    classes: int  # c
    unlabelled: Int[np.ndarray, " u"]  # positions of the other rows in `source`


def sides_of(problem: Problem, *, front: Front = "none") -> Sides:
    """Gather the summaries of a problem.

    The front `axes` makes a set of 1,024 columns and one of 88 alike to a method: rows are
    projected on at most 128 principal axes of source and target together, without labels, around
    their common mean, and divided by one number, so that their root mean square length is 10. No
    axis is stretched and neither side is moved: distances are those of the columns up to the
    scale, but for what the axes leave out.

    The front `within` maps the columns by the inverse root of the labelled rows' covariance within
    classes, so that nearness does not count what utterances of one emotion differ in;
    `axes-within` does so with the axes and keeps their length. Of m labelled rows of c classes and
    k columns the covariance is (1 - a) tr(W) / k I + a W, a = 0.2 (m - c) / (m - c + k): hardly any
    of W with five rows a class, a fifth of it with thousands. W weighs classes alike. With one row
    a class nothing is mapped. (Compare the class covariances of Bateni et al., Improved Few-Shot
    Visual Classification, CVPR 2020, equation 2, which trust their rows likewise.)

    MethodError where values are too large for second moments.
    """
    everything = np.sort(np.concatenate([problem.labelled.rows, problem.unlabelled]))
    axes = front.startswith("axes")
    whole = _whole(
        problem.source, problem.target, everything.tobytes(), problem.adapt.tobytes(), axes
    )
    transductive = np.array_equal(problem.adapt, problem.scored)
    scored = whole.target if transductive else whole.project(problem.target, problem.scored)
    sides = Sides(
        whole.source[np.searchsorted(everything, problem.labelled.rows)],
        problem.labelled.y,
        whole.source,
        whole.target,
        scored,
        len(problem.classes),
        np.searchsorted(everything, problem.unlabelled),
    )
    return _within(sides, axes=axes) if front.endswith("within") else sides


def within_covariance(
    x: Float[np.ndarray, "m f"], y: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "f f"]:
    """The mean of the classes' own covariances, uneven classes weighing alike.

    `y`: their classes, without gaps.
    """
    member = np.eye(int(y.max()) + 1)[y]
    weight = member / member.sum(axis=0)
    centred = x - (weight.T @ x)[y]
    return np.asarray((centred * weight.sum(axis=1)[:, None] / member.shape[1]).T @ centred)


def _within(sides: Sides, *, axes: bool) -> Sides:
    present, y = np.unique(sides.y, return_inverse=True)
    covariance = within_covariance(sides.known, y)
    m, k = len(y) - len(present), len(covariance)
    spread = float(np.trace(covariance)) / k
    if m < 1 or spread <= 0:
        return sides
    trust = TRUST * m / (m + k)
    root = power((1 - trust) * spread * np.eye(k) + trust * covariance, -0.5)
    if axes:
        rows = np.concatenate([sides.source, sides.target]) @ root
        root *= LENGTH / float(np.sqrt(rows.var(axis=0).sum()))
    return sides._replace(
        known=read_only(sides.known @ root),
        source=read_only(sides.source @ root),
        target=read_only(sides.target @ root),
        scored=read_only(sides.scored @ root),
    )


class _Whole(NamedTuple):
    """What all draws of a pair share."""

    source: Float[np.ndarray, "n k"]
    target: Float[np.ndarray, "a k"]
    mean: Float[np.ndarray, " f"]
    axes: Float[np.ndarray, "f k"] | None

    def project(self, table: Table, rows: Int[np.ndarray, " s"]) -> Float[np.ndarray, "s k"]:
        """Other rows of the target behind the front."""
        x = table.summary[rows].astype(np.float64)
        return np.asarray(x if self.axes is None else (x - self.mean) @ self.axes)


@functools.lru_cache(maxsize=PAIRS)
def _whole(source: Table, target: Table, rows: bytes, adapt: bytes, project: bool) -> _Whole:
    # Tables are equal only to themselves, and a process opens a table once.
    x = source.summary[np.frombuffer(rows, np.int64)].astype(np.float64)
    z = target.summary[np.frombuffer(adapt, np.int64)].astype(np.float64)
    largest = max(float(np.abs(part).max(initial=0)) for part in (x, z))
    if largest > LARGEST:
        raise MethodError(
            f"summaries reach {largest:.3g}, more than {LARGEST:g}; normalise them "
            "(--normalise corpus or speaker)"
        )
    mean = np.concatenate([x, z]).mean(axis=0)
    axes = None
    if project:
        x, z = x - mean, z - mean
        axes = principal_basis(np.concatenate([x, z]), AXES)
        x, z = x @ axes, z @ axes
        length = float(np.sqrt(np.concatenate([x, z]).var(axis=0).sum()))
        scale = LENGTH / length if length > 0 else 1.0
        x, z, axes = x * scale, z * scale, axes * scale
    return _Whole(read_only(x), read_only(z), mean, axes)


def places(problem: Problem) -> Int[np.ndarray, " s"]:
    """Where each scored row is among the rows to adapt to; -1 where it is not."""
    order = np.argsort(problem.adapt, kind="stable")
    at = np.searchsorted(problem.adapt, problem.scored, sorter=order).clip(max=len(order) - 1)
    found = order[at]
    return np.asarray(np.where(problem.adapt[found] == problem.scored, found, -1))


def unit_rows(x: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
    """Rows at unit length; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1.0))


def one_hot(y: Int[np.ndarray, " m"], classes: int) -> Float[np.ndarray, "m c"]:
    """Indicators of classes."""
    return np.asarray(np.eye(classes)[y])


def present_scores(
    found: Float[np.ndarray, "n p"], present: Int[np.ndarray, " p"], classes: int
) -> Float[np.ndarray, "n c"]:
    """Scores of all classes from those of the classes that have labelled rows.

    `classes`: c; an absent class scores one below the least of the found scores.
    """
    scores = np.full((len(found), classes), found.min(initial=0.0) - 1)
    scores[:, present] = found
    return scores


def balanced_masses(y: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Masses that sum to one, every class that is present having the same share."""
    _, place, count = np.unique(y, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(count) * count[place]), dtype=np.float64)


def scaled_distances(
    x: Float[np.ndarray, "m f"], target: Float[np.ndarray, "n f"]
) -> Float[np.ndarray, "m n"]:
    """Squared Euclidean distances divided by the largest; zero where all are."""
    # Around a row of their own, so that rows that are all alike are at zero exactly.
    x, target = x - x[0], target - x[0]
    distance = (x**2).sum(axis=1)[:, None] - 2 * x @ target.T
    distance += (target**2).sum(axis=1)
    np.maximum(distance, 0.0, out=distance)
    largest = float(distance.max())
    return np.asarray(distance / (largest if largest > 0 else 1.0))
