"""The crossed bootstrap: intervals of a method's mean over pairs, and of paired differences.

The pairs of a suite share corpora, so their cells are not independent. The clusters are the
speakers of each target corpus and the draws (seeds) of each source corpus. One resample draws
the speakers of every target corpus and the draws of every source corpus once, with
replacement, and every pair and every method is computed again from them. The inference is
conditional on the corpora: nothing is said about a fifth language.

The small-cluster correction. Let V be the variance of the mean over the crossed resamples, and
v[j] its variance when only component j is resampled (the speakers of one target corpus, or the
draws of one source corpus; m[j] clusters). Resampling m clusters finds (m - 1)/m of their
variance, so a component truly contributes c[j] = v[j] m[j]/(m[j] - 1), and

    standard error = sqrt(V · sum(c) / sum(v))
    degrees of freedom = sum(c)² / sum(c[j]² / (m[j] - 1))            (Satterthwaite)
    interval = estimate ± t(0.975; degrees of freedom) · standard error

With equal m the factor is sqrt(m/(m - 1)). Taking the smallest m for everything instead would
leave 3 degrees of freedom wherever one corpus has four speakers, although the other components
carry most of the information: such intervals cover far more than they say. A component with a
single cluster cannot be resampled and is taken as given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clser_bench.protocol import Pair
from clser_bench.report.resampling import Counts, Reals, components, resample, stacks
from clser_bench.report.spread import LEVEL, Interval, Spread

__all__ = ["Interval", "Spread", "crossed_bootstrap", "holm", "mean_interval", "paired_difference"]

RESAMPLES = 2000


def mean_interval(
    counts: Sequence[Counts], *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Interval of one method's mean UAR over pairs.

    Args:
        counts: one entry per pair.
        resamples: number of bootstrap resamples.
        level: coverage.

    Returns:
        The estimate in percent with its interval.

    Raises:
        ValueError: there is no pair, or one comes twice.
    """
    return crossed_bootstrap({"": counts}, resamples=resamples).mean("", level=level)


def paired_difference(
    method: Sequence[Counts],
    baseline: Sequence[Counts],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Interval and p value of the difference of two methods' means over the same pairs.

    Args:
        method: one entry per pair.
        baseline: the same pairs with the same draws; with a single draw where a deterministic
            method was given all labels.
        resamples: number of bootstrap resamples.
        level: coverage.

    Returns:
        The difference in points of UAR; p is two-sided, from the same resamples.

    Raises:
        ValueError: the pairs differ, or the speakers of a target do.
    """
    both = {"method": method, "baseline": baseline}
    return crossed_bootstrap(both, resamples=resamples).difference(
        "method", "baseline", level=level
    )


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Correct p values for their number by Holm's step-down rule.

    Args:
        values: the p values of one family.

    Returns:
        Adjusted p values in the given order, at most 1.
    """
    order = np.argsort(values, kind="stable")
    steps = np.asarray(values, dtype=np.float64)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(adjusted.tolist())


def crossed_bootstrap(
    methods: Mapping[str, Sequence[Counts]], *, resamples: int = RESAMPLES
) -> Spread:
    """Resample speakers once per target and draws once per source, for all methods alike.

    Args:
        methods: name to counts, one entry per pair; every method has the same pairs.
        resamples: number of resamples.

    Raises:
        ValueError: there is no pair, the pairs of two methods differ, or the speakers of a
            target are not everywhere the same.
    """
    columns = _columns(methods)
    clusters = components(columns)
    place = {name: row for row, name in enumerate(clusters)}
    estimates = np.zeros(len(methods))
    crossed = np.zeros((len(methods), resamples))
    alone = np.zeros((len(clusters), len(methods), resamples))
    dropped = classes = 0
    for pair, column in columns.items():
        for stack in stacks(column):
            made = resample(stack, resamples)
            estimates[stack.rows] += made.estimate / len(columns)
            crossed[stack.rows] += made.crossed / len(columns)
            alone[place["speakers", pair.target], stack.rows] += made.speakers / len(columns)
            alone[place["draws", pair.source], stack.rows] += made.draws / len(columns)
            dropped += made.dropped
            classes += made.of
    return Spread(
        methods=tuple(methods),
        estimates=estimates,
        crossed=_covariance(crossed),
        parts=np.stack([_covariance(part) for part in alone]),
        clusters=np.array(list(clusters.values()), dtype=np.float64),
        dropped=dropped,
        of=classes,
    )


def _columns(methods: Mapping[str, Sequence[Counts]]) -> dict[Pair, list[Counts]]:
    """Counts by pair, a method each, after checking that they belong together."""
    wanted: tuple[Pair, ...] | None = None
    columns: dict[Pair, list[Counts]] = {}
    speakers: dict[str, tuple[str, ...]] = {}
    for name, counts in methods.items():
        pairs = tuple(sorted(item.pair for item in counts))
        wanted = wanted or pairs
        if not pairs or pairs != wanted or len(set(pairs)) < len(pairs):
            raise ValueError(
                f"'{name}': pairs {list(map(str, pairs))}, each once and alike for all"
            )
        for item in counts:
            target = item.pair.target
            if speakers.setdefault(target, item.speakers) != item.speakers:
                raise ValueError(
                    f"'{name}', {item.pair}: {target} must have the same speakers everywhere"
                )
            columns.setdefault(item.pair, []).append(item)
    if not columns:
        raise ValueError("there is no method to resample")
    return columns


def _covariance(values: Reals) -> Reals:
    """Covariance over resamples [m, m] of values [m, resamples]."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / (values.shape[1] - 1), dtype=np.float64)
