"""Maps of two feature sets onto a common space, without labels and without parallel utterances.

Where source and target have different encoders, their columns have nothing to do with
each other. A map of the target that is learned freely gets no signal (no label of the target is
known) and stays at chance. So both sides are mapped once, from what can be known without labels:
names, the shape of the distributions, the geometry of the utterances, or their acoustics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.cache import Part, existing_table, new_table
from clser_bench.features.rotations import Doubles, Side, by_anchors, by_coupling, by_moments
from clser_bench.features.sets import FeatureSet
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import Floats, Rows, Table

ALIGNMENTS = ("anchors", "moments", "gromov", "names")

VERSION = 1
SIZE = 32
"""The most axes of the common space, of instants and of summaries alike."""

HOW = (*ALIGNMENTS, "none")
"""Every alignment; `none` leaves both sides as they are."""

DEFAULT_ALIGNMENT = "anchors"

ANCHORS = "acoustic"
"""The set whose columns are the anchors: it can be computed of any utterance."""

_ROWS = 1024
_TINY = 1e-8
_CLIP = 5.0

# Columns of `acoustic`, their equals in eGeMAPS, and the sign of their correlation (`alpha_ratio`
# is low over high here, high over low in openSMILE). Definitions differ in details (window,
# perceptual scale, voicing decision). Over the utterances (summaries) or instants of nEMO and
# TurEV-DB together, z-scored by corpus, every pair correlates by 0.6 or more in the stated sign;
# within speakers some correlate less (`mean_voicing` 0.35 on nEMO).
_SUMMARIES = (
    ("mean_pitch", "F0semitoneFrom27.5Hz_sma3nz_amean", 1),
    ("p20_pitch", "F0semitoneFrom27.5Hz_sma3nz_percentile20.0", 1),
    ("p50_pitch", "F0semitoneFrom27.5Hz_sma3nz_percentile50.0", 1),
    ("p80_pitch", "F0semitoneFrom27.5Hz_sma3nz_percentile80.0", 1),
    ("mean_loudness", "loudness_sma3_amean", 1),
    ("p50_loudness", "loudness_sma3_percentile50.0", 1),
    ("p80_loudness", "loudness_sma3_percentile80.0", 1),
    ("mean_mfcc01", "mfcc1_sma3_amean", 1),
    ("mean_mfcc02", "mfcc2_sma3_amean", 1),
    ("mean_mfcc03", "mfcc3_sma3_amean", 1),
    ("mean_mfcc04", "mfcc4_sma3_amean", 1),
    ("voiced_mfcc01", "mfcc1V_sma3nz_amean", 1),
    ("voiced_mfcc02", "mfcc2V_sma3nz_amean", 1),
    ("voiced_mfcc03", "mfcc3V_sma3nz_amean", 1),
    ("voiced_mfcc04", "mfcc4V_sma3nz_amean", 1),
    ("voiced_alpha_ratio", "alphaRatioV_sma3nz_amean", -1),
    ("voiced_hammarberg", "hammarbergIndexV_sma3nz_amean", 1),
    ("voiced_slope_low", "slopeV0-500_sma3nz_amean", 1),
    ("voiced_slope_high", "slopeV500-1500_sma3nz_amean", 1),
    ("mean_voicing", "HNRdBACF_sma3nz_amean", 1),
    ("voiced_seconds", "MeanVoicedSegmentLengthSec", 1),
    ("mean_level", "equivalentSoundLevel_dBp", 1),
)

_INSTANTS = (
    ("loudness", "Loudness_sma3", 1),
    ("alpha_ratio", "alphaRatio_sma3", -1),
    ("hammarberg", "hammarbergIndex_sma3", 1),
    ("slope_low", "slope0-500_sma3", 1),
    ("mfcc01", "mfcc1_sma3", 1),
    ("mfcc02", "mfcc2_sma3", 1),
    ("mfcc03", "mfcc3_sma3", 1),
    ("mfcc04", "mfcc4_sma3", 1),
)

MEANING = {theirs: (ours, sign) for ours, theirs, sign in (*_SUMMARIES, *_INSTANTS)}
"""Column of eGeMAPS to the name of its equal, and the sign."""


def meaning(column: str) -> tuple[str, int]:
    """The name under which a column is compared with those of other sets, and its sign."""
    return MEANING.get(column, (column, 1))


def check_alignment(how: str) -> None:
    """Raise unless there is such an alignment.

    Raises:
        FeatureError: there is none.
    """
    if how not in HOW:
        raise FeatureError(f"alignment '{how}' is unknown{did_you_mean(how, HOW)}")


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
    """Bring the tables of a pair to a common space.

    The maps are found on unlabelled features: summaries, and instants averaged over the
    utterance. All rows of the source count, and of the target those that may be looked at.

    Args:
        source: normalised, n rows.
        target: normalised, m rows.
        sets: what they are of; their names of columns may be used.
        how: one of `ALIGNMENTS`.
        rows: rows of the target that may be looked at; None for all.
        cache: the cache folder.
        anchors: tables of the set `ANCHORS`, normalised alike; for `anchors` only.

    Returns:
        Both tables with the same columns.

    Raises:
        FeatureError: the alignment cannot be made of these sets.
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
    found = [
        existing_table(cache, key, rows=len(table))
        for key, table in zip(keys, (source, target), strict=True)
    ]
    if found[0] is not None and found[1] is not None:
        return found[0], found[1]
    seen = np.arange(len(target)) if rows is None else np.unique(rows)
    long, short = (
        align(
            columns(source)[:],
            columns(target)[seen],
            how=how,
            size=SIZE,
            source_names=names[0],
            target_names=names[1],
            anchors=anchors and (columns(anchors[0])[:], columns(anchors[1])[seen]),
        )
        for columns, names in (
            (_pooled, [one.instants for one in sets]),
            (_summary, [one.summary for one in sets]),
        )
    )
    return (
        _mapped(cache, keys[0], source, long.source, short.source),
        _mapped(cache, keys[1], target, long.target, short.target),
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
    """Refuse sides that were not aligned and look as if they had been.

    Where sizes differ methods say that they do not apply; where they are the same by chance,
    columns would be compared that have nothing in common.

    Args:
        sides: tables of two different sets.
        sets: what they are of.
        how: the alignment that was asked for.

    Raises:
        FeatureError: both have the same columns by number.
    """
    shapes = [(table.instants.shape[2], table.summary.shape[1]) for table in sides]
    if shapes[0] == shapes[1]:
        raise FeatureError(
            f"'{sets[0].name}' and '{sets[1].name}' have as many columns, but their columns mean "
            f"other things, and --align {how} does not bring them together; use --align anchors"
        )


def _pooled(table: Table) -> Floats:
    pooled: Floats = table.instants.mean(axis=1)
    return pooled


def _summary(table: Table) -> Floats:
    return table.summary


def _mapped(cache: Path, key: str, table: Table, long: Affine, short: Affine) -> Table:
    def parts() -> Iterator[Part]:
        for start in range(0, len(table), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(table)))
            yield rows, long.apply(table.instants[rows]), short.apply(table.summary[rows])

    t = table.instants.shape[1]
    return new_table(
        cache,
        key,
        instants=(len(table), t, long.matrix.shape[1]),
        summary=(len(table), short.matrix.shape[1]),
        parts=parts(),
    )


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
