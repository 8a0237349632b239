"""Figures of leaderboards: differences, heat map, learning curves, corruptions, confusion.

Every figure is as wide as a column of a paper where its text allows it. Titles can be left out: a
paper has a caption.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import CLEAN, EMOTIONS
from clser_bench.report.drawing import COLOURS, COLUMN, in_style, new_figure, plain
from clser_bench.report.intervals import confusions
from clser_bench.report.render import condition_line
from clser_bench.report.robustness import Robustness, draws_of, kind_of
from clser_bench.report.table import Leaderboard, Line
from clser_bench.store.sqlite import Store

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.int64]
"""Utterances by true class (rows) and predicted class."""

TOP = 8
"""Methods that curves show where none are named: the highest means."""

_VERDICTS = {
    "better": ("#126b35", "#126b35"),
    "worse": ("#a33a0a", "#a33a0a"),
    "not separable": ("#555555", "white"),
}
"""Colour of a mark and of its inside."""

_GREY = "#777777"
_MARKERS = "osD^vPX*<>"
_ROW, _LETTER, _LINE = 0.125, 0.047, 0.105  # inches: a method, a letter of a label, a legend's line
_SIDE = 0.21  # inches of a cell of a confusion matrix
_FULL = 10.0  # points of UAR at which a colour of the heat map is full
_LUMINANCE = 0.179  # where black and white have equal contrast (WCAG 2)
_HATCHES = {"failed": ("xxxxx", "failed or not run"), "not_applicable": ("/////", "not applicable")}
_EMPTY: dict[str, Any] = {"facecolor": "white", "edgecolor": _GREY, "linewidth": 0.3}


@in_style
def forest(table: Leaderboard, *, width: float = COLUMN, title: bool = True) -> Figure:
    """Draw the differences of ranked methods to the reference with simultaneous 95 % intervals.

    A filled mark is separable: its interval excludes zero, as in the tables. Raises SpecError where
    no method is compared with the reference.
    """
    lines = [line for line in table.lines if line.role == "ranked" and line.difference]
    lines.sort(key=lambda line: (-line.difference.estimate if line.difference else 0, line.method))
    if not lines:
        raise SpecError(
            f"{plain(table.title)}: no method is compared with {table.reference or 'logistic'}; "
            "run it on every pair of the suite"
        )
    names = [plain(line.title) for line in lines]
    notes = _notes([table], lines, width)
    about = f"UAR − UAR of {table.reference}, simultaneous 95 % intervals"
    head = heading_of([table], about, width)
    figure = new_figure(width, 1.0 + _ROW * len(lines) + _LINE * _rows([*notes, head]))
    axis = figure.subplots()
    axis.axvline(0, color="black", linewidth=0.6)
    for place, line in enumerate(lines):
        found = line.difference
        assert found is not None  # noqa: S101 (chosen above)
        colour, face = _VERDICTS[line.verdict or "not separable"]
        if found.low is not None and found.high is not None:
            axis.plot([found.low, found.high], [place, place], color=colour, linewidth=1.0)
        mark: Any = {"marker": "o", "markersize": 3.2, "markeredgewidth": 0.8}
        axis.plot(found.estimate, place, color=colour, markerfacecolor=face, **mark)
    axis.set_yticks(range(len(lines)), names)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.set_xlabel(f"points of UAR against {plain(table.reference)} (n = {_draws(lines)})")
    axis.grid(axis="x", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    keys = [
        _key(verdict, color=colour, marker="o", linestyle="none", markerfacecolor=face)
        for verdict, (colour, face) in _VERDICTS.items()
        if any(line.verdict == verdict for line in lines)
    ]
    _finish(figure, head if title else "", keys, notes, columns=3)
    return figure


@in_style
def heat_map(table: Leaderboard, *, width: float = COLUMN, title: bool = True) -> Figure:
    """Draw the UAR of each method on each pair, coloured by its difference to the reference.

    Blue is above the reference and orange below, full at ten points; missing cells are hatched. The
    mean over the pairs stands apart, on the right.

    Args:
        width: in inches; where cells are too narrow for a decimal, whole percents are shown.
    """
    lines = sorted(
        table.lines, key=lambda line: (line.role != "ranked", -(line.mean.mean or 0.0), line.method)
    )
    base = next((line for line in table.every or lines if line.method == table.reference), None)
    names = [plain(line.shown) for line in lines]
    pairs = [plain(str(pair), longest=16) for pair in table.pairs]
    gap = 0.3
    beside = 0.2 + _LETTER * max(map(len, names))
    side = max(0.165, (width - beside) / (len(pairs) + 1 + gap))
    longest = _LETTER * max(map(len, (*pairs, "mean")))
    statuses = {c.status for line in lines for c in (*line.cells, line.mean) if c.mean is None}
    keys = [Patch(label=label, hatch=hatch, **_EMPTY)
            for status, (hatch, label) in _HATCHES.items() if status in statuses]  # fmt: skip
    notes = _notes([table], lines, width)
    about = f"UAR (%), coloured by the difference to {table.reference}" if base else "UAR (%)"
    head = heading_of([table], f"{about}, n = {_draws(lines)}", width)
    height = 0.3 + (longest if side < longest else 0.1) + _ROW * len(lines)
    size = max(width, beside + side * (len(pairs) + 1 + gap))
    figure = new_figure(size, height + _LINE * (len(keys) + _rows([head, *notes])))
    axis = figure.subplots()
    for row, line in enumerate(lines):
        others = (*base.cells, base.mean) if base else (None,) * (len(pairs) + 1)
        for column, (cell, other) in enumerate(zip((*line.cells, line.mean), others, strict=True)):
            place = column + gap * (column == len(pairs)), row
            if cell.mean is None:
                corner = place[0] - 0.5, place[1] - 0.5
                axis.add_patch(Rectangle(corner, 1, 1, hatch=_HATCHES[cell.status][0], **_EMPTY))
                continue
            more = cell.mean - other.mean if other and other.mean is not None else 0.0
            colour = mpl.colormaps["PuOr"](Normalize(-_FULL, _FULL, clip=True)(more))
            _square(axis, place, colour, f"{cell.mean:.{int(side >= 0.25)}f}")
    places = [*range(len(pairs)), len(pairs) + gap]
    axis.set_xticks(places, [*pairs, "mean"], rotation=90 if side < longest else 0)
    axis.set_yticks(range(len(lines)), names)
    for text, line in zip(axis.get_yticklabels(), lines, strict=True):
        text.set_color("#000000" if line.role == "ranked" else _GREY)
    axis.set_xlim(-0.5, len(pairs) + 0.5 + gap)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    _finish(figure, head if title else "", keys, notes)
    return figure


@in_style
def learning_curves(
    tables: Sequence[Leaderboard],
    *,
    methods: Collection[str] = (),
    width: float = COLUMN,
    title: bool = True,
) -> Figure:
    """Draw the mean of some methods against the number of labelled utterances, with intervals.

    Args:
        tables: one for each number of shots, alike in all other rules.
        methods: those to draw; where none are given, the `TOP` ranked methods and the reference.

    Raises:
        SpecError: the tables differ in more than shots, or a method is unknown.
    """
    found = {table.condition.order(): table for table in tables}
    if len({table.condition.replace(shots=1) for table in tables}) != 1 or len(found) < len(tables):
        raise SpecError(
            f"{len(tables)} tables make no curve: give one for each number of shots, alike in all "
            "other rules"
        )
    ordered = [found[order] for order in sorted(found)]
    every = [line for table in ordered for line in table.lines]
    chosen = _chosen(every, methods, ordered[0].reference)
    shown = [line for line in every if line.method in chosen]
    notes = _notes(ordered, shown, width / 2)
    head = heading_of(ordered, "means with 95 % intervals", width)
    figure = new_figure(width, 2.4 + _LINE * (0.6 * len(chosen) + _rows([head, *notes])))
    axis = figure.subplots()
    rows = {name: [table.line(name) for table in ordered] for name in chosen}
    curves = [[(line.mean, line.interval) if line else None for line in rows[n]] for n in chosen]
    firsts = [next(line for line in rows[name] if line) for name in chosen]
    looks = [_look(number, line) for number, line in enumerate(firsts)]
    _curves(axis, curves, looks, 0.4)
    keys = [_key(plain(line.shown), **look) for line, look in zip(firsts, looks, strict=True)]
    counts = [_draws([line for line in t.lines if line.method in chosen]) for t in ordered]
    labels = [f"{t.condition.shots}\nn = {n}" for t, n in zip(ordered, counts, strict=True)]
    axis.set_xticks(range(len(ordered)), labels)
    axis.set_xlim(-0.35, len(ordered) - 0.65)
    axis.set_xlabel("labelled utterances per class")
    axis.set_ylabel(f"mean UAR over {len(ordered[0].pairs)} pairs (%)")
    _finish(figure, head if title else "", keys, notes, columns=2)
    return figure


@in_style
def corruption_curves(
    found: Robustness,
    *,
    methods: Collection[str] = (),
    width: float = COLUMN,
    title: bool = True,
) -> Figure:
    """Draw mean UAR against the strength of each kind of corruption, a panel a kind.

    Levels stand evenly apart, clean speech at its place among them: at the mild end, or in the
    middle of kinds that go both ways.

    Args:
        methods: those to draw, of the table; where none, the `TOP` highest on clean speech.
        width: in inches; wider for several kinds.
    """
    curves = {line.method: (line, points) for line, points in found.curves}
    chosen = _chosen((line for line, _ in found.curves), methods, found.table.reference)
    across = min(4, len(found.kinds))
    down = math.ceil(len(found.kinds) / across)
    width = max(width, 0.5 + 1.5 * across)
    notes = _notes([found.table], [curves[name][0] for name in chosen], width / 2)
    head = heading_of([found.table], "corrupted target: means with 95 % intervals", width)
    height = 0.4 + 1.8 * down + _LINE * (0.6 * len(chosen) + _rows([head, *notes]))
    figure = new_figure(width, height)
    axes = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    looks = [_look(number, curves[name][0]) for number, name in enumerate(chosen)]
    for axis, kind in zip(axes, found.kinds, strict=False):
        scale = found.scale(kind)
        levels = {name: kind_of(name)[1] for name in found.corruptions if kind_of(name)[0] == kind}
        places = {name: scale.place(at) for name, at in {CLEAN: scale.clean, **levels}.items()}
        order = sorted(places, key=lambda name: (places[name], name))
        found_at = [{point.corruption: point for point in curves[name][1]} for name in chosen]
        rows = [[(of[name].cell, of[name].interval) for name in order] for of in found_at]
        _curves(axis, rows, looks, 0.3)
        ticks = ["clean" if name == CLEAN else f"{kind_of(name)[1]:g}" for name in order]
        axis.set_xticks(range(len(order)), ticks)
        axis.set_xlim(-0.4, len(order) - 0.6)
        axis.set_xlabel(f"{plain(kind)}: {plain(scale.unit, longest=40)}")
    for axis in axes[len(found.kinds) :]:
        axis.set_visible(False)
    for axis in axes[::across]:
        axis.set_ylabel(f"mean UAR over {len(found.table.pairs)} pairs (%)")
    keys = [
        _key(f"{plain(curves[name][0].shown)}, n = {draws_of(curves[name][1])}", **look)
        for name, look in zip(chosen, looks, strict=True)
    ]
    _finish(figure, head if title else "", keys, notes, columns=2)
    return figure


def count_confusions(
    store: Store, rows: pd.DataFrame, methods: Collection[str]
) -> tuple[tuple[Matrix, ...], tuple[str, ...]]:
    """Sum confusions of some methods over the pairs and draws of a table.

    Gives a matrix for each method, and the classes that any pair has; an utterance counts once for
    every pair and draw that it is scored in.
    """
    emotions = dict(zip(rows.pair, rows.emotions, strict=True))
    classes = tuple(name for name in EMOTIONS if any(name in of for of in emotions.values()))
    sums = {name: np.zeros((len(classes), len(classes)), np.int64) for name in methods}
    for (method, pair), counts in confusions(store, rows[rows.method.isin(list(methods))]).items():
        places = [classes.index(name) for name in emotions[pair]]
        sums[method][np.ix_(places, places)] += counts
    return tuple(sums.values()), classes


@in_style
def confusion(
    matrices: Sequence[Matrix],
    classes: Sequence[str],
    titles: Sequence[str],
    *,
    heading: str = "",
    width: float = COLUMN,
) -> Figure:
    """Draw confusion matrices, a panel each, with percents of each true class in the cells.

    Args:
        matrices: counts by true class (rows) and predicted class [c, c].
        classes: their names [c].
        width: in inches; wider where a single panel does not fit.
    """
    names = [plain(name, longest=16) for name in classes]
    labels = [
        [f"{name} ({count})" for name, count in zip(names, matrix.sum(axis=1), strict=True)]
        for matrix in matrices
    ]
    beside = 0.12 + _LETTER * max(len(label) for rows in labels for label in rows)
    panel = beside + _SIDE * len(names)
    across = max(1, min(len(matrices), int((width - 0.2) / panel)))
    down = math.ceil(len(matrices) / across)
    under = 0.35 + _LETTER * max(map(len, names))
    height = under * 2 + 0.12 * _rows([heading]) + down * (_SIDE * len(names) + 0.25)
    figure = new_figure(max(width, panel + 0.2), height)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for at, (matrix, title) in enumerate(zip(matrices, titles, strict=True)):
        axis = axes[at]
        for (row, column), count in np.ndenumerate(matrix):
            whole = matrix[row].sum()
            share = 100 * count / whole if whole else 0.0
            colour = mpl.colormaps["viridis"](share / 100)
            _square(axis, (column, row), colour, f"{share:.0f}" if whole else "–")
        axis.set_xticks(range(len(names)), names, rotation=90)
        axis.set_yticks(range(len(names)), labels[at])
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(f"{plain(title)}, n = {int(matrix.sum())}", pad=3)
    for axis in axes[len(matrices) :]:
        axis.set_axis_off()
    figure.supxlabel("predicted (% of the true class)", fontsize=7)
    figure.supylabel("true (n)", fontsize=7)
    if heading:
        figure.suptitle(heading, fontsize=7)
    return figure


def _square(axis: Axes, place: tuple[float, float], colour: Any, text: str) -> None:
    """A number in a square of its colour, black or white, whichever has more contrast."""
    corner = place[0] - 0.5, place[1] - 0.5
    axis.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", linewidth=0.4))
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]
    ink = "black" if luminance > _LUMINANCE else "white"
    axis.text(*place, text, ha="center", va="center", fontsize=5, color=ink)


def _chosen(every: Iterable[Line], asked: Collection[str], reference: str) -> list[str]:
    """Methods of some tables to draw, the highest means first."""
    known: dict[str, list[Line]] = {}
    for line in every:
        known.setdefault(line.method, []).append(line)
    for name in asked:
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")

    def order(name: str) -> tuple[float, str]:
        means = [line.mean.mean for line in known[name] if line.mean.mean is not None]
        return (-sum(means) / len(means) if means else 0.0), name

    ranked = [name for name, lines in known.items() if lines[0].role == "ranked"]
    found = sorted(dict.fromkeys(asked) or ranked or known, key=order)
    if asked or len(found) <= TOP + 1:
        return found
    return list(dict.fromkeys([*found[:TOP], *([reference] if reference in known else [])]))


def _curves(
    axis: Axes, curves: Sequence[Sequence[Any]], looks: Sequence[dict[str, Any]], room: float
) -> None:
    """Means and intervals of methods, a little aside of each other."""
    for number, (points, look) in enumerate(zip(curves, looks, strict=True)):
        at = np.arange(len(points)) + room / len(curves) * (number - (len(curves) - 1) / 2)
        means = [math.nan if not p or p[0].mean is None else p[0].mean for p in points]
        ends = [
            (math.nan, math.nan) if not p or not p[1] or p[1].low is None else (p[1].low, p[1].high)
            for p in points
        ]
        low, high = zip(*ends, strict=True)
        axis.vlines(at, low, high, color=look["color"], linewidth=0.6)
        axis.plot(at, means, linewidth=0.8, markersize=2.8, **look)
    axis.grid(axis="y", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _look(number: int, line: Line) -> dict[str, Any]:
    marker = _MARKERS[number % len(_MARKERS)]
    if line.role != "ranked":
        return {"color": _GREY, "marker": marker, "linestyle": "--"}
    style = ("-", ":", "-.")[number // len(COLOURS) % 3]
    return {"color": COLOURS[number % len(COLOURS)], "marker": marker, "linestyle": style}


def _key(label: str, **look: Any) -> Line2D:
    # a legend leaves out labels that begin with an underscore before matplotlib 3.10
    shown = f" {label}" if label.startswith("_") else label
    return Line2D([], [], label=shown, markersize=3.2, linewidth=0.8, **look)


def _draws(lines: Iterable[Line]) -> str:
    found = sorted({line.mean.n for line in lines if line.role == "ranked"}) or [0]
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def heading_of(tables: Sequence[Leaderboard], about: str, width: float) -> str:
    """A title of a figure: a few words, then the condition."""
    title = tables[0].title if len(tables) == 1 else tables[0].condition.suite
    texts = (about, plain(f"{title}, {condition_line(tables[0])}", longest=200))
    return "\n".join(_wrapped(text, 0.78 * width) for text in texts)


def _notes(tables: Sequence[Leaderboard], lines: Sequence[Line], width: float) -> list[str]:
    """Warnings, footnotes of methods and remarks, each once, in lines that fit a width."""
    found = dict.fromkeys(f"{line.title}: {line.note}" for line in lines if line.note)
    for table in tables:
        found |= dict.fromkeys((*table.warnings, *table.remarks))
    return [_wrapped(plain(text, longest=300), width) for text in found]


def _wrapped(text: str, width: float) -> str:
    return textwrap.fill(text, max(20, int(21 * width)), break_long_words=False)


def _rows(texts: Iterable[str]) -> int:
    return sum(1 + text.count("\n") for text in texts if text)


def _finish(
    figure: Figure, title: str, keys: Sequence[Artist], notes: Sequence[str], *, columns: int = 1
) -> None:
    if title:
        figure.suptitle(title, fontsize=7)
    texts = [Line2D([], [], linestyle="none", label=note) for note in notes]
    if keys or texts:
        look = {"frameon": False, "fontsize": 5.5, "borderpad": 0, "labelspacing": 0.25}
        figure.legend(handles=[*keys, *texts], loc="outside lower center", ncols=columns, **look)
