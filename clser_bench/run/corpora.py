"""The corpora of a run with their features, read or taken from the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench.data.corpus import read_corpus
from clser_bench.data.progress import Progress
from clser_bench.features.aligned import ANCHORS
from clser_bench.features.extract import feature_table
from clser_bench.features.languages import Heard, find_set
from clser_bench.features.sets import FeatureSet
from clser_bench.run.choice import Choice
from clser_bench.run.config import RunConfig
from clser_bench.trial import Corpus, Table


@dataclass(frozen=True, kw_only=True)
class Read:
    """Corpora with their features, by code.

    Attributes:
        corpora: utterances.
        tables: features before normalisation.
        anchors: tables of the set `aligned.ANCHORS`, where the alignment needs them.
        heard: which feature sets these are.
        cache: the cache folder.
    """

    corpora: Mapping[str, Corpus]
    tables: Mapping[str, Table]
    anchors: Mapping[str, Table]
    heard: Heard
    cache: Path


def read(
    choice: Choice, config: RunConfig, heard: Heard, *, cache: Path, progress: Progress
) -> Read:
    """Read the corpora of a choice and extract their features, both from the cache where there.

    Args:
        choice: from `choose`.
        config: what was asked for.
        heard: the feature set of each corpus.
        cache: the cache folder.
        progress: told about reading and extraction.

    Raises:
        ClserError: a corpus or a file is not what it should be.
    """
    corpora = {}
    for code in choice.codes:
        corpora[code] = (
            choice.manifests[code]
            if code in choice.manifests
            else read_corpus(
                choice.spec(code),
                choice.folders[code],
                cache=cache,
                skip_bad=config.skip_bad,
                workers=config.workers,
                progress=progress,
            )
        )
    needs_anchors = config.align == "anchors" and not heard.one
    return Read(
        corpora=corpora,
        tables={
            code: _features(corpus, heard.sets[code], config, cache=cache, progress=progress)
            for code, corpus in corpora.items()
        },
        anchors={
            code: _features(corpus, find_set(ANCHORS), config, cache=cache, progress=progress)
            for code, corpus in corpora.items()
            if needs_anchors
        },
        heard=heard,
        cache=cache,
    )


def _features(
    corpus: Corpus, features: FeatureSet, config: RunConfig, *, cache: Path, progress: Progress
) -> Table:
    return feature_table(
        corpus,
        features,
        cache=cache,
        workers=config.workers,
        devices=config.devices,
        progress=progress,
    )
