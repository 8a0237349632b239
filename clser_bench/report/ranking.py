"""Average ranks of methods over pairs, whether they differ at all, and which are alike.

Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006): the
Friedman test, the Nemenyi critical difference and its cliques. Both take the pairs to be
independent. The pairs of a suite share corpora, so they are not: p values and the critical
difference describe the table and prove nothing. What is inferred is inferred by the crossed
bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from clser_bench.report.resampling import Reals

LEVEL = 0.05
_ALIKE = 9  # decimals of UAR: the same counts, summed in another order, are a tie


@dataclass(frozen=True, kw_only=True)
class Friedman:
    """Whether k methods differ in their ranks on N pairs.

    Attributes:
        chi2: Friedman's statistic, corrected for ties; k - 1 degrees of freedom.
        p: its p value.
        f: Iman and Davenport's statistic; k - 1 and (k - 1)(N - 1) degrees of freedom. None where
            it is infinite, since all pairs rank the methods alike.
        f_p: its p value.
    """

    chi2: float
    p: float
    f: float | None
    f_p: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranks of methods, from 1 for the best.

    Attributes:
        average: of each method, over the pairs.
        friedman: None for fewer than three methods or two pairs, or where every rank is tied.
        critical: Nemenyi critical difference of average ranks at 0.05; None for fewer than two
            methods.
        cliques: the largest groups of methods whose average ranks lie within the critical
            difference, as places of methods, best first; groups of one are left out.
    """

    average: tuple[float, ...]
    friedman: Friedman | None
    critical: float | None
    cliques: tuple[tuple[int, ...], ...]


def rank(uar: Reals) -> Ranking:
    """Rank methods on each pair, and average.

    Args:
        uar: [pairs, methods]; of neither there are none.
    """
    rounded = np.round(uar, _ALIKE)
    average = stats.rankdata(-rounded, axis=1).mean(axis=0).tolist()
    pairs, methods = uar.shape
    critical = critical_difference(methods, pairs) if methods > 1 else None
    return Ranking(
        average=tuple(average),
        friedman=_friedman(rounded),
        critical=critical,
        cliques=() if critical is None else cliques(average, critical),
    )


def critical_difference(methods: int, pairs: int, *, level: float = LEVEL) -> float:
    """Difference of average ranks from which Nemenyi's test calls two methods different.

    q/√2 · √(k(k + 1)/(6N)), with q the upper quantile of the studentised range of k methods with
    infinite degrees of freedom.

    Args:
        methods: k, at least 2.
        pairs: N.
        level: of the test, over all pairs of methods together.
    """
    quantile = float(stats.studentized_range.ppf(1 - level, methods, math.inf))
    return quantile / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * pairs))


def iman_davenport(chi2: float, methods: int, pairs: int) -> float | None:
    """Friedman's statistic as an F: (N - 1)χ²/(N(k - 1) - χ²).

    Args:
        chi2: Friedman's statistic.
        methods: k.
        pairs: N.

    Returns:
        The statistic; None where it is infinite.
    """
    left = pairs * (methods - 1) - chi2
    return (pairs - 1) * chi2 / left if left > 1e-9 else None


def cliques(ranks: Sequence[float], difference: float) -> tuple[tuple[int, ...], ...]:
    """The largest groups whose ranks lie closer together than a critical difference.

    Args:
        ranks: average rank of each method.
        difference: from which two methods are told apart.

    Returns:
        Places of the methods of each group of two or more, by rank.
    """
    order = sorted(range(len(ranks)), key=lambda place: ranks[place])
    found: list[tuple[int, ...]] = []
    reached = 0
    for start, best in enumerate(order):
        end = start + sum(ranks[place] - ranks[best] < difference for place in order[start:])
        if end > reached and end - start > 1:
            found.append(tuple(order[start:end]))
        reached = max(reached, end)
    return tuple(found)


def _friedman(uar: Reals) -> Friedman | None:
    pairs, methods = uar.shape
    # scipy divides by the ranks that are not tied
    if methods < 3 or pairs < 2 or (uar == uar[:, :1]).all():
        return None
    chi2, p = (float(value) for value in stats.friedmanchisquare(*uar.T))
    f = iman_davenport(chi2, methods, pairs)
    free = methods - 1
    f_p = 0.0 if f is None else float(stats.f.sf(f, free, free * (pairs - 1)))
    return Friedman(chi2=chi2, p=p, f=f, f_p=f_p)
