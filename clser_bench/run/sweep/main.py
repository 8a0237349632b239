"""A sweep from request to result: populations of points, run in packs, compared by an objective.

A population is planned as one: points that differ in real-valued hyper-parameters share packs, and
a pack is one trial of Ray Tune. With halving, all points begin with few draws and the better part
goes on; rungs wait for each other (packs are of equal work, so there is little to wait for).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clser_bench.errors import SpecError
from clser_bench.files import cache_folder
from clser_bench.problem import Trial, Value
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import Condition, Setting
from clser_bench.run import select
from clser_bench.run.cards import Card, read_cards
from clser_bench.run.choice import Say
from clser_bench.run.config import RunConfig, as_settings
from clser_bench.run.ground import Ground, prepare
from clser_bench.run.plan import plan_of
from clser_bench.run.sweep.evaluate import Drawn, by_draw, cells
from clser_bench.run.sweep.objectives import DEV, ORACLE, Objective, objective, refuse_few
from clser_bench.run.sweep.search import SEARCHES, Values, new_search
from clser_bench.run.sweep.space import Space
from clser_bench.run.work import execute, left
from clser_bench.store.sqlite import Store
from clser_bench.swept import Swept, SweptPoint

POPULATION = 32


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a sweep was asked for.

    Attributes:
        config: suite, corpora, rules, draws and means; it names one method and one number of
            shots.
        space: what is varied.
        objective: one of `objectives.OBJECTIVES`.
        search: one of `search.SEARCHES`.
        samples: points besides the shipped one.
        population: points that are planned together.
        halving: a rung keeps one point in so many; 0 for no halving.
        seed: of the random points.
        command: what makes the sweep again.
    """

    config: RunConfig
    space: Space
    objective: str
    search: str = SEARCHES[0]
    samples: int = 64
    population: int = POPULATION
    halving: int = 0
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        for what, names in (
            ("method", self.config.methods),
            ("number of shots", self.config.shots),
        ):
            if len(names) != 1:
                raise SpecError(f"a sweep is of one {what}, got {', '.join(map(str, names))}")
        for what, value in (("samples", self.samples), ("population", self.population)):
            if value < 1:
                raise SpecError(f"{what} {value}: a positive number is needed")
        if self.halving == 1 or self.halving < 0:
            raise SpecError(f"halving {self.halving}: a rung keeps one in 2 or more; 0 for none")
        refuse_few(objective(self.objective), self.config.shots[0])

    @property
    def method(self) -> str:
        """The method's name."""
        return self.config.methods[0]


def sweep(request: Request, *, progress: Progress = SILENT, say: Say = lambda _: None) -> Swept:
    """Run what is not stored of a sweep, and find its best point.

    Args:
        request: the request.
        progress: told about reading, extraction and trials.
        say: told lines for the user.

    Raises:
        ClserError: anything that is wrong with the request, before any trial runs.
        KeyboardInterrupt: interrupted; the same call goes on.
    """
    chosen = objective(request.objective)
    config = _config(request, chosen)
    rules = _rules(config, chosen)
    ground = prepare(config, rules, cache=cache_folder(), progress=progress, say=say)
    search = new_search(
        request.search, request.space.dimensions, samples=request.samples, seed=request.seed
    )
    run = _Run(request=request, chosen=chosen, ground=ground, progress=progress)
    with Store(config.results) as store:
        # A rung compares all points, but a search that learns must see a population first.
        whole = request.halving and request.search != "optuna"
        together = request.samples if whole else request.population
        run.population([run.shipped()], store)
        while asked := search.ask(together):
            drawn = run.population(asked, store)
            search.tell([_value(item, config.seeds) for item in drawn])
        return run.result(store)


def rungs(draws: int, halving: int) -> tuple[int, ...]:
    """Draws at each rung of a halving: from draws / halving^j up to all of them.

    Args:
        draws: of a point that is run to the end.
        halving: a rung keeps one point in so many; 0 for a single rung.
    """
    if not halving:
        return (draws,)
    found = [draws]
    while found[-1] > 1:
        found.append(math.ceil(found[-1] / halving))
    return tuple(sorted(set(found)))


