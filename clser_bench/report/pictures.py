"""Pictures of features: where utterances lie, and how pitch, loudness and rate are spread.

Arrays and labels in, a matplotlib figure out; nothing is read, written or kept. Figures are as
wide as a column of a paper where they can be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from clser_bench.errors import SpecError
from clser_bench.protocol import EMOTIONS
from clser_bench.report.drawing import (
    COLOURS,
    COLUMN,
    EMOTION_COLOURS,
    Speech,
    in_style,
    new_figure,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

By = Literal["emotion", "speaker", "corpus"]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Legend = tuple[str, list[Line2D], int]
"""Heading, entries, columns."""

_MARKERS = "o^sDvPX*<>"
_LINE = 56  # characters of a line of a title
_NAMED = 24  # groups that a legend names
_LAYERS = 8  # corpora are drawn by turns in this many, so that none hides another
_LEAST = 8  # utterances that make a violin; fewer are shown as points


@dataclass(frozen=True)
class _Group:
    """A colour of the legend: what it stands for, and how many."""

    label: str
    colour: Any
    count: int


@in_style
def draw_projection(
    corpora: Sequence[Speech],
    points: Sequence[Doubles],
    *,
    by: By,
    title: str,
    axes: tuple[str, str] = ("", ""),
) -> Figure:
    """Draw utterances as points; large ones, where axes are named, are means of colour and corpus.

    Args:
        points: for each corpus [n, 2].
        by: what the colours stand for; where there are several corpora, markers stand for them.
        axes: what the axes are; empty for axes whose numbers mean nothing, which have none.

    Raises:
        SpecError: the points do not fit the corpora.
    """
    _check(corpora, points, 2)
    groups, members = _groups(corpora, by)
    legends = _legends(corpora, groups, members, by)
    heights = [0.13 * (1 + math.ceil(len(handles) / n)) for _, handles, n in legends]
    figure = new_figure(COLUMN, 3.5 + sum(heights))
    places = figure.subplots(
        1 + len(legends), 1, squeeze=False, height_ratios=[3.2, *heights]
    ).ravel()
    for place, (heading, handles, columns) in zip(places[1:], legends, strict=True):
        place.set_axis_off()
        place.legend(
            handles=handles,
            title=heading,
            ncols=columns,
            loc="center",
            frameon=False,
            borderpad=0,
            labelspacing=0.25,
            columnspacing=0.9,
            handletextpad=0.1,
        )
    axis = places[0]
    _scatter(axis, points, groups, members)
    if any(axes):  # where distances mean nothing, a mean does not either
        _means(axis, points, groups, members)
    axis.set_title(
        f"{_heading(corpora)}\n{plain(title, longest=_LINE)}, n = {sum(map(len, points))}"
    )
    _dress(axis, axes)
    return figure


@in_style
def draw_distributions(
    corpora: Sequence[Speech], values: Sequence[Doubles], *, measures: Sequence[str]
) -> Figure:
    """Draw how measures are spread in each emotion: a row a measure, a column a corpus.

    A violin is a density estimate (Gaussian, Scott's rule) cut off at the extremes, as wide for
    few utterances as for many; the dot is the median, the bar holds the middle half.

    Args:
        values: for each corpus [n, m].
        measures: the name of each column, with its unit [m].

    Raises:
        SpecError: the values do not fit the corpora.
    """
    _check(corpora, values, len(measures))
    emotions = [name for name in EMOTIONS if any(name in speech.emotions for speech in corpora)]
    width = max(COLUMN, 0.6 + 0.17 * len(corpora) * len(emotions))
    figure = new_figure(width, 1.0 + 1.15 * len(measures))
    axes = figure.subplots(len(measures), len(corpora), squeeze=False, sharex="col", sharey="row")
    for column, (speech, table) in enumerate(zip(corpora, values, strict=True)):
        spoken = np.array(speech.emotions)
        axes[0, column].set_title(f"{speech.name}\nn = {len(table)}")
        for row in range(len(measures)):
            for place, emotion in enumerate(emotions):
                _violin(axes[row, column], place, table[spoken == emotion, row], emotion)
            axes[row, column].grid(axis="y", linewidth=0.3, alpha=0.6)
            axes[row, column].spines[["top", "right"]].set_visible(False)
        counts = [f"{emotion} ({np.sum(spoken == emotion)})" for emotion in emotions]
        axes[-1, column].set_xticks(range(len(emotions)), counts, rotation=90)
        axes[-1, column].set_xlim(-0.7, len(emotions) - 0.3)
    for row, measure in enumerate(measures):
        axes[row, 0].set_ylabel(measure.replace("$", r"\$"))
    figure.align_ylabels(axes[:, 0])
    return figure


def _heading(corpora: Sequence[Speech]) -> str:
    """Names of the corpora in lines that fit a column of a paper."""
    lines = [""]
    for speech in corpora:
        part = f"{lines[-1]}, {speech.name}" if lines[-1] else speech.name
        lines = [*lines[:-1], part] if len(part) <= _LINE else [*lines, speech.name]
    return "\n".join(line for line in lines if line)


def _check(corpora: Sequence[Speech], values: Sequence[Doubles], columns: int) -> None:
    if not corpora or len(values) != len(corpora):
        raise SpecError(f"{len(corpora)} corpora and values of {len(values)} cannot be drawn")
    for speech, table in zip(corpora, values, strict=True):
        rows = len(speech.emotions)
        if table.shape != (rows, columns) or len(speech.speakers) != rows or not rows:
            raise SpecError(
                f"{plain(speech.title)}: {rows} emotions, {len(speech.speakers)} speakers and "
                f"values {table.shape} cannot be drawn; the values must be ({rows}, {columns})"
            )


def _groups(corpora: Sequence[Speech], by: By) -> tuple[list[_Group], list[Rows]]:
    """The colours in the order of the legend, and for each corpus the colour of each row [n]."""
    labels: list[list[tuple[int, str]]]
    if by == "emotion":
        labels = [[(0, emotion) for emotion in speech.emotions] for speech in corpora]
    elif by == "speaker":
        labels = [[(at, name) for name in one.speakers] for at, one in enumerate(corpora)]
    else:
        labels = [[(at, one.name)] * len(one.emotions) for at, one in enumerate(corpora)]
    every = [label for listed in labels for label in listed]
    order = sorted(set(every))
    colours = _colours(order, by)
    names = [label if by == "corpus" else plain(label) for _, label in order]
    if by == "speaker" and len(corpora) > 1:
        names = [f"{corpora[at].name} {name}" for (at, _), name in zip(order, names, strict=True)]
    groups = [
        _Group(name, colour, every.count(label))
        for name, colour, label in zip(names, colours, order, strict=True)
    ]
    places = {label: place for place, label in enumerate(order)}
    return groups, [np.array([places[one] for one in listed], np.int64) for listed in labels]


def _colours(order: Sequence[tuple[int, str]], by: By) -> list[Any]:
    if by == "emotion":
        return [EMOTION_COLOURS[emotion] for _, emotion in order]
    if len(order) <= len(COLOURS):
        return list(COLOURS[: len(order)])
    # the light end is left out: it vanishes on paper
    return list(mpl.colormaps["viridis"](np.linspace(0.0, 0.93, len(order))))


def _legends(
    corpora: Sequence[Speech], groups: Sequence[_Group], members: Sequence[Rows], by: By
) -> list[Legend]:
    """What stands below the points: heading, entries, columns; first the corpora, then colours."""
    shapes = dict.fromkeys(range(len(groups)), "o")
    if by != "emotion":
        shapes = {int(place): _marker(at) for at, rows in enumerate(members) for place in rows}
    entries = [
        _entry(f"{one.label} ({one.count})", one.colour, shapes[place])
        for place, one in enumerate(groups[:_NAMED])
    ]
    if len(groups) > _NAMED:
        entries.append(_entry(f"and {len(groups) - _NAMED} more", "none", ""))
    legends: list[Legend] = [(by, entries, _columns(entries))]
    if len(corpora) > 1 and by != "corpus":
        markers = [
            _entry(f"{one.name} ({len(one.emotions)})", "#666666", _marker(at))
            for at, one in enumerate(corpora)
        ]
        legends.insert(0, ("corpus", markers, _columns(markers)))
    return legends


def _entry(label: str, colour: Any, marker: str) -> Line2D:
    # matplotlib before 3.10 leaves out what begins with an underscore
    shown = f" {label}" if label.startswith("_") else label
    return Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=4, label=shown)


def _columns(entries: Iterable[Line2D]) -> int:
    """As many columns as fit a column of a paper."""
    longest = max(len(str(entry.get_label())) for entry in entries)
    return max(1, min(4, 72 // (longest + 6)))


def _marker(corpus: int) -> str:
    return _MARKERS[corpus % len(_MARKERS)]


def _scatter(
    axis: Axes, points: Sequence[Doubles], groups: Sequence[_Group], members: Sequence[Rows]
) -> None:
    colours = np.array([mpl.colors.to_rgba(group.colour) for group in groups])
    for layer in range(_LAYERS):
        for at, (table, rows) in enumerate(zip(points, members, strict=True)):
            some = slice(layer, None, _LAYERS)
            axis.scatter(
                table[some, 0],
                table[some, 1],
                c=colours[rows[some]],
                marker=_marker(at),
                s=8,
                linewidths=0,
                alpha=0.55,
            )


def _means(
    axis: Axes, points: Sequence[Doubles], groups: Sequence[_Group], members: Sequence[Rows]
) -> None:
    for at, (table, rows) in enumerate(zip(points, members, strict=True)):
        for place in np.unique(rows):
            middle = table[rows == place].mean(axis=0)
            axis.scatter(
                middle[0],
                middle[1],
                color=groups[place].colour,
                marker=_marker(at),
                s=42,
                linewidths=0.8,
                edgecolors="white",
                zorder=3,
            )


def _dress(axis: Axes, names: tuple[str, str]) -> None:
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel(plain(names[0], longest=_LINE))
    axis.set_ylabel(plain(names[1], longest=_LINE))
    if not any(names):
        axis.set_xticks([])
        axis.set_yticks([])


def _violin(axis: Axes, place: int, values: Doubles, emotion: str) -> None:
    if not len(values):
        return
    colour = EMOTION_COLOURS[emotion]
    if len(values) < _LEAST or np.ptp(values) == 0:
        axis.scatter(np.full(len(values), place), values, color=colour, s=5, linewidths=0)
        return
    drawn: Any = axis.violinplot(values, [place], widths=0.85, showextrema=False)
    drawn["bodies"][0].set(facecolor=colour, edgecolor="none", alpha=0.75)
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    for ink, width in (("white", 2.2), ("#333333", 1.0)):  # seen on light and dark violins
        axis.plot([place, place], [low, high], color=ink, linewidth=width, solid_capstyle="butt")
    axis.scatter(place, middle, s=6, color="white", edgecolors="#333333", linewidths=0.5, zorder=3)
