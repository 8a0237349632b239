"""The feature table of a corpus: extracted once, in processes, cached, memory-mapped."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TypeVar

import numpy as np

from clser_bench.cleanup import temporary_folder
from clser_bench.corpora.corrupt import Corrupted, Corruption, corrupted_corpus, unchanged
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import AudioError, FeatureError
from clser_bench.features import cache as disk
from clser_bench.features import user_table
from clser_bench.features.columns import INSTANTS
from clser_bench.features.sets import FeatureSet, feature_set
from clser_bench.files import cores
from clser_bench.hashing import digest
from clser_bench.problem import Floats, SkippedFile, Table
from clser_bench.progress import SILENT, Progress, shown

T = TypeVar("T")
R = TypeVar("R")

_NAMED = 10  # files that an error names


class ExtractionError(FeatureError):
    """Features of some utterances cannot be extracted; those of all others were."""

    def __init__(self, bad: Sequence[tuple[str, SkippedFile]]) -> None:
        lines = [f"{path}: {item.reason}" for path, item in bad]
        more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
        count = [f"features of {len(bad)} files cannot be extracted:"] if len(bad) > 1 else []
        super().__init__("\n  ".join([*count, *lines[:_NAMED], *more]))
        self.bad = tuple(item for _, item in bad)


class WorkerDiedError(FeatureError):
    """A worker process died while it worked on a task."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Utterances of which shards are to be made."""

    number: int
    features: tuple[FeatureSet, ...]
    utterances: tuple[Utterance, ...]  # ordered by content
    cache: Path | None  # where shards are written; None to write none
    # a folder where the worker notes the utterance that it works on, or None
    trail: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished piece of work."""

    count: int  # utterances, bad ones among them
    bad: tuple[tuple[str, str], ...] = ()  # content hash and reason of those that have no features
    number: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Extracted:
    """A corpus with its features."""

    corpus: Corpus
    tables: tuple[Table, ...]
    # likewise, of the corrupted corpus; the same as `tables` without a corruption
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

    The values do not depend on workers, order, or on what was extracted before (those of an
    encoder not beyond rounding: 1e-4). An interrupted call keeps its finished shards, and the
    next goes on from there. Several processes may ask for the same table at once.

    `workers` are processes: None for one per core, 1 for none besides this one (openSMILE always
    has one of its own). `devices` are where encoders run, `cuda:0` and the like; empty for the
    first GPU, else the CPU.

    Raises:
        ExtractionError: some files cannot be decoded or give features that are not finite, and
            `skip_bad` is false.
        FeatureError: no utterances; a file changed since the corpus was read; the disk is full.
        MissingExtraError: a feature set needs an extra that is not installed.
    """
    how = functools.partial(
        _Extraction, cache=cache, workers=workers, devices=devices, progress=progress or SILENT
    )
    while True:
        try:
            worse = clean = how(corpus=corpus).tables(sets)
            if corruption is not None:
                worse = how(corpus=corrupted_corpus(corpus, corruption)).tables(sets)
        except ExtractionError as error:
            if not skip_bad:
                raise
            names = {item.name for item in error.bad}
            corpus = dataclasses.replace(
                corpus,
                utterances=tuple(one for one in corpus.utterances if one.name not in names),
                skipped=(*corpus.skipped, *error.bad),
            )
        else:
            return Extracted(corpus=corpus, tables=clean, corrupted=worse)


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

    Rows are in the order of `corpus.utterances`, memory-mapped. FeatureError where there is no
    such feature set; else as for `extract_tables`.
    """
    features = feature_set(name) if isinstance(name, str) else name
    (table,) = extract_tables(
        corpus, (features,), cache=cache, workers=workers, devices=devices, progress=progress
    ).tables
    return table


def table_key(corpus: Corpus, features: FeatureSet) -> str:
    """Name the table of a corpus by the feature set and the audio, in row order."""
    contents = [utterance.content for utterance in corpus.utterances]
    return digest({"features": features.key, "contents": contents})


@dataclass(frozen=True, kw_only=True)
class _Extraction:
    """The features of a corpus: which shards are missing, making them, and tables of them."""

    corpus: Corpus
    cache: Path
    workers: int | None
    devices: tuple[str, ...]
    progress: Progress

    @functools.cached_property
    def groups(self) -> list[tuple[Utterance, ...]]:
        """The utterances of each shard; those of equal content once."""
        first = {one.content: one for one in reversed(self.corpus.utterances)}
        return [tuple(first[content] for content in group) for group in disk.divide(list(first))]

    def tables(self, sets: Sequence[FeatureSet]) -> tuple[Table, ...]:
        """The table of each set; what is missing of all of them is made together, in one pass."""
        rows = len(self.corpus.utterances)
        if not rows:
            raise FeatureError(
                f"corpus {self.corpus.spec.code} has no utterances to extract features from"
            )
        wanted = {table_key(self.corpus, features): features for features in sets}
        found = {key: disk.existing_table(self.cache, key, rows=rows) for key in wanted}
        # Layers of an encoder are made together; tables of the user need no work.
        works: dict[str, dict[str, FeatureSet]] = {}
        missing = [features for key, features in wanted.items() if found[key] is None]
        for source in (source for features in missing for source in features.sources):
            layer, work = source.layer, source.key
            if layer is not None:
                work = digest([layer.encoder.content, layer.precision, layer.context])
            if source.table is None:
                works.setdefault(work, {})[source.key] = source
        for work, sources in works.items():
            self._fill(work, tuple(sources.values()))
        tables = {
            key: found[key]
            or disk.new_table(
                self.cache,
                key,
                instants=(rows, INSTANTS, len(features.instants)),
                summary=(rows, len(features.summary)),
                parts=self._parts(features),
            )
            for key, features in wanted.items()
        }
        return tuple(tables[table_key(self.corpus, features)] for features in sets)

    def _fill(self, work: str, sources: tuple[FeatureSet, ...]) -> None:
        """Make the shards that are missing: of one set, or of layers of an encoder in one pass."""
        if not self._missing(sources):
            return
        corpus, place = self.corpus, disk.writable(self.cache)
        for features in sources:
            features.check()
            disk.describe_shards(place, features)
            disk.remove_partial_files(place / "shards" / features.key)
        what = f"{corpus.spec.title}: extracting {sources[0].name} features"
        bad: dict[str, str] = {}
        key = digest({"work": work, "corpus": corpus.content})
        with disk.lock(place, key, what=what, progress=self.progress):
            # Another process may have made them meanwhile.
            tasks = [
                Task(number=n, features=tuple(sets), utterances=self.groups[n], cache=place)
                for n, sets in self._missing(sources).items()
            ]
            if not tasks:
                return
            with shown(self.progress, what, sum(len(task.utterances) for task in tasks)):
                for done in self._run(tasks):
                    bad.update(done.bad)
                    self.progress.advance(done.count)
        faulty = []
        for one in (one for one in corpus.utterances if one.content in bad):
            worse = f" with {one.corruption.name}" if isinstance(one, Corrupted) else ""
            why, code = bad[one.content], corpus.spec.code
            skipped = SkippedFile(corpus=code, name=one.name, reason=why)
            faulty.append((f"{one.path}{worse}", skipped))
        if faulty:
            raise ExtractionError(faulty)

    def _missing(self, sources: Sequence[FeatureSet]) -> dict[int, list[FeatureSet]]:
        """The sets of which the shard of a group is absent or damaged, by the group's number."""
        missing: dict[int, list[FeatureSet]] = {}
        for features in sources:
            for number, group in enumerate(self.groups):
                if disk.find_shard(self.cache, features, [one.content for one in group]) is None:
                    missing.setdefault(number, []).append(features)
        return missing

    def _run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Extract and write shards; where a file kills openSMILE, name it and go on without it."""
        features = tasks[0].features[0]
        if features.layer is not None:
            from clser_bench.features.encoders import run  # noqa: PLC0415 (torch, transformers)

            yield from run.encode(tasks, devices=self.devices)
            return
        apart = features.module.endswith("opensmile")
        how = functools.partial(run_tasks, extract_shard, workers=self.workers, apart=apart)
        with temporary_folder() as trail:
            noted = trail if apart else None
            pending = {task.number: dataclasses.replace(task, trail=noted) for task in tasks}
            while pending:
                try:
                    for done in how(list(pending.values())):
                        yield done
                        del pending[done.number]
                except WorkerDiedError:
                    killers = _killers(pending.values(), trail)
                    if not killers:
                        raise
                    bad = tuple((one, "openSMILE crashes on it") for one in sorted(killers))
                    yield Done(count=len(bad), bad=bad)
                    for number, task in pending.items():
                        kept = tuple(u for u in task.utterances if u.content not in killers)
                        pending[number] = dataclasses.replace(task, utterances=kept)

    def _parts(self, features: FeatureSet) -> Iterator[disk.Part]:
        """The rows of a table, shard by shard; utterances of equal content get the same."""
        rows: dict[str, list[int]] = {}
        for row, utterance in enumerate(self.corpus.utterances):
            rows.setdefault(utterance.content, []).append(row)
        for group in self.groups:
            instants, summary = _assembled(features, group, self.cache)
            places = [rows[one.content] for one in group]
            which = np.repeat(np.arange(len(group)), [len(place) for place in places])
            yield np.concatenate(places), instants[which], summary[which]


def _killers(tasks: Iterable[Task], trail: Path) -> set[str]:
    """The utterances, of those that were worked on when a worker died, that kill a worker alone."""
    noted = {path.read_text(encoding="ascii") for path in trail.iterdir()}
    killers = set()
    for task in tasks:
        for utterance in (one for one in task.utterances if one.content in noted):
            alone = dataclasses.replace(task, utterances=(utterance,), cache=None, trail=None)
            try:
                list(run_tasks(extract_shard, [alone], workers=1, apart=True))
            except WorkerDiedError:
                killers.add(utterance.content)
    return killers


def extract_shard(task: Task) -> Done:
    """Extract the features of a task and write its shard; runs in a worker."""
    (features,) = task.features
    rows: dict[str, tuple[Floats, Floats]] = {}
    bad = []
    for utterance in task.utterances:
        if task.trail is not None:
            (task.trail / str(os.getpid())).write_text(utterance.content, encoding="ascii")
        found = _extract(features, utterance)
        if isinstance(found, str):
            bad.append((utterance.content, found))
        else:
            rows[utterance.content] = found
    if task.cache is not None:
        write_rows(task.cache, features, rows)
    return Done(count=len(task.utterances), bad=tuple(bad), number=task.number)


def write_rows(
    cache: Path, features: FeatureSet, rows: Mapping[str, tuple[Floats, Floats]]
) -> None:
    """Write a shard: instants [t, d] and summary [f] by content hash, ascending; may be empty."""
    if rows:
        shard = disk.Shard(
            contents=tuple(rows),
            instants=np.stack([instants for instants, _ in rows.values()]),
            summary=np.stack([summary for _, summary in rows.values()]),
        )
        disk.write_shard(disk.shard_path(cache, features, shard.contents), shard)


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


def _assembled(
    features: FeatureSet, group: Sequence[Utterance], cache: Path
) -> tuple[Floats, Floats]:
    """Instants [m, t, d] and summaries [m, f] of a group, from shards, tables and parts."""
    if features.table is not None:
        return user_table.select(features.table, group)
    if not features.parts:
        shard = disk.find_shard(cache, features, [one.content for one in group])
        if shard is None:
            raise FeatureError(
                f"{cache / 'shards' / features.key}: a shard was written and then lost or damaged; "
                "check the disk, and that nothing clears the cache during a run"
            )
        return shard.instants, shard.summary
    found = [_assembled(part, group, cache) for part in features.parts]
    if features.joined:
        instants, summary = ([values[kind] for values in found] for kind in (0, 1))
        return np.concatenate(instants, axis=-1), np.concatenate(summary, axis=-1)
    made = []
    for kind, wanted in enumerate((features.instants, features.summary)):
        values = []
        for part, arrays in zip(features.parts, found, strict=True):
            names = part.summary if kind else part.instants
            place = {name: number for number, name in enumerate(names)}
            values.append(arrays[kind][..., [place[name] for name in wanted]])
        # The mean of deviations is that of the layers' deviations, not the deviation of their mean.
        several = len(values) > 1
        made.append(np.mean(values, 0, dtype=np.float64).astype("f4") if several else values[0])
    return made[0], made[1]


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    workers: int | None,
    apart: bool = False,
    devices: Sequence[str] = (),
) -> Iterator[R]:
    """Run a function on each task, in processes where that pays; results as tasks finish.

    When the caller stops (an error, Ctrl-C, leaving the loop), tasks that have begun are ended
    in order and no other is begun. When this process is killed, the workers end by themselves.

    The function is importable by name. `workers` are processes, None for one per core; with 1, or
    for one task, everything runs in this process, unless `apart`: the function may kill the one
    that runs it, which raises `WorkerDiedError`. Of `devices`, each process has one (`own_device`).
    """
    count = min(cores() if workers is None else workers, len(tasks))
    if count < 2 and not (tasks and (apart or devices)):
        yield from map(function, tasks)
        return
    # Spawn: a fork after torch has started its threads can hang.
    context = multiprocessing.get_context("spawn")
    places = context.SimpleQueue()
    for place in devices:
        places.put(place)
    pool = ProcessPoolExecutor(
        max(count, 1), mp_context=context, initializer=_begin, initargs=(places,)
    )
    try:
        waiting = {pool.submit(function, task) for task in tasks}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise WorkerDiedError(
            "a worker process died unexpectedly: out of memory, or killed, or started from a "
            "script without `if __name__ == '__main__':`; run again with fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_devices: list[str] = []


def own_device() -> str:
    """The device that this worker of `run_tasks`, and no other, has."""
    return _devices[0]


def _begin(devices: multiprocessing.SimpleQueue[str]) -> None:
    """Prepare a worker: Ctrl-C is the parent's to handle, and without the parent it ends."""
    if not devices.empty():
        _devices.append(devices.get())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    """End this process when its parent is gone."""
    connection.wait([sentinel])
    os._exit(1)
