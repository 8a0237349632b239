"""What came of a sweep.

With x[p, s] the objective of configuration p in draw s (a mean over the pairs), over n draws:

    mean = sum_s x[p, s] / n            sd = sqrt(sum_s (x[p, s] - mean)² / (n - 1))
    interval = mean ± t(0.975; n - 1) · sd / sqrt(n)

The gain is the same of x[p, s] - x[0, s] over the draws that both configurations have. The
inference is conditional on the pairs: draws are exchangeable, corpora are taken as given.

The best of many configurations owes part of its mean to luck in these very draws (the winner's
curse). So the draws are parted into halves A (first, third, …) and B:

    estimate = (mean of x[a, s] over s in B  +  mean of x[b, s] over s in A) / 2

where a has the highest mean over A and b that over B. Each summand is read on draws that took no
part in its choice. Choices by half of the draws are a little worse than by all, so it errs to the
low side. Draws that decided which configurations stopped early belong to the choice alone, and
only the later ones are parted; with a single later draw there is one summand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clser_bench.errors import SpecError
from clser_bench.problem import Value


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


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configuration of hyper-parameters and its objective."""

    number: int  # of the configuration; 0 is the default
    values: tuple[Value, ...]  # of the dimensions, in their order
    # the objective of each draw, its mean over the pairs; larger is better. One that was stopped
    # early has fewer; one with a missing result has none for that draw and those after it
    draws: tuple[float, ...]
    # the mean UAR over pairs of each draw, percent; empty where labels of these pairs are not to be
    # looked at
    uars: tuple[float, ...] = ()
    reason: str = ""  # why there is no objective; empty where there is


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A sweep of one method."""

    method: str  # its name
    dimensions: tuple[Dimension, ...]  # what was varied
    objective: str  # name of the objective
    unit: str  # of its values: `points of UAR`, `nats`, `share`
    oracle: bool  # whether labels of the targets decided; then the best configuration is no result
    suite: str  # name of the suite
    pairs: int  # how many ordered pairs
    features: str  # name of the feature set
    normalisation: str  # whose statistics the z-scores use
    shots: str  # labelled utterances of each class
    seeds: int  # draws of a configuration that was run to the end
    search: str  # how configurations were taken: `sobol`, `random`, `grid` or `tpe`
    # one in so many went on to more draws, asynchronously, so that which ones did may depend on
    # timing; 0 where all were run to the end
    halving: int
    configurations: tuple[Configuration, ...]  # all of them, the default first
    best: int  # number of the best among those that were run to the end
    command: str  # what makes it again
    synthetic: bool = False  # whether a corpus is synthetic


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A mean over draws; with one draw there is neither deviation nor interval."""

    mean: float  # over the draws
    n: int  # number of draws
    std: float | None = None  # sample standard deviation
    low: float | None = None  # lower end of the 95 % interval
    high: float | None = None  # upper end


@dataclass(frozen=True, kw_only=True)
class SplitHalfEstimate:
    """What a choice like this one gives on draws that took no part in it."""

    value: float  # of the objective
    gain: float | None  # over the default on the same draws; None where that lacks one of them
    chosen: tuple[int, ...]  # numbers of the configurations, one for each half that was read
    read: tuple[int, ...]  # how many draws each of them was read on
    candidates: int  # configurations that were chosen among


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The best configuration of a sweep and what is known of it."""

    best: Configuration | None  # None where none was run to the end
    objective: Measured | None = None  # of the best one
    # over the default, paired by draw; None where the default is the best or has no draw
    gain: Measured | None = None
    apart: SplitHalfEstimate | None = None  # None where there are too few draws
    reason: str = ""  # why something is missing; empty where nothing is


def choose(result: SweepResult) -> Chosen:
    """The best configuration, its objective, its gain and the estimate on other draws."""
    by_number = {one.number: one for one in result.configurations}
    best, default = by_number.get(result.best), by_number.get(0)
    if best is None or not best.draws:
        return Chosen(best=None, reason="no configuration was run to the end")
    apart, gain, reasons = split_half(result), None, []
    if len(best.draws) == 1:
        reasons.append("one draw: no interval")
    if apart is None:
        reasons.append("too few draws to choose on some and read on others")
    if default is None or not default.draws:
        why = f": {default.reason}" if default is not None and default.reason else ""
        reasons.append(f"the default has no objective{why}")
    elif default is not best:
        gain = measured([x - y for x, y in zip(best.draws, default.draws, strict=False)])
    return Chosen(
        best=best,
        objective=measured(best.draws),
        gain=gain,
        apart=apart,
        reason="; ".join(reasons),
    )


def measured(draws: Sequence[float]) -> Measured:
    """Mean over draws, with a t interval where there are two or more; ValueError for none."""
    from scipy.special import stdtrit  # noqa: PLC0415 (whoever runs trials needs none of it)

    if not draws:
        raise ValueError("there is no draw to take the mean of")
    values = np.asarray(draws, dtype=np.float64)
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return Measured(mean=mean, n=1)
    std = float(values.std(ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * std / n**0.5
    return Measured(mean=mean, n=n, std=std, low=mean - half, high=mean + half)


def finished(result: SweepResult) -> tuple[Configuration, ...]:
    """The configurations that were run to the end, among which the best is chosen."""
    return tuple(one for one in result.configurations if len(one.draws) >= max(1, result.seeds))


def split_half(result: SweepResult) -> SplitHalfEstimate | None:
    """Choose on some draws and read on others, both ways round; see the top of this file.

    None where no configuration was run to the end, or no draw is left to read.
    """
    whole = finished(result)
    early = [c for c in result.configurations if 0 < len(c.draws) < result.seeds and not c.reason]
    later = range(max((len(one.draws) for one in early), default=0), result.seeds)
    halves = [half for half in (later[0::2], later[1::2]) if half]
    if not whole or result.seeds < 2 or not halves:
        return None
    values = np.array([one.draws[: result.seeds] for one in whole], dtype=np.float64)
    default = next((row for row, one in enumerate(whole) if one.number == 0), None)
    rows, read, gains = [], [], []
    for half in halves:
        choosing = [draw for draw in range(result.seeds) if draw not in half]
        row = int(values[:, choosing].mean(axis=1).argmax())
        rows.append(row)
        read.append(values[row, half].mean())
        if default is not None:
            gains.append((values[row, half] - values[default, half]).mean())
    return SplitHalfEstimate(
        value=float(np.mean(read)),
        gain=float(np.mean(gains)) if gains else None,
        chosen=tuple(whole[row].number for row in rows),
        read=tuple(map(len, halves)),
        candidates=len(whole),
    )


def distributions(dimensions: Iterable[Dimension]) -> dict[str, Any]:
    """The space as Optuna writes it."""
    from optuna import distributions as kinds  # noqa: PLC0415 (slow to import)

    found: dict[str, Any] = {}
    for item in dimensions:
        if item.choices:
            found[item.name] = kinds.CategoricalDistribution(item.choices)
        elif item.whole:
            found[item.name] = kinds.IntDistribution(int(item.low), int(item.high), log=item.log)
        else:
            found[item.name] = kinds.FloatDistribution(item.low, item.high, log=item.log)
    return found
