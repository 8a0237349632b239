"""The corpora of a run with their features, read or taken from the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench.corpora.corpus import read_corpus
from clser_bench.corpora.corruptions import Corruption
from clser_bench.corpora.model import Corpus
from clser_bench.features.align import ANCHORS
from clser_bench.features.extract import extract_tables
from clser_bench.features.languages import FeatureAssignment
from clser_bench.features.sets import feature_set
from clser_bench.problem import Table
from clser_bench.progress import Progress
from clser_bench.run.choice import Choice
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
    heard: FeatureAssignment
    cache: Path


def read(
    choice: Choice,
    config: RunConfig,
    heard: FeatureAssignment,
    *,
    cache: Path,
    progress: Progress,
    corruption: Corruption | None = None,
) -> Read:
    """Read the corpora of a choice and extract their features, both from the cache where there.

    Args:
        choice: from `choose`.
        config: what was asked for.
        heard: the feature set of each corpus.
        cache: the cache folder.
        progress: told about reading and extraction.
        corruption: of the corpora where they are the target of a pair; None for none.

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
    targets = {pair.target for pair in choice.pairs}
    extracted = {
        code: extract_tables(
            corpus,
            (heard.sets[code], *([feature_set(ANCHORS)] if needs_anchors else [])),
            cache=cache,
            corruption=corruption if code in targets else None,
            skip_bad=config.skip_bad,
            workers=config.workers,
            devices=config.devices,
            progress=progress,
        )
        for code, corpus in corpora.items()
    }
    return Read(
        corpora={code: one.corpus for code, one in extracted.items()},
        tables={code: one.tables[0] for code, one in extracted.items()},
        anchors={code: one.tables[-1] for code, one in extracted.items() if needs_anchors},
        targets={code: one.corrupted[0] for code, one in extracted.items()},
        target_anchors={
            code: one.corrupted[-1] for code, one in extracted.items() if needs_anchors
        },
        heard=heard,
        cache=cache,
    )
