"""What a run stands on before any method is named: corpora, features, rules, problems.

Made once; the populations of a sweep are planned on it one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench.corpora.corruptions import Corruption
from clser_bench.corpora.model import Corpus
from clser_bench.features.languages import resolve_feature_sets
from clser_bench.problem import SkippedFile, Trial
from clser_bench.progress import Progress
from clser_bench.protocol import Condition, Pair, Shots
from clser_bench.run import select
from clser_bench.run.choice import Say, choose
from clser_bench.run.config import RunConfig
from clser_bench.run.corpora import Read, read
from clser_bench.run.sides import Sides
from clser_bench.run.trials import PairFacts, read_facts
from clser_bench.splits import Fold, Tables, build

Folds = Callable[[Trial], tuple[Fold, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Ground:
    """Corpora with features under some rules.

    Attributes:
        config: the request.
        condition: the rules, the features' name with nothing left open.
        suite: name of the suite.
        table: all ordered pairs of the suite.
        corpora: by code.
        facts: what the trials of each pair share.
        folds: problems and answers of a trial, built when asked for.
        skipped: files left out by `--skip-bad`.
    """

    config: RunConfig
    condition: Condition
    suite: str
    table: tuple[Pair, ...]
    corpora: Mapping[str, Corpus]
    facts: tuple[PairFacts, ...]
    folds: Folds
    skipped: tuple[SkippedFile, ...]


def prepare(
    config: RunConfig,
    condition: Condition,
    *,
    cache: Path,
    progress: Progress,
    say: Say,
    corruption: Corruption | None = None,
) -> Ground:
    """Read corpora and extract features; both come from the cache where they are in it.

    Args:
        config: the request.
        condition: the rules in force.
        cache: the cache folder.
        progress: told about reading and extraction.
        say: told what was chosen, a line each.
        corruption: of the target, adaptation data and scored data alike; None for none. The source
            stays clean.

    Raises:
        ClserError: anything that is wrong with the request or the corpora.
    """
    choice = choose(config, cache=cache, progress=progress, say=say)
    if condition.selection == select.OTHER_PAIRS:
        select.check(choice.suite, choice.table, asked=config.pairs)
    heard = resolve_feature_sets(
        config.condition.features, {code: choice.spec(code) for code in choice.known}
    )
    condition = condition.replace(
        suite=choice.suite,
        features=heard.name,
        alignment="" if heard.one else config.align,
        corruption="" if corruption is None else corruption.name,
    )
    have = read(choice, config, heard, cache=cache, progress=progress, corruption=corruption)
    tables = Sides(have, condition, align=config.align)
    return Ground(
        config=config,
        condition=condition,
        suite=choice.suite,
        table=choice.table,
        corpora=have.corpora,
        facts=read_facts(choice, have, condition, tables=tables),
        folds=_folds(have, condition, tables=tables),
        skipped=tuple(item for corpus in have.corpora.values() for item in corpus.skipped),
    )


def _folds(have: Read, condition: Condition, *, tables: Tables) -> Folds:
    @functools.cache
    def made(pair: Pair, classes: tuple[str, ...], shots: Shots, seed: int) -> tuple[Fold, ...]:
        return build(
            have.corpora[pair.source],
            have.corpora[pair.target],
            classes=classes,
            shots=shots,
            seed=seed,
            condition=condition,
            tables=tables,
        )

    return lambda trial: made(trial.pair, trial.classes, trial.shots, trial.seed)
