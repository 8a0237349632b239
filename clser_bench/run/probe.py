"""Layers and pools of an encoder compared by logistic regression, before any method is run.

One pass of the encoder keeps every layer; all else is minutes. The corpora must be those for
choosing (the suite `wide`), never those of a reported table.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.corpora.definitions import classes_of
from clser_bench.corpora.model import Corpus
from clser_bench.errors import FeatureError
from clser_bench.features.encoders.names import POOLS
from clser_bench.features.extract import extract_tables
from clser_bench.features.normalise import normalised
from clser_bench.features.sets import FEATURE_SETS, FeatureSet, feature_set, split_joined
from clser_bench.files import cache_folder
from clser_bench.hashing import digest
from clser_bench.problem import Table
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import Condition, Normalisation, Pair, Shots
from clser_bench.shallow.classifier import logistic_scores
from clser_bench.shallow.sides import sides_of
from clser_bench.splits import build

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Probed:
    """Recognised utterances of a layer with a pool on a pair."""

    layer: int
    pool: str  # statistics over frames in the summary
    shots: Shots  # labelled utterances of each class
    pair: Pair
    speakers: tuple[str, ...]  # of the target
    correct: Counts  # recognised utterances [speakers of the target, classes, draws]
    total: Counts  # scored utterances [speakers of the target, classes, draws]


def layer_sets(name: str) -> tuple[FeatureSet, ...]:
    """Every layer of one encoder, with mean and deviation; FeatureError for any other name."""
    if len(split_joined(name)) > 1 or name in FEATURE_SETS or ":layer=" in name:
        raise FeatureError(f"'{name}' is not one encoder without a layer; layers are compared")
    whole = feature_set(f"{name}:layer=all:pool=mean+sd")
    return tuple(one for one in whole.sources if one.layer is not None)


def probe(
    corpora: Mapping[str, Corpus],
    pairs: Sequence[Pair],
    name: str,
    *,
    shots: Sequence[Shots] = (5, "all"),
    seeds: int = 2,
    normalisation: Normalisation = "corpus",
    progress: Progress = SILENT,
    **extraction: Any,
) -> list[Probed]:
    """Score every layer and pool on every pair, behind the front `axes` (`shallow.sides`).

    What else is given (`skip_bad`, `workers`, `devices`) is for `extract_tables`.
    """
    layers, cache = layer_sets(name), cache_folder()
    extraction |= {"cache": cache, "progress": progress}
    found = {code: extract_tables(corpus, layers, **extraction) for code, corpus in corpora.items()}
    probed = []
    progress.start("layers and pairs", len(layers) * len(pairs))
    for number, features in enumerate(layers):
        statistics = [column.partition("_")[0] for column in features.summary]
        tables = {}
        for code, one in found.items():
            of, speakers = one.tables[number], one.corpus.speakers
            # Logistic regression uses summaries alone.
            raw = Table(digest(["summary", of.key]), of.instants[:, :1], of.summary)
            tables[code] = normalised(raw, how=normalisation, speakers=speakers, cache=cache)
        for pair in pairs:
            source, target = found[pair.source].corpus, found[pair.target].corpus
            names = tuple(np.unique(target.speakers).tolist())
            for pool, count in itertools.product(POOLS, shots):
                columns = [n for n, one in enumerate(statistics) if one in pool.split("+")]
                first, second = (
                    Table(f"{table.key}{pool}", table.instants, table.summary[:, columns])
                    for table in (tables[pair.source], tables[pair.target])
                )
                draws = range(1 if count == "all" else seeds)
                cells = [_counts(source, target, (first, second), count, n) for n in draws]
                correct, total = (np.stack(each, axis=2) for each in zip(*cells, strict=True))
                probed.append(Probed(number, pool, count, pair, names, correct, total))
            progress.advance()
    progress.stop()
    return probed


def _counts(
    source: Corpus, target: Corpus, tables: tuple[Table, Table], shots: Shots, seed: int
) -> tuple[Counts, Counts]:
    """Recognised and scored utterances of logistic regression [speakers, classes]."""
    classes = classes_of(source.spec, target.spec)
    (fold,) = build(
        source,
        target,
        classes=classes,
        shots=shots,
        seed=seed,
        condition=Condition(shots=shots),
        tables=lambda *_: tables,
    )
    side = sides_of(fold.problem, front="axes")  # the draws of a pair share its axes
    scores = logistic_scores(side.known, side.y, side.scored, classes=len(classes))
    names = np.unique(target.speakers)
    places = np.searchsorted(names, fold.key.speakers), fold.key.y
    correct, total = np.zeros((2, len(names), len(classes)))
    np.add.at(total, places, 1)
    np.add.at(correct, places, scores.argmax(axis=1) == fold.key.y)
    return correct, total
