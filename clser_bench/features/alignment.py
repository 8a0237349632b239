"""Maps of two feature sets onto a common space, without labels and without parallel utterances.

Where source and target are heard by different encoders, their columns have nothing to do with
each other. A map of the target that is learned freely gets no signal (no label of the target is
known) and stays at chance. So both sides are mapped once, from what can be known without labels:
names, the shape of the distributions, or the geometry of the utterances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.optimize import linear_sum_assignment, quadratic_assignment

from clser_bench.errors import FeatureError
from clser_bench.features.equivalents import meaning
from clser_bench.hashing import digest_array
from clser_bench.seeding import generator
from clser_bench.trial import Floats

Doubles = npt.NDArray[np.float64]

ALIGNMENTS = ("moments", "gromov", "names")

_TINY = 1e-8
_SAMPLE = 250
_ROUNDS = 5
_CLIP = 5.0
_WHITENING = 0.5  # power to which variances are evened out


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

    def then(self, matrix: Doubles) -> Affine:
        """This map followed by a linear one [p, q]."""
        return Affine(matrix=self.matrix @ matrix, offset=self.offset @ matrix)


@dataclass(frozen=True, eq=False, kw_only=True)
class Alignment:
    """Maps of both sides onto a common space.

    Attributes:
        source: of the source's columns.
        target: of the target's columns.
        note: one line on what was done.
    """

    source: Affine
    target: Affine
    note: str


@dataclass(frozen=True, eq=False, kw_only=True)
class _Side:
    """A side on its principal axes: unit variance, uncorrelated."""

    axes: Doubles  # [n, p]
    shares: Doubles  # [p], of the variance, falling
    map: Affine


def align(
    source: Floats,
    target: Floats,
    *,
    how: str,
    size: int,
    source_names: tuple[str, ...],
    target_names: tuple[str, ...],
) -> Alignment:
    """Find maps of both sides onto a common space.

    Args:
        source: [n, a], z-scored columns of the source's utterances.
        target: [m, b], of the target's.
        how: `names`: the columns of both sides that mean the same. `moments`: principal axes,
            whitened, matched by their shares of variance and third and fourth moments. `gromov`:
            whitened axes turned onto each other through a Gromov–Wasserstein coupling.
        size: the most axes p of the common space; `names` has as many as there are names.
        source_names: of the source's columns.
        target_names: of the target's.

    Returns:
        The maps; the same for any order of the rows.

    Raises:
        FeatureError: fewer than two columns have a name in common, a side has fewer than two
            utterances, or nothing varies.
    """
    if how == "names":
        return _by_names(source_names, target_names)
    sides = [_whitened(values, size) for values in (source, target)]
    size = min(side.axes.shape[1] for side in sides)
    one, other = (_first(side, size) for side in sides)
    rotation = {"moments": _by_moments, "gromov": _by_coupling}[how](one, other)
    scale = np.diag(_scale(one.shares))
    return Alignment(
        source=one.map.then(scale),
        target=other.map.then(rotation @ scale),
        note=f"{size} axes by {how}",
    )


def _scale(shares: Doubles) -> Doubles:
    """The deviation of each axis of the common space, the same on both sides; mean square 1.

    Variances are evened out in part: whole, the noise of small axes would weigh as much as
    loudness.
    """
    scale = shares ** ((1 - _WHITENING) / 2)
    scaled: Doubles = scale / np.sqrt(np.mean(scale**2))
    return scaled


def _by_names(source: tuple[str, ...], target: tuple[str, ...]) -> Alignment:
    sides = [
        {meaning(name)[0]: (place, meaning(name)[1]) for place, name in enumerate(names)}
        for names in (source, target)
    ]
    shared = [name for name in sides[0] if name in sides[1]]
    if len(shared) < 2:
        raise FeatureError(
            f"the feature sets share {len(shared)} named columns (such as {source[0]} and "
            f"{target[0]}), and at least 2 are needed; use --align moments"
        )
    maps = []
    for names, side in zip((source, target), sides, strict=True):
        matrix = np.zeros((len(names), len(shared)))
        for column, name in enumerate(shared):
            place, sign = side[name]
            matrix[place, column] = sign
        maps.append(Affine(matrix=matrix, offset=np.zeros(len(shared))))
    return Alignment(source=maps[0], target=maps[1], note=f"{len(shared)} shared columns")


def _whitened(values: Floats, size: int) -> _Side:
    """Principal axes of unit variance; the sign of an axis makes its skewness positive."""
    wide = np.asarray(values, np.float64)
    if len(wide) < 2:
        raise FeatureError(f"an alignment needs at least two utterances of a side, got {len(wide)}")
    # A fixed order of the rows, so that sums do not depend on the one that came.
    wide = wide[np.lexsort(wide.T[::-1])]
    mean = wide.mean(axis=0)
    _, singular, vectors = np.linalg.svd(wide - mean, full_matrices=False)
    variances = singular**2 / len(wide)
    count = min(size, int((variances > _TINY * variances[0]).sum()))
    if not count:
        raise FeatureError("an alignment needs features that vary, and those of one side do not")
    matrix = vectors[:count].T / np.sqrt(variances[:count])
    axes = (wide - mean) @ matrix
    signs = np.where((axes**3).mean(axis=0) < 0, -1.0, 1.0)
    return _Side(
        axes=axes * signs,
        shares=variances[:count] / variances.sum(),
        map=Affine(matrix=matrix * signs, offset=-(mean @ matrix) * signs),
    )


def _first(side: _Side, size: int) -> _Side:
    return _Side(
        axes=side.axes[:, :size],
        shares=side.shares[:size],
        map=Affine(matrix=side.map.matrix[:, :size], offset=side.map.offset[:size]),
    )


def _by_moments(one: _Side, other: _Side) -> Doubles:
    """A signed permutation of the other side's axes that matches their moments.

    First each axis finds its like by share of variance, skewness and kurtosis (linear
    assignment); then co-moments E[x_i^2 x_j] and E[x_i^2 x_j^2] are matched by the fast
    approximate quadratic assignment (Vogelstein et al. 2015), from that start; then signs.
    """
    like = np.abs(_signature(one)[:, None] - _signature(other)[None]).sum(axis=2)
    rows, order = linear_sum_assignment(like)
    start = np.zeros_like(like)
    start[rows, order] = 1.0
    fourth = [_co_moments(side.axes, 2) - 1.0 for side in (one, other)]
    found = quadratic_assignment(
        fourth[0],
        fourth[1],
        method="faq",
        options={"maximize": True, "P0": (start + 1 / len(start)) / 2},
    )
    # The first assignment stays where the co-moments do not speak against it.
    candidates = [order, np.asarray(found.col_ind)]
    scored = [_fit(one, other, _signed(one, other, place)) for place in candidates]
    return _signed(one, other, candidates[int(np.argmin(scored))])


def _signature(side: _Side) -> Doubles:
    """What tells an axis from others, without its sign [p, 3]."""
    skewness = np.abs((side.axes**3).mean(axis=0))
    kurtosis = (side.axes**4).mean(axis=0) - 3.0
    return np.stack([np.log(side.shares), 2 * np.log1p(skewness), np.arcsinh(kurtosis)], axis=1)


def _co_moments(axes: Doubles, power: int) -> Doubles:
    """E[x_i^2 x_j^power] [p, p]."""
    moments: Doubles = (axes**2).T @ axes**power / len(axes)
    return moments


def _signed(one: _Side, other: _Side, order: npt.NDArray[np.int64]) -> Doubles:
    """The permutation with the sign of each axis that fits E[x_i^2 x_j] best."""
    rotation = np.zeros((len(order), len(order)))
    rotation[order, np.arange(len(order))] = 1.0
    third = _co_moments(one.axes, 1), _co_moments(other.axes @ rotation, 1)
    agreement = (third[0] * third[1]).sum(axis=0)
    signed: Doubles = rotation * np.where(agreement < 0, -1.0, 1.0)
    return signed


def _fit(one: _Side, other: _Side, rotation: Doubles) -> float:
    """How far third and fourth co-moments differ after the rotation."""
    turned = other.axes @ rotation
    return sum(
        float(np.square(_co_moments(one.axes, power) - _co_moments(turned, power)).mean())
        for power in (1, 2)
    )


def _by_coupling(one: _Side, other: _Side) -> Doubles:
    """A rotation through couplings of utterances.

    The Gromov–Wasserstein coupling of utterances by their distances within a side (Mémoli 2011;
    Alvarez-Melis & Jaakkola 2018) from several starts, then in turn the rotation that brings
    coupled utterances together (orthogonal Procrustes) and the Wasserstein coupling of the turned
    sides (Grave, Joulin & Berthet 2019). The start that ends nearest wins.
    """
    import ot  # noqa: PLC0415 (a second to import)

    samples = [_sample(side.axes) for side in (one, other)]
    distances = [ot.dist(sample, sample, metric="euclidean") for sample in samples]
    distances = [matrix / matrix.mean() for matrix in distances]
    ends = []
    for start in _starts(one, other, samples, ot.emd):
        coupling = ot.gromov.gromov_wasserstein(*distances, G0=start, max_iter=50)
        rotation = _procrustes(samples, coupling)
        for _ in range(_ROUNDS):
            cost = ot.dist(samples[0], samples[1] @ rotation)
            coupling = ot.emd(*_uniform(samples), cost)
            rotation = _procrustes(samples, coupling)
        cost = ot.dist(samples[0], samples[1] @ rotation)
        ends.append((float((coupling * cost).sum()), rotation))
    return min(ends, key=lambda end: end[0])[1]


def _starts(
    one: _Side, other: _Side, samples: list[Doubles], emd: Callable[..., Doubles]
) -> list[Doubles]:
    """Couplings to start from: by the matched moments, by distance from the centre, none."""
    uniform = _uniform(samples)
    turned = samples[1] @ _by_moments(one, other)
    near = ((samples[0][:, None] - turned[None]) ** 2).sum(axis=2)
    first, second = (np.linalg.norm(sample, axis=1) for sample in samples)
    radius = (first[:, None] - second) ** 2
    return [emd(*uniform, near), emd(*uniform, radius), np.outer(*uniform)]


def _uniform(samples: list[Doubles]) -> tuple[Doubles, Doubles]:
    first, second = (np.full(len(sample), 1 / len(sample)) for sample in samples)
    return first, second


def _procrustes(samples: list[Doubles], coupling: Doubles) -> Doubles:
    rotation, _ = scipy.linalg.orthogonal_procrustes(
        samples[1], coupling.T @ samples[0] * len(samples[1])
    )
    turned: Doubles = np.asarray(rotation, np.float64)
    return turned


def _sample(axes: Doubles) -> Doubles:
    """At most `_SAMPLE` rows, drawn by their values; their order was fixed before."""
    if len(axes) <= _SAMPLE:
        return axes
    random = generator("alignment", digest_array(axes))
    return axes[np.sort(random.choice(len(axes), _SAMPLE, replace=False))]
