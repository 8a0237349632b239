"""Maps of two feature sets onto a common space, without labels and without parallel utterances.

Where source and target have different encoders, their columns have nothing to do with
each other. A map of the target that is learned freely gets no signal (no label of the target is
known) and stays at chance. So both sides are mapped once, from what can be known without labels:
names, the shape of the distributions, the geometry of the utterances, or their acoustics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when used: command lines read the names alone

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.cache import existing_table, new_table
from clser_bench.features.sets import FeatureSet
from clser_bench.hashing import digest, digest_array, generator
from clser_bench.problem import Floats, Rows, Table

ALIGNMENTS = ("anchors", "moments", "gromov", "names")
DEFAULT_ALIGNMENT = "anchors"

VERSION = 1
SIZE = 32
"""The most axes of the common space, of instants and of summaries alike."""

ANCHORS = "acoustic"
"""The set whose columns are the anchors: it can be computed of any utterance."""

_ROWS = 1024
_TINY = 1e-8
_CLIP = 5.0
_SAMPLE = 250
_ROUNDS = 5

Doubles = npt.NDArray[np.float64]

# Columns of `acoustic`, their equals in eGeMAPS, and the sign of their correlation (`alpha_ratio`
# is low over high here, high over low in openSMILE). Definitions differ in details (window,
# perceptual scale, voicing decision). Over the utterances (summaries) or instants of nEMO and
# TurEV-DB together, z-scored by corpus, every pair correlates by 0.6 or more in the stated sign;
# within speakers some correlate less (`mean_voicing` 0.35 on nEMO).
_PITCH, _LOUDNESS = "F0semitoneFrom27.5Hz_sma3nz", "loudness_sma3"
_ALIKE = (
    ("mean_pitch", f"{_PITCH}_amean", 1),
    *((f"p{share}_pitch", f"{_PITCH}_percentile{share}.0", 1) for share in (20, 50, 80)),
    ("mean_loudness", f"{_LOUDNESS}_amean", 1),
    *((f"p{share}_loudness", f"{_LOUDNESS}_percentile{share}.0", 1) for share in (50, 80)),
    *((f"mean_mfcc0{order}", f"mfcc{order}_sma3_amean", 1) for order in (1, 2, 3, 4)),
    *((f"voiced_mfcc0{order}", f"mfcc{order}V_sma3nz_amean", 1) for order in (1, 2, 3, 4)),
    ("voiced_alpha_ratio", "alphaRatioV_sma3nz_amean", -1),
    ("voiced_hammarberg", "hammarbergIndexV_sma3nz_amean", 1),
    ("voiced_slope_low", "slopeV0-500_sma3nz_amean", 1),
    ("voiced_slope_high", "slopeV500-1500_sma3nz_amean", 1),
    ("mean_voicing", "HNRdBACF_sma3nz_amean", 1),
    ("voiced_seconds", "MeanVoicedSegmentLengthSec", 1),
    ("mean_level", "equivalentSoundLevel_dBp", 1),
    # of an instant
    ("loudness", "Loudness_sma3", 1),
    ("alpha_ratio", "alphaRatio_sma3", -1),
    ("hammarberg", "hammarbergIndex_sma3", 1),
    ("slope_low", "slope0-500_sma3", 1),
    *((f"mfcc0{order}", f"mfcc{order}_sma3", 1) for order in (1, 2, 3, 4)),
)

MEANING = {theirs: (ours, sign) for ours, theirs, sign in _ALIKE}
"""Column of eGeMAPS to the name of its equal, and the sign."""


def meaning(column: str) -> tuple[str, int]:
    """The name under which a column is compared with those of other sets, and its sign."""
    return MEANING.get(column, (column, 1))


def shared_names(source: tuple[str, ...], target: tuple[str, ...]) -> list[str]:
    """The columns that both sides have, by what they mean, in the order of the source."""
    have = {meaning(name)[0] for name in target}
    return [meaning(name)[0] for name in source if meaning(name)[0] in have]


def check_alignment(how: str) -> None:
    """Refuse what is neither an alignment nor `none`, which leaves both sides as they are."""
    known = (*ALIGNMENTS, "none")
    if how not in known:
        raise FeatureError(f"alignment '{how}' is unknown{did_you_mean(how, known)}")


def aligned(
    source: Table,
    target: Table,
    *,
    sets: tuple[FeatureSet, FeatureSet],
    how: str,
    rows: Rows | None,
    cache: Path,
    anchors: tuple[Table, Table] | None = None,
) -> tuple[Table, Table]:
    """Bring the normalised tables of a pair to a common space by one of `ALIGNMENTS`.

    The maps are found on unlabelled features: summaries, and instants averaged over the utterance.
    All rows of the source count, and of the target `rows`, those that may be looked at (None for
    all). `anchors` are tables of the set `ANCHORS`, normalised alike, for `anchors` only.
    FeatureError where the alignment cannot be made of these sets.
    """
    identity: dict[str, Any] = {
        "alignment": how,
        "version": VERSION,
        "size": SIZE,
        "tables": [source.key, target.key],
        "anchors": [table.key for table in anchors or ()],
        "rows": None if rows is None else digest_array(np.unique(rows).astype(np.int64)),
    }
    keys = [digest({**identity, "side": side}) for side in ("source", "target")]
    first, second = (
        existing_table(cache, key, rows=len(table))
        for key, table in zip(keys, (source, target), strict=True)
    )
    if first is not None and second is not None:
        return first, second
    seen = slice(None) if rows is None else np.unique(rows)
    names = zip(*((features.instants, features.summary) for features in sets), strict=True)
    # The maps of both sides: of instants, and of summaries.
    long, short = (
        align(
            _means(source, kind),
            _means(target, kind)[seen],
            how=how,
            size=SIZE,
            source_names=source_names,
            target_names=target_names,
            anchors=anchors and (_means(anchors[0], kind), _means(anchors[1], kind)[seen]),
        )
        for kind, (source_names, target_names) in zip(("instants", "summary"), names, strict=True)
    )
    return (
        _mapped(cache, keys[0], source, long[0], short[0]),
        _mapped(cache, keys[1], target, long[1], short[1]),
    )


def shares_names(source: FeatureSet, target: FeatureSet) -> bool:
    """Whether two sets have columns in common, among instants and among summaries.

    The columns of an encoder are numbered, not named: those of two have nothing in common.
    """
    if any(one.layer for features in (source, target) for one in features.sources):
        return False
    return all(
        len(shared_names(*names)) > 1
        for names in ((source.instants, target.instants), (source.summary, target.summary))
    )


def refuse_alike(sides: tuple[Table, Table], sets: tuple[FeatureSet, FeatureSet], how: str) -> None:
    """Refuse (FeatureError) sides that were not aligned and have as many columns as each other.

    Where sizes differ methods say that they do not apply; where they are the same by chance,
    columns would be compared that have nothing in common.
    """
    shapes = [(table.instants.shape[2], table.summary.shape[1]) for table in sides]
    if shapes[0] == shapes[1]:
        raise FeatureError(
            f"'{sets[0].name}' and '{sets[1].name}' have as many columns, but their columns mean "
            f"other things, and --align {how} does not bring them together; use --align anchors"
        )


def _means(table: Table, kind: str) -> Floats:
    """Summaries, or instants averaged over the utterance."""
    return table.summary if kind == "summary" else table.instants.mean(axis=1)


def _mapped(cache: Path, key: str, table: Table, long: Affine, short: Affine) -> Table:
    n, t, _ = table.instants.shape
    blocks = np.split(np.arange(n), range(_ROWS, n, _ROWS))
    parts = ((b, long.apply(table.instants[b]), short.apply(table.summary[b])) for b in blocks)
    sizes = long.matrix.shape[1], short.matrix.shape[1]
    return new_table(cache, key, instants=(n, t, sizes[0]), summary=(n, sizes[1]), parts=parts)


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine:
    """An affine map of columns: values [..., a] @ `matrix` + `offset`."""

    matrix: Doubles  # float64 [a, p]
    offset: Doubles  # float64 [p]

    def apply(self, values: Floats) -> Floats:
        """Map [..., a] to float32 [..., p], clipped to ±5 as z-scores are."""
        mapped = np.asarray(values, np.float64) @ self.matrix + self.offset
        clipped: Floats = mapped.clip(-_CLIP, _CLIP).astype(np.float32)
        return clipped


@dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """A side on its principal axes: unit variance, uncorrelated."""

    axes: Doubles  # [n, p]
    shares: Doubles  # [p], of the variance, falling


def align(
    source: Floats,
    target: Floats,
    *,
    how: str,
    size: int,
    source_names: tuple[str, ...],
    target_names: tuple[str, ...],
    anchors: tuple[Floats, Floats] | None = None,
) -> tuple[Affine, Affine]:
    """Find maps of both sides onto a common space; the same for any order of the rows.

    Args:
        source: [n, a], z-scored columns of the source's utterances.
        target: [m, b], of the target's.
        how: `names`: the columns of both sides that mean the same. `moments`: principal axes,
            whitened, matched by their shares of variance and third and fourth moments. `gromov`:
            whitened axes turned onto each other through a Gromov–Wasserstein coupling. `anchors`:
            whitened axes turned so that both sides correlate alike with `anchors`, columns [n, q]
            and [m, q] that mean the same on both sides and are known of every utterance.
        size: the most axes p of the common space; `names` has as many as there are names.

    Raises:
        FeatureError: fewer than two columns have a name in common; a side has fewer than two
            utterances, or nothing in it varies.
    """
    if how == "names":
        return _by_names(source_names, target_names)
    # A fixed order of the rows, so that sums and samples do not depend on the one that came.
    orders = [np.lexsort(np.asarray(values).T[::-1]) for values in (source, target)]
    (one, first), (other, second) = (
        _whitened(np.asarray(values[order], np.float64), size)
        for values, order in zip((source, target), orders, strict=True)
    )
    size = min(one.axes.shape[1], other.axes.shape[1])
    one, other = (Side(axes=s.axes[:, :size], shares=s.shares[:size]) for s in (one, other))
    if how == "anchors":
        if anchors is None:
            raise FeatureError("the alignment 'anchors' needs columns that both sides share")
        known = [np.asarray(v[o], np.float64) for v, o in zip(anchors, orders, strict=True)]
        rotation = by_anchors(one, other, (known[0], known[1]))
    else:
        rotation = {"moments": _by_moments, "gromov": _by_coupling}[how](one, other)
    # Both sides get the deviations of the source's axes, mean square 1: evened out, the noise of
    # small axes would weigh as much as loudness.
    scale = np.diag(np.sqrt(one.shares / one.shares.mean()))
    maps = [
        Affine(matrix=side.matrix[:, :size] @ turn, offset=side.offset[:size] @ turn)
        for side, turn in ((first, scale), (second, rotation @ scale))
    ]
    return maps[0], maps[1]


def _by_names(source: tuple[str, ...], target: tuple[str, ...]) -> tuple[Affine, Affine]:
    """The maps that take the shared columns, each with its sign."""
    shared = shared_names(source, target)
    if len(shared) < 2:
        raise FeatureError(
            f"the feature sets share {len(shared)} named columns (they have {source[0]} and "
            f"{target[0]}, for example), and at least 2 are needed; use --align anchors"
        )
    maps = []
    for names in (source, target):
        matrix = np.zeros((len(names), len(shared)))
        for row, (name, sign) in enumerate(map(meaning, names)):
            if name in shared:
                matrix[row, shared.index(name)] = sign
        maps.append(Affine(matrix=matrix, offset=np.zeros(len(shared))))
    return maps[0], maps[1]


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


def by_anchors(one: Side, other: Side, anchors: tuple[Doubles, Doubles]) -> Doubles:
    """The rotation R [p, p] after which both sides' axes covary alike with the anchors.

    Of covariances C [p, q] of axes and anchors (of the same utterances, [n, q] and [m, q]) it
    minimises ||R^T C_other - C_one|| (orthogonal Procrustes, Schönemann 1966); `other.axes @ R` are
    the turned axes.
    """
    covariances = [
        side.axes.T @ (known - known.mean(axis=0)) / len(known)
        for side, known in zip((one, other), anchors, strict=True)
    ]
    return np.asarray(scipy.linalg.orthogonal_procrustes(covariances[1].T, covariances[0].T)[0])


def _by_moments(one: Side, other: Side) -> Doubles:
    """A signed permutation of the other side's axes that matches their moments.

    First each axis finds its like by share of variance, skewness and kurtosis (linear
    assignment); then co-moments E[x_i^2 x_j] and E[x_i^2 x_j^2] are matched by the fast
    approximate quadratic assignment (Vogelstein et al. 2015), from that start; then signs. Made
    for few axes of clearly different variance: of 32 planted ones, found and true axes correlate
    by 0.28.
    """
    # An axis without its sign: its share of the variance, its skewness and its kurtosis [p, 3].
    signatures = []
    for side in (one, other):
        skewness = np.abs((side.axes**3).mean(axis=0))
        kurtosis = (side.axes**4).mean(axis=0) - 3.0
        parts = np.log(side.shares), 2 * np.log1p(skewness), np.arcsinh(kurtosis)
        signatures.append(np.stack(parts, axis=1))
    like = np.abs(signatures[0][:, None] - signatures[1][None]).sum(axis=2)
    rows, order = scipy.optimize.linear_sum_assignment(like)
    start = np.zeros_like(like)
    start[rows, order] = 1.0
    own = [_co_moments(one.axes, power) for power in (1, 2)]
    random = generator("alignment", "assignment")
    found = scipy.optimize.quadratic_assignment(
        own[1] - 1.0,
        _co_moments(other.axes, 2) - 1.0,
        method="faq",
        options={"maximize": True, "P0": (start + 1 / len(start)) / 2, "rng": random},
    )
    fits: list[tuple[float, Doubles]] = []
    # The first assignment stays where the co-moments do not speak against it.
    for place in (order, np.asarray(found.col_ind)):
        rotation = np.zeros_like(like)
        rotation[place, rows] = 1.0
        # The sign of each axis is the one that fits E[x_i^2 x_j] best.
        agreement = (own[0] * _co_moments(other.axes @ rotation, 1)).sum(axis=0)
        rotation *= np.where(agreement < 0, -1.0, 1.0)
        turned = [_co_moments(other.axes @ rotation, power) for power in (1, 2)]
        misfit = sum(float(np.square(own[n] - turned[n]).mean()) for n in (0, 1))
        fits.append((misfit, rotation))
    return min(fits, key=lambda fit: fit[0])[1]


def _co_moments(axes: Doubles, power: int) -> Doubles:
    """E[x_i^2 x_j^power] [p, p]."""
    moments: Doubles = (axes**2).T @ axes**power / len(axes)
    return moments


def _by_coupling(one: Side, other: Side) -> Doubles:
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
    uniform = [np.full(len(sample), 1 / len(sample)) for sample in samples]
    # Couplings to start from: by the matched moments, by distance from the centre, none.
    turned = samples[1] @ _by_moments(one, other)
    near = ((samples[0][:, None] - turned[None]) ** 2).sum(axis=2)
    first, second = (np.linalg.norm(sample, axis=1) for sample in samples)
    radius = (first[:, None] - second) ** 2
    ends = []
    for start in (ot.emd(*uniform, near), ot.emd(*uniform, radius), np.outer(*uniform)):
        coupling = ot.gromov.gromov_wasserstein(*distances, G0=start, max_iter=50)
        for _ in range(_ROUNDS + 1):
            coupled = coupling.T @ samples[0] * len(samples[1])
            rotation = scipy.linalg.orthogonal_procrustes(samples[1], coupled)[0]
            cost = ot.dist(samples[0], samples[1] @ rotation)
            last, coupling = coupling, ot.emd(*uniform, cost)
        ends.append((float((last * cost).sum()), np.asarray(rotation)))
    return min(ends, key=lambda end: end[0])[1]


def _sample(axes: Doubles) -> Doubles:
    """At most `_SAMPLE` rows, drawn by their values; their order was fixed before."""
    if len(axes) <= _SAMPLE:
        return axes
    random = generator("alignment", digest_array(axes))
    return axes[np.sort(random.choice(len(axes), _SAMPLE, replace=False))]
