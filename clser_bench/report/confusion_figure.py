"""Confusion matrices: counted from stored predictions, and drawn; and cells with numbers in them.

Pairs have different classes. A matrix over several pairs has all of them, in the order of
`EMOTIONS`, and an utterance counts once for every pair and draw that it is scored in; n counts
these.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, Rectangle

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import EMOTIONS
from clser_bench.report.board import LeaderboardTable
from clser_bench.report.drawing import COLUMN, in_style, new_figure, plain
from clser_bench.store.sqlite import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.int64]
"""Utterances by true class (rows) and predicted class."""

_MAP = "viridis"  # perceptually uniform, and the colour-blind read it too
HATCHES = {"failed": ("xxxxx", "failed or not run"), "not_applicable": ("/////", "not applicable")}
"""How a hole of each status is hatched, and what a legend says of it."""

_HOLE: dict[str, Any] = {"facecolor": "white", "edgecolor": "#777777", "linewidth": 0.3}
_SIDE = 0.21  # inches of a cell
_LETTER = 0.047  # inches, of a tick label
_LUMINANCE = 0.179  # where black and white stand out alike (WCAG 2: equal contrast ratios)


def count_confusions(
    store: Store, table: LeaderboardTable, methods: Collection[str]
) -> tuple[tuple[Matrix, ...], tuple[str, ...]]:
    """Sum up what some methods of a table took for what, over its pairs and draws.

    Args:
        store: the results that the table was made of.
        table: with these methods.
        methods: names; each may have holes, which add nothing.

    Returns:
        A matrix for each method, and the classes that any pair has.

    Raises:
        SpecError: the table has no such method.
        StoreError: stored predictions or answers are damaged.
    """
    slices = {line.method: line.slice for line in table.lines}
    for name in methods:
        if name not in slices:
            raise SpecError(f"{plain(table.title)} has no '{name}'{did_you_mean(name, slices)}")
    numbers = [slices[name] for name in methods]
    of_pair = {(trial.slice, trial.pair): trial.classes for trial in store.planned(numbers)}
    used = {name for names in of_pair.values() for name in names}
    classes = (*(name for name in EMOTIONS if name in used), *sorted(used.difference(EMOTIONS)))
    place = {name: row for row, name in enumerate(classes)}
    sums = {number: np.zeros((len(classes), len(classes)), np.int64) for number in numbers}
    truths: dict[str, npt.NDArray[np.int64]] = {}
    for item in store.predicted_of(numbers):
        if item.answers not in truths:
            truths[item.answers] = store.answers(item.answers).y
        rows = np.array([place[name] for name in of_pair[item.slice, item.pair]], np.int64)
        np.add.at(sums[item.slice], (rows[truths[item.answers]], rows[item.classes]), 1)
    return tuple(sums[number] for number in numbers), classes


@in_style
def confusion(
    matrices: Sequence[Matrix],
    classes: Sequence[str],
    titles: Sequence[str],
    *,
    heading: str = "",
    width: float = COLUMN,
) -> Figure:
    """Draw what was taken for what: a panel a matrix, percents of each true class in its cells.

    Args:
        matrices: counts by true class (rows) and predicted class [c, c]; the number of
            utterances stands beside the name of each true class and, in all, above the panel.
        classes: their names [c].
        titles: one for each matrix.
        heading: over all panels, in lines; empty for none.
        width: in inches; wider where a single panel does not fit.

    Raises:
        SpecError: the matrices fit neither the classes nor the titles.
    """
    _check(matrices, classes, titles)
    names = [plain(name, longest=16) for name in classes]
    labels = [_labels(matrix, names) for matrix in matrices]
    beside = 0.12 + _LETTER * max(len(label) for rows in labels for label in rows)
    below = 0.35 + _LETTER * max(map(len, names))
    panel = beside + _SIDE * len(names)
    across = max(1, min(len(matrices), int((width - 0.2) / panel)))
    down = math.ceil(len(matrices) / across)
    under = below * (1 + (len(matrices) % across > 0))  # the last row may lack panels
    height = under + 0.12 * len(heading.splitlines()) + down * (_SIDE * len(names) + 0.25)
    figure = new_figure(max(width, panel + 0.2), height)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for place, (matrix, title) in enumerate(zip(matrices, titles, strict=True)):
        lowest = place + across >= len(matrices)
        _panel(axes[place], matrix)
        axes[place].set_xticks(
            range(len(names)), names if lowest else [""] * len(names), rotation=90
        )
        axes[place].set_yticks(range(len(names)), labels[place])
        axes[place].set_title(f"{plain(title)}, n = {int(matrix.sum())}", pad=3)
    for axis in axes[len(matrices) :]:
        axis.set_axis_off()
    figure.supxlabel("predicted (% of the true class)", fontsize=7)
    figure.supylabel("true (n)", fontsize=7)
    if heading:
        figure.suptitle(heading, fontsize=7)
    return figure


def draw_cell(
    axis: Axes, place: tuple[float, float], value: float, text: str, *, scale: Normalize
) -> None:
    """Draw a number in a square of its colour, black or white, whichever is read better there.

    Args:
        axis: where one unit is a cell.
        place: column and row of its middle.
        value: what the colour stands for.
        text: the number.
        scale: the values at the ends of the colour map.
    """
    colour = mpl.colormaps[_MAP](float(scale(value)))
    corner = place[0] - 0.5, place[1] - 0.5
    axis.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", linewidth=0.4))
    ink = "black" if luminance(colour[:3]) > _LUMINANCE else "white"
    axis.text(*place, text, ha="center", va="center", fontsize=5, color=ink)


def draw_hole(axis: Axes, place: tuple[float, float], status: str) -> None:
    """Hatch a square that has no number.

    Args:
        axis: where one unit is a cell.
        place: column and row of its middle.
        status: `failed` or `not_applicable`.
    """
    corner = place[0] - 0.5, place[1] - 0.5
    axis.add_patch(Rectangle(corner, 1, 1, hatch=HATCHES[status][0], **_HOLE))


def hole_keys(statuses: Collection[str]) -> list[Patch]:
    """What the hatches of some statuses mean, for a legend."""
    found = [HATCHES[status] for status in HATCHES if status in statuses]
    return [Patch(label=label, hatch=hatch, **_HOLE) for hatch, label in found]


def luminance(colour: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, from 0 (black) to 1 (white), as WCAG 2 defines it.

    Args:
        colour: red, green and blue, from 0 to 1.
    """
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]


