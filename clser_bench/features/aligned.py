"""Tables of two feature sets brought to a common space, without any label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.alignment import ALIGNMENTS, Affine, align, shared_names
from clser_bench.features.sets import FeatureSet
from clser_bench.features.tables import Part, existing_table, new_table
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import Floats, Rows, Table

VERSION = 1
SIZE = 32
"""The most axes of the common space, of instants and of summaries alike."""

HOW = (*ALIGNMENTS, "none")
"""Every alignment; `none` leaves both sides as they are."""

DEFAULT_ALIGNMENT = "anchors"

ANCHORS = "acoustic"
"""The set whose columns are the anchors: it can be computed of any utterance."""

_ROWS = 1024


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
        how: one of `alignment.ALIGNMENTS`.
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
        _written(cache, keys[0], source, long.source, short.source),
        _written(cache, keys[1], target, long.target, short.target),
    )


def shares_names(source: FeatureSet, target: FeatureSet) -> bool:
    """Whether two sets have columns in common, among instants and among summaries.

    The columns of an encoder are numbered, not named: those of two have nothing in common.
    """
    if any(one.layer or any(part.layer for part in one.parts) for one in (source, target)):
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


def _written(cache: Path, key: str, table: Table, long: Affine, short: Affine) -> Table:
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
