"""Intervals, verdicts and ranks of a leaderboard, from stored predictions.

What reads a store raises StoreError where predictions or answers are damaged, or a UAR is not that
of its predictions.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clser_bench.problem import AnswerKey
from clser_bench.protocol import Pair
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

if TYPE_CHECKING:
    from clser_bench.report.table import Leaderboard, Line

REFERENCE = "logistic"
"""No adaptation at all: the method that every other has to beat, fixed beforehand."""

Differences = dict[tuple[str, str], Interval]


class Evidence:
    """Spreads of the methods of one condition, each computed when it is first asked for.

    Two methods are compared on the draws that both have. Where draws only start the training, with
    all labels, each method keeps all its own.

    Args:
        counts: method to counts, an entry per pair.
        drawn: sides whose utterances differ between draws.
    """

    def __init__(self, counts: Mapping[str, Sequence[Counts]], *, drawn: Collection[str]) -> None:
        self.counts = counts
        self._drawn = drawn
        self._draws = {
            method: frozenset.intersection(*(frozenset(item.seeds) for item in items))
            for method, items in counts.items()
        }
        self._spreads: dict[frozenset[int], Spread] = {}

    def draws(self, *methods: str) -> int:
        """Draws that methods share; those of the method with fewest where they only start it."""
        if not self._drawn:
            return min(len(item.seeds) for name in methods for item in self.counts[name])
        return len(frozenset.intersection(*(self._draws[name] for name in methods)))

    def means(self) -> dict[str, Interval]:
        """Intervals of the means of all methods whose pairs share a draw."""
        found: dict[str, Interval] = {}
        for draws in set(self._draws.values()):
            if whole := self._spread(draws):
                members = [name for name in whole.methods if self._draws[name] == draws]
                found |= zip(members, whole.means(members), strict=True)
        return found

    def differences(self, pairs: Sequence[tuple[str, str]]) -> Differences:
        """Pointwise intervals of paired differences, of those methods that share a draw."""
        found: Differences = {}
        for whole, members in self._groups(pairs):
            found |= zip(members, whole.differences(members), strict=True)
        return found

    def family(self, pairs: Sequence[tuple[str, str]]) -> Differences:
        """Simultaneous intervals of the same."""
        return simultaneous(self._groups(pairs))

    def _groups(
        self, pairs: Sequence[tuple[str, str]]
    ) -> list[tuple[Spread, list[tuple[str, str]]]]:
        """Pairs of methods by the draws that they share."""
        groups: dict[frozenset[int], list[tuple[str, str]]] = {}
        for one, other in pairs:
            name = self._draws[one] & self._draws[other] if self._drawn else frozenset()
            groups.setdefault(name, []).append((one, other))
        found = [(self._spread(draws), members) for draws, members in groups.items()]
        return [(whole, members) for whole, members in found if whole]

    def _spread(self, draws: frozenset[int]) -> Spread | None:
        if not self._drawn:
            draws, chosen = frozenset(), self.counts
        elif not draws:
            return None
        if draws not in self._spreads:
            if self._drawn:
                whole = {m: items for m, items in self.counts.items() if self._draws[m] >= draws}
                chosen = {m: [item.at(sorted(draws)) for item in of] for m, of in whole.items()}
            self._spreads[draws] = spread(chosen, drawn=self._drawn)
        return self._spreads[draws]


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
    """
    evidence = evidence_of(store, table, rows)
    few_speakers = too_few_speakers(itertools.chain.from_iterable(evidence.counts.values()))
    ranked = ranked_of(table, evidence)
    alike = not mixed_pairs(rows)
    every, verdicts = families(evidence, ranked) if alike else ({}, {})
    ranks = rank_intervals(ranked, every) if alike and not few_speakers else {}
    means = evidence.means()
    reference = against or REFERENCE
    reference = reference if reference in evidence.counts else ""
    family = differences_to(evidence, reference, verdicts) if reference and alike else {}
    lines = []
    for line in table.lines:
        mean, gap, own = means.get(line.method), family.get(line.method), ranks.get(line.method)
        lines.append(dataclasses.replace(line, interval=mean, difference=gap, ranks=own))
    least = [i.detectable for i in family.values() if i.detectable and i.p is not None]
    compared = sum(item.p is not None for item in family.values())
    warnings, remarks = list(table.warnings), list(table.remarks)
    if few_speakers:
        few = ", ".join(f"{code} has {reason}" for code, reason in few_speakers.items())
        needed = f"every target needs {CLUSTERS} speakers, every class {CLASS_CLUSTERS}."
        warnings.append(f"No intervals: {few}; {needed}")
    if against and not reference:
        remarks.append(f"{against} has no result on every pair, so nothing is compared with it")
    drawn = [line for line in lines if line.mean.mean is not None and not _drawless(table, line)]
    if table.condition.drawn and any(line.mean.n == 1 for line in drawn):
        remarks.append("n = 1: the interval covers the speakers, and holds for this one draw only")
    return dataclasses.replace(
        table,
        lines=tuple(lines),
        remarks=tuple(remarks),
        warnings=tuple(warnings),
        reference=reference if family else "",
        family=compared,
        ranked=len(ranked),
        detectable=(min(least), float(np.median(least)), max(least)) if least else None,
    )


