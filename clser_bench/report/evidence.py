"""Intervals, differences and ranks of a table, from stored predictions."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from clser_bench.problem import Rows
from clser_bench.protocol import Pair
from clser_bench.report.board import Difference, LeaderboardTable, Line
from clser_bench.report.crossed_statistics import Interval, Spread, crossed_bootstrap, holm
from clser_bench.report.resampling import Counts, Reals
from clser_bench.store.slices import Predicted
from clser_bench.store.sqlite import Store

SIGNIFICANT = 0.05
REFERENCE = "logistic"
"""No adaptation at all: what every method has to beat."""


class Evidence:
    """Resamples of the methods of one table, made when they are first asked for.

    With k shots, two methods are compared on the draws that both have. With all labels there is
    one draw, seeds only start the training, and each method keeps all its own.

    Args:
        counts: method to counts, an entry per pair.
        pooled: all labels were given.
        resamples: number of resamples.
    """

    def __init__(
        self, counts: Mapping[str, Sequence[Counts]], *, pooled: bool, resamples: int
    ) -> None:
        self._counts = counts
        self._pooled = pooled
        self._resamples = resamples
        self._draws = {
            method: frozenset.intersection(*(frozenset(item.seeds) for item in items))
            for method, items in counts.items()
        }
        self._spreads: dict[frozenset[int], Spread] = {}

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that have a result on every pair."""
        return tuple(self._counts)

    @property
    def dropped(self) -> tuple[int, int]:
        """Classes absent from a resample, and classes in all resamples, so far."""
        spreads = self._spreads.values()
        return sum(item.dropped for item in spreads), sum(item.of for item in spreads)

    def mean(self, method: str) -> Interval | None:
        """Interval of a method's mean; None where its pairs share no draw."""
        spread = self._spread(self._draws[method])
        return spread.mean(method) if spread else None

    def difference(self, method: str, baseline: str) -> Interval | None:
        """Paired difference; None where the two share no draw."""
        spread = self._spread(self._draws[method] & self._draws[baseline])
        return spread.difference(method, baseline) if spread else None

    def compared(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, float, float]]:
        """Differences and p values of many pairs of methods, those that have one."""
        groups: dict[frozenset[int], list[tuple[str, str]]] = {}
        for one, other in pairs:
            groups.setdefault(self._draws[one] & self._draws[other], []).append((one, other))
        found = []
        for draws, members in groups.items():
            spread = self._spread(draws)
            if spread is None:
                continue
            values = zip(members, *spread.differences(members), strict=True)
            found += [
                (*names, float(gain), float(p)) for names, gain, p in values if not np.isnan(p)
            ]
        return found

    def _spread(self, draws: frozenset[int]) -> Spread | None:
        if not draws and not self._pooled:
            return None
        name = frozenset() if self._pooled else draws
        if name not in self._spreads:
            seeds = sorted(draws)
            chosen = {
                method: items if self._pooled else [item.at(seeds) for item in items]
                for method, items in self._counts.items()
                if self._pooled or self._draws[method] >= draws
            }
            self._spreads[name] = crossed_bootstrap(chosen, resamples=self._resamples)
        return self._spreads[name]


def weigh(
    store: Store, table: LeaderboardTable, *, resamples: int, against: str = ""
) -> LeaderboardTable:
    """Add intervals, ranks and, where asked for, differences to a baseline.

    A rank is 1 + the number of ranked methods that are significantly better, corrected by Holm
    over all pairs of ranked methods. Differences to the reference are a family of their own, and
    give the verdicts; the reference is the baseline, or `logistic` where there is none.

    Args:
        store: the results.
        table: without intervals.
        resamples: number of bootstrap resamples.
        against: the baseline; empty for none.
    """
    whole = [line for line in table.lines if line.mean.mean is not None]
    counts = count(store, table, whole)
    for line in whole:
        if _drawless(table, line):
            counts[line.method] = _repeated(counts, line.method)
    evidence = Evidence(counts, pooled=table.rules.shots == "all", resamples=resamples)
    ranked = [line.method for line in whole if line.kind == "ranked"]
    ranks = _ranks(evidence, ranked)
    usual = REFERENCE if REFERENCE in evidence.methods else ""
    reference = against or usual
    differences = _differences(evidence, reference, ranked) if reference in counts else {}
    lines = tuple(
        dataclasses.replace(
            line,
            interval=evidence.mean(line.method) if line.method in counts else None,
            rank=ranks.get(line.method),
            difference=differences.get(line.method),
            verdict=_verdict(differences.get(line.method)),
        )
        for line in table.lines
    )
    remarks = table.remarks
    if against and against not in evidence.methods:
        remarks += (f"{against} has no result on every pair, so nothing is compared with it",)
    drawn = [line for line in whole if not _drawless(table, line)]
    if table.rules.shots != "all" and any(line.mean.n == 1 for line in drawn):
        remarks += ("n = 1: the interval covers the speakers, and holds for this one draw only",)
    dropped, of = evidence.dropped
    if dropped:
        share = f"{dropped} of {of} recalls"
        remarks += (f"bootstrap: {share} were left out, their class absent from the resample",)
    return dataclasses.replace(
        table,
        lines=lines,
        remarks=remarks,
        resamples=resamples,
        reference=reference,
        baseline=against,
    )


