"""The feature table of a corpus: extracted once, cached, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import FeatureError
from clser_bench.features.catalogue import feature_set
from clser_bench.features.derived import parts_of
from clser_bench.features.files import sweep
from clser_bench.features.reading import told, unchanged
from clser_bench.features.sets import INSTANTS, FeatureSet
from clser_bench.features.shards import (
    Shard,
    describe_shards,
    divide,
    read_shard,
    shard_path,
    write_shard,
)
from clser_bench.features.tables import Part, existing_table, new_table
from clser_bench.features.turns import turn
from clser_bench.features.workers import run_tasks
from clser_bench.hashing import digest
from clser_bench.problem import Floats, Table
from clser_bench.progress import SILENT, Progress

Task = tuple[FeatureSet, Path, tuple[Utterance, ...]]
"""What a worker is sent: the feature set, the shard's file, its utterances."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """With what features are extracted; the values do not depend on it.

    Attributes:
        cache: the cache folder.
        workers: processes; None for one per core, 1 for none besides this one.
        devices: where encoders run; empty for the first GPU, else the CPU.
        progress: told of utterances extracted.
    """

    cache: Path
    workers: int | None = None
    devices: tuple[str, ...] = ()
    progress: Progress = SILENT


def feature_table(
    corpus: Corpus,
    name: str | FeatureSet,
    *,
    cache: Path,
    workers: int | None = None,
    devices: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Table:
    """Get the features of every utterance of a corpus, from the cache as far as they are there.

    The values do not depend on workers, order, or on what was extracted before (those of an
    encoder not beyond rounding: 1e-4). An interrupted call keeps its finished shards, and the
    next goes on from there. Several processes may ask for the same table at once.

    Args:
        corpus: as read from disk.
        name: of the feature set, or the set.
        cache: the cache folder.
        workers: processes to use; None for one per core, 1 for none besides this one.
        devices: where encoders run, `cuda:0` and the like; empty for the first GPU, else the CPU.
        progress: told of utterances extracted.

    Returns:
        Rows in the order of `corpus.utterances`, memory-mapped.

    Raises:
        FeatureError: no such feature set; no utterances; a file changed since the corpus was
            read; a feature is not finite; the cache cannot be written.
        AudioError: a file cannot be decoded.
        MissingExtraError: the feature set needs an extra that is not installed.
    """
    features = feature_set(name) if isinstance(name, str) else name
    if not corpus.utterances:
        raise FeatureError(f"corpus {corpus.spec.code} has no utterances to extract features from")
    means = Means(cache=cache, workers=workers, devices=devices, progress=progress or SILENT)
    return _table(corpus, features, means)


def _table(corpus: Corpus, features: FeatureSet, means: Means) -> Table:
    key = table_key(corpus, features)
    found = existing_table(means.cache, key, rows=len(corpus.utterances))
    if found is not None:
        return found
    parts: Iterator[Part]
    if features.parts:
        _fill(corpus, features.parts, means)
        parts = parts_of(features, [_table(corpus, part, means) for part in features.parts])
    else:
        _fill(corpus, (features,), means)
        parts = _placed(_read_all(corpus, features, means.cache), corpus)
    return new_table(
        means.cache,
        key,
        instants=(len(corpus.utterances), INSTANTS, len(features.instants)),
        summary=(len(corpus.utterances), len(features.summary)),
        parts=parts,
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
    features, path, utterances = task
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
    audio = unchanged(utterance)
    instants, summary = features.extract(audio.samples, audio.rate)
    for names, values in ((features.instants, instants), (features.summary, summary)):
        broken = np.flatnonzero(~np.isfinite(values.reshape(-1, len(names))).all(axis=0))
        if len(broken):
            bad = [names[column] for column in broken]
            raise FeatureError(
                f"{told(utterance)}: feature set '{features.name}' gives values that are not "
                f"finite in {', '.join(bad[:5])}; listen to the file, and leave it out if it "
                "is no speech"
            )
    return instants, summary


def _groups(corpus: Corpus) -> list[tuple[Utterance, ...]]:
    """The utterances of each shard; twins once."""
    first: dict[str, Utterance] = {}
    for utterance in corpus.utterances:
        first.setdefault(utterance.content, utterance)
    return [tuple(first[content] for content in group) for group in divide(list(first))]


def _contents(group: Sequence[Utterance]) -> tuple[str, ...]:
    return tuple(utterance.content for utterance in group)


def _fill(corpus: Corpus, sets: Sequence[FeatureSet], means: Means) -> None:
    """Make the shards that are missing; of the layers of an encoder in one pass.

    Args:
        corpus: whose.
        sets: one set, or layers of one encoder.
        means: with what.
    """
    wanted = [
        one
        for one in sets
        if existing_table(means.cache, table_key(corpus, one), rows=len(corpus.utterances)) is None
    ]
    groups = _groups(corpus)
    if not _missing(wanted, groups, means.cache):
        return
    for features in wanted:
        features.check()
        describe_shards(means.cache, features)
        sweep(means.cache / "shards" / features.key)
    what = f"{corpus.spec.title}: extracting {wanted[0].name} features"
    with turn(means.cache, _work_key(corpus, wanted), what=what, progress=means.progress):
        # Another process may have made them meanwhile.
        missing = _missing(wanted, groups, means.cache)
        if not missing:
            return
        means.progress.start(what, sum(len(groups[place]) for place in missing))
        try:
            for count in _extracted(wanted, {p: groups[p] for p in missing}, missing, means):
                means.progress.advance(count)
        finally:
            means.progress.stop()


def _missing(
    wanted: Sequence[FeatureSet], groups: Sequence[Sequence[Utterance]], cache: Path
) -> dict[int, list[FeatureSet]]:
    """The sets of which the shard of a group is absent or damaged, by the group's place."""
    missing: dict[int, list[FeatureSet]] = {}
    for features in wanted:
        for place, group in enumerate(groups):
            contents = _contents(group)
            if read_shard(shard_path(cache, features, contents), features, contents) is None:
                missing.setdefault(place, []).append(features)
    return missing


