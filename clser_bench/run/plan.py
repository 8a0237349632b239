"""Which trials a run asks for, and the packs that are still to run.

Everything that can be wrong with a request is found here, before anything runs. What methods
declare is read by a worker process, never by this one, which will hold the answers.

A pack is a fixed block of seeds: the jobs of a group (one method at one configuration, one number
of shots, tensors of the same shapes) are ordered by seed and pair, seeds fall into fives, and a
five is cut into blocks of as many whole seeds as the pack limit allows. So the pack of a trial
depends on its own seed and on the pairs of its group, never on what is stored, on other seeds or on
other methods.

A pack runs in a process of its own. One of a method that is not of this package holds a single
pair, and a single trial where the method is fitted: whatever it remembers, the labelled rows of one
pair are of no use in another, where they are scored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter, ValidationError

from clser_bench import registry
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.files import cache_folder, is_file, write_whole
from clser_bench.hashing import digest, seed_of
from clser_bench.problem import AnswerKey, Job, Problem, Trial, Value
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import Condition, Shots
from clser_bench.registry import Range
from clser_bench.run.selection import ALL_CONFIGURATIONS, ORACLE, several
from clser_bench.run.worker import own_worker
from clser_bench.scoring.within_target import ROUTINES
from clser_bench.store.records import RENAMED, MethodNote

if TYPE_CHECKING:
    from clser_bench.run.prepare import Prepared
    from clser_bench.run.request import Request

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

Values = tuple[tuple[str, Value], ...]
"""Hyper-parameters, sorted by name."""


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """A method with its hyper-parameters: what planning must know without importing it."""

    name: str
    version: int
    parameters: Values = ()  # all of them, sorted by name
    kind: str = "routine"  # `fitted`, `trained` or, where the answers are given, `routine`
    deterministic: bool = True  # whether the same labelled rows always give the same scores
    engine_version: int = 0  # of the engine; 0 for what does not use it
    packable: bool = False  # whether trials train together
    instants: bool = False  # whether it needs instants
    assumes_prior: str = "none"  # about the target's class shares
    role: str = "reference"  # of its row in a table
    note: str = ""  # printed under tables
    title: str = ""  # display name; empty where that is the name
    uses: tuple[str, ...] = ()  # data that it looks at
    # what a selection can set instead of the values here; empty for what is not ranked
    configurations: tuple[Values, ...] = ()
    # what each hyper-parameter may be, in the order of declaration
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    # values that a selection tries, by hyper-parameter
    grid: Mapping[str, Sequence[Value]] = dataclasses.field(default_factory=dict)
    # what `sweep --space NAME` varies, each hyper-parameter with a text
    spaces: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    built_in: bool = True  # whether it is a method of this package

    @property
    def limit(self) -> int:
        """The most jobs that a pack on the CPU should hold."""
        if self.kind != "trained":
            return FITTED_LIMIT if self.built_in else 1
        if not self.packable:
            return 1
        return INSTANTS_LIMIT if self.instants else TRAINED_LIMIT


_INFO = TypeAdapter(MethodInfo)


def expand(words: Iterable[str]) -> tuple[str, ...]:
    """Names of methods and routines from what users write, each once, in order.

    `all` is every name but ablations, routines last; `sere:ablations` is `sere` with its ablations.
    SpecError for what is none of these.
    """
    names: list[str] = []
    every = registry.entries().values()
    for word in (RENAMED.get(word, word) for word in words):
        base, colon, group = word.partition(":")
        if word == "all":
            names += [e.name for e in every if not e.ablation]
            names += ROUTINES
        elif not colon:
            check_method(word)
            names.append(word)
        else:
            found = [e.name for e in every if e.ablation and e.base == base]
            if group != "ablations" or not found:
                known = sorted({f"{e.base}:ablations" for e in every if e.ablation})
                raise SpecError(f"methods '{word}' are unknown{did_you_mean(word, known)}")
            names += [base, *found]
    return tuple(dict.fromkeys(names))


def check_method(name: str) -> None:
    """Refuse (SpecError) a name that is neither a method nor a routine."""
    known = (*registry.entries(), *ROUTINES)
    if name in known:
        return
    if name.endswith(".py") or is_file(Path(name)):
        raise SpecError(f"method '{name}' is a file: use --plugin {name}, and the method's name")
    near = did_you_mean(name, known, command="list methods")
    raise SpecError(f"method '{name}' is unknown{near}")


def read_methods(asked: Sequence[tuple[str, Mapping[str, Value]]]) -> tuple[MethodInfo, ...]:
    """What methods declare, from the cache where no code has changed since.

    So a finished run imports no torch. SpecError for what no method has, or a value out of its
    range.
    """
    folders = {registry.entry(name).file.parent for name, _ in asked if name not in ROUTINES}
    hashes = {folder: _code(folder) for folder in folders}
    found: dict[int, MethodInfo] = {}
    places: dict[int, Path] = {}
    for number, (name, settings) in enumerate(asked):
        if name in ROUTINES:
            if settings:
                raise SpecError(f"'{name}' has no hyper-parameter '{next(iter(settings))}'")
            routine = ROUTINES[name]
            found[number] = MethodInfo(name=name, version=routine.version, note=routine.note)
            continue
        written = {key: repr(value) for key, value in settings.items()}
        key = digest([name, hashes[registry.entry(name).file.parent], written])
        places[number] = cache_folder() / "methods" / f"{key}.json"
        with contextlib.suppress(OSError, ValidationError):  # absent or damaged: asked for again
            seal, _, text = places[number].read_bytes().partition(b"\n")
            if seal == hashlib.sha256(text).hexdigest().encode():
                found[number] = _INFO.validate_json(text)
    missing = [number for number in places if number not in found]
    if missing:
        answers = own_worker().describe([asked[number] for number in missing])
        for number, values in zip(missing, answers, strict=True):
            found[number] = _INFO.validate_python(values)
            # a cache that cannot be written costs the next run a second, nothing else
            with contextlib.suppress(OSError):
                text = json.dumps(values).encode()
                seal = hashlib.sha256(text).hexdigest().encode()
                write_whole(places[number], seal + b"\n" + text, error=None)
    # whether it is of this package is said by the file's place, not by the method
    return tuple(
        dataclasses.replace(found[n], built_in=name in ROUTINES or registry.entry(name).built_in)
        for n, (name, _) in enumerate(asked)
    )


def _code(folder: Path) -> str:
    """Hash of all code that a method of this folder may take its fields from."""
    package = Path(__file__).parents[1]
    folders = (package / "train", package / "nn", package / "shallow", folder)
    files = [file for place in folders for file in sorted(place.glob("*.py"))]
    files += [Path(__file__).with_name("worker.py"), Path(__file__)]
    files += [package / f"{name}.py" for name in ("registry", "plugin")]
    state = hashlib.sha256()
    for file in files:
        state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()


def methods_of(request: Request, condition: Condition) -> list[tuple[int, MethodInfo]]:
    """The methods of a request, each with the number of its configuration, 0 for the default.

    What the user set holds for every configuration.

    Raises:
        SpecError: a method or a hyper-parameter is unknown, or set for what does not run.
    """
    names, settings = expand(request.methods), request.settings
    for name in settings:
        if name not in names:
            raise SpecError(
                f"hyper-parameters are set for '{name}', which is not among the methods of this "
                f"run{did_you_mean(name, names)}"
            )
    infos = read_methods([(name, settings.get(name, {})) for name in names])
    if not several(condition.selection):
        return [(0, info) for info in infos]
    if condition.selection == ALL_CONFIGURATIONS:
        infos = tuple(info for info in infos if info.configurations)
    others = iter(
        read_methods(
            [
                (info.name, {**settings.get(info.name, {}), **dict(values)})
                for info in infos
                for values in info.configurations
            ]
        )
    )
    return [
        (number, next(others) if number else info)
        for info in infos
        for number in range(1 + len(info.configurations))
    ]


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
            # a preset's display name has the preset's own name in it
            base = registry.entry(info.name).base if info.title else ""
            notes[info.name] = MethodNote(
                assumes_prior="/".join(dict.fromkeys((*before, info.assumes_prior))),
                role="reference" if self.condition.selection == ORACLE else info.role,
                note=info.note,
                title=info.title and info.title.replace(base, info.name, 1),
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
        trials = [trial for trial in self.trials if trial.method not in ROUTINES]
        if not any(trial.id in open_ids for trial in trials):
            return []
        infos = {(info.name, info.parameters): info for info in self.methods}
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
            packed = info.kind == "trained" and info.packable
            limit = GPU_LIMIT if packed and self.request.gpus_per_pack > 0 else info.limit
            for block in blocks(members, folds=len(jobs[members[0].id]), limit=limit):
                left = [trial for trial in block if trial.id in open_ids]
                parts = [[trial] for trial in left if trial.id in failed_ids]
                parts.append([trial for trial in left if trial.id not in failed_ids])
                packs += [
                    Pack.of([job for trial in part for job in jobs[trial.id]], limit=limit)
                    for part in parts
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
    trials = [
        (trial, number) for number, info in methods for trial in _trials(info, prepared, condition)
    ]
    return Plan(
        prepared=prepared,
        condition=condition,
        trials=tuple(trial for trial, _ in trials),
        numbers={trial.id: number for trial, number in trials},
        methods=tuple(info for _, info in methods),
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
