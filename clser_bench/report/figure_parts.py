"""What figures of leaderboards share: what they say of a table, names, notes and legends."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from clser_bench.errors import SpecError
from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.drawing import plain

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.125
"""Inches that a method takes."""

LETTER = 0.047
"""Inches of a letter of a tick label."""

LINE = 0.105
"""Inches of a line of a legend."""

GREY = "#777777"
"""The colour of what is no competitor."""

_LETTERS = 21  # an inch of a line of notes
_USUAL = {"setting": "transductive", "prior": "natural", "selection": "default"}


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


def by_mean(table: LeaderboardTable) -> list[Line]:
    """Lines by their mean, the highest first, those without one last.

    Args:
        table: of any kinds of methods.

    Raises:
        SpecError: the table has no method.
    """
    if not table.lines:
        raise SpecError(f"{plain(table.title)}: there is no method to draw; run some first")
    return sorted(
        table.lines,
        key=lambda line: (line.mean.mean is None, -(line.mean.mean or 0.0), line.method),
    )


def ends_of(line: Line) -> tuple[float, float] | None:
    """Low and high end of the interval of a method's mean; None where it has none."""
    found = line.interval
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.high


def labelled(line: Line, *, counted: bool = False) -> str:
    """A method's name, its mark where there is a note, and its kind unless it is ranked.

    Args:
        line: of the method.
        counted: tell the number of draws.
    """
    kind = [line.kind] if line.kind != "ranked" else []
    told = ", ".join([*kind, *([f"n = {line.mean.n}"] if counted else [])])
    return f"{plain(line.method)}{'*' if line.note else ''}{f' ({told})' if told else ''}"


def key_of(label: str, **look: Any) -> Line2D:
    """An entry of a legend.

    Args:
        label: shown as it is.
        look: options of `Line2D`.
    """
    # matplotlib before 3.10 leaves out what begins with an underscore
    shown = f" {label}" if label.startswith("_") else label
    return Line2D([], [], label=shown, markersize=3.2, linewidth=0.8, **look)


def grey_labels(axis: Axes, lines: Sequence[Line]) -> None:
    """Grey the names of bounds and oracles, which are no competitors.

    Args:
        axis: its vertical ticks are the lines.
        lines: in the order of the ticks.
    """
    for text, line in zip(axis.get_yticklabels(), lines, strict=True):
        text.set_color("#000000" if line.kind == "ranked" else GREY)
    axis.tick_params(axis="y", length=0, pad=1)


def draws_of(lines: Iterable[Line]) -> str:
    """Numbers of draws: `5`, or `1–5`."""
    found = sorted({line.mean.n for line in lines}) or [0]
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def pairs_of(table: LeaderboardTable) -> str:
    """`1 pair`, or `12 pairs`."""
    return f"{len(table.pairs)} pair{'' if len(table.pairs) == 1 else 's'}"


def notes_of(tables: Sequence[LeaderboardTable], lines: Sequence[Line], width: float) -> list[str]:
    """Footnotes of the methods and tables, each once, in lines that fit a width.

    Args:
        tables: whose remarks are told.
        lines: whose notes are told.
        width: in inches.
    """
    told = dict.fromkeys(f"* {line.note}" for line in lines if line.note)
    told |= dict.fromkeys(remark for table in tables for remark in table.remarks)
    return [_wrapped(plain(text, longest=300), width) for text in told]


def rows_of(texts: Iterable[str]) -> int:
    """How many lines some texts have together."""
    return sum(1 + text.count("\n") for text in texts)


def add_legend(
    figure: Figure, keys: Sequence[Artist], notes: Sequence[str], *, columns: int = 1
) -> None:
    """Put keys, and notes after them, below a figure; nothing where there is neither.

    Args:
        figure: that lays its parts out itself.
        keys: entries with a label.
        notes: texts, in lines.
        columns: of the keys.
    """
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


def _wrapped(text: str, width: float) -> str:
    return textwrap.fill(text, max(20, int(_LETTERS * width)), break_long_words=False)
