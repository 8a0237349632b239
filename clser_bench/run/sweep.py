"""A sweep from request to result: configurations of a method, compared by an objective.

By Ray Tune a trial is one configuration, and a step trains its next block of draws over all pairs;
in this process (`--scheduler local`) configurations follow each other, under the same samplers and
the same rule of early stopping, Optuna's own. Which configurations stop early may depend on timing;
a configuration's trials never do, and what is stored is not run again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optuna

from clser_bench.cleanup import terminable
from clser_bench.errors import SpecError
from clser_bench.problem import Outcome, Trial, Value
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import Pair
from clser_bench.run import schedule
from clser_bench.run.choice import Say
from clser_bench.run.execute import in_turn, scored, still_open
from clser_bench.run.plan import FIVE, Pack, Plan, longest_first, plan_of, read_methods
from clser_bench.run.prepare import Prepared, prepare
from clser_bench.run.request import Request
from clser_bench.run.selection import (
    ALL_CONFIGURATIONS,
    DEV,
    ORACLE,
    Cells,
    Objective,
    cells,
    objective,
)
from clser_bench.run.space import TRIES, Search, SearchSpace, rounded, sampler
from clser_bench.store.sqlite import Store
from clser_bench.sweeps import Configuration, SweepResult, distributions

Runner = Callable[[Sequence[Pack]], Iterable[tuple[Pack, Sequence[Outcome]]]]
"""Runs packs one after the other."""


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What a sweep was asked for."""

    # suite, corpora, rules, draws and means; it names one method and one number of shots
    request: Request
    space: SearchSpace
    objective: str  # one of `selection.OBJECTIVES`
    search: Search  # which configurations are tried
    command: str = ""  # what makes the sweep again

    def __post_init__(self) -> None:
        of = {"method": self.request.methods, "number of shots": self.request.shots}
        for what, names in of.items():
            if len(names) != 1:
                raise SpecError(f"a sweep is of one {what}, got {', '.join(map(str, names))}")
        objective(self.objective).refuse_few(self.request.shots[0])

    @property
    def method(self) -> str:
        """The method's name."""
        return self.request.methods[0]


def sweep(
    request: SweepRequest, *, progress: Progress = SILENT, say: Say = lambda _: None
) -> SweepResult:
    """Run what is not stored of a sweep, and find its best configuration.

    Raises:
        ClserError: anything that is wrong with the request, before any trial runs.
        KeyboardInterrupt: interrupted; the same call goes on.
    """
    chosen, asked = objective(request.objective), request.request
    if chosen.name == DEV:
        if asked.condition.suite not in ("", DEV):
            raise SpecError(
                f"objective '{DEV}' is the UAR on the suite {DEV}, got --suite "
                f"{asked.condition.suite}; leave it out, or take --objective {ORACLE} to look at "
                "that suite's own labels"
            )
        asked = asked.replace(condition=asked.condition.replace(suite=DEV))
    setting = "held-out" if chosen.requires == "source" else asked.condition.setting
    rules = asked.condition.replace(setting=setting, selection=ALL_CONFIGURATIONS)
    with terminable():
        prepared = prepare(asked, rules, progress=progress, say=say)
        with Store(asked.results) as store:
            if asked.scheduler == "ray":  # which is not started where nothing is to run
                run = _Sweep(request, chosen, prepared, store)
                with contextlib.suppress(_UnfinishedError):
                    for _ in run.in_turn(_refuse):
                        pass
                    return run.result()
            run = _Sweep(request, chosen, prepared, store)
            here = functools.partial(in_turn, means=asked.means, say=say)
            what = f"configurations of {request.method}"
            with shown(progress, what, request.search.samples + 1):
                for _ in run.by_ray(say) if asked.scheduler == "ray" else run.in_turn(here):
                    progress.advance()
            return run.result()


class _UnfinishedError(Exception):
    """Something of a sweep is not stored."""


def _refuse(packs: Sequence[Pack]) -> Iterable[tuple[Pack, Sequence[Outcome]]]:
    """A runner for a sweep of which all is stored."""
    if packs:
        raise _UnfinishedError
    return ()


class _Step(NamedTuple):
    """The next draws of a configuration."""

    draws: int  # how many are run by then
    packs: tuple[Pack, ...]  # what is not stored of them


@dataclass(eq=False)
class _Tried:
    """A configuration so far."""

    values: tuple[Value, ...]  # of the dimensions, in their order
    plan: Plan
    steps: list[_Step]  # that have not reported
    draws: Sequence[float] = ()  # the objective of each draw, up to the first missing result
    reason: str = ""  # why a result is missing; empty where none is


