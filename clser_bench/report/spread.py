"""Intervals and p values from covariances over resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from clser_bench.report.resampling import Reals

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its uncertainty, in points of UAR.

    Attributes:
        estimate: mean over the pairs, or the difference of two such means.
        low: lower end of the interval; None where nothing could be resampled.
        high: upper end.
        p: two-sided p value of the estimate being zero; None where there is no interval.
        error: standard error, corrected for few clusters.
        freedom: degrees of freedom of the t quantile.
    """

    estimate: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    error: float | None = None
    freedom: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Spread:
    """What the resamples say about m methods, enough for every interval and difference.

    Attributes:
        methods: their names.
        estimates: mean UAR over the pairs [m], percent.
        crossed: covariance over the crossed resamples [m, m].
        parts: covariance when only one component is resampled [components, m, m].
        clusters: number of clusters of each component [components].
        dropped: classes that were absent from a resample and left out of its UAR.
        of: classes in all resamples together, to set `dropped` against.
    """

    methods: tuple[str, ...]
    estimates: Reals
    crossed: Reals
    parts: Reals
    clusters: Reals
    dropped: int
    of: int

    def mean(self, method: str, *, level: float = LEVEL) -> Interval:
        """Interval of a method's mean over the pairs.

        Args:
            method: one of `methods`.
            level: coverage.
        """
        found = self._tested([self.methods.index(method)], None)
        return _interval(found, level)

    def difference(self, method: str, baseline: str, *, level: float = LEVEL) -> Interval:
        """Interval of a method's advantage over another, on the same resamples.

        Args:
            method: one of `methods`.
            baseline: another.
            level: coverage.
        """
        rows = [self.methods.index(name) for name in (method, baseline)]
        return _interval(self._tested(rows[:1], rows[1:]), level)

    def differences(self, pairs: Sequence[tuple[str, str]]) -> tuple[Reals, Reals]:
        """Estimates and p values of many differences at once.

        Args:
            pairs: a method and its baseline, each.

        Returns:
            Differences and p values [pairs]; NaN p values where nothing could be resampled.
        """
        place = {name: row for row, name in enumerate(self.methods)}
        rows = [[place[one] for one, _ in pairs], [place[other] for _, other in pairs]]
        found = self._tested(*rows)
        return found.estimate, found.p

    def _tested(self, one: list[int], other: list[int] | None) -> _Tested:
        """Means, or differences of means, with their corrected errors, all [q]."""
        estimate, crossed, parts = (
            self.estimates[one],
            self.crossed[one, one],
            self.parts[:, one, one],
        )
        size = crossed
        if other is not None:
            estimate = estimate - self.estimates[other]
            size = crossed + self.crossed[other, other]
            crossed = size - 2 * self.crossed[one, other]
            parts = parts + self.parts[:, other, other] - 2 * self.parts[:, one, other]
        several = self.clusters > 1
        if not several.any():
            unknown = np.full(len(estimate), np.nan)
            return _Tested(estimate, unknown, unknown, unknown)
        found = parts[several].clip(min=0)
        # covariances of methods that agree everywhere cancel only to rounding
        still = (found.sum(axis=0) <= 1e-12 * size) | (crossed <= 0)
        error, freedom = _corrected(crossed, found, self.clusters[several], still)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.asarray(2 * stdtr(freedom, -np.abs(estimate) / error), dtype=np.float64)
        p[still] = np.where(np.abs(estimate[still]) < 1e-9, 1.0, 0.0)
        return _Tested(estimate, error, freedom, p)


class _Tested(NamedTuple):
    """Estimates with standard errors, degrees of freedom and p values; NaN where unknown."""

    estimate: Reals
    error: Reals
    freedom: Reals
    p: Reals


def _interval(found: _Tested, level: float) -> Interval:
    """The first of some estimates with its interval."""
    estimate, error, freedom, p = (float(values[0]) for values in found)
    if math.isnan(error):
        return Interval(estimate=estimate)
    half = error * float(stdtrit(freedom, 0.5 + level / 2)) if error else 0.0
    return Interval(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        p=p,
        error=error,
        freedom=freedom if error else None,
    )


def _corrected(
    crossed: Reals, found: Reals, clusters: Reals, still: npt.NDArray[np.bool_]
) -> tuple[Reals, Reals]:
    """Standard errors and degrees of freedom; see the docstring of `statistics`.

    Args:
        crossed: variance over the crossed resamples [q].
        found: variance by component [components, q].
        clusters: number of clusters of each component, above one [components].
        still: estimates that no resample moves [q]: their error is 0.
    """
    several = clusters[:, None]
    total = np.where(still, 1.0, found.sum(axis=0))
    true = np.where(still, 1.0, found * several / (several - 1))
    error = np.where(still, 0.0, np.sqrt(crossed.clip(min=0) * true.sum(axis=0) / total))
    freedom = true.sum(axis=0) ** 2 / (true**2 / (several - 1)).sum(axis=0)
    return error, freedom
