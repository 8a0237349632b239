"""Figures of leaderboards: a forest plot, a heat map, and curves over the number of shots.

Tables in, a matplotlib figure out. No text is smaller than 5 points, so a figure with many pairs
may be wider than asked for.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.confusion_figure import draw_cell, draw_hole, hole_keys
from clser_bench.report.drawing import COLOURS, COLUMN, in_style, new_figure, plain
from clser_bench.report.evidence import SIGNIFICANT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP = 7
"""Ranked methods that learning curves show, beside the reference, where none are asked for."""

BANDS = 3
"""So many methods have bands in learning curves; of more, the intervals are bars."""

_ROW = 0.125  # inches that a method takes
_LETTER = 0.047  # inches, of a tick label
_LINE = 0.105  # inches, of a legend
_NARROW, _WIDE = 0.165, 0.25  # inches of a cell that holds "38", and "38.4"
_LETTERS = 21  # an inch of a line of notes
_GAP = 0.3  # cells before the mean
_SPREAD = 0.4  # of the way to the next number of shots, over which methods are spread
_GREY = "#777777"
_VERDICTS = {"better": COLOURS[0], "worse": COLOURS[1]}
_MARKERS = "osD^vPX*<>"
_USUAL = {"setting": "transductive", "prior": "natural", "selection": "default"}
_Curves = Sequence[Mapping[str, Line]]
"""For each number of shots, the lines of its table by method."""


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
    lines = _sorted(table)
    names = [_label(line, counted=True) for line in lines]
    width = max(width, 1.2 + _LETTER * max(map(len, names)))
    keys, notes = _keys(table, lines), _notes([table], lines, width)
    what = "mean with 95 % interval" if any(map(_ends, lines)) else "mean"
    title = heading([table], f"{what} over {_pairs(table)}", width)
    rows = len(keys) + _rows([title, *notes])
    figure = new_figure(width, 0.6 + _ROW * len(lines) + _LINE * rows)
    axis = figure.subplots()
    for place, line in enumerate(lines):
        _dot(axis, place, line, table.reference)
    if not _has_chance(table):
        axis.axvline(_chance(table), color=_GREY, linestyle="--", linewidth=0.6, zorder=0)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.set_yticks(range(len(lines)), names)
    _grey_labels(axis, lines)
    axis.set_xlabel("mean UAR (%)")
    axis.grid(axis="x", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(title, fontsize=7)
    _legend(figure, keys, notes)
    return figure


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
    lines = _sorted(table)
    names = [_label(line) for line in lines]
    pairs = [plain(str(pair), longest=16) for pair in table.pairs]
    columns = len(pairs) + 1 + _GAP
    taken = 0.2 + _LETTER * max(map(len, names))
    side = max(_NARROW, (width - taken) / columns)
    width = max(width, taken + side * columns)
    longest = _LETTER * max(map(len, (*pairs, "mean")))
    every = [cell for line in lines for cell in (*line.cells, line.mean)]
    holes = hole_keys({cell.status for cell in every if cell.mean is None})
    notes = _notes([table], lines, width)
    title = heading([table], f"mean UAR (%) of each pair, n = {_span(lines)}", width)
    height = 0.3 + (longest if side < longest else 0.1) + _ROW * len(lines)
    figure = new_figure(width, height + _LINE * (len(holes) + _rows([title, *notes])))
    axis = figure.subplots()
    _cells(axis, lines, digits=int(side >= _WIDE))
    places = [*range(len(pairs)), len(pairs) + _GAP]
    axis.set_xticks(places, [*pairs, "mean"], rotation=90 if side < longest else 0)
    axis.set_yticks(range(len(lines)), names)
    _grey_labels(axis, lines)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=7)
    _legend(figure, holes, notes)
    return figure


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
    notes = _notes(tables, [line for row in shown for line in row], width / 2)
    title = heading(tables, what, width)
    rows = 1.2 * len(chosen) / 2 + _rows([title, *notes])
    figure = new_figure(width, 2.4 + _LINE * rows)
    axis = figure.subplots()
    beside = _SPREAD / len(chosen) if len(chosen) > BANDS else 0.0
    middle = (len(chosen) - 1) / 2
    handles = [
        _curve(axis, place, [row.get(name) for row in curves], beside * (place - middle))
        for place, name in enumerate(chosen)
    ]
    counts = [_span(row) for row in shown]
    labels = [f"{one.rules.shots}\nn = {n}" for one, n in zip(tables, counts, strict=True)]
    axis.set_xticks(range(len(tables)), labels)
    axis.set_xlim(-0.35, len(tables) - 0.65)
    axis.set_xlabel("labelled utterances per class")
    axis.set_ylabel(f"mean UAR over {_pairs(tables[0])} (%)")
    axis.grid(axis="y", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=7)
    _legend(figure, handles, notes, columns=2)
    return figure


def heading(tables: Sequence[LeaderboardTable], what: str, width: float) -> str:
    """Say what a figure shows and by which rules, with those rules that are not the usual ones.

    Args:
        tables: alike in all rules but shots, which are told where there is one table.
        what: in a few words, fit to be drawn.
        width: of the figure in inches.
    """
    rules = dataclasses.asdict(tables[0].rules)
    shots = f"{rules['shots']} shot{'' if rules['shots'] == '1' else 's'}"
    parts = [rules["suite"], *([shots] if len(tables) == 1 else [])]
    parts += [rules["features"], f"normalisation {rules['normalisation']}"]
    parts += [f"{name} {rules[name]}" for name, usual in _USUAL.items() if rules[name] != usual]
    parts += ["synthetic speech"] if any(table.synthetic for table in tables) else []
    # what tells two encoders apart, the layer, stands at the end
    most = max(20, min(40, int(16 * width) - 2))
    cut = [part if len(part) <= most else f"{part[: most - 18]}…{part[-17:]}" for part in parts]
    line = ", ".join(plain(part, longest=most) for part in cut)
    return "\n".join(_wrapped(text, 0.78 * width) for text in (what, line))


def _sorted(table: LeaderboardTable) -> list[Line]:
    """Lines by their mean, those without one last."""
    if not table.lines:
        raise SpecError(f"{plain(table.title)}: there is no method to draw; run some first")
    return sorted(
        table.lines,
        key=lambda line: (line.mean.mean is None, -(line.mean.mean or 0.0), line.method),
    )


def _ends(line: Line) -> tuple[float, float] | None:
    found = line.interval
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.high


def _label(line: Line, *, counted: bool = False) -> str:
    """A method's name, its mark where there is a note, and its kind unless it is ranked."""
    kind = [line.kind] if line.kind != "ranked" else []
    told = ", ".join([*kind, *([f"n = {line.mean.n}"] if counted else [])])
    return f"{plain(line.method)}{'*' if line.note else ''}{f' ({told})' if told else ''}"


