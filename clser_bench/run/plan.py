"""The plan of a run: which trials it asks for, and the packs that are still to run.

Everything that can be wrong with a request is found here, before anything runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from clser_bench.corpora.corruptions import Corruption
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.files import cache_folder
from clser_bench.hashing import seed_of
from clser_bench.problem import AnswerKey, Job, SkippedFile, Trial
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import Condition, Pair
from clser_bench.run import select
from clser_bench.run.cards import Card, read_cards, read_points
from clser_bench.run.choice import Say
from clser_bench.run.config import RunConfig
from clser_bench.run.ground import Folds, Ground, prepare
from clser_bench.run.names import expand
from clser_bench.run.packs import Grouping, Pack, cut
from clser_bench.run.sweep.objectives import ORACLE
from clser_bench.run.trials import trials_of
from clser_bench.scoring.routines import ROUTINES
from clser_bench.store.records import MethodNote


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What a run asks for.

    Attributes:
        config: the request.
        condition: the rules; as requested, with how hyper-parameters were chosen.
        suite: name of the suite.
        table: all ordered pairs of the suite.
        trials: every trial, method by method; where a point is to be chosen, those of all points,
            each under the selection and number of its point.
        cards: of the methods, in the order asked for, a card a point.
        folds: problems and answers of a trial, built when asked for.
        skipped: files left out by `--skip-bad`.
        mixed: whether points of a method may share packs.
    """

    config: RunConfig
    condition: Condition
    suite: str
    table: tuple[Pair, ...]
    trials: tuple[Trial, ...]
    cards: tuple[Card, ...]
    folds: Folds
    skipped: tuple[SkippedFile, ...] = ()
    mixed: bool = False

    @property
    def packed(self) -> tuple[Trial, ...]:
        """The trials of methods, which travel to workers."""
        return tuple(trial for trial in self.trials if trial.method not in ROUTINES)

    @property
    def kept(self) -> tuple[Trial, ...]:
        """The trials of routines, which are given the answers and stay in this process."""
        return tuple(trial for trial in self.trials if trial.method in ROUTINES)

    def notes(self, trials: Iterable[Trial]) -> dict[str, MethodNote]:
        """What tables say of the methods of some trials, in the order asked for."""
        used = {(trial.method, trial.parameters) for trial in trials}
        notes: dict[str, MethodNote] = {}
        for card in self.cards:
            if (card.name, card.parameters) in used:
                before = notes[card.name].assumes_prior.split("/") if card.name in notes else []
                priors = "/".join(dict.fromkeys((*before, card.assumes_prior)))
                role = "oracle" if self.condition.selection == ORACLE else card.role
                note = MethodNote(assumes_prior=priors, role=role, note=card.note)
                notes[card.name] = note
        return notes

    def keys(self, trial: Trial) -> tuple[AnswerKey, ...]:
        """The answers to a trial's jobs, in their order; they stay in this process."""
        return tuple(fold.key for fold in self.folds(trial))

    def jobs(self, trial: Trial) -> tuple[Job, ...]:
        """The jobs of a trial: one, or two in the inductive setting.

        Their seeds leave the method out, so that methods and ablations share random numbers.
        """
        return tuple(
            Job(
                id=f"{trial.id}-{number}",
                method=trial.method,
                parameters=trial.parameters,
                problem=fold.problem,
                seed=seed_of("job", str(trial.pair), trial.shots, trial.seed, number),
            )
            for number, fold in enumerate(self.folds(trial))
        )

    def packs(
        self, *, open_ids: Collection[str], failed_ids: Collection[str], grouping: Grouping
    ) -> tuple[Pack, ...]:
        """The packs still to run, the longest first; see `packs.cut`.

        Raises:
            CorpusError: a class has fewer utterances than shots.
        """
        if not open_ids:
            return ()
        trials = self.packed
        jobs = {trial.id: self.jobs(trial) for trial in trials}
        return cut(
            trials,
            jobs,
            open_ids=open_ids,
            failed_ids=failed_ids,
            grouping=grouping,
            mixed=self.mixed,
        )


def make_plan(
    config: RunConfig,
    *,
    points: bool = False,
    corruption: Corruption | None = None,
    cache: Path | None = None,
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> Plan:
    """Find out what a run asks for.

    Reads corpora and extracts features; both come from the cache where they are in it.

    Args:
        config: the request.
        points: run every point of the methods that have several, and no other method; the
            request's selection does not matter then.
        corruption: of the target; one of the request's, or None for its clean condition.
        cache: the cache folder; None for the usual one.
        progress: told about reading and extraction.
        say: told what was chosen, a line each.

    Raises:
        ClserError: anything that is wrong with the request, the corpora or the methods.
    """
    place = cache_folder() if cache is None else cache
    condition = _condition(config, points=points)
    cards = _cards(config, condition, cache=place)
    ground = prepare(
        config, condition, cache=place, progress=progress, say=say, corruption=corruption
    )
    plan = plan_of(ground, cards)
    if select.several(condition):
        methods = len({card.name for _, card in cards})
        say(
            f"selection {condition.selection}: {len(plan.trials)} trials of {len(cards)} points of "
            f"{methods} methods"
        )
    return plan


def plan_of(ground: Ground, cards: Iterable[tuple[int, Card]], *, mixed: bool = False) -> Plan:
    """The plan that runs methods at points on prepared ground.

    Args:
        ground: corpora, features and rules.
        cards: number of a point, and the method there.
        mixed: whether points of a method may share packs.
    """
    chosen = tuple(cards)
    return Plan(
        config=ground.config,
        condition=ground.condition,
        suite=ground.suite,
        table=ground.table,
        trials=tuple(
            trial
            for number, card in chosen
            for trial in trials_of(
                card,
                ground.config,
                ground.facts,
                condition=select.of_point(ground.condition, number),
            )
        ),
        cards=tuple(card for _, card in chosen),
        folds=ground.folds,
        skipped=ground.skipped,
        mixed=mixed,
    )


def _cards(config: RunConfig, condition: Condition, *, cache: Path) -> tuple[tuple[int, Card], ...]:
    """The cards of all methods with the numbers of their points, the shipped ones 0."""
    names = expand(config.methods)
    settings = {name: dict(values) for name, values in config.settings}
    for name in settings:
        if name not in names:
            raise SpecError(
                f"hyper-parameters are set for '{name}', which is not among the methods of this "
                f"run{did_you_mean(name, names)}"
            )
    shipped = read_cards(names, settings, cache=cache)
    if not select.several(condition):
        return tuple((0, card) for card in shipped)
    if condition.selection == select.POINTS:
        shipped = tuple(card for card in shipped if card.points)
    return read_points(shipped, settings, cache=cache)


def _condition(config: RunConfig, *, points: bool) -> Condition:
    """The rules; a table must not call hyper-parameters that the user set the shipped defaults."""
    if points:
        return dataclasses.replace(config.condition, selection=select.POINTS)
    if config.settings and config.condition.selection == "default":
        return dataclasses.replace(config.condition, selection="given")
    return config.condition
