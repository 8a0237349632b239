"""What the figures of a sweep share: where values lie on an axis, ticks, titles."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from clser_bench.hyperparameters import Dimension
from clser_bench.problem import Value
from clser_bench.report.drawing import plain
from clser_bench.report.sweep_words import plural, shown
from clser_bench.sweeps import SweepResult

LONGEST = 12
"""Characters of a tick label that are left."""

_MOST = 16  # listed values that all have a label
_OFF = -0.12  # where a value lies that a logarithmic axis does not have


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis from 0 to 1 on which every value of a hyper-parameter has a place.

    The shipped value need not be in the range that a sweep varies; then the axis is longer.

    Attributes:
        name: of the hyper-parameter, as it is.
        kinds: listed values in the order of the axis; empty for a range.
        span: the range; unused where values are listed.
        off: values of which a logarithmic axis has none: 0 or less.
    """

    name: str
    kinds: tuple[Value, ...]
    span: Dimension
    off: tuple[Value, ...] = ()

    def at(self, value: Value) -> float:
        """The place of a value; below 0 where a logarithmic axis has none.

        Args:
            value: one that the axis was made for.
        """
        if self.kinds:
            return (self.kinds.index(value) + 0.5) / len(self.kinds)
        return _OFF if value in self.off else self.span.place(value)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels, in real values."""
        if self.kinds:
            values: Sequence[Value] = self.kinds[:: -(-len(self.kinds) // _MOST)]
        else:
            values = [*dict.fromkeys(self.off), *_round_values(self.span)]
        return [(self.at(value), plain(shown(value), longest=LONGEST)) for value in values]


def axes_of(swept: SweepResult) -> tuple[Axis, ...]:
    """An axis for each dimension, on which the values of all points have a place.

    Args:
        swept: the sweep.
    """
    return tuple(
        _axis(dimension, [point.values[place] for point in swept.configurations])
        for place, dimension in enumerate(swept.dimensions)
    )


def objective_name(swept: SweepResult) -> str:
    """The objective with its unit, fit to be drawn."""
    return plain(f"{swept.objective} ({swept.unit})", longest=48)


def title(swept: SweepResult, what: str, width: float) -> str:
    """Say what is shown, of which sweep, and what must be said with it.

    Args:
        swept: the sweep.
        what: is shown.
        width: of the figure, in inches.
    """
    first = f"{what} {plain(swept.method)}: {_size(swept)}"
    parts = [plain(swept.suite), plural(swept.pairs, "pair"), f"{plain(swept.shots)} shots"]
    parts += [plain(swept.features, longest=40), f"normalisation {plain(swept.normalisation)}"]
    parts += [plain(swept.search)]
    parts += ["synthetic speech"] if swept.synthetic else []
    parts += ["chosen with target labels: a reference"] if swept.oracle else []
    letters = max(24, int(18 * width))
    return "\n".join(textwrap.fill(text, letters) for text in (first, ", ".join(parts)))


def _size(swept: SweepResult) -> str:
    return f"{plural(len(swept.configurations), 'point')}, n = {plural(swept.seeds, 'draw')}"


def _axis(dimension: Dimension, values: Iterable[Value]) -> Axis:
    if dimension.choices:
        kinds = list(dict.fromkeys([*dimension.choices, *values]))
        if not any(isinstance(kind, bool | str) for kind in kinds):
            kinds.sort()
        return Axis(name=dimension.name, kinds=tuple(kinds), span=dimension)
    numbers = [float(value) for value in values]
    off = tuple(number for number in numbers if dimension.log and number <= 0)
    on = [number for number in numbers if number not in off]
    span = Dimension(
        name=dimension.name,
        low=min([dimension.low, *on]),
        high=max([dimension.high, *on]),
        log=dimension.log,
        whole=dimension.whole,
    )
    return Axis(name=dimension.name, kinds=(), span=span, off=off)


def _round_values(span: Dimension) -> list[float]:
    """Some round values within a range; its ends where there is no other."""
    if span.log:
        found = LogLocator(numticks=6).tick_values(span.low, span.high)
        if _inside(span, found).size < 3:
            found = LogLocator(subs=(1, 2, 5), numticks=6).tick_values(span.low, span.high)
    else:
        locator = MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=span.whole)
        found = locator.tick_values(span.low, span.high)
    inside = _inside(span, found)
    return inside.tolist() if inside.size > 1 else [span.low, span.high]


def _inside(span: Dimension, ticks: Sequence[float]) -> np.ndarray:
    values = np.asarray(ticks, dtype=np.float64)
    slack = 1e-9 * (span.high - span.low)
    return values[(values >= span.low - slack) & (values <= span.high + slack)]
