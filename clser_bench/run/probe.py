"""Layers and pools of an encoder compared by logistic regression, before any method is run.

One pass of the encoder keeps every layer; all else is minutes. The corpora must be those for
choosing (the suite `wide`), never those of a reported table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Probed:
    """Recognised utterances of a layer with a pool on a pair.

    Attributes:
        layer: its number.
        pool: statistics over frames in the summary.
        shots: labelled utterances of each class.
        pair: source and target.
        speakers: of the target.
        correct: recognised utterances [speakers of the target, classes, draws].
        total: scored utterances [speakers of the target, classes, draws].
    """

    layer: int
    pool: str
    shots: Shots
    pair: Pair
    speakers: tuple[str, ...]
    correct: Counts
    total: Counts


def layer_sets(name: str) -> tuple[FeatureSet, ...]:
    """Every layer of an encoder, with mean and deviation.

    Raises:
        FeatureError: the name is not that of one encoder.
    """
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
    skip_bad: bool = False,
    workers: int | None = None,
    devices: tuple[str, ...] = (),
    progress: Progress = SILENT,
) -> list[Probed]:
    """Score every layer and pool on every pair, behind the front `axes` (`shallow.sides`).

    Args:
        corpora: by code.
        pairs: of these.
        name: of an encoder.
        shots: of the draws; `all` has one draw.
        seeds: draws for each pair.
        normalisation: of the features.
        skip_bad: leave out recordings that have no features.
        workers: as for `extract.feature_table`; so are `devices`.
        devices: where the encoder runs.
        progress: shows extraction, and then each layer and pair.
    """
    layers, cache = layer_sets(name), cache_folder()
    found = {
        code: extract_tables(
            corpus,
            layers,
            cache=cache,
            skip_bad=skip_bad,
            workers=workers,
            devices=devices,
            progress=progress,
        )
        for code, corpus in corpora.items()
    }
    probed = []
    progress.start("layers and pairs", len(layers) * len(pairs))
    for number, features in enumerate(layers):
        tables = {
            code: normalised(
                # Logistic regression uses summaries alone.
                Table(digest(["summary", of.key]), of.instants[:, :1], of.summary),
                how=normalisation,
                speakers=one.corpus.speakers,
                cache=cache,
            )
            for code, one in found.items()
            for of in (one.tables[number],)
        }
        for pair in pairs:
            sides = found[pair.source].corpus, found[pair.target].corpus
            for pool in POOLS:
                columns = [
                    place
                    for place, column in enumerate(features.summary)
                    if column.partition("_")[0] in pool.split("+")
                ]
                pooled = tuple(
                    Table(f"{table.key}{pool}", table.instants, table.summary[:, columns])
                    for table in (tables[pair.source], tables[pair.target])
                )
                for count in shots:
                    draws = range(1 if count == "all" else seeds)
                    cells = [_counts(*sides, (pooled[0], pooled[1]), count, n) for n in draws]
                    correct, total = (
                        np.stack(values, axis=2) for values in zip(*cells, strict=True)
                    )
                    probed.append(
                        Probed(
                            layer=number,
                            pool=pool,
                            shots=count,
                            pair=pair,
                            speakers=tuple(np.unique(sides[1].speakers).tolist()),
                            correct=correct,
                            total=total,
                        )
                    )
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
