"""Intervals, verdicts and ranks of a leaderboard, from stored predictions."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clser_bench.problem import AnswerKey
from clser_bench.protocol import Pair
from clser_bench.report.model import Leaderboard, Line
from clser_bench.report.statistics import (
    CLASS_CLUSTERS,
    CLUSTERS,
    Counts,
    Interval,
    Reals,
    Spread,
    simultaneous,
    spread,
    too_few_speakers,
)
from clser_bench.store.records import Guesses
from clser_bench.store.sqlite import Store

REFERENCE = "logistic"
"""No adaptation at all: the method that every other has to beat, fixed beforehand."""

Differences = dict[tuple[str, str], Interval]


class Evidence:
    """Spreads of the methods of one condition, each computed when it is first asked for.

    With k shots, two methods are compared on the draws that both have. With all labels each
    method keeps all its own.

    Args:
        counts: method to counts, an entry per pair.
    """

    def __init__(self, counts: Mapping[str, Sequence[Counts]], *, pooled: bool) -> None:
        self._counts = counts
        self._pooled = pooled
        self._draws = {
            method: frozenset.intersection(*(frozenset(item.seeds) for item in items))
            for method, items in counts.items()
        }
        self._spreads: dict[frozenset[int], Spread] = {}

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that have a result on every pair."""
        return tuple(self._counts)

    @functools.cached_property
    def few_speakers(self) -> dict[str, str]:
        """Why there is no interval, by target."""
        return too_few_speakers(itertools.chain.from_iterable(self._counts.values()))

    def draws(self, *methods: str) -> int:
        """Draws that methods share; of all labels, those of the method with fewest."""
        if self._pooled:
            return min(len(item.seeds) for name in methods for item in self._counts[name])
        return len(frozenset.intersection(*(self._draws[name] for name in methods)))

    def means(self) -> dict[str, Interval]:
        """Intervals of the means of all methods whose pairs share a draw."""
        found: dict[str, Interval] = {}
        for draws in set(self._draws.values()):
            whole = self._spread(draws)
            if whole:
                members = [name for name in whole.methods if self._draws[name] == draws]
                found |= dict(zip(members, whole.means(members), strict=True))
        return found

    def differences(self, pairs: Sequence[tuple[str, str]]) -> Differences:
        """Pointwise intervals of paired differences, of those methods that share a draw."""
        found: Differences = {}
        for whole, members in self._groups(pairs):
            found |= dict(zip(members, whole.differences(members), strict=True))
        return found

    def family(self, pairs: Sequence[tuple[str, str]]) -> Differences:
        """Simultaneous intervals of the same."""
        return simultaneous(list(self._groups(pairs)))

    def _groups(
        self, pairs: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[Spread, list[tuple[str, str]]]]:
        """Pairs of methods by the draws that they share."""
        groups: dict[frozenset[int], list[tuple[str, str]]] = {}
        for one, other in pairs:
            name = frozenset() if self._pooled else self._draws[one] & self._draws[other]
            groups.setdefault(name, []).append((one, other))
        for draws, members in groups.items():
            whole = self._spread(draws)
            if whole:
                yield whole, members

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
            self._spreads[name] = spread(chosen, pooled=self._pooled)
        return self._spreads[name]


def add_intervals(
    store: Store, table: Leaderboard, rows: pd.DataFrame, *, against: str = ""
) -> Leaderboard:
    """Add intervals of means, differences to a reference, and intervals of ranks.

    Differences to `REFERENCE` are a family of their own. Those to any other method, which may be
    chosen after the table was seen, are taken from the family of all differences of two ranked
    methods, which the intervals of ranks use too.

    Args:
        table: with all methods of its condition.
        against: the reference; `REFERENCE` where empty.

    Raises:
        StoreError: stored predictions or answers are damaged.
    """
    evidence = evidence_of(store, table, rows)
    ranked = ranked_of(table, evidence)
    every, verdicts = families(evidence, ranked)
    ranks = {} if evidence.few_speakers else rank_intervals(ranked, every)
    means = evidence.means()
    usual = REFERENCE if REFERENCE in evidence.methods else ""
    reference = against if against in evidence.methods else "" if against else usual
    family = differences_to(evidence, reference, verdicts) if reference else {}
    lines = []
    for line in table.lines:
        mean, gap, own = means.get(line.method), family.get(line.method), ranks.get(line.method)
        lines.append(dataclasses.replace(line, interval=mean, difference=gap, ranks=own))
    least = [i.detectable for i in family.values() if i.detectable and i.p is not None]
    compared = sum(item.p is not None for item in family.values())
    few = ", ".join(f"{code} has {reason}" for code, reason in evidence.few_speakers.items())
    needed = f"every target needs {CLUSTERS} speakers, every class {CLASS_CLUSTERS}."
    warnings = [f"No intervals: {few}; {needed}"] if few else []
    remarks = list(table.remarks)
    if against and not reference:
        remarks.append(f"{against} has no result on every pair, so nothing is compared with it")
    drawn = [line for line in lines if line.mean.mean is not None and not _drawless(table, line)]
    if not table.pooled and any(line.mean.n == 1 for line in drawn):
        remarks.append("n = 1: the interval covers the speakers, and holds for this one draw only")
    return dataclasses.replace(
        table,
        lines=tuple(lines),
        remarks=tuple(remarks),
        warnings=(*table.warnings, *warnings),
        reference=reference if family else "",
        family=compared,
        ranked=len(ranked),
        detectable=(min(least), float(np.median(least)), max(least)) if least else None,
    )


