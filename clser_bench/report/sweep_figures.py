"""Figures of a sweep: parallel coordinates of all points, and the objective by hyper-parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from clser_bench.errors import SpecError
from clser_bench.report.drawing import COLOURS, COLUMN, in_style, new_figure, plain
from clser_bench.report.sweep_axes import Axis, axes_of, objective_name, title
from clser_bench.report.sweep_choice import finished, measured
from clser_bench.report.sweep_words import plural
from clser_bench.sweeps import Configuration, SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENOUGH = 15
"""Points of a panel that are summarised by means."""

PART = 4
"""Points that such a mean is of, at least."""

_GREY = "#BBBBBB"
_SHIPPED = COLOURS[1]
_LETTER = 0.05  # inches, of a tick label
_LINE = 0.105  # inches, of a legend
_PANELS = 4  # in a row
_BAR = 0.12  # inches, of the colour bar


@in_style
def parallel_coordinates(swept: SweepResult, *, width: float = 2 * COLUMN) -> Figure:
    """Draw each point as a line through its values, which ends at its objective.

    Darker is better; the colour bar is the last axis. Points with the same listed value lie a
    little apart there, the better ones higher. A point that was given up early or has a hole has
    no comparable objective: its line is thin and grey, and ends at the last hyper-parameter.

    Args:
        swept: the sweep.
        width: in inches; wider where there are many hyper-parameters.

    Raises:
        SpecError: the sweep has no point or no dimension.
    """
    axes = _checked(swept)
    longest = max(len(label) for item in axes for _, label in item.ticks())
    gap = max(0.6, _LETTER * longest + 0.25)
    width = max(width, gap * len(axes) + 1.2)
    named = [plain(f"{item.name}{' (log)' if item.span.log else ''}") for item in axes]
    step = (width - 1.0) / len(axes)
    slanted = _LETTER * max(map(len, named)) > step
    figure = new_figure(width, (3.0 if slanted else 2.7) + _LINE * 4)
    axis = figure.subplots()
    axis.set_axis_off()
    axis.set_xlim(-0.1, len(axes) + _BAR / step)
    axis.set_ylim(-0.15, 1.03)
    for place, (item, name) in enumerate(zip(axes, named, strict=True)):
        _upright(axis, place, item, name, slanted=slanted)
    _colour_bar(figure, axis, swept, _BAR / step)
    _lines(axis, swept, axes)
    figure.suptitle(title(swept, "hyper-parameters of", width), fontsize=7)
    _legend(figure, _keys(swept, lines=True), [])
    return figure


@in_style
def parameter_scatter(swept: SweepResult, *, width: float = 2 * COLUMN) -> Figure:
    """Draw the objective of all points against each hyper-parameter, a panel each.

    Bars are the sample sd over draws. Steps are means of the points run to the end, of parts with
    equally many (or of each listed value), where there are enough points.

    Args:
        swept: the sweep.
        width: in inches, of a row of four panels; narrower for fewer.

    Raises:
        SpecError: the sweep has no point or no dimension.
    """
    axes = _checked(swept)
    columns = min(_PANELS, len(axes))
    rows = -(-len(axes) // columns)
    width = max(COLUMN, width * columns / _PANELS)
    slanted = [_long(item, 0.85 * width / columns) for item in axes]
    longest = max((len(t) for a in axes for _, t in a.ticks()), default=0)
    extra = _LETTER * longest * any(slanted)
    figure = new_figure(width, rows * (1.35 + extra) + _LINE * 6)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for place, (panel, item) in enumerate(zip(panels, axes, strict=False)):
        _panel(panel, swept, place, item)
        panel.set_xlabel(plain(f"{item.name}{' (log)' if item.span.log else ''}"), fontsize=6)
        if slanted[place]:
            panel.tick_params(axis="x", rotation=90)
    for panel in panels[len(axes) :]:
        panel.set_visible(False)
    figure.supylabel(objective_name(swept), fontsize=6)
    notes = ["bars: sample sd over draws"] * (swept.seeds > 1)
    if len(finished(swept)) >= ENOUGH:
        notes.append("steps: means of points, run to the end, that are next to each other")
    figure.suptitle(title(swept, "objective by hyper-parameter of", width), fontsize=7)
    _legend(figure, _keys(swept, lines=False), notes)
    return figure


def _checked(swept: SweepResult) -> tuple[Axis, ...]:
    if not swept.configurations or not swept.dimensions:
        raise SpecError(
            f"sweep of {plain(swept.method)}: {len(swept.configurations)} points over "
            f"{len(swept.dimensions)} hyper-parameters cannot be drawn; one of each is needed"
        )
    return axes_of(swept)


def _map() -> LinearSegmentedColormap:
    """Viridis from its green to its blue end: its yellow is hard to see on white."""
    colours = mpl.colormaps["viridis"](np.linspace(0.85, 0.0, 256))
    return LinearSegmentedColormap.from_list("sweep", colours)


def _scale(swept: SweepResult) -> Normalize:
    means = [measured(point.draws).mean for point in finished(swept)] or [0.0]
    low, high = min(means), max(means)
    # equal means lie in the middle
    return Normalize(low, high) if high > low else Normalize(low - 0.5, high + 0.5)


def _colour_bar(figure: Figure, axis: Axes, swept: SweepResult, width: float) -> None:
    place = (axis.get_xlim()[1] - width, 0.0, width, 1.0)
    inner = axis.inset_axes(place, transform=axis.transData)
    bar = figure.colorbar(ScalarMappable(_scale(swept), _map()), cax=inner)
    bar.outline.set_linewidth(0.4)
    bar.set_label(objective_name(swept), fontsize=6)
    bar.ax.tick_params(width=0.4, length=2, labelsize=5.5)


def _upright(axis: Axes, place: int, item: Axis, name: str, *, slanted: bool) -> None:
    """An axis of a hyper-parameter, with labels on its left."""
    axis.plot((place, place), (-0.02, 1.02), color="#000000", linewidth=0.6, zorder=4)
    axis.text(place, 1.06, name, rotation=25 if slanted else 0, fontsize=6, va="bottom",
              ha="left" if slanted else "center", rotation_mode="anchor")  # fmt: skip
    for height, label in item.ticks():
        axis.plot(place, height, marker="_", color="#000000", markersize=3, zorder=4,
                  markeredgewidth=0.6)  # fmt: skip
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8}
        axis.annotate(label, (place, height), (-3, 0), textcoords="offset points", fontsize=5,
                      ha="right", va="center", zorder=6, bbox=ground)  # fmt: skip


def _lines(axis: Axes, swept: SweepResult, axes: Sequence[Axis]) -> None:
    """The line of each point, the better ones over the others."""
    whole = sorted(finished(swept), key=lambda p: (p.number == swept.best, measured(p.draws).mean))
    numbers = {point.number for point in whole}
    for point in (p for p in swept.configurations if p.number not in numbers):
        heights = [item.at(value) for item, value in zip(axes, point.values, strict=True)]
        look = ("--", 0.9, _SHIPPED) if point.number == 0 else ("-", 0.3, _GREY)
        axis.plot(range(len(axes)), heights, gid=f"point-{point.number}", zorder=1,
                  linestyle=look[0], linewidth=look[1], color=look[2])  # fmt: skip
    scale, colours = _scale(swept), _map()
    aside = [_aside(item, [p.values[at] for p in whole]) for at, item in enumerate(axes)]
    for row, point in enumerate(whole):
        mean = measured(point.draws).mean
        heights = [
            item.at(value) + aside[at][row]
            for at, (item, value) in enumerate(zip(axes, point.values, strict=True))
        ]
        share = float(scale(mean))
        heights.append(share)
        best, shipped = point.number == swept.best, point.number == 0
        look_of: dict[str, Any] = {"linewidth": 2.0 if best else 0.7}
        look_of["color"] = _SHIPPED if shipped and not best else colours(share)
        if shipped:
            look_of |= {"linestyle": "--", "linewidth": 2.0 if best else 1.2}
        if best or shipped:
            width = look_of["linewidth"] + 1.2
            look_of["path_effects"] = [Stroke(linewidth=width, foreground="white"), Normal()]
        axis.plot(range(len(axes) + 1), heights, gid=f"point-{point.number}", zorder=3 if best
                  else 2.5 if shipped else 2, solid_capstyle="butt", **look_of)  # fmt: skip


def _aside(item: Axis, values: Sequence[Any]) -> list[float]:
    """How far points, in rising order of their objective, lie off their listed value."""
    if not item.kinds:
        return [0.0] * len(values)
    made = []
    for row, value in enumerate(values):
        before, of = values[:row].count(value), values.count(value)
        made.append(((before + 0.5) / of - 0.5) * 0.5 / len(item.kinds))
    return made


def _long(item: Axis, width: float) -> bool:
    """Whether the labels of an axis do not fit beside each other."""
    sizes = [_LETTER * (len(label) + 1) for _, label in item.ticks()]
    return (max(sizes) * len(sizes) if item.kinds else sum(sizes)) > width


def _panel(axis: Axes, swept: SweepResult, place: int, item: Axis) -> None:
    """The objective of all points against one hyper-parameter."""
    whole = {point.number for point in finished(swept)}
    for point in swept.configurations:
        if not point.draws:
            continue
        found = measured(point.draws)
        axis.errorbar(
            item.at(point.values[place]),
            found.mean,
            yerr=found.std if point.number in whole else None,
            elinewidth=0.5,
            markeredgewidth=0.6,
            linestyle="none",
            gid=f"point-{point.number}",
            **_look(swept, point, whole),
        )
        if point.number == 0 and point.number in whole:
            axis.axhline(found.mean, color=_SHIPPED, linestyle="--", linewidth=0.6, zorder=0)
    _steps(axis, swept, place, item)
    ticks = item.ticks()
    axis.set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axis.set_xlim(-0.17 if item.off else -0.05, 1.05)
    axis.grid(axis="y", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=5.5, width=0.4, length=2)


def _look(swept: SweepResult, point: Configuration, whole: set[int]) -> dict[str, Any]:
    """The marker of a point; also that of its key."""
    if point.number == swept.best:
        return {"marker": "*", "color": COLOURS[2], "markersize": 6, "zorder": 5}
    if point.number == 0:
        return {"marker": "D", "color": _SHIPPED, "markersize": 3.2, "zorder": 4}
    if point.number not in whole:
        return {"marker": "o", "color": _GREY, "markersize": 2, "markerfacecolor": "white"}
    return {"marker": "o", "color": COLOURS[0], "markersize": 2.2, "alpha": 0.7, "zorder": 2}


def _steps(axis: Axes, swept: SweepResult, place: int, item: Axis) -> None:
    """Means of points that are next to each other, where there are enough."""
    points = finished(swept)
    if len(points) < ENOUGH:
        return
    means = np.array([measured(point.draws).mean for point in points])
    at = np.array([item.at(point.values[place]) for point in points])
    order = np.argsort(at, kind="stable")
    if item.kinds or len(set(at)) <= 5:
        parts = [np.flatnonzero(at == one) for one in sorted(set(at))]
    else:
        parts = np.array_split(order, min(5, len(points) // PART))
    half = 0.35 / len(item.kinds) if item.kinds else 0.03
    for part in (part for part in parts if len(part) >= PART):
        low, high = at[part].min(), at[part].max()
        pad = half * (high == low)
        axis.hlines(means[part].mean(), low - pad, high + pad, color="#000000", linewidth=1.2,
                    zorder=4, gid="step")  # fmt: skip


def _keys(swept: SweepResult, *, lines: bool) -> list[Line2D]:
    """The legend: only what occurs."""
    whole = {point.number for point in finished(swept)}
    keys = []
    for point in swept.configurations:
        if point.number in (0, swept.best) and (lines or point.draws):
            told = ["best"] if point.number == swept.best and point.draws else []
            told += ["shipped"] if point.number == 0 else []
            label = f"{' and '.join(told)} (point {point.number})"
            if lines:
                best = point.number == swept.best
                look: dict[str, Any] = {"linewidth": 2.0 if best else 1.2}
                look["color"] = _map()(1.0) if best else _SHIPPED
                look["linestyle"] = "--" if point.number == 0 else "-"
            else:
                look = {"linestyle": "none", **_look(swept, point, whole)}
            keys.append(Line2D([], [], label=label, **look))
    others = [p for p in swept.configurations if p.number not in whole and p.number != 0]
    for what, count in (
        ("given up early", sum(not point.reason for point in others)),
        ("with a hole", sum(bool(point.reason) for point in others)),
    ):
        if count:
            grey: dict[str, Any] = {"color": _GREY, "linewidth": 0.5}
            if not lines:
                grey = {"linestyle": "none", **_look(swept, others[0], whole)}
            keys.append(Line2D([], [], label=f"{what} ({plural(count, 'point')})", **grey))
    return keys


def _legend(figure: Figure, keys: Sequence[Line2D], notes: Sequence[str]) -> None:
    handles = [*keys, *(Line2D([], [], linestyle="none", label=note) for note in notes)]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False,
                      fontsize=5.5, borderpad=0, labelspacing=0.25)  # fmt: skip
