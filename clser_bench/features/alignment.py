"""Maps of two feature sets onto a common space, without labels and without parallel utterances.

Where source and target are heard by different encoders, their columns have nothing to do with
each other. A map of the target that is learned freely gets no signal (no label of the target is
known) and stays at chance. So both sides are mapped once, from what can be known without labels:
names, the shape of the distributions, the geometry of the utterances, or their acoustics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.equivalents import meaning
from clser_bench.features.rotations import Doubles, Side, by_anchors, by_coupling, by_moments
from clser_bench.problem import Floats

ALIGNMENTS = ("anchors", "moments", "gromov", "names")

_TINY = 1e-8
_CLIP = 5.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine:
    """An affine map of columns.

    Attributes:
        matrix: float64 [a, p].
        offset: float64 [p].
    """

    matrix: Doubles
    offset: Doubles

    def apply(self, values: Floats) -> Floats:
        """Map [..., a] to float32 [..., p], clipped to ±5 as z-scores are."""
        mapped = np.asarray(values, np.float64) @ self.matrix + self.offset
        clipped: Floats = mapped.clip(-_CLIP, _CLIP).astype(np.float32)
        return clipped

    def first(self, count: int) -> Affine:
        """This map, only the first columns of the result."""
        return Affine(matrix=self.matrix[:, :count], offset=self.offset[:count])

    def then(self, matrix: Doubles) -> Affine:
        """This map followed by a linear one [p, q]."""
        return Affine(matrix=self.matrix @ matrix, offset=self.offset @ matrix)


@dataclass(frozen=True, eq=False, kw_only=True)
class Alignment:
    """Maps of both sides onto a common space.

    Attributes:
        source: of the source's columns.
        target: of the target's columns.
    """

    source: Affine
    target: Affine


def align(
    source: Floats,
    target: Floats,
    *,
    how: str,
    size: int,
    source_names: tuple[str, ...],
    target_names: tuple[str, ...],
    anchors: tuple[Floats, Floats] | None = None,
) -> Alignment:
    """Find maps of both sides onto a common space.

    Args:
        source: [n, a], z-scored columns of the source's utterances.
        target: [m, b], of the target's.
        how: `names`: the columns of both sides that mean the same. `moments`: principal axes,
            whitened, matched by their shares of variance and third and fourth moments. `gromov`:
            whitened axes turned onto each other through a Gromov–Wasserstein coupling. `anchors`:
            whitened axes turned so that both sides correlate alike with columns that are known of
            every utterance.
        size: the most axes p of the common space; `names` has as many as there are names.
        source_names: of the source's columns.
        target_names: of the target's.
        anchors: columns that mean the same on both sides, [n, q] and [m, q], of the same
            utterances; for `anchors` only.

    Returns:
        The maps; the same for any order of the rows.

    Raises:
        FeatureError: there is no such alignment; names or anchors do not fit the columns and rows;
            values are not finite; fewer than two columns have a name in common; a side has fewer
            than two utterances, or nothing in it varies.
    """
    _check(source, target, how, (source_names, target_names), anchors)
    if how == "names":
        return _by_names(source_names, target_names)
    # A fixed order of the rows, so that sums and samples do not depend on the one that came.
    orders = [np.lexsort(np.asarray(values).T[::-1]) for values in (source, target)]
    one, other = (
        _whitened(np.asarray(values[order], np.float64), size)
        for values, order in zip((source, target), orders, strict=True)
    )
    size = min(one[0].axes.shape[1], other[0].axes.shape[1])
    sides = one[0].first(size), other[0].first(size)
    if how == "anchors":
        if anchors is None:
            raise FeatureError("the alignment 'anchors' needs columns that both sides share")
        known = [np.asarray(v[o], np.float64) for v, o in zip(anchors, orders, strict=True)]
        rotation = by_anchors(*sides, (known[0], known[1]))
    else:
        rotation = {"moments": by_moments, "gromov": by_coupling}[how](*sides)
    scale = np.diag(_scale(sides[0].shares))
    return Alignment(
        source=one[1].first(size).then(scale),
        target=other[1].first(size).then(rotation @ scale),
    )


def _check(
    source: Floats,
    target: Floats,
    how: str,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    anchors: tuple[Floats, Floats] | None,
) -> None:
    if how not in ALIGNMENTS:
        raise FeatureError(f"alignment '{how}' is unknown{did_you_mean(how, ALIGNMENTS)}")
    for side, values, columns in zip(("source", "target"), (source, target), names, strict=True):
        if values.ndim != 2 or values.shape[1] != len(columns):
            raise FeatureError(
                f"alignment: the {side} has {values.shape} values, {len(columns)} names"
            )
        if not np.isfinite(values).all():
            raise FeatureError(f"alignment: the {side} has values that are not finite")
    for values, known in zip((source, target), anchors or (), strict=False):
        if len(known) != len(values):
            raise FeatureError(
                f"alignment: {len(known)} rows of anchors came for {len(values)} utterances"
            )


def _scale(shares: Doubles) -> Doubles:
    """The deviation of each axis of the common space, the same on both sides; mean square 1.

    The source's own: evened out, the noise of small axes would weigh as much as loudness.
    """
    scale: Doubles = np.sqrt(shares / shares.mean())
    return scale


def shared_names(source: tuple[str, ...], target: tuple[str, ...]) -> list[str]:
    """The columns that both sides have, by what they mean, in the order of the source."""
    have = {meaning(name)[0] for name in target}
    return [meaning(name)[0] for name in source if meaning(name)[0] in have]


def _by_names(source: tuple[str, ...], target: tuple[str, ...]) -> Alignment:
    shared = shared_names(source, target)
    if len(shared) < 2:
        raise FeatureError(
            f"the feature sets share {len(shared)} named columns (they have {source[0]} and "
            f"{target[0]}, for example), and at least 2 are needed; use --align anchors"
        )
    first, second = (_selecting(names, shared) for names in (source, target))
    return Alignment(source=first, target=second)


def _selecting(names: tuple[str, ...], shared: list[str]) -> Affine:
    """The map that takes the shared columns, each with its sign."""
    places = {meaning(name)[0]: (row, meaning(name)[1]) for row, name in enumerate(names)}
    matrix = np.zeros((len(names), len(shared)))
    for column, name in enumerate(shared):
        row, sign = places[name]
        matrix[row, column] = sign
    return Affine(matrix=matrix, offset=np.zeros(len(shared)))


def _whitened(wide: Doubles, size: int) -> tuple[Side, Affine]:
    """Principal axes of unit variance; the sign of an axis makes its skewness positive."""
    if len(wide) < 2:
        raise FeatureError(f"an alignment needs at least two utterances of a side, got {len(wide)}")
    mean = wide.mean(axis=0)
    _, singular, vectors = np.linalg.svd(wide - mean, full_matrices=False)
    variances = singular**2 / len(wide)
    count = min(size, int((variances > _TINY * variances[0]).sum()))
    if not count:
        raise FeatureError("an alignment needs features that vary, and those of one side do not")
    matrix = vectors[:count].T / np.sqrt(variances[:count])
    skewness = (((wide - mean) @ matrix) ** 3).mean(axis=0)
    matrix *= np.where(skewness < 0, -1.0, 1.0)
    side = Side(axes=(wide - mean) @ matrix, shares=variances[:count] / variances.sum())
    return side, Affine(matrix=matrix, offset=-mean @ matrix)