def mixed_pairs(rows: pd.DataFrame) -> set[str]:
    """Pairs of which methods of a table had different data: nothing is compared then."""
    # of a submission no features are known
    tables = rows[rows.role != "submitted"].groupby("pair").tables.nunique()
    return set(tables.index[tables > 1])


def ranked_of(table: Leaderboard, evidence: Evidence) -> list[str]:
    """Ranked methods with a result on every pair, in the order of the table."""
    ranked = (line.method for line in table.lines if line.role == "ranked")
    return [method for method in ranked if method in evidence.counts]


def families(evidence: Evidence, ranked: Sequence[str]) -> tuple[Differences, Differences]:
    """Simultaneous differences of every two ranked methods: of one family, for ranks; and to print.

    In the latter, those to `REFERENCE`, of the method less the reference, are of their own family.
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

    From 1 + the number of methods that are better to the number of all less those that are worse,
    by a family of simultaneous differences of every two of them, either way round.
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
    rest = [n for n in evidence.counts if n != reference and n not in found]
    for (name, _), alone in evidence.differences([(name, reference) for name in rest]).items():
        found[name] = dataclasses.replace(alone, p=None, detectable=None)
    return found


def evidence_of(store: Store, table: Leaderboard, rows: pd.DataFrame) -> Evidence:
    """Counts by speaker, class and draw of the methods that have a result on every pair."""
    whole = [line for line in table.lines if line.mean.mean is not None]
    counts = count(store, table, rows, [line.method for line in whole])
    places = range(len(table.pairs))
    every = [{seed for of in counts.values() for seed in of[at].seeds} for at in places]
    for line in whole:
        if _drawless(table, line):  # its one draw stands for every draw that any method has
            counts[line.method] = [
                dataclasses.replace(
                    own,
                    seeds=tuple(sorted(seeds)),
                    correct=np.repeat(own.correct, len(seeds), axis=-1),
                    total=np.repeat(own.total, len(seeds), axis=-1),
                )
                for own, seeds in zip(counts[line.method], every, strict=True)
            ]
    return Evidence(counts, drawn=table.condition.drawn)


def _drawless(table: Leaderboard, line: Line) -> bool:
    """Whether a line does not depend on the draw, and so has but one: a within-target routine."""
    aside = line.role == "reference"
    return aside and line.mean.n == 1 and table.condition.prior == "natural"


def count(
    store: Store, table: Leaderboard, rows: pd.DataFrame, methods: Iterable[str]
) -> dict[str, list[Counts]]:
    """Count correct utterances by speaker, class and draw."""
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
    """Recognised utterances [k, speakers, classes] and scored ones [speakers, classes].

    They are those of k trials with one answer key, whose predictions are [k, n].
    """
    numbers = {name: row for row, name in enumerate(speakers)}
    cells = np.array([numbers[name] for name in key.speakers]) * classes + key.y
    shape = len(speakers), classes
    total = np.bincount(cells, minlength=len(speakers) * classes)
    right = (predicted == key.y) @ np.eye(total.size, dtype=np.float32)[cells]
    return right.astype(float).reshape(-1, *shape), total.astype(float).reshape(shape)


def confusions(store: Store, rows: pd.DataFrame) -> dict[tuple[str, str], npt.NDArray[np.int64]]:
    """Utterances by true class (rows) and predicted class, over all draws, by method and pair."""
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
