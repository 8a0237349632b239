"""Learning curves: means over the pairs against the number of labelled utterances."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.drawing import COLOURS, COLUMN, in_style, new_figure, plain
from clser_bench.report.figure_parts import (
    LINE,
    add_legend,
    draws_of,
    ends_of,
    heading,
    key_of,
    labelled,
    notes_of,
    pairs_of,
    rows_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

TOP = 7
"""Ranked methods that learning curves show, beside the reference, where none are asked for."""

BANDS = 3
"""So many methods have bands in learning curves; of more, the intervals are bars."""

_SPREAD = 0.4  # of the way to the next number of shots, over which methods are spread
_MARKERS = "osD^vPX*<>"
_Curves = Sequence[Mapping[str, Line]]
"""For each number of shots, the lines of its table by method."""


@in_style
def learning_curves(
    tables: Sequence[LeaderboardTable], *, methods: Collection[str] = (), width: float = COLUMN
) -> Figure:
    """Draw the mean of some methods over the pairs, against the number of labelled utterances.

    Numbers of shots stand evenly apart. 95 % intervals are bands; for more than `BANDS` methods,
    whose bands would hide each other, they are bars, each method a little aside of the others.

    Args:
        tables: one for each number of shots, alike in all other rules.
        methods: those to draw, of any kind; where none are given, the `TOP` ranked methods by
            their mean over the shots, those first that have a mean at every one, and the
            reference.
        width: in inches.

    Raises:
        SpecError: there is no table, the tables differ in more than shots, or a method is unknown.
    """
    tables = _by_shots(tables)
    curves = [{line.method: line for line in table.lines} for table in tables]
    chosen, what = _chosen(curves, methods, tables[0].reference)
    shown = [[row[name] for name in chosen if name in row] for row in curves]
    notes = notes_of(tables, [line for row in shown for line in row], width / 2)
    title = heading(tables, what, width)
    rows = 1.2 * len(chosen) / 2 + rows_of([title, *notes])
    figure = new_figure(width, 2.4 + LINE * rows)
    axis = figure.subplots()
    beside = _SPREAD / len(chosen) if len(chosen) > BANDS else 0.0
    middle = (len(chosen) - 1) / 2
    handles = [
        _curve(axis, place, [row.get(name) for row in curves], beside * (place - middle))
        for place, name in enumerate(chosen)
    ]
    counts = [draws_of(row) for row in shown]
    labels = [f"{one.rules.shots}\nn = {n}" for one, n in zip(tables, counts, strict=True)]
    axis.set_xticks(range(len(tables)), labels)
    axis.set_xlim(-0.35, len(tables) - 0.65)
    axis.set_xlabel("labelled utterances per class")
    axis.set_ylabel(f"mean UAR over {pairs_of(tables[0])} (%)")
    axis.grid(axis="y", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=7)
    add_legend(figure, handles, notes, columns=2)
    return figure


def _by_shots(tables: Sequence[LeaderboardTable]) -> list[LeaderboardTable]:
    found = {table.rules.order(): table for table in tables}
    if len({order[:-1] for order in found}) != 1 or len(found) < len(tables):
        raise SpecError(
            f"{len(tables)} tables make no curve: give one for each number of shots, alike in "
            "suite, features, normalisation, setting, prior and selection"
        )
    return [found[order] for order in sorted(found)]


def _chosen(curves: _Curves, asked: Collection[str], reference: str) -> tuple[list[str], str]:
    """Methods to draw, the best first, and what they are."""
    known = {name: line.kind for row in curves for name, line in row.items()}
    for name in asked:
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")
    means = {name: [row[name].mean.mean for row in curves if name in row] for name in known}
    kept = {name: [v for v in values if v is not None] for name, values in means.items()}
    ranked = [name for name in known if known[name] == "ranked" and kept[name]]
    order = sorted(
        asked or ranked or known,
        key=lambda name: (-len(kept[name]), -sum(kept[name]) / max(1, len(kept[name])), name),
    )
    if asked or len(order) <= TOP + 1:
        return order, "means with 95 % intervals"
    what = f"95 % intervals; the {TOP} highest means of {len(order)}"
    if reference not in order[TOP:]:
        return order[:TOP], what
    return [*order[:TOP], reference], f"{what}, and {plain(reference)}"


def _curve(axis: Axes, place: int, lines: Sequence[Line | None], aside: float) -> Line2D:
    """A method's means and intervals, so far aside of their shots; gives its key."""
    means = [np.nan if one is None or one.mean.mean is None else one.mean.mean for one in lines]
    ends = [(one and ends_of(one)) or (np.nan, np.nan) for one in lines]
    low, high = zip(*ends, strict=True)
    look: dict[str, Any] = {
        "color": COLOURS[place % len(COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": ("-", "--", ":", "-.")[place // len(COLOURS) % 4],
    }
    shots = np.arange(len(lines)) + aside
    if aside == 0:
        axis.fill_between(shots, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axis.vlines(shots, low, high, color=look["color"], linewidth=0.6)
    axis.plot(shots, means, linewidth=0.8, markersize=2.8, **look)
    return key_of(next(labelled(one) for one in lines if one is not None), **look)
