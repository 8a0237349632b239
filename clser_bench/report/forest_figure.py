"""A forest plot: the mean of each method over the pairs, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.drawing import COLOURS, COLUMN, in_style, new_figure, plain
from clser_bench.report.evidence import SIGNIFICANT
from clser_bench.report.figure_parts import (
    GREY,
    LETTER,
    LINE,
    ROW,
    add_legend,
    by_mean,
    ends_of,
    grey_labels,
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

_VERDICTS = {"better": COLOURS[0], "worse": COLOURS[1]}


@in_style
def forest(table: LeaderboardTable, *, width: float = COLUMN) -> Figure:
    """Draw the mean of each method over the pairs as a dot with its interval.

    The highest mean is on top, methods without a mean are at the bottom. A dot is filled only
    where the method is better or worse than the reference. Bounds and oracles are grey, and
    dashed lines carry them through the figure.

    Args:
        table: with intervals, or dots stand alone.
        width: in inches; wider where names leave no room for the dots.

    Raises:
        SpecError: the table has no method.
    """
    lines = by_mean(table)
    names = [labelled(line, counted=True) for line in lines]
    width = max(width, 1.2 + LETTER * max(map(len, names)))
    keys, notes = _keys(table, lines), notes_of([table], lines, width)
    what = "mean with 95 % interval" if any(map(ends_of, lines)) else "mean"
    title = heading([table], f"{what} over {pairs_of(table)}", width)
    rows = len(keys) + rows_of([title, *notes])
    figure = new_figure(width, 0.6 + ROW * len(lines) + LINE * rows)
    axis = figure.subplots()
    for place, line in enumerate(lines):
        _dot(axis, place, line, table.reference)
    if not _has_chance(table):
        axis.axvline(_chance(table), color=GREY, linestyle="--", linewidth=0.6, zorder=0)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.set_yticks(range(len(lines)), names)
    grey_labels(axis, lines)
    axis.set_xlabel("mean UAR (%)")
    axis.grid(axis="x", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(title, fontsize=7)
    add_legend(figure, keys, notes)
    return figure


def _dot(axis: Axes, place: int, line: Line, reference: str) -> None:
    """One row of a forest plot."""
    if line.mean.mean is None:
        hole = f"no mean: {plain(line.mean.reason or line.mean.status, longest=40)}"
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
        axis.text(0.02, place, hole, transform=axis.get_yaxis_transform(), va="center",
                  fontsize=5, color=GREY, bbox=ground)  # fmt: skip
        return
    aside, base = line.kind != "ranked", line.method == reference
    colour = GREY if aside else _VERDICTS.get(line.verdict, "#000000")
    filled = line.verdict in _VERDICTS
    if aside or base:
        axis.axvline(
            line.mean.mean, color=colour, linestyle="--" if aside else "-", linewidth=0.6, zorder=0
        )
    ends = ends_of(line)
    if ends:
        axis.plot(ends, (place, place), color=colour, linewidth=1.0, solid_capstyle="butt")
    axis.plot(
        line.mean.mean,
        place,
        marker="D" if base else "o",
        color=colour,
        markersize=3.2,
        markerfacecolor=colour if filled else "white",
        markeredgewidth=0.8,
    )


def _keys(table: LeaderboardTable, lines: Sequence[Line]) -> list[Line2D]:
    """The legend of a forest plot: only what occurs."""
    keys = []
    name = plain(table.reference)
    family = sum(bool(line.verdict) for line in lines)  # fewer methods, a milder correction
    for verdict, colour in _VERDICTS.items():
        if any(line.verdict == verdict for line in lines):
            label = f"{verdict} than {name} (p < {SIGNIFICANT}, Holm over {family})"
            keys.append(key_of(label, color=colour, marker="o", linestyle="none"))
    others = [line for line in lines if line.kind == "ranked" and line.method != table.reference]
    hollow = {line.verdict or "not compared" for line in others if line.mean.mean is not None}
    if hollow - set(_VERDICTS):
        label = ", or ".join(sorted(hollow - set(_VERDICTS), reverse=True))
        label = label.replace("separable", f"separable from {name}")
        keys.append(
            key_of(label, color="#000000", marker="o", linestyle="none", markerfacecolor="w")
        )
    if any(line.method == table.reference and line.mean.mean is not None for line in lines):
        keys.append(key_of(f"{name} (reference)", color="#000000", marker="D", markerfacecolor="w"))
    if not _has_chance(table):
        label = f"chance level ({_chance(table):.1f}, bound)"
        keys.append(key_of(label, color=GREY, linestyle="--"))
    if any(line.kind != "ranked" for line in lines):
        label = "bound or oracle: no competitor"
        keys.append(key_of(label, color=GREY, linestyle="--", marker="o", markerfacecolor="w"))
    return keys


def _has_chance(table: LeaderboardTable) -> bool:
    return any(line.method == "chance" for line in table.lines)


def _chance(table: LeaderboardTable) -> float:
    """Mean over the pairs of what guessing reaches, in percent."""
    return float(np.mean([100 / count for count in table.classes if count] or [np.nan]))
