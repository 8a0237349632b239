"""Curves of corrupted targets: mean UAR against the strength of each kind of corruption."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.conditions import CLEAN
from clser_bench.report.drawing import COLOURS, COLUMN, in_style, new_figure, plain
from clser_bench.report.figure_parts import (
    GREY,
    LINE,
    add_legend,
    heading,
    key_of,
    notes_of,
    pairs_of,
    rows_of,
)
from clser_bench.report.robustness import Curve, Point, Robustness
from clser_bench.report.rows import rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 8
"""Methods that a figure shows where none are named: the highest means on clean speech."""

_SIDES = 4  # panels beside each other, at most
_SPREAD = 0.3  # of the way to the next level, over which methods are spread
_MARKERS = "osD^vPX*"


@in_style
def draw(found: Robustness, *, methods: Collection[str] = (), width: float = COLUMN) -> Figure:
    """Draw mean UAR against the strength of each kind of corruption, a panel a kind.

    Levels stand evenly apart, clean speech at its place among them: at the mild end, or in the
    middle of kinds that go both ways. Bars are 95 % intervals; each method stands a little aside
    of the others. Bounds and oracles are grey and dashed.

    Args:
        found: the table.
        methods: those to draw; where none are named, the `MOST` highest on clean speech.
        width: in inches; wider for several kinds.

    Raises:
        SpecError: a method is not in the table, or there is none.
    """
    curves, what = _chosen(found, methods)
    down = math.ceil(len(found.kinds) / _SIDES)
    columns = math.ceil(len(found.kinds) / down)
    width = max(width, 0.5 + 1.5 * columns)
    told = dataclasses.replace(found.table, remarks=found.remarks)
    notes, title = notes_of([told], [], width / 2), heading([told], what, width)
    lines = 1.2 * len(curves) / 2 + rows_of([title, *notes])
    figure = new_figure(width, 0.4 + 1.8 * down + LINE * lines)
    axes = figure.subplots(down, columns, sharey=True, squeeze=False).ravel()
    for axis, kind in zip(axes, found.kinds, strict=False):
        _panel(axis, found, kind, curves)
    for axis in axes[len(found.kinds) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel(f"mean UAR over {pairs_of(told)} (%)")
    figure.suptitle(title, fontsize=7)
    keys = [
        key_of(f"{plain(curve.shown)}, n = {curve.draws}", **_look(number, curve))
        for number, curve in enumerate(curves)
    ]
    add_legend(figure, keys, notes, columns=2)
    return figure


def _chosen(found: Robustness, methods: Collection[str]) -> tuple[list[Curve], str]:
    """Curves to draw, the highest on clean speech first, and what they are."""
    known = {curve.method: curve for curve in found.curves}
    for name in methods:
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")
    if not known:
        raise SpecError(f"{plain(found.table.title)}: there is no method to draw; run some first")
    order = sorted(
        (known[name] for name in dict.fromkeys(methods) or known),
        key=lambda curve: (-(curve.points[0].cell.mean or -1.0), curve.method),
    )
    what = "corrupted target: means with 95 % intervals"
    if methods or len(order) <= MOST:
        return order, what
    return order[:MOST], f"{what}; the {MOST} highest of {len(order)} on clean speech"


def _panel(axis: Axes, found: Robustness, kind: str, curves: Sequence[Curve]) -> None:
    """The curves of one kind of corruption."""
    scale = found.scale(kind)
    places = {CLEAN: scale.place(scale.clean)}
    places |= {item: scale.place(item.level) for item in found.conditions if item.kind == kind}
    order = sorted(places, key=lambda item: (places[item], item.kind))
    for number, curve in enumerate(curves):
        aside = _SPREAD / len(curves) * (number - (len(curves) - 1) / 2)
        _curve(axis, [curve.at(item) for item in order], aside, _look(number, curve))
    axis.set_xticks(range(len(order)), [f"{i.level:g}" if i.kind else "clean" for i in order])
    axis.set_xlim(-0.4, len(order) - 0.6)
    axis.set_xlabel(f"{plain(kind)}: {plain(scale.unit, longest=40)}")
    axis.grid(axis="y", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _curve(axis: Axes, points: Sequence[Point], aside: float, look: dict[str, Any]) -> None:
    at = [place + aside for place in range(len(points))]
    known = [point.interval for point in points]
    low = [_number(rounded(interval.low if interval else None)) for interval in known]
    high = [_number(rounded(interval.high if interval else None)) for interval in known]
    axis.vlines(at, low, high, color=look["color"], linewidth=0.6)
    means = [_number(point.cell.mean) for point in points]
    axis.plot(at, means, linewidth=0.8, markersize=2.8, **look)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _look(number: int, curve: Curve) -> dict[str, Any]:
    marker = _MARKERS[number % len(_MARKERS)]
    if curve.kind != "ranked":
        return {"color": GREY, "marker": marker, "linestyle": "--"}
    style = ("-", ":", "-.")[number // len(COLOURS) % 3]
    return {"color": COLOURS[number % len(COLOURS)], "marker": marker, "linestyle": style}
