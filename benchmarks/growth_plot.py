"""What `growth.py` found as a figure; no script."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from growth_cases import FACTORS, LABELS, LEAST, SUBJECTS, Found, Results
from growth_text import over, slope

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(results: Results) -> bytes:
    """A PNG with a panel for time and one for memory under each factor."""
    from clser_bench.report.drawing import in_style, new_figure, render

    figure = new_figure(7.2, 3.8)
    in_style(panels)(figure, results)
    return render(figure, "png")


def panels(figure: Figure, results: Results) -> None:
    """Draw the panels."""
    grid = figure.subplots(2, len(FACTORS), sharex="col", sharey="row")
    for (row, part), (column, factor) in itertools.product(enumerate(LEAST), enumerate(FACTORS)):
        axes = grid[row, column]
        for subject in SUBJECTS:
            line(axes, results[factor, subject], part, subject=subject)
        axes.set_xticks(FACTORS[factor], [thousands(value) for value in FACTORS[factor]])
        axes.minorticks_off()
        axes.margins(x=0.2, y=0.1)
        if row:
            axes.set_xlabel(LABELS[factor])
    for axes, label in zip(
        grid[:, 0], ("seconds", "private memory, MiB (at least 1)"), strict=True
    ):
        axes.set_ylabel(label)
    cross = grid[0, 0].plot([], [], "x", color="black", markersize=4)
    handles = [*grid[0, 0].get_lines()[: len(SUBJECTS)], *cross]
    title = "Number at the end of a line: exponent between its two largest values"
    names = (*SUBJECTS, "over budget")
    figure.legend(handles, names, loc="outside upper center", ncols=5, title=title, frameon=False)


def line(axes: Axes, series: Mapping[int, Found], part: str, *, subject: str) -> None:
    """Draw what a subject takes; a cross on the upper edge where it was over its budget."""
    from clser_bench.report.drawing import COLOURS

    colour = COLOURS[SUBJECTS.index(subject)]
    points = [(v, getattr(one, part)) for v, one in series.items() if not one.note]
    axes.loglog(
        [value for value, _ in points],
        [max(y, LEAST[part]) for _, y in points],
        ".-",
        color=colour,
        linewidth=0.8,
        markersize=4,
    )
    found = slope(series, part)
    if found is not None:
        side = "right" if over(series) else "left"  # of its last point, away from a cross
        axes.text(*points[-1], f"  {found:.1f}  ", color=colour, fontsize=5, ha=side)
    edge = axes.get_xaxis_transform()
    for value in over(series):
        axes.plot(value, 1.0, "x", color=colour, markersize=4, transform=edge, clip_on=False)


def thousands(value: int) -> str:
    """A number for an axis."""
    return f"{value // 1000}k" if value % 1000 == 0 else str(value)
