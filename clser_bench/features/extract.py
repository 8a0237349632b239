"""The feature table of a corpus: extracted once, cached, memory-mapped."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clser_bench.cleanup import temporary_folder
from clser_bench.corpora.corrupt import Corrupted, Corruption, corrupted_corpus, unchanged
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import AudioError, FeatureError
from clser_bench.features import user_table
from clser_bench.features.cache import (
    Part,
    Shard,
    describe_shards,
    divide,
    existing_table,
    find_shard,
    new_table,
    shard_path,
    write_shard,
)
from clser_bench.features.columns import INSTANTS
from clser_bench.features.sets import FeatureSet, feature_set
from clser_bench.features.storage import lock, remove_partial_files, writable
from clser_bench.features.workers import WorkerDiedError, run_tasks
from clser_bench.hashing import digest
from clser_bench.problem import Floats, SkippedFile, Table
from clser_bench.progress import SILENT, Progress

_NAMED = 10  # files that an error names


class ExtractionError(FeatureError):
    """Features of some utterances cannot be extracted; those of all others were.

    Attributes:
        bad: the utterances, each with the reason.
    """

    def __init__(self, bad: Sequence[SkippedFile], paths: Sequence[str]) -> None:
        lines = [f"{path}: {item.reason}" for path, item in zip(paths, bad, strict=True)]
        more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
        count = [f"features of {len(bad)} files cannot be extracted:"] if len(bad) > 1 else []
        super().__init__("\n  ".join([*count, *lines[:_NAMED], *more]))
        self.bad = tuple(bad)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Utterances whose features one worker extracts.

    Attributes:
        number: of the task.
        features: the set.
        utterances: ordered by content.
        cache: where the shard is written; None to write none.
        trail: a folder where the worker notes the utterance that it works on, or None.
    """

    number: int
    features: FeatureSet
    utterances: tuple[Utterance, ...]
    cache: Path | None
    trail: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished piece of work.

    Attributes:
        count: utterances, bad ones among them.
        bad: content hash and reason of those that have no features.
        number: of the task.
    """

    count: int
    bad: tuple[tuple[str, str], ...] = ()
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class _Resources:
    cache: Path
    workers: int | None
    devices: tuple[str, ...]
    progress: Progress


@dataclass(frozen=True, eq=False, kw_only=True)
class Extracted:
    """A corpus with its features.

    Attributes:
        corpus: without the utterances that were left out, which are in its `skipped`.
        tables: one for each set that was asked for.
        corrupted: likewise, of the corrupted corpus; the same as `tables` without a corruption.
    """

    corpus: Corpus
    tables: tuple[Table, ...]
    corrupted: tuple[Table, ...]


def extract_tables(
    corpus: Corpus,
    sets: Sequence[FeatureSet],
    *,
    cache: Path,
    corruption: Corruption | None = None,
    skip_bad: bool = False,
    workers: int | None = None,
    devices: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Extracted:
    """Get tables of several sets, and of corrupted speech, whose rows are the same utterances.

    Args:
        corpus: as read from disk.
        sets: the feature sets.
        cache: the cache folder.
        corruption: gives `Extracted.corrupted`.
        skip_bad: leave out utterances of which features cannot be extracted.
        workers: as for `feature_table`.
        devices: likewise.
        progress: likewise.

    Raises:
        ExtractionError: some utterances are bad, and `skip_bad` is false.
        FeatureError: as for `feature_table`.
    """
    resources = _Resources(
        cache=cache, workers=workers, devices=devices, progress=progress or SILENT
    )

    def tables(of: Corpus) -> tuple[Table, ...]:
        return _tables(of, sets, resources)

    while True:
        try:
            clean = tables(corpus)
            worse = clean if corruption is None else tables(corrupted_corpus(corpus, corruption))
        except ExtractionError as error:
            if not skip_bad:
                raise
            corpus = without(corpus, error.bad)
        else:
            return Extracted(corpus=corpus, tables=clean, corrupted=worse)


def without(corpus: Corpus, bad: Sequence[SkippedFile]) -> Corpus:
    """The corpus without some utterances, which are added to its skipped files."""
    names = {item.name for item in bad}
    kept = tuple(utterance for utterance in corpus.utterances if utterance.name not in names)
    return dataclasses.replace(corpus, utterances=kept, skipped=(*corpus.skipped, *bad))


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
        workers: processes to use; None for one per core, 1 for none besides this one (openSMILE
            always has one of its own).
        devices: where encoders run, `cuda:0` and the like; empty for the first GPU, else the CPU.
        progress: counts utterances.

    Returns:
        Rows in the order of `corpus.utterances`, memory-mapped.

    Raises:
        ExtractionError: some files cannot be decoded or give features that are not finite.
        FeatureError: no such feature set; no utterances; a file changed since the corpus was
            read; the disk is full.
        MissingExtraError: the feature set needs an extra that is not installed.
    """
    features = feature_set(name) if isinstance(name, str) else name
    how = _Resources(cache=cache, workers=workers, devices=devices, progress=progress or SILENT)
    return _tables(corpus, [features], how)[0]