def _check(matrices: Sequence[Matrix], classes: Sequence[str], titles: Sequence[str]) -> None:
    if not matrices or not classes or len(titles) != len(matrices):
        raise SpecError(
            f"{len(matrices)} matrices of {len(classes)} classes with {len(titles)} titles cannot "
            "be drawn; give at least one matrix, and a title for each"
        )
    size = len(classes), len(classes)
    for matrix, title in zip(matrices, titles, strict=True):
        if matrix.shape != size:
            raise SpecError(f"{plain(title)}: the matrix is {matrix.shape}; it must be {size}")


def _labels(matrix: Matrix, names: Sequence[str]) -> list[str]:
    """Names of the true classes with their counts."""
    return [f"{name} ({count})" for name, count in zip(names, matrix.sum(axis=1), strict=True)]


def _panel(axis: Axes, matrix: Matrix) -> None:
    scale = Normalize(0, 100)
    for row, counts in enumerate(matrix):
        for column, count in enumerate(counts):
            if counts.sum():
                share = 100 * count / counts.sum()
                draw_cell(axis, (column, row), share, f"{share:.0f}", scale=scale)
            else:
                axis.text(column, row, "–", ha="center", va="center", fontsize=5)
    axis.set_xlim(-0.5, len(matrix) - 0.5)
    axis.set_ylim(len(matrix) - 0.5, -0.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