class _Sweep:
    """The configurations of a sweep so far."""

    def __init__(
        self, request: SweepRequest, chosen: Objective, prepared: Prepared, store: Store
    ) -> None:
        self.request, self.chosen = request, chosen
        self.prepared, self.store = prepared, store
        self.tried: list[_Tried] = []
        (self._default,) = read_methods([(request.method, dict(request.space.fixed))])
        self._pairs = [fact.pair for fact in prepared.facts]
        self._agreed: dict[tuple[Pair, int], np.ndarray] = {}
        self._counted: set[str] = set()

    def configure(self, proposed: Mapping[str, Value] | None) -> int | None:
        """Take up a configuration, the default without values: its number; None for a known one."""
        dimensions = self.request.space.dimensions
        parameters = dict(self._default.parameters)
        if proposed is None:
            values = tuple(parameters[item.name] for item in dimensions)
        else:
            values = rounded(dimensions, proposed)
        if any(values == one.values for one in self.tried):
            return None
        number = len(self.tried)
        parameters |= dict(zip((item.name for item in dimensions), values, strict=True))
        info = dataclasses.replace(self._default, parameters=tuple(sorted(parameters.items())))
        made = plan_of(self.prepared, self.prepared.condition, [(number, info)])
        self.tried.append(_Tried(values, made, self._steps(made)))
        return number

    def _steps(self, made: Plan) -> list[_Step]:
        """The blocks of draws of a configuration, with what is not stored of each."""
        draws = 1 + max(trial.seed for trial in made.trials)
        search = self.request.search
        marks = search.rungs(draws) if search.halving else (*range(FIVE, draws, FIVE), draws)
        unfinished, failed = still_open(self.store, [trial.id for trial in made.trials])
        steps, before = [], 0
        for mark in marks:
            block = {t.id for t in made.trials if before <= t.seed < mark} & unfinished
            packs = made.packs(open_ids=block, failed_ids=failed) if block else []
            steps.append(_Step(mark, longest_first(packs)))
            before = mark
        return steps

    def report(self, number: int, outcomes: Sequence[Sequence[Outcome]]) -> float:
        """Store what came of the next step; the mean objective of all draws so far, or NaN."""
        one = self.tried[number]
        step = one.steps.pop(0)
        by_id = {trial.id: (one.plan, trial) for trial in one.plan.trials}
        for pack, parts in zip(step.packs, outcomes, strict=True):
            self.store.put(scored(parts, by_id, pack=pack.name))
        trials = [trial for trial in one.plan.trials if trial.seed < step.draws]
        if self.chosen.requires == "candidates":
            values = self._agreement_so_far(trials)
        else:
            (values,) = self._cells([trials])
        self._take(one, values, step.draws)
        return float(np.mean(one.draws)) if len(one.draws) == step.draws else math.nan

    def _cells(self, configurations: Sequence[Sequence[Trial]]) -> list[Cells]:
        return cells(self.chosen, configurations, store=self.store, folds=self.prepared.folds)

    def _agreement_so_far(self, trials: Sequence[Trial]) -> Cells:
        """Agreement with the configurations that have reported: to decide by, not to publish."""
        from clser_bench.scoring import criteria  # noqa: PLC0415 (scikit-learn: a second)

        by_id = {trial.id: trial for trial in trials}
        values: Cells = {}
        for record in self.store.records(list(by_id), status="ok"):
            trial = by_id[record.trial.id]
            place = trial.pair, trial.seed
            p = criteria.probabilities(record.scores)
            both = p + self._agreed.get(place, 0.0)
            if trial.id not in self._counted:
                self._counted.add(trial.id)
                self._agreed[place] = both
            mean = self._agreed[place] / self._agreed[place].sum(axis=1, keepdims=True)
            values[place] = float(criteria.ensemble_agreement(np.stack([p, mean]))[0])
        return values

    def _take(self, one: _Tried, values: Cells, draws: int) -> None:
        """Set the objective of a configuration draw by draw, up to the first missing result."""
        found: list[float] = []
        one.draws, one.reason = found, ""
        for seed in range(draws):
            for pair in self._pairs:
                if (pair, seed) not in values:
                    one.reason = self._reason(one.plan, pair, seed)
                    return
            found.append(float(np.mean([values[pair, seed] for pair in self._pairs])))

    def _reason(self, made: Plan, pair: Pair, seed: int) -> str:
        """Why there is no result at a place."""
        ids = [t.id for t in made.trials if (t.pair, t.seed) == (pair, seed)]
        for record in self.store.records(ids):
            reason = record.reason.strip().splitlines()
            return f"{pair}, draw {seed}: {reason[-1] if reason else record.status}"
        return f"{pair}, draw {seed}: not run"

    def in_turn(self, runner: Runner) -> Iterator[int]:
        """Run configurations one after the other; the number of each that is finished."""
        search = self.request.search
        pruner: Any = optuna.pruners.NopPruner()
        if search.halving:
            pruner = optuna.pruners.SuccessiveHalvingPruner(
                min_resource=search.rungs(self.prepared.request.seeds)[0],
                reduction_factor=search.halving,
            )
        study = optuna.create_study(direction="maximize", sampler=sampler(search), pruner=pruner)
        space, tries, finished = distributions(search.dimensions), 0, 0
        trial: Any = None  # the default configuration is not the sampler's
        while finished <= search.samples and tries < TRIES:
            number = self.configure(None if not finished else trial.params)
            if number is None:
                tries += 1
                _tell(study, trial, math.nan)
            else:
                value, tries = math.nan, 0
                for step in list(self.tried[number].steps):
                    value = self.report(number, [found for _, found in runner(step.packs)])
                    if math.isnan(value):
                        break
                    if trial:
                        trial.report(value, step.draws)
                        if trial.should_prune():
                            break
                if trial:
                    _tell(study, trial, value)
                finished += 1
                yield number
            trial = study.ask(space)

    def by_ray(self, say: Say) -> Iterator[int]:
        """Run configurations by Ray Tune; the number of each that is finished or stopped."""
        default = self.configure(None)
        numbered = schedule.Numbered()
        for trial in self.tried[0].plan.trials:  # the problems of every configuration
            numbered.sent(self.tried[0].plan.jobs(trial))
        task = schedule.task(
            self.prepared.request,
            self.request.search.samples + 1,
            problems=numbered.problems,
            search=self.request.search,
            draws=self.prepared.request.seeds,
        )

        def slow(number: int, seconds: float) -> None:
            say(
                f"{self.request.method}: configuration {number} has been running for "
                f"{seconds / 60:.0f} min (--patience bounds the time of a trial)"
            )

        with schedule.ray_tune(task) as ray:
            for what, number, content in ray.messages(slow):
                if what == "configure":
                    found = default if content is None else self.configure(content)
                    blocks = [
                        schedule.Block(s.draws, tuple(numbered.sent(pack.jobs) for pack in s.packs))
                        for s in (() if found is None else self.tried[found].steps)
                    ]
                    ray.reply(None if found is None else (found, blocks))
                elif what == "outcomes":
                    score = self.report(number, content)
                    ray.reply(score)
                    if not self.tried[number].steps or math.isnan(score):
                        yield number
                else:
                    self.tried[number].reason = content.strip().splitlines()[-1]
                    ray.reply(None)
                    yield number

    def result(self) -> SweepResult:
        """The sweep as it is reported."""
        draws = max(len(one.draws) for one in self.tried)
        whole = [one for one in self.tried if len(one.draws) == draws > 0]
        if self.chosen.requires == "candidates" and whole:
            # so far each was compared with those before it; at the end all are one ensemble
            every = self._cells([one.plan.trials for one in whole])
            for one, values in zip(whole, every, strict=True):
                self._take(one, values, draws)
        if not whole:
            raise SpecError(
                f"no configuration of {self.request.method} has a result on every pair: "
                f"{self.tried[0].reason or 'see `clser-bench status`'}"
            )
        rules, labels = self.prepared.condition, self.chosen.requires == "labels"
        return SweepResult(
            method=self.request.method,
            dimensions=self.request.space.dimensions,
            objective=self.chosen.name,
            unit=self.chosen.unit,
            oracle=self.chosen.name == ORACLE,
            suite=rules.suite,
            pairs=len(self._pairs),
            features=rules.features_label,
            normalisation=rules.normalisation,
            shots=str(self.prepared.request.shots[0]),
            seeds=draws,
            search=self.request.search.sampler,
            halving=self.request.search.halving,
            configurations=tuple(
                Configuration(
                    number=number,
                    values=one.values,
                    draws=tuple(one.draws),
                    uars=tuple(one.draws) if labels else (),
                    reason=one.reason,
                )
                for number, one in enumerate(self.tried)
            ),
            # of equals the earliest
            best=self.tried.index(max(whole, key=lambda one: float(np.mean(one.draws)))),
            command=self.request.command,
            synthetic=any(fact.synthetic for fact in self.prepared.facts),
        )


def _tell(study: Any, trial: Any, value: float) -> None:
    """Let a sampler know an objective; NaN for none."""
    failed = math.isnan(value)
    with contextlib.suppress(RuntimeError):  # of the grid that is exhausted
        study.tell(
            trial, None if failed else value, state=optuna.trial.TrialState.FAIL if failed else None
        )
