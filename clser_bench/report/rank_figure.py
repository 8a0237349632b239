"""The critical-difference diagram: average ranks of methods, and which are not separable.

Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7
(2006), figure 1. The ranks and cliques come from whoever tests; nothing is tested here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from clser_bench.errors import SpecError
from clser_bench.report.drawing import COLUMN, in_style, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.125  # inches that a method takes
_BAR = 0.06  # inches that the bar of a clique takes
_ABOVE = 0.27  # inches from the axis to the bar of the critical difference
_LETTER = 0.047  # inches, of a label
_RULE = 1.6  # inches that the axis is long at least


@in_style
def rank_diagram(
    names: Sequence[str],
    average_ranks: Sequence[float],
    critical_difference: float,
    cliques: Sequence[Sequence[int]],
    *,
    heading: str = "",
    width: float = 2 * COLUMN,
) -> Figure:
    """Draw average ranks on an axis, the best on the right, as Demšar does.

    A thick bar joins the methods of a clique, which are not significantly different.

    Args:
        names: of the methods [m].
        average_ranks: 1 is the best [m].
        critical_difference: in ranks; shown as a bar over the axis where it is not 0.
        cliques: places in `names` of methods that belong together; those of one method are
            not drawn.
        heading: over the diagram, in lines; empty for none.
        width: in inches; wider where names leave no room for the axis.

    Raises:
        SpecError: names and ranks do not fit each other, a number is not finite, or a clique
            names no method.
    """
    _check(names, average_ranks, critical_difference, cliques)
    order = sorted(range(len(names)), key=lambda at: (average_ranks[at], names[at]))
    best = order[: math.ceil(len(order) / 2)]
    bars = _bars(average_ranks, cliques)
    top = 0.1 + _BAR * (1 + max((level for _, _, level in bars), default=0))
    depth = top + _ROW * len(best)
    labels = [f"{plain(name)}  {rank:.2f}" for name, rank in zip(names, average_ranks, strict=True)]
    beside = 0.2 + 2 * _LETTER * max(map(len, labels))
    width = max(width, _RULE + beside)
    figure = new_figure(width, depth + _ABOVE + 0.7 + 0.12 * len(heading.splitlines()))
    axis = figure.subplots()
    ends = _rule(axis, average_ranks, critical_difference, ticks=int(3 * (width - beside)))
    # The nearest to an end of the axis has the highest row there, so that no lines cross.
    for side, members in zip(ends, (order[len(best) :][::-1], best), strict=True):
        for row, at in enumerate(members):
            _elbow(axis, average_ranks[at], top + _ROW * row, side=side, label=labels[at])
    for start, end, level in bars:
        place = 0.1 + _BAR * level
        axis.plot((start, end), (place, place), color="black", linewidth=2.2)
    axis.set_ylim(depth, -_ABOVE - 0.15)
    if heading:
        figure.suptitle(heading, fontsize=7)
    return figure


def _check(
    names: Sequence[str],
    ranks: Sequence[float],
    critical: float,
    cliques: Sequence[Sequence[int]],
) -> None:
    if not names or len(names) != len(ranks):
        raise SpecError(
            f"{len(names)} methods with {len(ranks)} ranks cannot be drawn; give each its rank"
        )
    for number in (*ranks, critical):
        if not math.isfinite(number) or number < 0:
            raise SpecError(f"{number} is no rank and no difference of ranks; it must be finite")
    for clique in cliques:
        if any(not 0 <= at < len(names) for at in clique):
            raise SpecError(
                f"clique {tuple(clique)}: its places must be from 0 to {len(names) - 1}"
            )


def _bars(
    ranks: Sequence[float], cliques: Sequence[Sequence[int]]
) -> list[tuple[float, float, int]]:
    """Both ends of each clique, and a level where its bar meets no other."""
    spans = sorted(
        (min(ranks[at] for at in clique), max(ranks[at] for at in clique))
        for clique in cliques
        if len(set(clique)) > 1
    )
    apart = 0.02 * (max(ranks) - min(ranks))
    filled: list[float] = []
    bars = []
    for start, end in spans:
        free = (level for level, last in enumerate(filled) if last + apart < start)
        level = next(free, len(filled))
        filled[level : level + 1] = [end]
        bars.append((start, end, level))
    return bars


def _rule(
    axis: Axes, ranks: Sequence[float], critical: float, *, ticks: int
) -> tuple[float, float]:
    """The axis of ranks and, over it, the critical difference; gives the left and right end."""
    right = float(math.floor(min(ranks)))
    left = max(float(math.ceil(max(ranks))), right + 1, right + critical)
    axis.set_xlim(left, right)
    axis.set_yticks([])
    axis.xaxis.tick_top()
    axis.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True))
    axis.spines[["left", "right", "bottom"]].set_visible(False)
    axis.spines["top"].set_position(("data", 0))
    axis.set_xlabel("average rank, 1 is the best", labelpad=2)
    axis.xaxis.set_label_position("bottom")
    if critical:
        ends = (left, left - critical)
        axis.plot(ends, (-_ABOVE, -_ABOVE), color="black", linewidth=1.0, marker="|", markersize=4)
        text = f"critical difference {critical:.2f}"
        axis.text(left, -_ABOVE - 0.06, text, ha="left", va="bottom", fontsize=6)
    return left, right


def _elbow(axis: Axes, rank: float, depth: float, *, side: float, label: str) -> None:
    """A line from the axis down to a row, and from there to the name at the side."""
    axis.plot((rank, rank, side), (0, depth, depth), color="black", linewidth=0.5, clip_on=False)
    right = side == axis.get_xlim()[1]
    axis.annotate(
        label,
        (side, depth),
        xytext=(3 if right else -3, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=6,
    )
