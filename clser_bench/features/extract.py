"""The feature table of a corpus: extracted once, cached, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clser_bench.data.audio import content_hash, decode
from clser_bench.data.progress import SILENT, Progress
from clser_bench.errors import FeatureError
from clser_bench.features.files import sweep
from clser_bench.features.sets import INSTANTS, FeatureSet, feature_set
from clser_bench.features.shards import Shard, divide, read_shard, shard_path, write_shard
from clser_bench.features.tables import Part, existing_table, new_table
from clser_bench.features.workers import run_tasks
from clser_bench.hashing import digest
from clser_bench.trial import Corpus, Floats, Table, Utterance

Task = tuple[str, Path, tuple[Utterance, ...]]
"""What a worker is sent: the feature set's name, the shard's file, its utterances."""


def feature_table(
    corpus: Corpus,
    name: str,
    *,
    cache: Path,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Table:
    """Get the features of every utterance of a corpus, from the cache as far as they are there.

    The values do not depend on workers, order, or on what was extracted before. An interrupted
    call keeps its finished shards, and the next goes on from there. Several processes may ask
    for the same table at once.

    Args:
        corpus: as read from disk.
        name: of the feature set.
        cache: the cache folder.
        workers: processes to use; None for one per core, 1 for none besides this one.
        progress: told of utterances extracted.

    Returns:
        Rows in the order of `corpus.utterances`, memory-mapped.

    Raises:
        FeatureError: no such feature set; no utterances; a file changed since the corpus was
            read; a feature is not finite; the cache cannot be written.
        AudioError: a file cannot be decoded.
        MissingExtraError: the feature set needs an extra that is not installed.
    """
    features = feature_set(name)
    if not corpus.utterances:
        raise FeatureError(f"corpus {corpus.spec.code} has no utterances to extract features from")
    key = table_key(corpus, features)
    found = existing_table(cache, key, rows=len(corpus.utterances))
    if found is not None:
        return found
    shards = _all_shards(corpus, features, cache, workers, progress or SILENT)
    return new_table(
        cache,
        key,
        instants=(len(corpus.utterances), INSTANTS, len(features.instants)),
        summary=(len(corpus.utterances), len(features.summary)),
        parts=_placed(shards, corpus),
    )


def table_key(corpus: Corpus, features: FeatureSet) -> str:
    """Name the table of a corpus by the feature set and the audio, in row order."""
    contents = [utterance.content for utterance in corpus.utterances]
    return digest({"features": features.key, "contents": contents})


def extract_shard(task: Task) -> int:
    """Extract one shard and write it; runs in a worker.

    Returns:
        How many utterances it has.

    Raises:
        FeatureError: a file changed since the corpus was read, a feature is not finite, or the
            shard cannot be written.
        AudioError: a file cannot be decoded.
    """
    name, path, utterances = task
    features = feature_set(name)
    rows = [_extract(features, utterance) for utterance in utterances]
    shard = Shard(
        contents=tuple(utterance.content for utterance in utterances),
        instants=np.stack([instants for instants, _ in rows]),
        summary=np.stack([summary for _, summary in rows]),
    )
    write_shard(path, shard)
    return len(utterances)


def _extract(features: FeatureSet, utterance: Utterance) -> tuple[Floats, Floats]:
    """Features of one utterance, checked."""
    audio = decode(utterance.path)
    if content_hash(audio) != utterance.content:
        raise FeatureError(
            f"{utterance.path}: changed since the corpus was read; run the command again"
        )
    instants, summary = features.extract(audio.samples, audio.rate)
    for names, values in ((features.instants, instants), (features.summary, summary)):
        broken = np.flatnonzero(~np.isfinite(values.reshape(-1, len(names))).all(axis=0))
        if len(broken):
            bad = [names[column] for column in broken]
            raise FeatureError(
                f"{utterance.path}: feature set '{features.name}' gives values that are not "
                f"finite in {', '.join(bad[:5])}; listen to the file, and leave it out if it "
                "is no speech"
            )
    return instants, summary


def _all_shards(
    corpus: Corpus, features: FeatureSet, cache: Path, workers: int | None, progress: Progress
) -> list[Shard]:
    """Read what is there, extract what is not."""
    first: dict[str, Utterance] = {}
    for utterance in corpus.utterances:
        first.setdefault(utterance.content, utterance)
    groups = divide(list(first))
    paths = [shard_path(cache, features, group) for group in groups]
    sweep(cache / "shards" / features.key)
    shards = [read_shard(p, features, group) for p, group in zip(paths, groups, strict=True)]
    missing = [place for place, shard in enumerate(shards) if shard is None]
    if missing:
        features.check()
        tasks: list[Task] = [
            (features.name, paths[place], tuple(first[content] for content in groups[place]))
            for place in missing
        ]
        what = f"{corpus.spec.title}: extracting {features.name} features"
        _run(tasks, what, len(first) - sum(len(s.contents) for s in shards if s), workers, progress)
    for place in missing:
        shards[place] = read_shard(paths[place], features, groups[place])
    return _complete(shards, paths)


def _run(
    tasks: Sequence[Task], what: str, total: int, workers: int | None, progress: Progress
) -> None:
    progress.start(what, total)
    try:
        for count in run_tasks(extract_shard, tasks, workers=workers):
            progress.advance(count)
    finally:
        progress.stop()


def _complete(shards: Sequence[Shard | None], paths: Sequence[Path]) -> list[Shard]:
    complete = [shard for shard in shards if shard is not None]
    if len(complete) < len(shards):
        gone = paths[shards.index(None)]
        raise FeatureError(
            f"{gone}: was written and then lost or damaged; "
            "check the disk, and that nothing clears the cache during a run"
        )
    return complete


def _placed(shards: Sequence[Shard], corpus: Corpus) -> Iterator[Part]:
    """Each shard's rows with the rows of the table they belong in; twins get the same."""
    rows: dict[str, list[int]] = {}
    for row, utterance in enumerate(corpus.utterances):
        rows.setdefault(utterance.content, []).append(row)
    for shard in shards:
        pairs = [(row, m) for m, content in enumerate(shard.contents) for row in rows[content]]
        where, which = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
        yield where, shard.instants[which], shard.summary[which]