def _dot(axis: Axes, place: int, line: Line, reference: str) -> None:
    """One row of a forest plot."""
    if line.mean.mean is None:
        hole = f"no mean: {plain(line.mean.reason or line.mean.status, longest=40)}"
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
        axis.text(0.02, place, hole, transform=axis.get_yaxis_transform(), va="center",
                  fontsize=5, color=_GREY, bbox=ground)  # fmt: skip
        return
    aside, base = line.kind != "ranked", line.method == reference
    colour = _GREY if aside else _VERDICTS.get(line.verdict, "#000000")
    filled = line.verdict in _VERDICTS
    if aside or base:
        axis.axvline(
            line.mean.mean, color=colour, linestyle="--" if aside else "-", linewidth=0.6, zorder=0
        )
    ends = _ends(line)
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
            keys.append(_key(label, color=colour, marker="o", linestyle="none"))
    others = [line for line in lines if line.kind == "ranked" and line.method != table.reference]
    hollow = {line.verdict or "not compared" for line in others if line.mean.mean is not None}
    if hollow - set(_VERDICTS):
        label = ", or ".join(sorted(hollow - set(_VERDICTS), reverse=True))
        label = label.replace("separable", f"separable from {name}")
        keys.append(_key(label, color="#000000", marker="o", linestyle="none", markerfacecolor="w"))
    if any(line.method == table.reference and line.mean.mean is not None for line in lines):
        keys.append(_key(f"{name} (reference)", color="#000000", marker="D", markerfacecolor="w"))
    if not _has_chance(table):
        label = f"chance level ({_chance(table):.1f}, bound)"
        keys.append(_key(label, color=_GREY, linestyle="--"))
    if any(line.kind != "ranked" for line in lines):
        label = "bound or oracle: no competitor"
        keys.append(_key(label, color=_GREY, linestyle="--", marker="o", markerfacecolor="w"))
    return keys


def _key(label: str, **look: Any) -> Line2D:
    # matplotlib before 3.10 leaves out what begins with an underscore
    shown = f" {label}" if label.startswith("_") else label
    return Line2D([], [], label=shown, markersize=3.2, linewidth=0.8, **look)


def _has_chance(table: LeaderboardTable) -> bool:
    return any(line.method == "chance" for line in table.lines)


def _chance(table: LeaderboardTable) -> float:
    """Mean over the pairs of what guessing reaches, in percent."""
    return float(np.mean([100 / count for count in table.classes if count] or [np.nan]))


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
    ends = [(one and _ends(one)) or (np.nan, np.nan) for one in lines]
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
    return _key(next(_label(one) for one in lines if one is not None), **look)


def _grey_labels(axis: Axes, lines: Sequence[Line]) -> None:
    for text, line in zip(axis.get_yticklabels(), lines, strict=True):
        text.set_color("#000000" if line.kind == "ranked" else _GREY)
    axis.tick_params(axis="y", length=0, pad=1)


def _span(lines: Iterable[Line]) -> str:
    """Numbers of draws: `5`, or `1–5`."""
    found = sorted({line.mean.n for line in lines}) or [0]
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def _pairs(table: LeaderboardTable) -> str:
    return f"{len(table.pairs)} pair{'' if len(table.pairs) == 1 else 's'}"


def _notes(tables: Sequence[LeaderboardTable], lines: Sequence[Line], width: float) -> list[str]:
    """Footnotes of the methods and tables, each once, in lines."""
    told = dict.fromkeys(f"* {line.note}" for line in lines if line.note)
    told |= dict.fromkeys(remark for table in tables for remark in table.remarks)
    return [_wrapped(plain(text, longest=300), width) for text in told]


def _wrapped(text: str, width: float) -> str:
    return textwrap.fill(text, max(20, int(_LETTERS * width)), break_long_words=False)


def _rows(texts: Iterable[str]) -> int:
    return sum(1 + text.count("\n") for text in texts)


def _legend(figure: Figure, keys: Sequence[Any], notes: Sequence[str], *, columns: int = 1) -> None:
    if not keys and not notes:
        return
    texts = [Line2D([], [], linestyle="none", label=note) for note in notes]
    figure.legend(
        handles=[*keys, *texts],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=5.5,
        borderpad=0,
        labelspacing=0.25,
    )
