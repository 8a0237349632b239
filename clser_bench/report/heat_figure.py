"""A heat map: the mean of each method on each pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize

from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.confusion_figure import draw_cell, draw_hole, hole_keys
from clser_bench.report.drawing import COLUMN, in_style, new_figure, plain
from clser_bench.report.figure_parts import (
    LETTER,
    LINE,
    ROW,
    add_legend,
    by_mean,
    draws_of,
    grey_labels,
    heading,
    labelled,
    notes_of,
    rows_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NARROW, _WIDE = 0.165, 0.25  # inches of a cell that holds "38", and "38.4"
_GAP = 0.3  # cells before the mean


@in_style
def heat_map(table: LeaderboardTable, *, width: float = COLUMN) -> Figure:
    """Draw the mean of each method on each pair as a colour and a number, holes as hatches.

    The mean over the pairs stands apart, on the right. One colour scale covers all numbers.

    Args:
        table: with or without intervals.
        width: in inches; where cells are too narrow for a decimal, whole percents are shown.

    Raises:
        SpecError: the table has no method.
    """
    lines = by_mean(table)
    names = [labelled(line) for line in lines]
    pairs = [plain(str(pair), longest=16) for pair in table.pairs]
    columns = len(pairs) + 1 + _GAP
    taken = 0.2 + LETTER * max(map(len, names))
    side = max(_NARROW, (width - taken) / columns)
    width = max(width, taken + side * columns)
    longest = LETTER * max(map(len, (*pairs, "mean")))
    every = [cell for line in lines for cell in (*line.cells, line.mean)]
    holes = hole_keys({cell.status for cell in every if cell.mean is None})
    notes = notes_of([table], lines, width)
    title = heading([table], f"mean UAR (%) of each pair, n = {draws_of(lines)}", width)
    height = 0.3 + (longest if side < longest else 0.1) + ROW * len(lines)
    figure = new_figure(width, height + LINE * (len(holes) + rows_of([title, *notes])))
    axis = figure.subplots()
    _cells(axis, lines, digits=int(side >= _WIDE))
    places = [*range(len(pairs)), len(pairs) + _GAP]
    axis.set_xticks(places, [*pairs, "mean"], rotation=90 if side < longest else 0)
    axis.set_yticks(range(len(lines)), names)
    grey_labels(axis, lines)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=7)
    add_legend(figure, holes, notes)
    return figure


def _cells(axis: Axes, lines: Sequence[Line], *, digits: int) -> None:
    """The squares of a heat map, the mean apart."""
    rows = [[*line.cells, line.mean] for line in lines]
    found = [cell.mean for row in rows for cell in row if cell.mean is not None] or [0.0]
    scale, last = Normalize(min(found), max(found)), len(rows[0]) - 1
    for (row, column), _ in np.ndenumerate(np.empty((len(rows), last + 1))):
        cell, place = rows[row][column], (column + _GAP * (column == last), row)
        if cell.mean is not None:
            draw_cell(axis, place, cell.mean, f"{cell.mean:.{digits}f}", scale=scale)
        else:
            draw_hole(axis, place, cell.status)
    axis.set_xlim(-0.5, last + 0.5 + _GAP)
    axis.set_ylim(len(rows) - 0.5, -0.5)
