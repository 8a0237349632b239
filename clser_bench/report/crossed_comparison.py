"""The methods of a table beside each other: differences, wins, ranks, and directions of pairs.

Every interval is the crossed bootstrap's (see `statistics`), paired on the same resamples and
conditional on the corpora. A difference comes with three views on it:

* its interval, and its p value after Holm over all pairs of ranked methods, the family that the
  ranks of a table use;
* d_z, Cohen's effect size of paired samples: the difference over the sample standard deviation
  (n - 1) of the differences on the pairs of corpora. It says how alike an advantage is
  everywhere, not how certain it is: the pairs share corpora;
* wins, ties and losses: pairs of corpora on which the 95 % interval of that one cell's
  difference excludes zero, and the others. These intervals are corrected for nothing: of
  methods that are alike, up to one cell in twenty is a win or a loss (in the simulations of
  `tests/numerics/test_interval_coverage.py` one in a hundred: they are rather too wide).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clser_bench.protocol import Pair
from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.crossed_statistics import RESAMPLES, crossed_bootstrap, holm
from clser_bench.report.evidence import SIGNIFICANT, Evidence, count
from clser_bench.report.ranking import Ranking, rank
from clser_bench.report.resampling import Counts
from clser_bench.report.spread import Interval, Spread
from clser_bench.store.sqlite import Store


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """What a method gains over another.

    Attributes:
        method: its name.
        other: what it is compared with.
        n: draws that both have; with all labels, draws of the method that has fewer.
        interval: difference of the means over the pairs, in points of UAR.
        p: corrected by Holm over all pairs of ranked methods; None where there is no interval.
        effect: d_z; None for a single pair, and where all pairs differ by the same.
        wins: pairs on which the method is higher and the cell's interval excludes zero.
        ties: pairs with neither, and pairs where nothing could be resampled.
        losses: pairs on which the other is.
    """

    method: str
    other: str
    n: int
    interval: Interval
    p: float | None
    effect: float | None
    wins: int
    ties: int
    losses: int

    @property
    def mirrored(self) -> Contrast:
        """The same seen from the other method."""
        return dataclasses.replace(
            self,
            method=self.other,
            other=self.method,
            interval=_mirrored(self.interval),
            effect=None if self.effect is None else 0.0 - self.effect,
            wins=self.losses,
            losses=self.wins,
        )


@dataclass(frozen=True, kw_only=True)
class Direction:
    """How much easier two corpora are one way than the other: UAR(s→t) - UAR(t→s).

    Attributes:
        pair: s→t.
        n: draws that all methods have; with all labels, draws of the method that has fewest.
        mean: over the methods.
        methods: of each method, in their order.
    """

    pair: Pair
    n: int
    mean: Interval
    methods: tuple[Interval, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Statistics of the ranked methods of a table.

    Attributes:
        table: the table.
        lines: its ranked methods with a result on every pair, in its order; what is compared.
        contrasts: every ordered pair of them that shares a draw.
        ranking: of the methods, in the order of `lines`.
        directions: of every two corpora that make a pair both ways; none where the methods share
            no draw.
        remarks: footnotes, those of the table first.
        resamples: of the intervals.
    """

    table: LeaderboardTable
    lines: tuple[Line, ...]
    contrasts: tuple[Contrast, ...]
    ranking: Ranking
    directions: tuple[Direction, ...]
    remarks: tuple[str, ...]
    resamples: int


def compare(store: Store, table: LeaderboardTable, *, resamples: int = RESAMPLES) -> Comparison:
    """Compare the ranked methods of a table.

    Args:
        store: the results.
        table: of the store, with or without intervals.
        resamples: number of bootstrap resamples.

    Returns:
        The comparison; its parts are empty where no ranked method has a result on every pair.

    Raises:
        StoreError: stored predictions or answers are damaged.
    """
    whole = [line for line in table.lines if line.mean.mean is not None]
    ranked = tuple(line for line in whole if line.kind == "ranked")
    pooled = table.rules.shots == "all"
    # the same company as in the table, so that differences and ranks say the same
    counts = count(store, table, whole)
    evidence = Evidence(counts, pooled=pooled, resamples=resamples)
    shared = {line.method: _shared(counts[line.method], pooled=pooled) for line in ranked}
    contrasts = _contrasts(evidence, shared, pooled=pooled, resamples=resamples)
    uar = np.array([[cell.mean for cell in line.cells] for line in ranked], dtype=np.float64)
    return Comparison(
        table=table,
        lines=ranked,
        contrasts=tuple(contrasts),
        ranking=rank(uar.reshape(len(ranked), len(table.pairs)).T),
        directions=_directions(table.pairs, shared, pooled=pooled, resamples=resamples),
        remarks=(*table.remarks, *_remarks(table, ranked, contrasts, evidence)),
        resamples=resamples,
    )


def _shared(items: Sequence[Counts], *, pooled: bool) -> list[Counts]:
    """Counts of the draws that a method has on all pairs; all draws where all labels are given."""
    draws = frozenset.intersection(*(frozenset(item.seeds) for item in items))
    return list(items) if pooled or not draws else [item.at(sorted(draws)) for item in items]


