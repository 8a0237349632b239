"""Which trials a run asks for, and the packs that are still to run.

Everything that can be wrong with a request is found here, before anything runs. A pack is a fixed
block of seeds: the jobs of a group (one method at one configuration, one number of shots, tensors
of the same shapes) are ordered by seed and pair, seeds fall into fives, and a five is cut into
blocks of as many whole seeds as the pack limit allows. So the pack of a trial depends on its own
seed and on the pairs of its group, never on what is stored, on other seeds or on other methods.

A pack runs in a process of its own. One of a method that is not of this package holds a single
pair, and a single trial where the method is fitted: whatever it remembers, the labelled rows of one
pair are of no use in another, where they are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clser_bench import registry
from clser_bench.hashing import digest, seed_of
from clser_bench.problem import AnswerKey, Job, Problem, Trial
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import Condition, Shots
from clser_bench.run.methods import MethodInfo, methods_of
from clser_bench.run.prepare import Prepared
from clser_bench.run.request import Request
from clser_bench.run.selection import ALL_CONFIGURATIONS, ORACLE
from clser_bench.scoring.within_target import ROUTINES
from clser_bench.store.records import MethodNote

FIVE = 5
"""Seeds of the default run: the largest block."""

FITTED_LIMIT = 64
"""Fitted jobs run one after the other; a pack of them only saves messages."""

TRAINED_LIMIT = 40
"""Eight pairs of five seeds; measured by benchmarks/packing.py (results/speed/packing.md). Of a
step of 16 a tenth more is spent on dispatching."""

INSTANTS_LIMIT = 16
"""Of methods with instants: larger batches of wide ones leave the caches and take gigabytes."""

GPU_LIMIT = 1024
"""On a GPU a step costs the same for few trials as for many; what memory does not hold is halved
(`train.execute`)."""

_MANY = 40_000
"""Trials that take two seconds to list."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What a run asks for under one condition, for all numbers of shots."""

    prepared: Prepared
    condition: Condition  # of its trials, but for the number of shots
    # every trial, method by method; where a configuration is to be chosen, those of all
    trials: tuple[Trial, ...]
    numbers: Mapping[str, int]  # of each trial's configuration by the trial's id, 0 for the default
    methods: tuple[MethodInfo, ...]  # in the order asked for, one entry for each configuration

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self.prepared.request

    def notes(self, trials: Iterable[Trial]) -> dict[str, MethodNote]:
        """What tables state about the methods of some trials, in the order asked for."""
        used = {(trial.method, trial.parameters) for trial in trials}
        notes: dict[str, MethodNote] = {}
        for info in self.methods:
            if (info.name, info.parameters) not in used:
                continue
            before = notes[info.name].assumes_prior.split("/") if info.name in notes else []
            priors = "/".join(dict.fromkeys((*before, info.assumes_prior)))
            role = "reference" if self.condition.selection == ORACLE else info.role
            notes[info.name] = MethodNote(
                assumes_prior=priors,
                role=role,
                note=info.note,
                # a preset's display name has the preset's own name in it
                title=info.title
                and info.title.replace(registry.entry(info.name).base, info.name, 1),
                uses=info.uses,
                kind=info.kind,
                version=info.version,
            )
        return notes

    def keys(self, trial: Trial) -> tuple[AnswerKey, ...]:
        """The answers to a trial's jobs, in their order; they stay in this process."""
        return tuple(fold.key for fold in self.prepared.folds(trial))

    def jobs(self, trial: Trial) -> tuple[Job, ...]:
        """The jobs of a trial: one, or two in the inductive setting; methods share their seeds."""
        return tuple(
            Job(
                id=f"{trial.id}-{number}",
                method=trial.method,
                parameters=trial.parameters,
                problem=fold.problem,
                seed=seed_of("job", str(trial.pair), trial.shots, trial.seed, number),
            )
            for number, fold in enumerate(self.prepared.folds(trial))
        )

    def packs(
        self,
        *,
        open_ids: Collection[str],
        failed_ids: Collection[str],
        planned: Callable[[], object] = lambda: None,
    ) -> list[Pack]:
        """The packs still to run, in no order; CorpusError where a class has too few utterances.

        Trials that are not open keep their place but are left out; those that failed once get a
        pack of their own. `planned` is called after each trial.
        """
        infos = {(info.name, info.parameters): info for info in self.methods}
        trials = [trial for trial in self.trials if trial.method not in ROUTINES]
        if not any(trial.id in open_ids for trial in trials):
            return []
        jobs = {}
        for trial in trials:
            jobs[trial.id] = self.jobs(trial)
            planned()
        groups: dict[str, list[Trial]] = {}
        for trial in trials:
            info = infos[trial.method, trial.parameters]
            key = _group(info, jobs[trial.id][0].problem, trial.shots)
            key += "" if info.built_in else str(trial.pair)
            groups.setdefault(key, []).append(trial)
        packs: list[Pack] = []
        for members in groups.values():
            info = infos[members[0].method, members[0].parameters]
            limit = _limit(info, gpu=self.request.gpus_per_pack > 0)
            folds = len(jobs[members[0].id])
            for block in blocks(members, folds=folds, limit=limit):
                left = [trial for trial in block if trial.id in open_ids]
                alone = [[trial] for trial in left if trial.id in failed_ids]
                together = [trial for trial in left if trial.id not in failed_ids]
                packs += [
                    Pack.of([job for trial in part for job in jobs[trial.id]], limit=limit)
                    for part in (together, *alone)
                    if part
                ]
        return packs