def _tables(corpus: Corpus, sets: Sequence[FeatureSet], resources: _Resources) -> tuple[Table, ...]:
    """The table of each set; what is missing of all of them is made together, in one pass."""
    if not corpus.utterances:
        raise FeatureError(f"corpus {corpus.spec.code} has no utterances to extract features from")
    cache, rows = resources.cache, len(corpus.utterances)
    keys = [table_key(corpus, features) for features in sets]
    found = {
        key: table for key in keys if (table := existing_table(cache, key, rows=rows)) is not None
    }
    wanted = {key: one for key, one in zip(keys, sets, strict=True) if key not in found}
    sources = {source.key: source for one in wanted.values() for source in one.sources}
    for together in _together(list(sources.values())):
        _fill(corpus, together, resources)
    for key, features in wanted.items():
        found[key] = new_table(
            cache,
            key,
            instants=(rows, INSTANTS, len(features.instants)),
            summary=(rows, len(features.summary)),
            parts=_parts(corpus, features, cache),
        )
    return tuple(found[key] for key in keys)


def table_key(corpus: Corpus, features: FeatureSet) -> str:
    """Name the table of a corpus by the feature set and the audio, in row order."""
    contents = [utterance.content for utterance in corpus.utterances]
    return digest({"features": features.key, "contents": contents})


def _together(sources: Sequence[FeatureSet]) -> list[list[FeatureSet]]:
    """Sets that one pass makes: the layers of an encoder; tables of the user need none."""
    groups: dict[str, list[FeatureSet]] = {}
    for features in sources:
        if features.table is None:
            groups.setdefault(_work(features), []).append(features)
    return list(groups.values())


def _work(features: FeatureSet) -> str:
    layer = features.layer
    if layer is None:
        return features.key
    return digest([layer.encoder.content, layer.precision, layer.context])


def _groups(corpus: Corpus) -> list[tuple[Utterance, ...]]:
    """The utterances of each shard; those of equal content once."""
    first: dict[str, Utterance] = {}
    for utterance in corpus.utterances:
        first.setdefault(utterance.content, utterance)
    return [tuple(first[content] for content in group) for group in divide(list(first))]


