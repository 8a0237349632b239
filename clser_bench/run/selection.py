"""Which configuration of a method is better, and which one a rule takes for each pair.

An objective is a number for each pair and draw; larger is better. Those that users may choose by
without a look at target labels are criteria (`scoring.criteria` has the formulas). Three rules take
a configuration among those of a method, all of which run on every pair:

`other-pairs`: for s→t the one with the best mean UAR over the suite's pairs of other corpora, so no
label of s or t has a say. A criterion: for each pair and draw the one that it prefers, which is
what a user with that draw would take. `oracle`: the one that is best on the pair's own labels, a
reference that is never ranked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.hashing import generator
from clser_bench.protocol import Condition, Pair, Shots
from clser_bench.splits import LEAST_SHOTS

if TYPE_CHECKING:
    from clser_bench.problem import Trial
    from clser_bench.run.prepare import Folds
    from clser_bench.splits import Fold
    from clser_bench.store.records import Record
    from clser_bench.store.sqlite import Store

DEV, ORACLE, OTHER_PAIRS = "dev", "oracle", "other-pairs"

DEFAULT = "agreement"
"""The best of those without labels on the suite `dev` (results/selection/criteria-dev.md); none is
better there than the defaults."""


Requires = Literal["target", "candidates", "source", "labels"]


@dataclass(frozen=True)
class Objective:
    """A way to say which of several configurations is better."""

    name: str  # what users write
    # scores of the `target`; those of all `candidates` on the same draw; labelled `source`
    # utterances that are held out; or `labels` of the targets
    requires: Requires
    unit: str  # of its values

    def refuse_few(self, shots: Shots) -> None:
        """Refuse (SpecError) to hold labels out where there are fewer than ten shots."""
        if self.requires == "source" and shots != "all" and shots < LEAST_SHOTS:
            raise SpecError(
                f"objective '{self.name}' is not applicable below {LEAST_SHOTS} shots, got {shots}:"
                " a class would be judged by one utterance; take more shots or another objective"
            )


OBJECTIVES: Mapping[str, Objective] = {
    one.name: one
    for one in (
        Objective("mutual-information", "target", "nats"),
        Objective("entropy", "target", "nats"),
        Objective("neighbourhood-density", "target", "nats"),
        Objective("agreement", "candidates", "share"),
        Objective("source-risk", "source", "nats"),
        Objective("source-accuracy", "source", "share"),
        Objective("embedded-validation", "source", "nats"),
        Objective(DEV, "labels", "points of UAR"),
        Objective(ORACLE, "labels", "points of UAR"),
    )
}

CRITERIA = tuple(name for name in OBJECTIVES if name not in (DEV, ORACLE))
SELECTIONS = ("default", OTHER_PAIRS, *CRITERIA, ORACLE)
"""Values of `run --selection`."""

ALL_CONFIGURATIONS = "configurations"
"""Stands for the selection where every configuration runs and none is chosen."""

Place = tuple[Pair, int]
"""A pair and a draw."""

Cells = dict[Place, float]
"""The objective of a configuration by pair and draw; a place without a result is absent."""


def objective(name: str) -> Objective:
    """An objective by name; SpecError where it is unknown."""
    if name not in OBJECTIVES:
        raise SpecError(f"objective '{name}' is unknown{did_you_mean(name, OBJECTIVES)}")
    return OBJECTIVES[name]


def criterion(condition: Condition) -> Objective | None:
    """The objective that chooses under a condition, where one does.

    SpecError where it holds labels out and these are too few, or the setting is not the usual one.
    """
    chosen = OBJECTIVES.get(condition.selection)
    if chosen is None:
        return None
    chosen.refuse_few(condition.shots)
    if chosen.requires == "source" and condition.setting != "transductive":
        raise SpecError(
            f"--selection {chosen.name} holds labels out in the transductive setting; leave "
            "--setting inductive out"
        )
    return chosen


def several(selection: str) -> bool:
    """Whether a selection runs all configurations of a method."""
    return selection in (*SELECTIONS[1:], ALL_CONFIGURATIONS)


def others(pair: Pair, pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs of corpora that are neither the source nor the target of this one."""
    ends = {pair.source, pair.target}
    return tuple(other for other in pairs if not ends & {other.source, other.target})