@dataclass(eq=False, kw_only=True)
class _Run:
    """The points of a sweep so far."""

    request: Request
    chosen: Objective
    ground: Ground
    progress: Progress
    points: list[Values] = field(default_factory=list)
    drawn: list[Drawn] = field(default_factory=list)
    trials: list[tuple[Trial, ...]] = field(default_factory=list)

    def shipped(self) -> Values:
        """The shipped point."""
        card = self._cards([{}])[0]
        parameters = dict(card.parameters)
        return tuple(parameters[item.name] for item in self.request.space.dimensions)

    def population(self, asked: Sequence[Values], store: Store) -> list[Drawn]:
        """Run some points; what came of each, in order. One that was there before is not new."""
        first = len(self.points)
        known = {values: number for number, values in enumerate(self.points)}
        for values in asked:
            if values not in known:
                known[values] = len(self.points)
                self.points.append(values)
        new = range(first, len(self.points))
        self.drawn += [Drawn(values=())] * len(new)
        self.trials += [()] * len(new)
        alive = list(new)
        for draws in rungs(self.ground.config.seeds, self.request.halving):
            if not alive:
                break
            self._run(alive, draws, store)
            # The shipped point is what the best is compared with: it runs to the end.
            kept = max(1, math.ceil(len(alive) / max(1, self.request.halving)))
            order = sorted(alive, key=lambda i: (-_value(self.drawn[i], draws), i))
            alive = [i for i in order if not math.isnan(_value(self.drawn[i], draws))][:kept]
        return [self.drawn[known[values]] for values in asked]

    def _run(self, numbers: Sequence[int], draws: int, store: Store) -> None:
        config = dataclasses.replace(self.ground.config, seeds=draws)
        ground = dataclasses.replace(self.ground, config=config)
        names = [item.name for item in self.request.space.dimensions]
        cards = self._cards([dict(zip(names, self.points[i], strict=True)) for i in numbers])
        plan = plan_of(ground, zip(numbers, cards, strict=True), mixed=True)
        work = left([plan], store)
        if work.trials:
            what = f"trials of {len(numbers)} point{'s' * (len(numbers) > 1)}"
            self.progress.start(f"{what} of {self.request.method}", work.trials)
            try:
                execute(work, config, store, progress=self.progress)
            finally:
                self.progress.stop()
        by_point: dict[str, list[Trial]] = {}
        for trial in plan.trials:
            by_point.setdefault(trial.condition.selection, []).append(trial)
        for number, members in zip(numbers, by_point.values(), strict=True):
            self.trials[number] = tuple(members)
        self._weigh(numbers, draws, store)

    def _weigh(self, numbers: Sequence[int], draws: int, store: Store) -> None:
        pairs = [fact.pair for fact in self.ground.facts]
        # The same draw is all there is where nothing is drawn and nothing is random.
        draws = min(draws, max(trial.seed for trial in self.trials[numbers[0]]) + 1)
        trials = [self.trials[number] for number in numbers]
        found = cells(self.chosen, trials, store, self.ground.folds)
        for number, values in zip(numbers, found, strict=True):
            self.drawn[number] = by_draw(values, pairs, draws)

    def _cards(self, points: Sequence[dict[str, Value]]) -> tuple[Card, ...]:
        method, fixed = self.request.method, dict(self.request.space.fixed)
        made: list[Card] = []
        for point in points:
            settings = {method: {**fixed, **point}}
            made += read_cards([method], settings, cache=cache_folder())
        return tuple(made)

    def result(self, store: Store) -> Swept:
        """The sweep as it is reported."""
        whole = [i for i, trials in enumerate(self.trials) if self._complete(trials)]
        if self.chosen.looks == "candidates" and whole:
            # each population had its own ensemble; at the end all points are one
            self._weigh(whole, self.ground.config.seeds, store)
        draws = max((len(item.values) for item in self.drawn), default=0)
        full = [i for i in whole if len(self.drawn[i].values) == draws > 0]
        if not full:
            raise SpecError(
                f"no point of {self.request.method} has a result on every pair: "
                f"{self._why(0, store) or 'see `clser-bench status`'}"
            )
        best = max(full, key=lambda i: (float(np.mean(self.drawn[i].values)), -i))
        condition, labels = self.ground.condition, self.chosen.looks == "labels"
        return Swept(
            method=self.request.method,
            dimensions=self.request.space.dimensions,
            objective=self.chosen.name,
            unit=self.chosen.unit,
            oracle=self.chosen.name == ORACLE,
            suite=self.ground.suite,
            pairs=len(self.ground.facts),
            features=condition.features_label,
            normalisation=condition.normalisation,
            shots=str(self.ground.config.shots[0]),
            seeds=draws,
            search=self.request.search + (" + halving" if self.request.halving else ""),
            points=tuple(
                SweptPoint(
                    number=i,
                    values=self.points[i],
                    draws=item.values,
                    uars=item.values if labels else (),
                    reason=self._why(i, store) if item.missing else "",
                )
                for i, item in enumerate(self.drawn)
            ),
            best=best,
            command=self.request.command,
            synthetic=any(fact.synthetic for fact in self.ground.facts),
        )

    def _complete(self, trials: Sequence[Trial]) -> bool:
        """Whether a point was run to the end of the rungs."""
        return len(trials) == max(map(len, self.trials))

    def _why(self, number: int, store: Store) -> str:
        missing = self.drawn[number].missing
        if missing is None:
            return ""
        pair, seed = missing
        ids = [t.id for t in self.trials[number] if (t.pair, t.seed) == missing]
        for record in store.records(ids):
            reason = record.reason.strip().splitlines()
            return f"{pair}, draw {seed}: {reason[-1] if reason else record.status}"
        return f"{pair}, draw {seed}: not run"


def _config(request: Request, chosen: Objective) -> RunConfig:
    """The request's options, with the suite that the objective asks for."""
    config = request.config
    if chosen.name == DEV:
        if config.suite not in (None, DEV):
            raise SpecError(
                f"objective '{DEV}' is the UAR on the suite {DEV}, got --suite {config.suite}; "
                f"leave it out, or take --objective {ORACLE} to look at that suite's own labels"
            )
        config = dataclasses.replace(config, suite=DEV)
    fixed = {request.method: dict(request.space.fixed)} if request.space.fixed else {}
    return dataclasses.replace(config, settings=as_settings(fixed))


def _rules(config: RunConfig, chosen: Objective) -> Condition:
    setting: Setting = "held-out" if chosen.looks == "source" else config.condition.setting
    return dataclasses.replace(config.condition, selection=select.POINTS, setting=setting)


def _value(item: Drawn, draws: int) -> float:
    """The mean objective of a point over so many draws; NaN where one has a hole."""
    if not item.values or item.missing is not None:
        return math.nan
    return float(np.mean(item.values[:draws]))