def ranked_of(table: Leaderboard, evidence: Evidence) -> list[str]:
    """Ranked methods with a result on every pair, in the order of the table."""
    whole = set(evidence.methods)
    return [line.method for line in table.lines if line.role == "ranked" and line.method in whole]


def families(evidence: Evidence, ranked: Sequence[str]) -> tuple[Differences, Differences]:
    """Simultaneous differences of every two ranked methods.

    Returns:
        Those of one family, for ranks; and the ones to print, in which the differences to
        `REFERENCE`, of the method less the reference, come from their own family.
    """
    every = evidence.family(list(itertools.combinations(ranked, 2)))
    if REFERENCE not in ranked:
        return every, every
    own = evidence.family([(name, REFERENCE) for name in ranked if name != REFERENCE])
    return every, {pair: item for pair, item in every.items() if REFERENCE not in pair} | own


def rank_intervals(
    methods: Sequence[str], family: Mapping[tuple[str, str], Interval]
) -> dict[str, tuple[int, int]]:
    """Simultaneous intervals of ranks (Mogstad, Romano, Shaikh and Wilhelm 2024).

    Args:
        family: simultaneous differences of every two of them, either way round.

    Returns:
        Method to 1 + the number of methods that are better, and their number less those that are
        worse.
    """
    low, high = dict.fromkeys(methods, 1), dict.fromkeys(methods, len(methods))
    for (one, other), interval in family.items():
        if interval.verdict in ("better", "worse"):
            best, worst = (one, other) if interval.verdict == "better" else (other, one)
            low[worst] += 1
            high[best] -= 1
    return {name: (low[name], high[name]) for name in methods}


def differences_to(
    evidence: Evidence, reference: str, verdicts: Differences
) -> dict[str, Interval]:
    """Differences of all methods to one, simultaneous for ranked methods, else pointwise."""
    found = {one: item for (one, other), item in verdicts.items() if other == reference}
    found |= {o: item.mirrored for (one, o), item in verdicts.items() if one == reference}
    rest = [n for n in evidence.methods if n != reference and n not in found]
    for (name, _), alone in evidence.differences([(name, reference) for name in rest]).items():
        found[name] = dataclasses.replace(alone, p=None, detectable=None)
    return found


def evidence_of(store: Store, table: Leaderboard, rows: pd.DataFrame) -> Evidence:
    """Counts by speaker, class and draw of the methods that have a result on every pair."""
    whole = [line for line in table.lines if line.mean.mean is not None]
    counts = count(store, table, rows, [line.method for line in whole])
    for line in whole:
        if _drawless(table, line):
            counts[line.method] = _repeated(counts, line.method)
    return Evidence(counts, pooled=table.pooled)


def _drawless(table: Leaderboard, line: Line) -> bool:
    """Whether a line does not depend on the draw, and so has but one: a within-target routine."""
    aside = line.role == "reference"
    return aside and line.mean.n == 1 and table.condition.prior == "natural"


def _repeated(counts: Mapping[str, Sequence[Counts]], method: str) -> list[Counts]:
    """Counts of a method that has one draw, for every draw that any method has."""
    made = []
    for place, own in enumerate(counts[method]):
        seeds = sorted({seed for items in counts.values() for seed in items[place].seeds})
        correct, total = (np.repeat(a, len(seeds), axis=-1) for a in (own.correct, own.total))
        made.append(dataclasses.replace(own, seeds=tuple(seeds), correct=correct, total=total))
    return made