def check_other_pairs(suite: str, table: Sequence[Pair], *, asked: Sequence[Pair]) -> None:
    """Refuse (SpecError) `other-pairs` where pairs are named, or one has no pair of others."""
    if asked:
        raise SpecError(
            f"--selection {OTHER_PAIRS} looks at all pairs of a suite; leave --pairs out"
        )
    for pair in table:
        if not others(pair, table):
            raise SpecError(
                f"--selection {OTHER_PAIRS} chooses for {pair} by the pairs of other corpora, and "
                f"suite {suite} has none here: a suite needs four corpora"
            )


def by_configuration(
    trials: Iterable[Trial], numbers: Mapping[str, int]
) -> dict[tuple[str, str], list[list[Trial]]]:
    """The trials of each configuration by method and number of shots, the default first."""
    groups: dict[tuple[str, str], dict[int, list[Trial]]] = {}
    for trial in trials:
        group = groups.setdefault((trial.method, str(trial.shots)), {})
        group.setdefault(numbers[trial.id], []).append(trial)
    return {key: list(group.values()) for key, group in groups.items()}


def choose_by_other_pairs(
    trials: Sequence[Trial], numbers: Mapping[str, int], uars: Mapping[str, float]
) -> tuple[Trial, ...]:
    """Take for each method, number of shots and pair the trials of one configuration.

    A configuration counts for a pair where every trial on the other pairs has a result. Ties go to
    the earlier one, the default first; so does a pair for which none counts.
    """
    chosen: list[Trial] = []
    for configurations in by_configuration(trials, numbers).values():
        pairs = tuple(dict.fromkeys(trial.pair for trial in configurations[0]))
        means = [
            {p: np.mean([uars.get(t.id, math.nan) for t in own if t.pair == p]) for p in pairs}
            for own in configurations
        ]
        for pair in pairs:
            looked_at = others(pair, pairs)
            best = _first_best([float(np.mean([own[p] for p in looked_at])) for own in means])
            chosen += [trial for trial in configurations[best] if trial.pair == pair]
    return tuple(chosen)


def choose_by_objective(
    chosen: Objective,
    trials: Sequence[Trial],
    numbers: Mapping[str, int],
    *,
    store: Store,
    folds: Folds,
    held_out: Sequence[Trial] = (),
) -> tuple[Trial, ...]:
    """Take for each method, number of shots, pair and draw the trial of one configuration.

    Ties go to the earlier configuration, the default first; so does a place where none has a value.

    Args:
        chosen: a criterion or the oracle, which chooses by the mean over a pair's draws.
        trials: of all configurations; stored.
        numbers: of the configuration, by the trial's id; of the held-out trials, too.
        folds: problems of the trials that the objective reads.
        held_out: the same configurations with labels held out, where the objective reads those.
    """
    read = by_configuration(held_out or trials, numbers)
    taken: list[Trial] = []
    for group, configurations in by_configuration(trials, numbers).items():
        values = cells(chosen, read[group], store=store, folds=folds)
        if chosen.requires == "labels":
            values = [_over_draws(each) for each in values]  # less noise to choose by
        for row in zip(*configurations, strict=True):
            place = (row[0].pair, row[0].seed)
            taken.append(row[_first_best([each.get(place, math.nan) for each in values])])
    return tuple(taken)


