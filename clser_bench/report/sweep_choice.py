"""What a sweep says of its best point: an interval, the gain over the shipped point, no flattery.

With x[p, s] the objective of point p in draw s (a mean over the pairs), over n draws:

    mean = sum_s x[p, s] / n            sd = sqrt(sum_s (x[p, s] - mean)² / (n - 1))
    interval = mean ± t(0.975; n - 1) · sd / sqrt(n)

The gain is the same of x[p, s] - x[0, s] over the draws that both points have. The inference is
conditional on the pairs: draws are exchangeable, corpora are taken as given.

The best of many points owes part of its mean to luck in these very draws (the winner's curse), and
no interval of it alone mends that. So the draws are parted into halves A (first, third, …) and B:

    unflattered = (mean of x[a, s] over s in B  +  mean of x[b, s] over s in A) / 2

where a has the highest mean over A and b that over B. Each summand is read on draws that took no
part in its choice, so its expectation is that of the point chosen. Choices by half of the draws
are a little worse than by all, so it errs to the low side. Where points were given up early, the
draws that decided this belong to the choice alone, and only the later ones are parted; with a
single later draw there is one summand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from clser_bench.report.statistics import LEVEL
from clser_bench.sweeps import Configuration, SweepResult


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A mean over draws.

    Attributes:
        mean: over the draws.
        n: number of draws.
        std: sample standard deviation; None with one draw.
        low: lower end of the 95 % interval; None with one draw.
        high: upper end.
    """

    mean: float
    n: int
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Unflattered:
    """What a choice like this one gives on draws that took no part in it.

    Attributes:
        value: of the objective.
        gain: over the shipped point on the same draws; None where that lacks one of them.
        chosen: numbers of the points, one for each half that was read.
        read: how many draws each of them was read on.
        candidates: points that were chosen among.
    """

    value: float
    gain: float | None
    chosen: tuple[int, ...]
    read: tuple[int, ...]
    candidates: int


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The best point of a sweep and what is known of it.

    Attributes:
        best: the point; None where none was run to the end.
        shipped: the shipped point.
        objective: of the best point.
        gain: over the shipped point, paired by draw; None where the shipped point is the best or
            has no draw.
        unflattered: None where there are too few draws.
        reason: why something is missing; empty where nothing is.
    """

    best: Configuration | None
    shipped: Configuration | None
    objective: Measured | None = None
    gain: Measured | None = None
    unflattered: Unflattered | None = None
    reason: str = ""


def weigh(swept: SweepResult) -> Chosen:
    """Say what is known of the best point.

    Args:
        swept: the sweep.
    """
    found = {point.number: point for point in swept.configurations}
    best, shipped = found.get(swept.best), found.get(0)
    if best is None or not best.draws:
        return Chosen(best=None, shipped=shipped, reason="no point was run to the end")
    other = shipped if shipped is not None and shipped.draws and shipped != best else None
    apart = unflattered(swept)
    reasons = []
    if len(best.draws) == 1:
        reasons.append("one draw: no interval")
    if apart is None:
        reasons.append("too few draws to choose on some and read on others")
    if shipped is None or not shipped.draws:
        why = shipped.reason if shipped is not None else ""
        reasons.append("the shipped point has no objective" + (f": {why}" if why else ""))
    return Chosen(
        best=best,
        shipped=shipped,
        objective=measured(best.draws),
        gain=None if other is None else _gain(best, other),
        unflattered=apart,
        reason="; ".join(reasons),
    )


def measured(draws: Sequence[float], *, level: float = LEVEL) -> Measured:
    """Mean over draws, with a t interval where there are two or more.

    Args:
        draws: a value each; at least one.
        level: coverage.

    Raises:
        ValueError: there is no draw.
    """
    if not draws:
        raise ValueError("there is no draw to take the mean of")
    values = np.asarray(draws, dtype=np.float64)
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return Measured(mean=mean, n=1)
    std = float(values.std(ddof=1))
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * std / n**0.5
    return Measured(mean=mean, n=n, std=std, low=mean - half, high=mean + half)


def finished(swept: SweepResult) -> tuple[Configuration, ...]:
    """The points that were run to the end, among which the best is chosen."""
    return tuple(point for point in swept.configurations if len(point.draws) >= max(1, swept.seeds))


def unflattered(swept: SweepResult) -> Unflattered | None:
    """Choose on some draws and read on others, both ways round; see the top of this file.

    Args:
        swept: the sweep.

    Returns:
        None where no point was run to the end, or no draw is left to read.
    """
    points = finished(swept)
    early = [p for p in swept.configurations if 0 < len(p.draws) < swept.seeds and not p.reason]
    later = range(max((len(point.draws) for point in early), default=0), swept.seeds)
    halves = [half for half in (later[0::2], later[1::2]) if half]
    if not points or swept.seeds < 2 or not halves:
        return None
    values = np.array([point.draws[: swept.seeds] for point in points], dtype=np.float64)
    shipped = next((row for row, point in enumerate(points) if point.number == 0), None)
    rows, read, gains = [], [], []
    for half in halves:
        choosing = [draw for draw in range(swept.seeds) if draw not in half]
        row = int(values[:, choosing].mean(axis=1).argmax())
        rows.append(row)
        read.append(values[row, half].mean())
        if shipped is not None:
            gains.append((values[row, half] - values[shipped, half]).mean())
    return Unflattered(
        value=float(np.mean(read)),
        gain=float(np.mean(gains)) if gains else None,
        chosen=tuple(points[row].number for row in rows),
        read=tuple(map(len, halves)),
        candidates=len(points),
    )


def _gain(best: Configuration, shipped: Configuration) -> Measured:
    return measured([one - other for one, other in zip(best.draws, shipped.draws, strict=False)])