def _contrasts(
    evidence: Evidence, shared: Mapping[str, Sequence[Counts]], *, pooled: bool, resamples: int
) -> list[Contrast]:
    names = list(shared)
    found = {
        key: interval
        for key in itertools.combinations(names, 2)
        if (interval := evidence.difference(*key)) is not None
    }
    family = {key: interval.p for key, interval in found.items() if interval.p is not None}
    p = dict(zip(family, holm(list(family.values())), strict=True))
    size = len(next(iter(shared.values()))) if shared else 0
    columns = [{name: [items[place]] for name, items in shared.items()} for place in range(size)]
    cells = [Evidence(column, pooled=pooled, resamples=resamples) for column in columns]
    made: dict[tuple[str, str], Contrast] = {}
    for key, interval in found.items():
        gains = [gain for cell in cells if (gain := cell.difference(*key)) is not None]
        n = _draws([shared[name] for name in key], pooled=pooled)
        made[key] = _contrast(key, interval, gains, n=n, p=p.get(key))
        made[key[::-1]] = made[key].mirrored
    return [made[key] for key in itertools.permutations(names, 2) if key in made]


def _contrast(
    key: tuple[str, str], interval: Interval, gains: Sequence[Interval], *, n: int, p: float | None
) -> Contrast:
    separable = [gain for gain in gains if gain.p is not None and gain.p < SIGNIFICANT]
    wins = sum(gain.estimate > 0 for gain in separable)
    return Contrast(
        method=key[0],
        other=key[1],
        n=n,
        interval=interval,
        p=p,
        effect=_effect(interval.estimate, [gain.estimate for gain in gains]),
        wins=wins,
        ties=len(gains) - len(separable),
        losses=len(separable) - wins,
    )


def _effect(difference: float, gains: Sequence[float]) -> float | None:
    """Cohen's d_z: the difference over the sample deviation of the pairs' differences."""
    deviation = float(np.std(gains, ddof=1)) if len(gains) > 1 else 0.0
    # differences that are alike everywhere differ by rounding
    return difference / deviation if deviation > 1e-9 else None


def _draws(methods: Sequence[Sequence[Counts]], *, pooled: bool) -> int:
    """Draws that methods share, or the fewest that one has where they are not paired."""
    seeds = [frozenset(item.seeds) for items in methods for item in items]
    return min(map(len, seeds)) if pooled else len(frozenset.intersection(*seeds))


def _directions(
    pairs: Sequence[Pair],
    shared: Mapping[str, Sequence[Counts]],
    *,
    pooled: bool,
    resamples: int,
) -> tuple[Direction, ...]:
    """Directions on the draws that all methods share, so that their mean is a mean of these."""
    n = _draws(list(shared.values()), pooled=pooled) if shared else 0
    if not n:
        return ()
    if not pooled:
        seeds = sorted(set.intersection(*(set(items[0].seeds) for items in shared.values())))
        shared = {name: [item.at(seeds) for item in items] for name, items in shared.items()}
    made = []
    for there, back in itertools.combinations(range(len(pairs)), 2):
        if (pairs[there].source, pairs[there].target) == (pairs[back].target, pairs[back].source):
            spread = _directed({name: (c[there], c[back]) for name, c in shared.items()}, resamples)
            each = tuple(spread.mean(name) for name in shared)
            mean = _averaged(spread).mean("")
            made.append(Direction(pair=pairs[there], n=n, mean=mean, methods=each))
    return tuple(made)


def _directed(methods: Mapping[str, tuple[Counts, Counts]], resamples: int) -> Spread:
    """Spread of UAR(s→t) - UAR(t→s) on the same resamples.

    With wrong utterances counted as right ones, a UAR u becomes 100 - u in every resample, so the
    mean over the two pairs is 50 + difference/2.
    """
    turned = {
        name: (there, dataclasses.replace(back, correct=back.total - back.correct))
        for name, (there, back) in methods.items()
    }
    spread = crossed_bootstrap(turned, resamples=resamples)
    return dataclasses.replace(
        spread,
        estimates=2 * spread.estimates - 100,
        crossed=4 * spread.crossed,
        parts=4 * spread.parts,
    )


def _averaged(spread: Spread) -> Spread:
    """Spread of the mean over the methods, under an empty name."""
    return dataclasses.replace(
        spread,
        methods=("",),
        estimates=spread.estimates.mean(keepdims=True),
        crossed=spread.crossed.mean(keepdims=True),
        parts=spread.parts.mean(axis=(1, 2), keepdims=True),
    )


def _mirrored(interval: Interval) -> Interval:
    low, high = interval.low, interval.high
    return dataclasses.replace(
        interval,
        # taken from zero, which then keeps its sign
        estimate=0.0 - interval.estimate,
        low=None if high is None else 0.0 - high,
        high=None if low is None else 0.0 - low,
    )


def _remarks(
    table: LeaderboardTable,
    ranked: Sequence[Line],
    contrasts: Sequence[Contrast],
    evidence: Evidence,
) -> list[str]:
    said = []
    holes = [line.method for line in table.lines if line.kind == "ranked" and line not in ranked]
    if holes:
        said.append(f"not compared, since a pair has no result: {', '.join(holes)}")
    missing = (len(ranked) * (len(ranked) - 1) - len(contrasts)) // 2
    if missing:
        said.append(f"{missing} pairs of methods share no draw, so they are not compared")
    if table.rules.shots != "all" and any(item.n == 1 for item in contrasts):
        said.append("n = 1: the interval covers the speakers, and holds for this one draw only")
    dropped, of = evidence.dropped
    if dropped:
        share = f"{dropped} of {of} recalls"
        said.append(f"bootstrap: {share} were left out, their class absent from the resample")
    return [text for text in said if text not in table.remarks]
