"""The trials of a method: every number of shots, pair and draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clser_bench.corpora.model import Corpus
from clser_bench.hashing import digest
from clser_bench.problem import Table, Trial
from clser_bench.protocol import Condition, Pair, Shots, classes_of
from clser_bench.run.cards import Card
from clser_bench.run.choice import Choice
from clser_bench.run.config import RunConfig
from clser_bench.run.corpora import Read
from clser_bench.splits import Tables


@dataclass(frozen=True, kw_only=True)
class PairFacts:
    """What the trials of one pair share.

    Attributes:
        pair: the pair.
        classes: its emotions.
        source_key: of the source's table and labels.
        target_key: of the target's.
        synthetic: whether a corpus is synthetic.
    """

    pair: Pair
    classes: tuple[str, ...]
    source_key: str
    target_key: str
    synthetic: bool


def read_facts(
    choice: Choice, have: Read, condition: Condition, *, tables: Tables
) -> tuple[PairFacts, ...]:
    """What the trials of each pair share.

    Args:
        choice: the pairs.
        have: their corpora.
        condition: the rules.
        tables: gives the normalised feature tables.
    """
    made = []
    for pair in choice.pairs:
        source, target = have.corpora[pair.source], have.corpora[pair.target]
        source_table, target_table = tables(source, target, None)
        made.append(
            PairFacts(
                pair=pair,
                classes=classes_of(source.spec, target.spec, classes=condition.classes),
                source_key=_side_key(source, source_table),
                target_key=_side_key(target, target_table),
                synthetic=source.spec.synthetic or target.spec.synthetic,
            )
        )
    return tuple(made)


def trials_of(
    card: Card, config: RunConfig, facts: Iterable[PairFacts], *, condition: Condition
) -> Iterator[Trial]:
    """The trials of a method at one point, by shots, pair and draw.

    Args:
        card: the method.
        config: the request.
        facts: of the pairs.
        condition: the rules, with the selection under which the trials are planned.
    """
    for shots in dict.fromkeys(config.shots):
        for fact in facts:
            for seed in range(1 if _once(card, shots, condition) else config.seeds):
                yield Trial(
                    pair=fact.pair,
                    classes=fact.classes,
                    seed=seed,
                    method=card.name,
                    version=card.version,
                    parameters=card.parameters,
                    condition=condition.replace(shots=shots),
                    source_key=fact.source_key,
                    target_key=fact.target_key,
                    engine_version=card.engine_version,
                    synthetic=fact.synthetic,
                )


def _once(card: Card, shots: Shots, condition: Condition) -> bool:
    """Whether all draws are alike: with all labels, or where the draw is not looked at."""
    if card.role == "oracle":
        return condition.concentration() is None
    return shots == "all" and card.deterministic


def _side_key(corpus: Corpus, table: Table) -> str:
    """Key of a side: its features, and the labels and speakers that shots and scores come from."""
    return digest([table.key, corpus.emotions.tolist(), corpus.speakers.tolist()])
