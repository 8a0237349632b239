"""Intervals of means over pairs, of differences and of directions, and families of differences.

The pairs of a suite share corpora, so their cells are not independent. The clusters are the
speakers of each target corpus and the draws of each source corpus; both are crossed. All
inference is conditional on these corpora and their sentences.

The estimator (Cameron, Gelbach and Miller 2011, two-way clusters). Let K be the number of pairs,
m that of draws, n that of speakers, and e[i, c, j] the influence of speaker i, class c and draw j
on the UAR of pair p = s→t:

    a[t, i] = 1/K sum over p with target t of mean over j of sum over c of lever · e
    b[s, j] = 1/K sum over p with source s of 1/m sum over i, c of e
    x[p, i, j] = 1/(K m) sum over c of e, centred by rows and by columns
    V_S = sum over t, i of (a - mean)²                            degrees of freedom: n_eff - 1
    V_D = sum over s of m/(m-1) sum over j of (b - mean)²                             m - 1
    V_SD = sum over p of n/(n-1) m/(m-1) sum over i, j of x²
    V = max(V_S + V_D - V_SD, V_S, V_D)       (floor: MacKinnon, Nielsen and Webb 2021)
    freedom = max(V (V_S + V_D) / sum of part²/freedom of part, smallest freedom of a part)

`lever` is the CR2 correction for speakers who hold a large share of a class, and n_eff follows
Satterthwaite (Pustejovsky and Tipton 2018). A speaker x draw cluster lies in one pair only, so the
subtraction is exact. Of a paired difference, e is the difference of two methods; of a direction
s→t less t→s, the pairs have the weights 1 and -1. `benchmarks/coverage.py` simulates the coverage.

Where all labels are given there is one draw, and seeds only start the training: only the speakers
are resampled then. Where the target is resampled for each draw, its draws are clusters too, with
V_T like V_D: V = max(V_S + V_D + V_T - V_ST - V_DT, V_S, V_D, V_T). V_ST is of the speakers x draws
of a target, x summed over its pairs, V_DT of the draws of each pair; of all three ways it cancels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from clser_bench.hashing import generator
from clser_bench.protocol import Pair

Reals = npt.NDArray[np.float64]

LEVEL = 0.95
SIGNIFICANT = 0.05
POWER = 0.8
"""Of the least detectable difference."""

CLUSTERS = 3
"""Speakers that every target needs for an interval: two leave one degree of freedom."""

CLASS_CLUSTERS = 2
"""Speakers that every class needs: the recall of a class does not vary over a single speaker."""

_SIMULATED = 10_000  # the error rate of a family is then known to 0.002
_BLOCK = 32  # differences simulated at once: small enough for a processor's cache


@dataclass(frozen=True, eq=False)
class Counts:
    """Utterances of one method on one pair, by speaker, class and draw."""

    pair: Pair
    seeds: tuple[int, ...]  # the draws, ascending
    # the target's speakers; the same for all methods and all pairs with this target
    speakers: tuple[str, ...]
    correct: Reals  # recognised utterances [speakers, classes, draws]
    total: Reals  # scored utterances [speakers, classes, draws]

    def at(self, seeds: Sequence[int]) -> Counts:
        """The same, restricted to some of its draws."""
        if tuple(seeds) == self.seeds:
            return self
        where = [self.seeds.index(seed) for seed in seeds]
        correct, total = self.correct[:, :, where], self.total[:, :, where]
        return dataclasses.replace(self, seeds=tuple(seeds), correct=correct, total=total)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its uncertainty, in points of UAR."""

    estimate: float  # mean over the pairs, or the difference of two such means
    low: float | None = None  # lower end; None where there is no interval
    high: float | None = None
    # two-sided p value of the estimate being zero; of a family, corrected for its size
    p: float | None = None
    error: float | None = None
    freedom: float | None = None  # degrees of freedom of the t quantile
    # the true difference that would be found with a probability of `POWER`; only of differences
    detectable: float | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not separable`; empty where there is no interval."""
        if self.p is None:
            return ""
        if self.p > SIGNIFICANT or self.estimate == 0:
            return "not separable"
        return "better" if self.estimate > 0 else "worse"

    @property
    def pointwise(self) -> tuple[float, float] | None:
        """The 95 % ends of this estimate alone, uncorrected; None where there is no interval."""
        if self.error is None:
            return None
        half = self.error * float(stdtrit(self.freedom or 1.0, 0.5 + LEVEL / 2))
        return self.estimate - half, self.estimate + half

    @property
    def mirrored(self) -> Interval:
        """Of the opposite difference."""
        # taken from zero, which then keeps its sign
        low, high = (None if end is None else 0.0 - end for end in (self.high, self.low))
        return dataclasses.replace(self, estimate=0.0 - self.estimate, low=low, high=high)


@dataclass(frozen=True, eq=False, kw_only=True)
class Spread:
    """Covariances of the estimates of m methods: enough for every interval and difference."""

    methods: tuple[str, ...]
    estimates: Reals  # mean UAR over the pairs, or another weighted sum of them [m], percent
    # covariance due to the speakers of each target, then to the draws of each source, then to those
    # of each target [parts, m, m]
    parts: Reals
    ends: tuple[int, int]  # where the second and the third kind of parts begin
    freedom: Reals  # degrees of freedom of each part [parts]
    residual: Reals  # covariance that two kinds of parts hold [m, m]
    bounds: tuple[float, float] = (0.0, 100.0)  # least and largest possible value of an estimate
    reason: str = ""

    def mean(self, method: str) -> Interval:
        """Pointwise interval of a method's estimate, within its bounds."""
        return self.means([method])[0]

    def means(self, methods: Sequence[str]) -> list[Interval]:
        """Those of several methods at once."""
        places = [self.methods.index(method) for method in methods]
        return self._intervals(self._errors(np.eye(len(self.methods))[places]), self.bounds)

    def average(self) -> Interval:
        """Pointwise interval of the mean over the methods."""
        weights = np.full((1, len(self.methods)), 1 / len(self.methods))
        return self._intervals(self._errors(weights))[0]

    def difference(self, method: str, baseline: str) -> Interval:
        """Pointwise interval of a method's advantage over another."""
        return self.differences([(method, baseline)])[0]

    def differences(self, pairs: Sequence[tuple[str, str]]) -> list[Interval]:
        """Pointwise intervals of many differences at once: a method and its baseline, each."""
        return self._intervals(self._errors(self._contrasts(pairs)))

    def _contrasts(self, pairs: Sequence[tuple[str, str]]) -> Reals:
        """Weights of the methods in differences [pairs, m]."""
        place = {name: row for row, name in enumerate(self.methods)}
        weights = np.zeros((len(pairs), len(self.methods)))
        for row, (one, other) in enumerate(pairs):
            weights[row, place[one]] += 1
            weights[row, place[other]] -= 1
        return weights

    def _intervals(
        self,
        found: _Errors,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        *,
        level: float = LEVEL,
        corrected: Reals | None = None,
    ) -> list[Interval]:
        """Intervals of estimates at a level; their p values unless others are given [q]."""
        estimates = found.estimate.tolist()
        if self.reason:
            return [Interval(estimate=value, reason=self.reason) for value in estimates]
        moves = found.error > 0
        freedom = np.where(moves, found.freedom, 1.0)
        half = np.where(moves, stdtrit(freedom, 0.5 + level / 2), 0.0) * found.error
        exact = found.freedom.astype(object)
        exact[~moves] = None
        columns = {
            "low": np.maximum(found.estimate - half, bounds[0]),
            "high": np.minimum(found.estimate + half, bounds[1]),
            "p": found.p if corrected is None else np.where(moves, corrected, found.p),
            "error": found.error,
            "freedom": exact,
            "detectable": half + np.where(moves, stdtrit(freedom, POWER), 0.0) * found.error,
        }
        rows = zip(estimates, *(column.tolist() for column in columns.values()), strict=True)
        return [Interval(**dict(zip(("estimate", *columns), row, strict=True))) for row in rows]

    def _errors(self, weights: Reals) -> _Errors:
        """Estimates, standard errors and degrees of freedom of weighted sums of the methods."""
        estimate = weights @ self.estimates
        parts = np.sum((weights @ self.parts) * weights, axis=2).clip(min=0)
        residual = np.sum((weights @ self.residual) * weights, axis=1)
        kinds = [kind.sum(axis=0) for kind in np.split(parts, self.ends)]
        whole = np.sum(kinds, axis=0)
        variance = np.maximum.reduce([whole - residual, *kinds])
        # covariances of methods that agree everywhere cancel only to rounding
        size = weights**2 @ np.diag(self.parts.sum(axis=0))
        moves = whole > 1e-12 * np.maximum(size, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = variance * whole / (parts.T**2 / self.freedom).sum(axis=1)
        freedom = np.where(moves, np.maximum(freedom, self.freedom.min(initial=math.inf)), math.inf)
        error = np.where(moves, np.sqrt(variance), 0.0)
        some = np.where(moves, error, 1.0)
        p = 2 * stdtr(np.where(moves, freedom, 1.0), -np.abs(estimate) / some)
        exact = np.where(np.abs(estimate) < 1e-9, 1.0, 0.0)
        return _Errors(estimate, error, freedom, np.where(moves, p, exact))


class _Errors(NamedTuple):
    """Of q weighted sums, all [q]; an error of 0 is exact."""

    estimate: Reals
    error: Reals
    freedom: Reals
    p: Reals  # two-sided, pointwise


def spread(
    methods: Mapping[str, Sequence[Counts]],
    *,
    weights: Sequence[float] | None = None,
    drawn: Collection[str] = ("source",),
) -> Spread:
    """Covariances of weighted sums of the pairs' UARs, for all methods at once.

    Args:
        methods: name to counts, an entry per pair; every method has the same pairs in the same
            order and, if anything is drawn, the same draws of each pair.
        weights: of the pairs; those of their mean where None.
        drawn: sides whose utterances differ between draws, as `Condition.drawn` has them; empty
            where only speakers are resampled.

    Raises:
        ValueError: pairs or draws differ, or the speakers of a target.
    """
    pairs = _checked(methods, drawn=bool(drawn))
    shares = [1 / len(pairs)] * len(pairs) if weights is None else list(weights)
    first = next(iter(methods.values()))
    speakers: dict[str, Reals] = {}
    draws: dict[tuple[str, str], dict[int, Reals]] = {}
    crossed: dict[str, Reals] = {}
    loads: dict[str, list[Reals]] = {}
    estimates = np.zeros(len(methods))
    residual = np.zeros((len(methods), len(methods)))
    for place, (pair, share) in enumerate(zip(pairs, shares, strict=True)):
        uar, levered, cells, load = _influence([items[place] for items in methods.values()])
        estimates += share * uar
        speakers[pair.target] = speakers.get(pair.target, 0.0) + share * levered
        loads.setdefault(pair.target, []).append(load)
        if not drawn:
            continue
        seeds = first[place].seeds
        cells = share * cells / len(seeds)
        for side in drawn:
            column = draws.setdefault((side, getattr(pair, side)), {})
            for number, seed in enumerate(seeds):
                column[seed] = column.get(seed, 0.0) + cells[:, :, number].sum(axis=1)
        shared = pair.target if "target" in drawn else str(pair)
        crossed[shared] = crossed.get(shared, 0.0) + cells
        if len(drawn) > 1 and len(seeds) > 1:
            alone = _over_draws(cells.sum(axis=1))
            residual += alone @ alone.T
    residual += sum(map(_residual, crossed.values()))
    several = {
        of: _over_draws(np.stack(list(found.values()), axis=1))
        for of, found in sorted(draws.items())
        if len(found) > 1
    }
    blocks = [v - v.mean(axis=1, keepdims=True) for v in speakers.values()] + [*several.values()]
    freedom = [_effective(np.mean(loads[target], axis=0)) for target in speakers]
    freedom += [block.shape[1] - 1.0 for block in several.values()]
    few = too_few_speakers(first)
    return Spread(
        methods=tuple(methods),
        estimates=estimates,
        parts=np.stack([block @ block.T for block in blocks]),
        ends=(len(speakers), len(speakers) + sum(side == "source" for side, _ in several)),
        freedom=np.array(freedom),
        residual=residual,
        bounds=(0.0, 100.0) if min(shares) >= 0 else (-100.0, 100.0),
        reason="; ".join(f"{target} has {reason}" for target, reason in few.items()),
    )


def too_few_speakers(counts: Iterable[Counts]) -> dict[str, str]:
    """Why there is no interval, by target that has too few speakers; empty where there is one."""
    found: dict[str, str] = {}
    for item in counts:
        speakers = len(item.speakers)
        of_classes = (item.total > 0).any(axis=2).sum(axis=0)
        least = int(of_classes[of_classes > 0].min(initial=speakers))
        if speakers < CLUSTERS:
            found[item.pair.target] = f"{speakers} speaker{'s' * (speakers != 1)}"
        elif least < CLASS_CLUSTERS:
            found.setdefault(item.pair.target, "a class of one speaker alone")
    return dict(sorted(found.items()))


def _checked(methods: Mapping[str, Sequence[Counts]], *, drawn: bool) -> tuple[Pair, ...]:
    """The pairs of all methods, after checking that their counts belong together."""
    if not methods:
        raise ValueError("there is no method")
    first = next(iter(methods.values()))
    pairs = tuple(item.pair for item in first)
    voices = {item.pair.target: item.speakers for item in first}
    for name, items in methods.items():
        own = tuple(item.pair for item in items)
        if not own or own != pairs or len(set(own)) < len(own):
            raise ValueError(f"'{name}': pairs {list(map(str, own))}, each once and alike for all")
        for item, other in zip(items, first, strict=True):
            if item.speakers != voices[item.pair.target]:
                raise ValueError(
                    f"'{name}', {item.pair}: a target needs the same speakers everywhere"
                )
            if drawn and item.seeds != other.seeds:
                raise ValueError(f"'{name}', {item.pair}: draws {item.seeds}, not {other.seeds}")
    return pairs


def _influence(counts: Sequence[Counts]) -> tuple[Reals, Reals, Reals, Reals]:
    """What moves the UAR of m methods on one pair with n speakers.

    Returns:
        UAR [m]; of each speaker, times its lever, the mean over draws [m, n]; of each speaker and
        draw [m, n, draws], of no method where they have different draws; mean share of each speaker
        in the classes, of the first method [n].
    """
    if len({item.correct.shape for item in counts}) > 1:  # all labels, and unlike numbers of draws
        uars, levered, cells, loads = zip(*(_influence([item]) for item in counts), strict=True)
        return np.concatenate(uars), np.concatenate(levered), cells[0][:0], loads[0]
    correct = np.stack([item.correct for item in counts])  # [m, n, c, draws]
    total = np.stack([item.total for item in counts])
    whole = np.maximum(total.sum(axis=1, keepdims=True), 1)
    present = (total > 0).any(axis=1)
    recall = correct.sum(axis=1) / whole[:, 0]
    often = np.maximum(present.sum(axis=2), 1)
    typical = recall.sum(axis=2) / often  # [m, c], mean over the draws that have the class
    classes = np.maximum(present.sum(axis=1), 1)[:, None, None]
    # a speaker with much of a class pulls its recall towards his own: half of that is undone
    lever = 1 / np.sqrt(np.maximum(1 - total / whole, 0.25))
    e = 100 * (correct - typical[:, None, :, None] * total) / whole / classes
    uar = 100 * (recall.sum(axis=1) / classes[:, 0, 0]).mean(axis=1)
    load = (1 - lever[0].mean(axis=2) ** -2).mean(axis=1)
    return uar, (e * lever).mean(axis=3).sum(axis=2), e.sum(axis=2), load


def _over_draws(values: Reals) -> Reals:
    """Sums of draws [m, draws], whose squares add up to a variance."""
    draws = values.shape[1]
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred * math.sqrt(draws / (draws - 1)), dtype=np.float64)


def _residual(cells: Reals) -> Reals:
    """V_SD [m, m], of the influences of speakers and draws [m, n, draws]."""
    methods, n, draws = cells.shape
    if min(n, draws) < 2:
        return np.zeros((methods, methods))
    x = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=2, keepdims=True)
    x = (x + cells.mean(axis=(1, 2), keepdims=True)).reshape(methods, -1)
    return np.asarray(x @ x.T * n / (n - 1) * draws / (draws - 1), dtype=np.float64)


def _effective(load: Reals) -> float:
    """Satterthwaite's degrees of freedom of speakers with unequal shares; at least 1."""
    fourth = float((load**4).sum())
    return max(float((load**2).sum()) ** 2 / fourth - 1, 1.0) if fourth else 1.0


Group = tuple[Spread, Sequence[tuple[str, str]]]
"""A spread and some of its differences: a method and what it is compared with, each."""


def simultaneous(groups: Sequence[Group]) -> dict[tuple[str, str], Interval]:
    """Simultaneous 95 % intervals and p values of a family of differences (single-step max-t).

    The largest |t| of the family is simulated from a multivariate t distribution with the
    estimated covariance (Hothorn, Bretz and Westfall 2008); its freedom is the median of the
    family's. Each difference keeps its own degrees of freedom: the level of the largest |t| is
    turned into one pointwise level for all, so an interval excludes zero exactly where p is
    below 0.05. Groups, of methods that were not run on the same draws, are taken as independent,
    which makes the intervals wider.

    Returns:
        Intervals by difference, without ends where there is no interval.
    """
    errors = [whole._errors(whole._contrasts(pairs)) for whole, pairs in groups]  # noqa: SLF001 (same module)
    known = [found for (whole, _), found in zip(groups, errors, strict=True) if not whole.reason]
    freedoms = np.concatenate([[], *(found.freedom[found.error > 0] for found in known)])
    common = float(np.median(freedoms)) if len(freedoms) else 1.0
    largest = _largest([(whole, pairs) for whole, pairs in groups if not whole.reason], common)
    least = np.sort(2 * stdtr(common, -largest))
    # p < pointwise exactly where the corrected p is below 0.05
    pointwise = float(least[math.floor((1 - LEVEL) * (1 + len(least))) - 1])
    made: dict[tuple[str, str], Interval] = {}
    for (whole, pairs), found in zip(groups, errors, strict=True):
        corrected = (1 + np.searchsorted(least, found.p, side="right")) / (1 + len(least))
        intervals = whole._intervals(found, level=1 - pointwise, corrected=corrected)  # noqa: SLF001
        made |= zip(pairs, intervals, strict=True)
    return made


def _largest(groups: Sequence[Group], freedom: float) -> Reals:
    """The largest |t| of all differences in each simulation [simulations]."""
    rng = generator("simultaneous intervals", _SIMULATED)
    found = np.zeros(_SIMULATED)
    for whole, pairs in groups:
        # of the family's own methods alone: no other row of a table moves an interval
        own = [whole.methods.index(name) for name in sorted({n for pair in pairs for n in pair})]
        covariance = (whole.parts.sum(axis=0) - whole.residual)[np.ix_(own, own)]
        values, vectors = np.linalg.eigh(covariance)
        # the symmetric root: signs and rotations of eigenvectors, which differ between machines,
        # do not show
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        normal = rng.standard_normal((_SIMULATED, root.shape[1]), dtype=np.float32).T.copy()
        directions = whole._contrasts(pairs)[:, own] @ root  # noqa: SLF001 (same module)
        sizes = np.sqrt((directions**2).sum(axis=1))
        directions = (directions[sizes > 1e-6].T / sizes[sizes > 1e-6]).T.astype(np.float32)
        for start in range(0, len(directions), _BLOCK):
            block = directions[start : start + _BLOCK] @ normal
            np.maximum(found, np.abs(block, out=block).max(axis=0), out=found)
    return np.asarray(found / np.sqrt(rng.chisquare(freedom, _SIMULATED) / freedom))