def cells(
    chosen: Objective, configurations: Sequence[Sequence[Trial]], *, store: Store, folds: Folds
) -> list[Cells]:
    """The objective of every trial of some configurations, from what is stored."""
    if chosen.requires == "labels":
        uars = store.uars([trial.id for trials in configurations for trial in trials])
        return [
            {_place(t): uars[t.id] for t in trials if t.id in uars} for trials in configurations
        ]
    if chosen.requires == "candidates":
        return _agreement(configurations, store)
    weights: dict[Place, np.ndarray] = {}
    values: list[Cells] = []
    for trials in configurations:
        by_id = {trial.id: trial for trial in trials}
        values.append({})
        for record in store.records(list(by_id), status="ok"):
            place = _place(by_id[record.trial.id])
            if chosen.requires == "target":
                values[-1][place] = of_target(chosen.name, record)
                continue
            if chosen.name == "embedded-validation" and place not in weights:
                (fold,) = folds(by_id[record.trial.id])
                weights[place] = importance(fold, seed=place[1])
            weight = weights.get(place, np.zeros(0))
            values[-1][place] = of_source(chosen.name, record, weight)
    return values


def of_target(name: str, record: Record) -> float:
    """A criterion's value of one ok trial by its scores of the target."""
    from clser_bench.scoring import criteria  # noqa: PLC0415 (scikit-learn: a second)

    formula = {
        "mutual-information": criteria.mutual_information,
        "entropy": criteria.negative_entropy,
        "neighbourhood-density": criteria.soft_neighbourhood_density,
    }[name]
    return formula(criteria.probabilities(record.scores))


def of_source(name: str, record: Record, weights: np.ndarray) -> float:
    """A criterion's value of one ok trial in the setting `held-out`; `importance` weights [m]."""
    from clser_bench.scoring import criteria  # noqa: PLC0415 (scikit-learn)

    p = criteria.probabilities(record.scores)
    if name == "source-accuracy":
        return criteria.source_accuracy(p, record.y)
    if name == "source-risk":
        return criteria.source_risk(p, record.y)
    return criteria.deep_embedded_validation(criteria.cross_entropies(p, record.y), weights)


def importance(fold: Fold, *, seed: int) -> np.ndarray:
    """How much likelier held-out utterances are in the target than in the source [m].

    By the summaries, the same for every configuration of every method: the store holds scores, not
    the embeddings that You et al. (2019) take.
    """
    from clser_bench.scoring import criteria  # noqa: PLC0415 (scikit-learn)

    problem, (first, second) = fold.problem, fold.order
    every = np.concatenate([problem.labelled.rows, problem.unlabelled])
    scored = second[problem.scored] - (len(second) - len(first))
    source = every[~np.isin(first[every], scored)]
    sides = (
        problem.source.summary[source],
        problem.target.summary[problem.scored],
        problem.target.summary[problem.adapt],
    )
    own, held_out, target = (np.asarray(side, np.float64) for side in sides)
    rng = generator("importance", seed)
    return np.asarray(criteria.importance_weights(own, held_out, target, rng=rng))


def _agreement(configurations: Sequence[Sequence[Trial]], store: Store) -> list[Cells]:
    """Agreement with all together, a place at a time: only its scores are in memory."""
    from clser_bench.scoring import criteria  # noqa: PLC0415 (scikit-learn)

    by_place: dict[Place, dict[str, int]] = {}
    for number, trials in enumerate(configurations):
        for trial in trials:
            by_place.setdefault(_place(trial), {})[trial.id] = number
    values: list[Cells] = [{} for _ in configurations]
    for place, ids in by_place.items():
        records = list(store.records(list(ids), status="ok"))
        if not records:
            continue
        p = np.stack([criteria.probabilities(record.scores) for record in records])
        agreed = criteria.ensemble_agreement(p)
        for record, value in zip(records, agreed.tolist(), strict=True):
            values[ids[record.trial.id]][place] = value
    return values


def _over_draws(values: Cells) -> Cells:
    """The mean over draws of each pair, for all its draws."""
    pairs: dict[Pair, list[float]] = {}
    for (pair, _), value in values.items():
        pairs.setdefault(pair, []).append(value)
    return {place: float(np.mean(pairs[place[0]])) for place in values}


def _first_best(values: Sequence[float]) -> int:
    """The place of the largest value, the first of equals; 0 where none is a number."""
    known = [-math.inf if math.isnan(value) else value for value in values]
    return known.index(max(known)) if known else 0


def _place(trial: Trial) -> Place:
    return trial.pair, trial.seed
