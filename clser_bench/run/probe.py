"""Layers and pools of an encoder compared by logistic regression, before any method is run.

One pass of the encoder keeps every layer; all else is seconds. The corpora must be those for
choosing (the suite `wide`), never those of a reported table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clser_bench import registry
from clser_bench.corpora.model import Corpus
from clser_bench.errors import FeatureError
from clser_bench.features.encoders.names import POOLS
from clser_bench.features.extract import extract_tables
from clser_bench.features.normalise import normalised
from clser_bench.features.sets import FEATURE_SETS, FeatureSet, feature_set, split_joined
from clser_bench.files import cache_folder
from clser_bench.hashing import generator
from clser_bench.problem import Table
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import Condition, Normalisation, Pair, Shots, classes_of
from clser_bench.splits import build

METHOD = "logistic"


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """A layer with a pool.

    Attributes:
        layer: its number.
        pool: statistics over frames in the summary.
        shots: labelled utterances of each class.
        uars: mean over draws of each pair, percent.
    """

    layer: int
    pool: str
    shots: Shots
    uars: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over pairs."""
        return float(np.mean(self.uars))


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
    seeds: int = 4,
    normalisation: Normalisation = "corpus",
    skip_bad: bool = False,
    workers: int | None = None,
    devices: tuple[str, ...] = (),
    progress: Progress = SILENT,
) -> list[ProbeRow]:
    """Score every layer and pool."""
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
    rows = []
    for number, features in enumerate(layers):
        layer = features.layer
        if layer is None:
            continue
        scored = {
            code: normalised(
                one.tables[number],
                how=normalisation,
                speakers=one.corpus.speakers,
                cache=cache,
            )
            for code, one in found.items()
        }
        for pool in POOLS:
            columns = [
                place
                for place, column in enumerate(features.summary)
                if column.partition("_")[0] in pool.split("+")
            ]
            # Logistic regression uses summaries alone.
            tables = {
                code: Table(f"{table.key}{pool}", table.instants[:, :1], table.summary[:, columns])
                for code, table in scored.items()
            }
            for count in shots:
                draws = range(1 if count == "all" else seeds)
                uars = []
                for pair in pairs:
                    sides = found[pair.source].corpus, found[pair.target].corpus
                    recalls = [_uar(*sides, tables, count, seed) for seed in draws]
                    uars.append(float(np.mean(recalls)))
                row = ProbeRow(layer=layer.number, pool=pool, shots=count, uars=tuple(uars))
                rows.append(row)
    return rows


def _uar(
    source: Corpus, target: Corpus, tables: Mapping[str, Table], shots: Shots, seed: int
) -> float:
    """Unweighted average recall of logistic regression on a pair, percent."""
    classes = classes_of(source.spec, target.spec)
    folds = build(
        source,
        target,
        classes=classes,
        shots=shots,
        seed=seed,
        condition=Condition(shots=shots),
        tables=lambda one, other, *_: (tables[one.spec.code], tables[other.spec.code]),
    )
    recalls = []
    for fold in folds:
        scores = registry.create(METHOD).fit_predict(fold.problem, generator("probe", seed))
        right = np.asarray(scores).argmax(axis=1) == fold.key.y
        recalls += [right[fold.key.y == number].mean() for number in range(len(classes))]
    return 100 * float(np.mean(recalls))
