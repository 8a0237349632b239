"""The plan of a run: which trials it asks for, and the packs that are still to run.

Everything that can be wrong with a request is found here, before anything runs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from clser_bench import registry
from clser_bench.data.build import Fold, Tables, build
from clser_bench.data.cache import cache_folder
from clser_bench.data.progress import SILENT, Progress
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.features.normalise import normalised
from clser_bench.hashing import digest
from clser_bench.run.cards import Card, read_cards
from clser_bench.run.choice import Choice, Say, choose
from clser_bench.run.config import RunConfig
from clser_bench.run.corpora import Read, read
from clser_bench.run.packs import Grouping, Pack, cut
from clser_bench.seeding import seed_of
from clser_bench.spec import Pair, Protocol, Shots, classes_of
from clser_bench.trial import AnswerKey, Corpus, Job, Rows, Skipped, Table, Trial

Folds = Callable[[Trial], tuple[Fold, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What a run asks for.

    Attributes:
        config: the request.
        protocol: the rules; as requested, with how hyper-parameters were chosen.
        suite: name of the suite.
        table: all ordered pairs of the suite.
        trials: every trial, method by method.
        cards: of the methods, in the order asked for.
        folds: problems and answers of a trial, built when asked for.
        skipped: files left out by `--skip-bad`.
    """

    config: RunConfig
    protocol: Protocol
    suite: str
    table: tuple[Pair, ...]
    trials: tuple[Trial, ...]
    cards: tuple[Card, ...]
    folds: Folds
    skipped: tuple[Skipped, ...] = ()

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
        jobs = {trial.id: self.jobs(trial) for trial in self.trials}
        return cut(self.trials, jobs, open_ids=open_ids, failed_ids=failed_ids, grouping=grouping)


def make_plan(
    config: RunConfig,
    *,
    cache: Path | None = None,
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> Plan:
    """Find out what a run asks for.

    Reads corpora and extracts features; both come from the cache where they are in it.

    Args:
        config: the request.
        cache: the cache folder; None for the usual one.
        progress: told about reading and extraction.
        say: told what was chosen, a line each.

    Raises:
        ClserError: anything that is wrong with the request, the corpora or the methods.
    """
    place = cache_folder() if cache is None else cache
    cards = _cards(config, cache=place)
    choice = choose(config, cache=place, progress=progress, say=say)
    have = read(choice, config, cache=place, progress=progress)
    protocol = _protocol(config)
    tables = _tables(have, protocol, cache=place)
    trials = tuple(
        trial
        for card in cards
        for trial in _trials(card, config, choice, have, protocol=protocol, tables=tables)
    )
    return Plan(
        config=config,
        protocol=protocol,
        suite=choice.suite,
        table=choice.table,
        trials=trials,
        cards=cards,
        folds=_folds(have, protocol, tables=tables),
        skipped=tuple(item for corpus in have.corpora.values() for item in corpus.skipped),
    )


def _cards(config: RunConfig, *, cache: Path) -> tuple[Card, ...]:
    names = tuple(dict.fromkeys(config.methods))
    if "all" in names:
        names = tuple(registry.entries())
    settings = {name: dict(values) for name, values in config.settings}
    for name in settings:
        if name not in names:
            raise SpecError(
                f"hyper-parameters are set for '{name}', which is not among the methods of this "
                f"run{did_you_mean(name, names)}"
            )
    return read_cards(names, settings, cache=cache)


def _protocol(config: RunConfig) -> Protocol:
    """The rules; a table must not call hyper-parameters that the user set the shipped defaults."""
    if config.settings and config.protocol.selection == "default":
        return dataclasses.replace(config.protocol, selection="given")
    return config.protocol


def _tables(have: Read, protocol: Protocol, *, cache: Path) -> Tables:
    made: dict[tuple[str, str, bytes], Table] = {}

    def tables(corpus: Corpus, *, source: Corpus, rows: Rows | None = None) -> Table:
        by = source.spec.code if protocol.normalisation == "source" else ""
        key = (corpus.spec.code, by, b"" if rows is None else rows.tobytes())
        if key not in made:
            made[key] = normalised(
                have.tables[corpus.spec.code],
                how=protocol.normalisation,
                speakers=corpus.speakers,
                cache=cache,
                reference=have.tables[by] if by else None,
                rows=rows,
            )
        return made[key]

    return tables


def _trials(
    card: Card,
    config: RunConfig,
    choice: Choice,
    have: Read,
    *,
    protocol: Protocol,
    tables: Tables,
) -> list[Trial]:
    made = []
    for shots in dict.fromkeys(config.shots):
        for pair in choice.pairs:
            source, target = have.corpora[pair.source], have.corpora[pair.target]
            once = shots == "all" and card.deterministic
            made += [
                Trial(
                    pair=pair,
                    classes=classes_of(source.spec, target.spec, fixed4=protocol.fixed4),
                    shots=shots,
                    seed=seed,
                    method=card.name,
                    version=card.version,
                    parameters=card.parameters,
                    protocol=protocol,
                    source_key=_side_key(source, tables(source, source=source, rows=None)),
                    target_key=_side_key(target, tables(target, source=source, rows=None)),
                    engine_version=card.engine_version,
                    synthetic=source.spec.synthetic or target.spec.synthetic,
                )
                for seed in range(1 if once else config.seeds)
            ]
    return made


def _side_key(corpus: Corpus, table: Table) -> str:
    """Key of a side: its features, and the labels and speakers that shots and scores come from."""
    return digest([table.key, corpus.emotions.tolist(), corpus.speakers.tolist()])


def _folds(have: Read, protocol: Protocol, *, tables: Tables) -> Folds:
    @functools.cache
    def made(pair: Pair, classes: tuple[str, ...], shots: Shots, seed: int) -> tuple[Fold, ...]:
        return build(
            have.corpora[pair.source],
            have.corpora[pair.target],
            classes=classes,
            shots=shots,
            seed=seed,
            protocol=protocol,
            tables=tables,
        )

    return lambda trial: made(trial.pair, trial.classes, trial.shots, trial.seed)