@dataclass(frozen=True, eq=False, kw_only=True)
class Pack:
    """Jobs that are run together. Holds no answers: this is what travels."""

    name: str  # hash of its jobs' names
    jobs: tuple[Job, ...]  # of whole trials, ordered by seed and pair
    weight: float  # a guess of how long it runs

    @classmethod
    def of(cls, jobs: Sequence[Job], *, limit: int) -> Pack:
        """Make a pack."""
        weight = len(jobs) * (1 + float(dict(jobs[0].parameters).get("steps", 0))) / limit
        return cls(name=digest([job.id for job in jobs])[:16], jobs=tuple(jobs), weight=weight)


def longest_first(packs: Iterable[Pack]) -> tuple[Pack, ...]:
    """Packs in the order in which they are best started."""
    return tuple(sorted(packs, key=lambda pack: (-pack.weight, pack.name)))


def blocks(trials: Iterable[Trial], *, folds: int, limit: int) -> list[list[Trial]]:
    """Cut the trials of one group, of so many jobs each, into fixed blocks of at most `limit` jobs.

    Blocks of whole seeds where a seed fits the limit, else parts of one seed; a trial is never
    divided.
    """
    ordered = sorted(trials, key=lambda trial: (trial.seed, trial.pair))
    pairs = sorted({trial.pair for trial in ordered})
    fit = max(1, limit // folds)
    seeds_a_block = min(FIVE, fit // len(pairs)) if pairs else FIVE
    place = {pair: index // fit for index, pair in enumerate(pairs)}
    cut: dict[tuple[int, int, int], list[Trial]] = {}
    for trial in ordered:
        five, rest = divmod(trial.seed, FIVE)
        key = (five, rest // seeds_a_block, 0) if seeds_a_block else (five, rest, place[trial.pair])
        cut.setdefault(key, []).append(trial)
    return list(cut.values())


def plan(prepared: Prepared, *, configurations: bool = False, progress: Progress = SILENT) -> Plan:
    """The plan of a request on prepared corpora; SpecError where a method cannot be as asked.

    With `configurations` every configuration of the methods that have several, and no other method;
    the request's selection does not matter then.
    """
    condition = prepared.condition
    if configurations:
        condition = condition.replace(selection=ALL_CONFIGURATIONS)
    elif prepared.request.settings and condition.selection == "default":
        # a table must not call hyper-parameters that the user set the defaults
        condition = condition.replace(selection="given")
    numbered = methods_of(prepared.request, condition)
    draws = len(prepared.facts) * len(prepared.request.shots) * prepared.request.seeds
    with shown(progress, "listing trials", len(numbered) * draws, least=_MANY):
        return plan_of(prepared, condition, numbered)


def plan_of(
    prepared: Prepared, condition: Condition, methods: Sequence[tuple[int, MethodInfo]]
) -> Plan:
    """The plan that runs methods at given configurations."""
    trials: list[Trial] = []
    numbers: dict[str, int] = {}
    for number, info in methods:
        made = list(_trials(info, prepared, condition))
        trials += made
        numbers |= {trial.id: number for trial in made}
    infos = tuple(info for _, info in methods)
    return Plan(
        prepared=prepared, condition=condition, trials=tuple(trials), numbers=numbers, methods=infos
    )


def _trials(info: MethodInfo, prepared: Prepared, condition: Condition) -> Iterator[Trial]:
    """The trials of a method at one configuration, by shots, pair and draw."""
    for shots in dict.fromkeys(prepared.request.shots):
        rules = condition.replace(shots=shots)
        # with all labels, or where the draw is not looked at, all draws of one target are alike
        once = rules.concentration() is None and (
            info.kind == "routine" or (shots == "all" and info.deterministic)
        )
        for fact in prepared.facts:
            added = [item for side in info.uses for item in fact.added.get(side, ())]
            for seed in range(1 if once else prepared.request.seeds):
                yield Trial(
                    pair=fact.pair,
                    classes=fact.classes,
                    seed=seed,
                    method=info.name,
                    version=info.version,
                    parameters=info.parameters,
                    condition=rules,
                    source_key=fact.source_key,
                    target_key=fact.target_key,
                    added=tuple(sorted(added)),
                    engine_version=info.engine_version,
                    synthetic=fact.synthetic,
                )


def _group(info: MethodInfo, problem: Problem, shots: Shots) -> str:
    """The group of a trial: trials of one group have tensors of the same shapes."""
    sizes = [len(problem.classes), *problem.source.sizes, *problem.target.sizes[1:]]
    if info.kind == "trained":
        # labelled utterances per class in a batch: what is wanted, or the smallest class
        wanted = int(dict(info.parameters).get("labelled_batch", 0))
        counts = np.bincount(problem.labelled.y, minlength=len(problem.classes))
        sizes.append(max(1, min(wanted, int(counts[counts > 0].min(initial=wanted)))))
    return digest([info.name, [list(pair) for pair in info.parameters], sizes, shots])


def _limit(info: MethodInfo, *, gpu: bool) -> int:
    """The most jobs that a pack of a method should hold."""
    if info.kind != "trained":
        return FITTED_LIMIT if info.built_in else 1
    if not info.packable:
        return 1
    if gpu:
        return GPU_LIMIT
    return INSTANTS_LIMIT if info.instants else TRAINED_LIMIT
