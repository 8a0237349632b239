"""The corpora of a run with their features, read or taken from the cache."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench.corpora.assemble import shared_recordings
from clser_bench.corpora.corrupt import Corruption
from clser_bench.corpora.locate import load_corpora
from clser_bench.corpora.model import Corpus
from clser_bench.features.aligned import ANCHORS
from clser_bench.features.extract import feature_table
from clser_bench.features.languages import Heard, find_set
from clser_bench.features.reading import corrupted_corpus
from clser_bench.features.sets import FeatureSet
from clser_bench.problem import Table
from clser_bench.progress import Progress
from clser_bench.run.choice import Choice, Say
from clser_bench.run.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Read:
    """Corpora with their features, by code.

    Attributes:
        corpora: utterances.
        tables: features before normalisation.
        anchors: tables of the set `aligned.ANCHORS`, where the alignment needs them.
        targets: as `tables`, of the corpora as they are heard where they are the target of a pair.
        target_anchors: as `anchors`, likewise.
        heard: which feature sets these are.
        cache: the cache folder.
    """

    corpora: Mapping[str, Corpus]
    tables: Mapping[str, Table]
    anchors: Mapping[str, Table]
    targets: Mapping[str, Table]
    target_anchors: Mapping[str, Table]
    heard: Heard
    cache: Path


def read(
    choice: Choice,
    config: RunConfig,
    heard: Heard,
    *,
    cache: Path,
    progress: Progress,
    say: Say = lambda _: None,
    corruption: Corruption | None = None,
) -> Read:
    """Read the corpora of a choice and extract their features, both from the cache where there.

    Args:
        choice: from `choose`.
        config: what was asked for.
        heard: the feature set of each corpus.
        cache: the cache folder.
        progress: told about reading and extraction.
        say: takes the sentence of each finding.
        corruption: of the corpora where they are the target of a pair; None for none.

    Raises:
        ClserError: a corpus or a file is not what it should be.
    """
    corpora = load_corpora(
        codes=choice.codes,
        located=choice.located,
        cache=cache,
        skip_bad=config.skip_bad,
        workers=config.workers,
        progress=progress,
        say=say,
    )
    for pair in choice.pairs:
        for finding in shared_recordings(corpora[pair.source], corpora[pair.target]):
            say(finding.sentence)
    extracted = functools.partial(_extracted, heard, config, cache=cache, progress=progress)
    tables, anchors = extracted(corpora)
    targets, target_anchors = tables, anchors
    if corruption is not None:
        codes = dict.fromkeys(pair.target for pair in choice.pairs)
        worse = {code: corrupted_corpus(corpora[code], corruption) for code in codes}
        targets, target_anchors = extracted(worse)
    return Read(
        corpora=corpora,
        tables=tables,
        anchors=anchors,
        targets=targets,
        target_anchors=target_anchors,
        heard=heard,
        cache=cache,
    )


def _extracted(
    heard: Heard,
    config: RunConfig,
    corpora: Mapping[str, Corpus],
    *,
    cache: Path,
    progress: Progress,
) -> tuple[dict[str, Table], dict[str, Table]]:
    """The tables of corpora by code, and those of their anchors where the alignment needs them."""

    def table(corpus: Corpus, features: FeatureSet) -> Table:
        return feature_table(
            corpus,
            features,
            cache=cache,
            workers=config.workers,
            devices=config.devices,
            progress=progress,
        )

    needs_anchors = config.align == "anchors" and not heard.one
    tables = {code: table(corpus, heard.sets[code]) for code, corpus in corpora.items()}
    anchors = {
        code: table(corpus, find_set(ANCHORS)) for code, corpus in corpora.items() if needs_anchors
    }
    return tables, anchors