def _drawless(table: LeaderboardTable, line: Line) -> bool:
    """Whether a line does not depend on the draw, and so has but one: a routine of the oracle."""
    return line.kind == "oracle" and line.mean.n == 1 and table.rules.prior == "natural"


def _repeated(counts: Mapping[str, Sequence[Counts]], method: str) -> list[Counts]:
    """Counts of a method that has one draw, for every draw that any method has."""
    made = []
    for place, own in enumerate(counts[method]):
        seeds = sorted({seed for items in counts.values() for seed in items[place].seeds})
        made.append(
            dataclasses.replace(
                own,
                seeds=tuple(seeds),
                correct=np.repeat(own.correct, len(seeds), axis=-1),
                total=np.repeat(own.total, len(seeds), axis=-1),
            )
        )
    return made


def count(store: Store, table: LeaderboardTable, lines: Sequence[Line]) -> dict[str, list[Counts]]:
    """Count correct utterances of some methods by speaker, class and draw.

    Args:
        store: the results.
        table: the table that the methods are of.
        lines: methods without holes.

    Returns:
        Method to counts, an entry per pair in the table's order.

    Raises:
        StoreError: stored predictions or answers are damaged.
    """
    methods = {line.slice: line.method for line in lines}
    cells: dict[tuple[int, Pair], list[Predicted]] = {}
    for item in store.predicted_of(list(methods)):
        cells.setdefault((item.slice, item.pair), []).append(item)
    sheets = _Sheets(store, [item for items in cells.values() for item in items])
    sizes = dict(zip(table.pairs, table.classes, strict=True))
    return {
        method: [sheets.counts(pair, sizes[pair], cells[number, pair]) for pair in table.pairs]
        for number, method in methods.items()
    }


class _Sheets:
    """Answer keys as speaker and class numbers; each is read once."""

    def __init__(self, store: Store, items: Sequence[Predicted]) -> None:
        uses = {(item.answers, item.pair.target) for item in items}
        answers = {key: store.answers(key) for key, _ in uses}
        speakers: dict[str, set[str]] = {}
        for key, target in uses:
            speakers.setdefault(target, set()).update(answers[key].speakers)
        self.speakers = {target: tuple(sorted(names)) for target, names in speakers.items()}
        self._sheets: dict[tuple[str, str, int], _Sheet] = {}
        self._answers: dict[tuple[str, str], tuple[Rows, Rows]] = {}
        for key, target in uses:
            number = {name: row for row, name in enumerate(self.speakers[target])}
            rows = np.array([number[name] for name in answers[key].speakers], dtype=np.int64)
            self._answers[key, target] = rows, answers[key].y

    def counts(self, pair: Pair, classes: int, items: Sequence[Predicted]) -> Counts:
        """Counts of one method on one pair."""
        speakers = self.speakers[pair.target]
        shape = (len(speakers), classes)
        correct: list[Reals] = []
        total: list[Reals] = []
        for item in items:
            sheet = self._sheet(item.answers, pair.target, classes)
            right = sheet.cells[item.classes == sheet.y]
            found = np.bincount(right, minlength=sheet.total.size)
            correct.append(found.reshape(shape).astype(np.float64))
            total.append(sheet.total)
        return Counts(
            pair=pair,
            seeds=tuple(item.seed for item in items),
            speakers=speakers,
            correct=np.stack(correct, axis=-1),
            total=np.stack(total, axis=-1),
        )

    def _sheet(self, key: str, target: str, classes: int) -> _Sheet:
        name = key, target, classes
        if name not in self._sheets:
            rows, y = self._answers[key, target]
            cells = rows * classes + y
            shape = (len(self.speakers[target]), classes)
            total = np.bincount(cells, minlength=shape[0] * classes).reshape(shape)
            self._sheets[name] = _Sheet(y, cells, total.astype(np.float64))
        return self._sheets[name]


class _Sheet(NamedTuple):
    """True classes [n], cells of speaker and class [n], utterances by cell [speakers, classes]."""

    y: Rows
    cells: Rows
    total: Reals


def _ranks(evidence: Evidence, methods: Sequence[str]) -> dict[str, int]:
    compared = evidence.compared(list(itertools.combinations(methods, 2)))
    adjusted = holm([p for _, _, _, p in compared])
    ranks = dict.fromkeys(methods, 1)
    for (one, other, gain, _), p in zip(compared, adjusted, strict=True):
        if p < SIGNIFICANT and gain != 0:
            ranks[other if gain > 0 else one] += 1
    return ranks


def _verdict(found: Difference | None) -> str:
    if found is None or found.p is None:
        return ""
    if found.p >= SIGNIFICANT or found.interval.estimate == 0:
        return "not separable"
    return "better" if found.interval.estimate > 0 else "worse"


def _differences(evidence: Evidence, baseline: str, ranked: Sequence[str]) -> dict[str, Difference]:
    found = {
        method: interval
        for method in evidence.methods
        if method != baseline and (interval := evidence.difference(method, baseline)) is not None
    }
    family = [method for method in ranked if method in found and found[method].p is not None]
    corrected = holm([found[method].p or 0.0 for method in family])
    values = dict(zip(family, corrected, strict=True))
    return {
        method: Difference(interval=interval, p=values.get(method))
        for method, interval in found.items()
    }