def _work_key(corpus: Corpus, wanted: Sequence[FeatureSet]) -> str:
    """Names the work: all layers of an encoder are one."""
    layer = wanted[0].layer
    who = wanted[0].key if layer is None else [layer.encoder.content, layer.precision]
    return digest({"work": who, "corpus": corpus.content})


def _extracted(
    wanted: Sequence[FeatureSet],
    groups: Mapping[int, tuple[Utterance, ...]],
    missing: Mapping[int, Sequence[FeatureSet]],
    means: Means,
) -> Iterator[int]:
    """Extract groups; numbers of utterances as they are written."""

    def path(features: FeatureSet, place: int) -> Path:
        return shard_path(means.cache, features, _contents(groups[place]))

    if wanted[0].layer is None:
        tasks: list[Task] = [
            (features, path(features, place), groups[place])
            for place, sets in missing.items()
            for features in sets
        ]
        yield from run_tasks(extract_shard, tasks, workers=means.workers)
        return
    from clser_bench.features.encoders import run  # noqa: PLC0415 (torch, and transformers)

    yield from run.encode(
        wanted,
        [
            run.Group(
                utterances=groups[place],
                paths={
                    features.layer.number: path(features, place)
                    for features in sets
                    if features.layer is not None
                },
            )
            for place, sets in missing.items()
        ],
        devices=means.devices,
    )


def _read_all(corpus: Corpus, features: FeatureSet, cache: Path) -> Iterator[Shard]:
    for group in _groups(corpus):
        contents = _contents(group)
        path = shard_path(cache, features, contents)
        shard = read_shard(path, features, contents)
        if shard is None:
            raise FeatureError(
                f"{path}: was written and then lost or damaged; "
                "check the disk, and that nothing clears the cache during a run"
            )
        yield shard


def _placed(shards: Iterable[Shard], corpus: Corpus) -> Iterator[Part]:
    """Each shard's rows with the rows of the table they belong in; twins get the same."""
    rows: dict[str, list[int]] = {}
    for row, utterance in enumerate(corpus.utterances):
        rows.setdefault(utterance.content, []).append(row)
    for shard in shards:
        pairs = [(row, m) for m, content in enumerate(shard.contents) for row in rows[content]]
        where, which = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
        yield where, shard.instants[which], shard.summary[which]