def count(
    store: Store, table: Leaderboard, rows: pd.DataFrame, methods: Iterable[str]
) -> dict[str, list[Counts]]:
    """Count correct utterances by speaker, class and draw.

    Raises:
        StoreError: stored predictions or answers are damaged, or a UAR is not that of its
            predictions.
    """
    wanted = rows[rows.method.isin(list(methods)) & (rows.status == "ok")]
    codes = [pd.factorize(wanted[name])[0] for name in ("method", "pair")]
    wanted = wanted.iloc[np.lexsort([wanted.seed.to_numpy(), *codes])].reset_index(drop=True)
    answers = {key: store.answers(key) for key in sorted(wanted.answers.unique())}
    voices: dict[str, set[str]] = {}
    for key, target in wanted[["answers", "target"]].drop_duplicates().itertuples(index=False):
        voices.setdefault(target, set()).update(answers[key].speakers)
    speakers = {target: tuple(sorted(names)) for target, names in voices.items()}
    sizes = dict(zip(map(str, table.pairs), table.classes, strict=True))
    place = {trial: row for row, trial in enumerate(wanted.trial.to_numpy(object))}
    pairs, seeds = wanted.pair.to_numpy(object), wanted.seed.to_numpy()
    of_pairs: Any = wanted.groupby("pair").indices
    of_cells: Any = wanted.groupby(["method", "pair"]).indices
    first = {name: int(places[0]) for name, places in of_pairs.items()}
    arrays: dict[str, tuple[Reals, Reals]] = {}
    for name, places in of_pairs.items():
        shape = len(places), len(speakers[Pair.parse(name).target]), sizes[name]
        arrays[name] = np.zeros(shape), np.zeros(shape)
    for key, trials, classes in store.predicted(list(place)):
        at = np.array([place[trial] for trial in trials])
        for name in dict.fromkeys(pairs[at]):  # pairs may share answers, but not classes
            own = pairs[at] == name
            people = speakers[Pair.parse(name).target]
            found = _counted(answers[key], people, sizes[name], classes[own])
            for whole, part in zip(arrays[name], found, strict=True):
                whole[at[own] - first[name]] = part
    return {
        method: [
            Counts(
                pair,
                tuple(seeds[places := of_cells[method, name]].tolist()),
                speakers[pair.target],
                # in one order in memory, so that sums are the same to the last bit
                *(whole[places - first[name]].transpose(1, 2, 0).copy() for whole in arrays[name]),
            )
            for pair, name in zip(table.pairs, sizes, strict=True)
        ]
        for method in methods
    }


def _counted(
    key: AnswerKey, speakers: Sequence[str], classes: int, predicted: Guesses
) -> tuple[Reals, Reals]:
    """Correct utterances of trials with one answer key, and scored ones, by speaker and class.

    Args:
        predicted: [k, n].

    Returns:
        Correct [k, speakers, classes] and total [speakers, classes].
    """
    numbers = {name: row for row, name in enumerate(speakers)}
    cells = np.array([numbers[name] for name in key.speakers]) * classes + key.y
    shape = len(speakers), classes
    total = np.bincount(cells, minlength=len(speakers) * classes)
    right = (predicted == key.y) @ np.eye(total.size, dtype=np.float32)[cells]
    return right.astype(float).reshape(-1, *shape), total.astype(float).reshape(shape)


def confusions(store: Store, rows: pd.DataFrame) -> dict[tuple[str, str], npt.NDArray[np.int64]]:
    """Utterances by true class (rows) and predicted class, over all draws, by method and pair.

    Raises:
        StoreError: stored predictions or answers are damaged.
    """
    good = rows[rows.status == "ok"]
    of = zip(good.trial, good.method, good.pair, good.emotions, strict=True)
    places = {trial: rest for trial, *rest in of}
    found: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
    for key, trials, classes in store.predicted(list(places)):
        y = store.answers(key).y
        for trial, predicted in zip(trials, classes, strict=True):
            method, pair, emotions = places[trial]
            size = len(emotions)
            counts = np.bincount(size * y + predicted, minlength=size * size).reshape(size, size)
            found[method, pair] = found.get((method, pair), 0) + counts
    return found
