"""Hyper-parameters: how a method declares them, and what a search varies."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from clser_bench.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Range:
    """The allowed values of a hyper-parameter, and how a search draws it."""

    low: float | None = None  # smallest value, included
    high: float | None = None  # largest value, included
    log: bool = False  # search on a logarithmic scale
    choices: tuple[Any, ...] | None = None  # the allowed values, where they are listed
    grid: tuple[Any, ...] = ()  # values that a selection tries
    about: str = ""  # one line for `clser-bench show`

    def check(self, name: str, value: object) -> None:
        """Raise SpecError, with what is allowed, unless a value is."""
        if self.choices is not None:
            if value not in self.choices:
                raise SpecError(
                    f"{name}={value!r}: allowed are {', '.join(map(repr, self.choices))}"
                )
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(f"{name}={value!r}: a number is needed")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:
            raise SpecError(f"{name}={value!r}: allowed is {low} to {high}")


def hyper(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
    grid: tuple[Any, ...] = (),
    about: str = "",
) -> Any:
    """Declare a hyper-parameter as a dataclass field with a default and a `Range`.

    A float default makes it a real value that may differ between trials of one pack; an
    integer, boolean or string default makes it structure, which splits packs. The grid has the
    default among its values.
    """
    if isinstance(default, bool):
        choices = choices or (False, True)
    span = Range(low=low, high=high, log=log, choices=choices, grid=grid, about=about)
    return dataclasses.field(default=default, metadata={"range": span})


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A hyper-parameter that a sweep varies, and over what."""

    name: str  # of the hyper-parameter
    low: float = 0.0  # smallest value; unused where values are listed
    high: float = 1.0  # largest value
    log: bool = False  # even on a logarithmic scale
    whole: bool = False  # integers only
    # the values, where they are listed; empty for a range
    choices: tuple[int | float | bool | str, ...] = ()

    def __post_init__(self) -> None:
        if self.choices:
            return
        given = f"{self.name}={self.low}:{self.high}"
        if math.isinf(self.low) or math.isinf(self.high):
            raise SpecError(f"{given}: both ends must be finite")
        if not self.low < self.high:
            raise SpecError(f"{given}: the first must be the smaller")
        if self.log and self.low <= 0:
            raise SpecError(f"{given}: a logarithmic range begins above 0")
