"""Cells of pairs: what they say, and how strongly they are coloured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from clser_bench.report.board import Cell, LeaderboardTable
from clser_bench.report.layout import HOLE

LEVELS = 10
"""Colours of the heat map from its lowest to its highest; the gap has as many on both sides."""

FULL_GAP = 10.0
"""Points of difference that have the strongest colour."""


class Value(NamedTuple):
    """A cell: what it says, and the number it is sorted by; None sorts last."""

    text: str
    sort: float | None = None


NOTHING = Value("")
"""An empty cell."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A method on a pair.

    Attributes:
        value: the mean; `failed` or `n/a` for a hole.
        spread: `± ` and the standard deviation; empty for one draw.
        hole: there is no result.
        heat: level of the UAR, 0 to `LEVELS`; None for a hole.
        gap: level of the difference to the reference on this pair, -`LEVELS` to `LEVELS`; None
            where there is none.
    """

    value: Value
    spread: str = ""
    hole: bool = False
    heat: int | None = None
    gap: int | None = None


def scale_of(table: LeaderboardTable) -> tuple[float, float]:
    """Lowest and highest mean on a pair, of ranked methods if there are any.

    Args:
        table: the table.
    """
    lines = [line for line in table.lines if line.kind == "ranked"] or table.lines
    means = [cell.mean for line in lines for cell in line.cells if cell.mean is not None]
    return (min(means), max(means)) if means else (0.0, 100.0)


def shown(cell: Cell, scale: tuple[float, float], reference: float | None) -> Shown:
    """Write a cell and find its colours.

    Args:
        cell: a method on a pair.
        scale: UAR of the weakest and the strongest colour.
        reference: mean of the reference on this pair; None where there is none.
    """
    if cell.mean is None:
        return Shown(value=Value("n/a" if cell.status == "not_applicable" else "failed"), hole=True)
    low, high = scale
    share = (cell.mean - low) / (high - low) if high > low else 0.0
    return Shown(
        value=mean_of(cell),
        spread=spread_of(cell),
        heat=round(LEVELS * min(1.0, max(0.0, share))),
        gap=None if reference is None else _gap(cell.mean - reference),
    )


def mean_of(cell: Cell) -> Value:
    """The mean, or a dash for a hole."""
    return Value(HOLE) if cell.mean is None else Value(f"{cell.mean:.1f}", cell.mean)


def spread_of(cell: Cell) -> str:
    """The sample standard deviation; empty where there is none."""
    return "" if cell.std is None else f"± {cell.std:.1f}"


def _gap(difference: float) -> int:
    return round(LEVELS * min(1.0, max(-1.0, difference / FULL_GAP)))
