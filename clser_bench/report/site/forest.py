"""A forest plot: means or differences with their intervals, as geometry for an SVG.

Places across are shares of the width, so that the picture fits any screen with letters that
can be read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.spread import Interval

_LEFT, _RIGHT = 4.0, 96.0  # percent of the width
_TOP, _STEP = 26.0, 19.0  # pixels
_LONGEST = 24
_TICKS = 7
_STRIDES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A method: its name, and places of its estimate and interval in percent of the width.

    Attributes:
        name: shortened where it is long.
        y: of the row, in pixels.
        x: of the estimate.
        low: of the interval's lower end.
        high: of its upper end.
        kind: `better`, `worse` or empty.
    """

    name: str
    y: float
    x: float
    low: float
    high: float
    kind: str


@dataclass(frozen=True, kw_only=True)
class Forest:
    """A picture.

    Attributes:
        title: what is shown.
        height: in pixels.
        ticks: place and number of each.
        zero: place of no difference; None where means are shown.
        marks: the methods in the order of the table.
    """

    title: str
    height: float
    ticks: tuple[tuple[float, str], ...]
    zero: float | None
    marks: tuple[Mark, ...]

    @property
    def bottom(self) -> float:
        """Where the grid ends."""
        return self.height - 8


def forest(table: LeaderboardTable) -> Forest | None:
    """Draw the ranked methods' differences to the reference, or means where there is none.

    Args:
        table: with intervals.

    Returns:
        The picture; None where no ranked method has an interval.
    """
    ranked = [line for line in table.lines if line.kind == "ranked"]
    found = [(line, interval) for line in ranked if (interval := _interval(table, line))]
    if not found:
        return None
    ends = [value for _, item in found for value in (item.low, item.high) if value is not None]
    if table.reference:
        ends.append(0.0)
    low, high = min(ends), max(ends)
    stride = next((s for s in _STRIDES if (high - low) / s <= _TICKS - 1), _STRIDES[-1])
    start, stop = math.floor(low / stride), math.ceil(high / stride)
    stop = max(stop, start + 1)

    def place(value: float) -> float:
        share = (value / stride - start) / (stop - start)
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)

    marks = [
        Mark(
            name=_short(line.method),
            y=_TOP + _STEP * (row + 0.5),
            x=place(item.estimate),
            low=place(item.estimate if item.low is None else item.low),
            high=place(item.estimate if item.high is None else item.high),
            kind=line.verdict.replace("not separable", ""),
        )
        for row, (line, item) in enumerate(found)
    ]
    what = f"Difference to {table.reference}" if table.reference else "Mean over the pairs"
    return Forest(
        title=f"{what}: ranked methods, points of UAR, 95 % intervals",
        height=_TOP + _STEP * len(marks) + 8,
        ticks=tuple(
            (place(n * stride), f"{n * stride:g}".replace("-", "−")) for n in range(start, stop + 1)
        ),
        zero=place(0.0) if table.reference else None,
        marks=tuple(marks),
    )


def _interval(table: LeaderboardTable, line: Line) -> Interval | None:
    found = line.difference.interval if line.difference else None
    return found if table.reference else line.interval


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