def contents_of(utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """Their content hashes."""
    return tuple(utterance.content for utterance in utterances)


def _fill(corpus: Corpus, sources: Sequence[FeatureSet], resources: _Resources) -> None:
    """Make the shards that are missing: of one set, or of layers of an encoder in one pass."""
    groups, cache, progress = _groups(corpus), resources.cache, resources.progress
    if not _missing(sources, groups, cache):
        return
    place = writable(cache)
    for features in sources:
        features.check()
        describe_shards(place, features)
        remove_partial_files(place / "shards" / features.key)
    what = f"{corpus.spec.title}: extracting {sources[0].name} features"
    key = digest({"work": _work(sources[0]), "corpus": corpus.content})
    bad: dict[str, str] = {}
    with lock(place, key, what=what, progress=progress):
        # Another process may have made them meanwhile.
        missing = _missing(sources, groups, cache)
        if not missing:
            return
        progress.start(what, sum(len(groups[number]) for number in missing))
        try:
            for done in _extracted(groups, missing, resources):
                bad.update(done.bad)
                progress.advance(done.count)
        finally:
            progress.stop()
    if bad:
        faulty = [utterance for utterance in corpus.utterances if utterance.content in bad]
        raise ExtractionError(
            [
                SkippedFile(corpus=corpus.spec.code, name=one.name, reason=bad[one.content])
                for one in faulty
            ],
            [
                f"{one.path} with {one.corruption.name}"
                if isinstance(one, Corrupted)
                else str(one.path)
                for one in faulty
            ],
        )


def _missing(
    sources: Sequence[FeatureSet], groups: Sequence[Sequence[Utterance]], cache: Path
) -> dict[int, list[FeatureSet]]:
    """The sets of which the shard of a group is absent or damaged, by the group's number."""
    missing: dict[int, list[FeatureSet]] = {}
    for features in sources:
        for number, group in enumerate(groups):
            if find_shard(cache, features, contents_of(group)) is None:
                missing.setdefault(number, []).append(features)
    return missing


def _extracted(
    groups: Sequence[tuple[Utterance, ...]],
    missing: Mapping[int, Sequence[FeatureSet]],
    resources: _Resources,
) -> Iterator[Done]:
    """Extract groups and write their shards."""
    place = writable(resources.cache)
    features = next(iter(missing.values()))[0]
    if features.layer is None:
        tasks = [
            Task(number=number, features=features, utterances=groups[number], cache=place)
            for number in missing
        ]
        yield from _run(tasks, resources.workers)
        return
    from clser_bench.features.encoders import run  # noqa: PLC0415 (torch, and transformers)

    works = [
        run.Group(utterances=groups[number], features=tuple(sets), cache=place)
        for number, sets in missing.items()
    ]
    yield from run.encode(works, devices=resources.devices)


def _run(tasks: Sequence[Task], workers: int | None) -> Iterator[Done]:
    """Run tasks; where a file kills openSMILE, name it and go on without it."""
    apart = tasks[0].features.module.endswith("opensmile")
    with temporary_folder() as folder:
        trail = folder / "trail"
        trail.mkdir()
        pending = {task.number: task for task in tasks}
        if apart:
            pending = {n: dataclasses.replace(t, trail=trail) for n, t in pending.items()}
        while pending:
            try:
                for done in run_tasks(
                    extract_shard, list(pending.values()), workers=workers, apart=apart
                ):
                    yield done
                    del pending[done.number]
            except WorkerDiedError:
                killers = _killers(pending.values(), trail) if apart else set()
                if not killers:
                    raise
                bad = tuple((content, "openSMILE crashes on it") for content in sorted(killers))
                yield Done(count=len(bad), bad=bad)
                pending = {n: _spared(task, killers) for n, task in pending.items()}


def _killers(tasks: Iterable[Task], trail: Path) -> set[str]:
    """The utterances, of those that were worked on when a worker died, that kill a worker alone."""
    noted = {path.read_text(encoding="ascii") for path in trail.iterdir()}
    killers = set()
    for task in tasks:
        for utterance in task.utterances:
            if utterance.content in noted:
                alone = dataclasses.replace(task, utterances=(utterance,), cache=None, trail=None)
                try:
                    list(run_tasks(extract_shard, [alone], workers=1, apart=True))
                except WorkerDiedError:
                    killers.add(utterance.content)
    return killers


def _spared(task: Task, killers: set[str]) -> Task:
    kept = tuple(one for one in task.utterances if one.content not in killers)
    return dataclasses.replace(task, utterances=kept)


def extract_shard(task: Task) -> Done:
    """Extract the features of a task and write its shard; runs in a worker.

    Raises:
        FeatureError: a file changed since the corpus was read, or the shard cannot be written.
    """
    rows: dict[str, tuple[Floats, Floats]] = {}
    bad = []
    for utterance in task.utterances:
        if task.trail is not None:
            (task.trail / str(os.getpid())).write_text(utterance.content, encoding="ascii")
        found = _extract(task.features, utterance)
        if isinstance(found, str):
            bad.append((utterance.content, found))
        else:
            rows[utterance.content] = found
    if task.cache is not None:
        write_rows(task.cache, task.features, rows)
    return Done(count=len(task.utterances), bad=tuple(bad), number=task.number)


def write_rows(
    cache: Path, features: FeatureSet, rows: Mapping[str, tuple[Floats, Floats]]
) -> None:
    """Write a shard.

    Args:
        cache: a folder that can be written to.
        features: the set.
        rows: instants [t, d] and summary [f] by content hash, ascending; may be empty.
    """
    if rows:
        shard = Shard(
            contents=tuple(rows),
            instants=np.stack([instants for instants, _ in rows.values()]),
            summary=np.stack([summary for _, summary in rows.values()]),
        )
        write_shard(shard_path(cache, features, shard.contents), shard)


def _extract(features: FeatureSet, utterance: Utterance) -> tuple[Floats, Floats] | str:
    """Features of one utterance, or why there are none."""
    try:
        audio = unchanged(utterance)
    except AudioError as error:
        return error.reason
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # Overflow shows as values that are not finite, and those are named below.
            warnings.simplefilter("ignore", RuntimeWarning)
            instants, summary = features.extract(audio.samples, audio.rate)
    except FeatureError as error:
        return str(error)
    except MemoryError:
        return "its features need more memory than there is"
    for names, values in ((features.instants, instants), (features.summary, summary)):
        broken = np.flatnonzero(~np.isfinite(values.reshape(-1, len(names))).all(axis=0))
        if len(broken):
            listed = ", ".join(names[column] for column in broken[:5])
            return (
                f"feature set '{features.name}' gives values that are not finite in {listed}; "
                "listen to the file, and leave it out if it is no speech"
            )
    return instants, summary


def _parts(corpus: Corpus, features: FeatureSet, cache: Path) -> Iterator[Part]:
    """The rows of a table, shard by shard; utterances of equal content get the same."""
    rows: dict[str, list[int]] = {}
    for row, utterance in enumerate(corpus.utterances):
        rows.setdefault(utterance.content, []).append(row)
    for group in _groups(corpus):
        instants, summary = _assembled(features, group, cache)
        pairs = [(row, m) for m, one in enumerate(group) for row in rows[one.content]]
        where, which = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
        yield where, instants[which], summary[which]


def _assembled(
    features: FeatureSet, group: Sequence[Utterance], cache: Path
) -> tuple[Floats, Floats]:
    """Instants [m, t, d] and summaries [m, f] of a group, from shards, tables and parts."""
    if features.table is not None:
        return user_table.select(features.table, group)
    if not features.parts:
        shard = find_shard(cache, features, contents_of(group))
        if shard is None:
            raise FeatureError(
                f"{cache / 'shards' / features.key}: a shard was written and then lost or damaged; "
                "check the disk, and that nothing clears the cache during a run"
            )
        return shard.instants, shard.summary
    found = [_assembled(part, group, cache) for part in features.parts]
    if features.joined:
        return (
            np.concatenate([instants for instants, _ in found], axis=-1),
            np.concatenate([summary for _, summary in found], axis=-1),
        )
    return (
        _mean(
            features.instants,
            [(p.instants, v) for p, (v, _) in zip(features.parts, found, strict=True)],
        ),
        _mean(
            features.summary,
            [(p.summary, v) for p, (_, v) in zip(features.parts, found, strict=True)],
        ),
    )


def _mean(wanted: Sequence[str], parts: Sequence[tuple[Sequence[str], Floats]]) -> Floats:
    """The wanted columns, averaged over the parts.

    The mean of deviations is the mean of the layers' deviations, not the deviation of their mean.
    """
    values = []
    for names, array in parts:
        place = {name: number for number, name in enumerate(names)}
        values.append(array[..., [place[name] for name in wanted]])
    return values[0] if len(values) == 1 else np.mean(values, axis=0, dtype=np.float64).astype("f4")
