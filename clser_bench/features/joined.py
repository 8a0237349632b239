"""Two tables one below the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clser_bench.errors import FeatureError
from clser_bench.features.tables import existing_table, new_table
from clser_bench.hashing import digest
from clser_bench.problem import Table


def joined(first: Table, second: Table, *, cache: Path) -> Table:
    """The rows of one table, then those of another; kept in the cache.

    Args:
        first: [n, ...].
        second: [m, ...].
        cache: the cache folder.

    Returns:
        A table of n + m rows.

    Raises:
        FeatureError: their sizes differ.
    """
    sizes = [(table.instants.shape[1:], table.summary.shape[1]) for table in (first, second)]
    if sizes[0] != sizes[1]:
        raise FeatureError(
            f"tables {first.key[:12]} and {second.key[:12]} have features of different sizes: "
            "what keeps labels of the source back needs one feature set, or an alignment"
        )
    rows = len(first) + len(second)
    key = digest(["joined", first.key, second.key])
    there = existing_table(cache, key, rows=rows)
    if there is not None:
        return there
    parts = (
        (np.arange(len(first)), first.instants, first.summary),
        (np.arange(len(first), rows), second.instants, second.summary),
    )
    return new_table(
        cache,
        key,
        instants=(rows, *first.instants.shape[1:]),
        summary=(rows, first.summary.shape[1]),
        parts=parts,
    )
