"""The corpora of a run with their features, read or taken from the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench.data.corpus import read_corpus
from clser_bench.data.progress import Progress
from clser_bench.features.extract import feature_table
from clser_bench.features.languages import Heard
from clser_bench.run.choice import Choice
from clser_bench.run.config import RunConfig
from clser_bench.trial import Corpus, Table


@dataclass(frozen=True, kw_only=True)
class Read:
    """Corpora with their features, by code.

    Attributes:
        corpora: utterances.
        tables: features before normalisation.
        heard: which feature sets these are.
        cache: the cache folder.
    """

    corpora: Mapping[str, Corpus]
    tables: Mapping[str, Table]
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
    tables = {
        code: feature_table(
            corpus,
            heard.sets[code],
            cache=cache,
            workers=config.workers,
            devices=config.devices,
            progress=progress,
        )
        for code, corpus in corpora.items()
    }
    return Read(corpora=corpora, tables=tables, heard=heard, cache=cache)
