"""Tables made of other tables: some of their columns, averaged over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from clser_bench.features.sets import FeatureSet
from clser_bench.features.tables import Part
from clser_bench.problem import Floats, Table

_ROWS = 1024


def parts_of(features: FeatureSet, tables: Sequence[Table]) -> Iterator[Part]:
    """The rows of a table that is made of others.

    Args:
        features: names the columns, and the sets that the tables are of.
        tables: one for each of its parts, rows alike.

    Yields:
        Rows with the columns of `features`, each the mean over the tables. The mean of deviations
        is the mean of the layers' deviations, not the deviation of their mean.
    """
    long = [_places(features.instants, part.instants) for part in features.parts]
    short = [_places(features.summary, part.summary) for part in features.parts]
    for start in range(0, len(tables[0]), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(tables[0])))
        yield (
            rows,
            _mean([t.instants[rows][..., c] for t, c in zip(tables, long, strict=True)]),
            _mean([t.summary[rows][:, c] for t, c in zip(tables, short, strict=True)]),
        )


def _places(wanted: tuple[str, ...], have: tuple[str, ...]) -> list[int]:
    place = {name: number for number, name in enumerate(have)}
    return [place[name] for name in wanted]


def _mean(values: Sequence[Floats]) -> Floats:
    if len(values) == 1:
        return values[0]
    mean: Floats = np.asarray(np.mean(values, axis=0, dtype=np.float64), np.float32)
    return mean
