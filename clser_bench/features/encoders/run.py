"""Shards made by an encoder: decoding ahead, batches of like length, several devices."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from clser_bench.corpora.model import Utterance
from clser_bench.errors import FeatureError
from clser_bench.features.encoders.batches import plan
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.encoders.models import Encoder
from clser_bench.features.encoders.names import Precision
from clser_bench.features.pooling import pool
from clser_bench.features.reading import unchanged
from clser_bench.features.sets import INSTANTS, LONGEST_SECONDS, FeatureSet
from clser_bench.features.shards import Shard, write_shard
from clser_bench.features.workers import cores, run_tasks
from clser_bench.problem import Floats

CPU_SECONDS = 12
"""Seconds of speech in a batch on a CPU; larger ones leave its caches (benchmarks/features.py)."""

SECONDS_A_GIBIBYTE = 8
"""Seconds of speech in a batch for each GiB of a GPU's memory."""

WINDOW_SECONDS = 480
WINDOW_BATCHES = 8
"""Speech that is planned together: at least so many seconds and batches. Enough utterances to find
others of like length; and what a killed run loses."""

_AHEAD_THREADS = 2

Pieces = list[Floats]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The utterances of one shard, and the shards that are to be made of them.

    Attributes:
        utterances: in the order of the shard's rows.
        paths: number of the layer to the shard's file.
    """

    utterances: tuple[Utterance, ...]
    paths: Mapping[int, Path]

    @property
    def seconds(self) -> float:
        """Of speech."""
        return sum(utterance.seconds for utterance in self.utterances)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Groups that are encoded together."""

    encoder: Encoder
    layers: tuple[int, ...]
    precision: Precision
    groups: tuple[Group, ...]
    batch_seconds: float
    threads: int


def encode(
    features: Sequence[FeatureSet], groups: Sequence[Group], *, devices: Sequence[str] = ()
) -> Iterator[int]:
    """Make the shards of some layers of one encoder in one pass.

    Args:
        features: sets that are layers of the same encoder.
        groups: what is missing.
        devices: `cuda:0,cuda:1` and the like, each with a process of its own where there are
            several; empty for the first GPU, else the CPU.

    Yields:
        Numbers of utterances, as they are finished and written.

    Raises:
        FeatureError: a file changed, a device is not there, a value is not finite, a shard
            cannot be written.
        AudioError: a file cannot be decoded.
    """
    layers = [item.layer for item in features if item.layer is not None]
    places = tuple(devices) or (_device(),)
    for place in places:
        _check_device(place)
    budget = min(batch_seconds(place) for place in places)
    speech = max(WINDOW_SECONDS, budget * WINDOW_BATCHES)
    windows = tuple(
        Window(
            encoder=layers[0].encoder,
            layers=tuple(sorted(layer.number for layer in layers)),
            precision=layers[0].precision,
            groups=members,
            batch_seconds=budget,
            threads=max(1, cores() // len(places)),
        )
        for members in _windows(groups, speech)
    )
    if len(places) == 1:
        for window in windows:
            yield from encode_window(window, places[0])
        return
    with tempfile.TemporaryDirectory() as claims:
        tasks = [(window, places, Path(claims)) for window in windows]
        for counts in run_tasks(_on_own_device, tasks, workers=len(places)):
            yield from counts


def _on_own_device(task: tuple[Window, tuple[str, ...], Path]) -> list[int]:
    """Encode a window on the device of this process; runs in a worker."""
    window, places, claims = task
    return list(encode_window(window, _own_device(places, claims)))


@functools.cache
def _own_device(places: tuple[str, ...], claims: Path) -> str:
    """A device that no other process of this run has: it and its model stay together.

    The lock is held as long as the process lives.
    """
    for number, place in enumerate(places):
        lock = FileLock(claims / str(number))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        return place
    raise FeatureError(f"more processes than devices ({', '.join(places)})")


_held: list[FileLock] = []


def _windows(groups: Sequence[Group], seconds: float) -> Iterator[tuple[Group, ...]]:
    members: list[Group] = []
    for group in groups:
        members.append(group)
        if sum(member.seconds for member in members) >= seconds:
            yield tuple(members)
            members = []
    if members:
        yield tuple(members)


def encode_window(window: Window, device: str) -> Iterator[int]:
    """Encode and write the groups of a window.

    Args:
        window: what to do.
        device: where.

    Yields:
        How many utterances each group had, as they are written.
    """
    torch.set_num_threads(window.threads)
    loaded = load(window.encoder, window.layers, window.precision, device)
    everyone = [utterance for group in window.groups for utterance in group.utterances]
    rows: dict[str, list[tuple[Floats, Floats]]] = {}
    with ThreadPoolExecutor(_AHEAD_THREADS) as ahead:
        planned = batches(everyone, loaded, window.batch_seconds)
        waiting = {
            place: ahead.submit(_prepared, loaded, everyone[place])
            for batch in planned
            for place in batch
        }
        try:
            for batch in planned:
                found = _encoded(loaded, [waiting.pop(place) for place in batch])
                for place, frames in zip(batch, found, strict=True):
                    rows[everyone[place].content] = _pooled(frames, everyone[place], window)
        finally:
            ahead.shutdown(wait=True, cancel_futures=True)
    for group in window.groups:
        for index, layer in enumerate(window.layers):
            if layer in group.paths:
                _write(
                    group, group.paths[layer], [rows[u.content][index] for u in group.utterances]
                )
        yield len(group.utterances)


def batches(
    utterances: Sequence[Utterance], loaded: Loaded, seconds: float
) -> tuple[tuple[int, ...], ...]:
    """Plan batches from what is known of utterances before they are decoded.

    Args:
        utterances: any.
        loaded: the encoder.
        seconds: of speech in a batch, at most.

    Returns:
        Positions in `utterances`.
    """
    rate = loaded.encoder.rate
    longest = round(LONGEST_SECONDS * rate)
    lengths = [min(round(u.seconds * rate), longest) for u in utterances]
    if loaded.whisper:
        lengths = [longest] * len(lengths)
    return plan(
        lengths, longest=round(seconds * rate), **({} if loaded.padding else {"padding": 0.0})
    )


def _prepared(loaded: Loaded, utterance: Utterance) -> Pieces:
    return loaded.prepare(unchanged(utterance, rate=loaded.encoder.rate).samples)


def _encoded(loaded: Loaded, waiting: Sequence[Future[Pieces]]) -> list[list[Floats]]:
    """The frames of each utterance of a batch at each layer, pieces joined."""
    utterances = [future.result() for future in waiting]
    together: dict[object, list[int]] = {}
    found: dict[int, list[Floats]] = {}
    for place, pieces in enumerate(utterances):
        if len(pieces) > 1:
            parts = [_run(loaded, [piece])[0] for piece in pieces]
            found[place] = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
        else:
            key = None if loaded.padding else len(pieces[0])
            together.setdefault(key, []).append(place)
    for places in together.values():
        frames = _run(loaded, [utterances[place][0] for place in places])
        found.update(zip(places, frames, strict=True))
    return [found[place] for place in range(len(utterances))]


def _run(loaded: Loaded, pieces: Sequence[Floats]) -> list[list[Floats]]:
    """Run a batch, in halves where the device's memory does not suffice."""
    try:
        return loaded.run(pieces)
    except torch.OutOfMemoryError as error:
        if len(pieces) == 1:
            raise FeatureError(
                f"encoder '{loaded.encoder.name}': one utterance does not fit into the memory of "
                f"{loaded.device}; use --devices cpu, or precision=bf16"
            ) from error
    torch.cuda.empty_cache()
    middle = len(pieces) // 2
    return [*_run(loaded, pieces[:middle]), *_run(loaded, pieces[middle:])]


def _pooled(
    frames: Sequence[Floats], utterance: Utterance, window: Window
) -> list[tuple[Floats, Floats]]:
    """Instants and summary (mean and deviation over the frames) of each layer."""
    made = []
    for layer, states in zip(window.layers, frames, strict=True):
        if not np.isfinite(states).all():
            raise FeatureError(
                f"{utterance.path}: layer {layer} of '{window.encoder.name}' gives values that are "
                f"not finite ({window.precision}); try precision=float32, or leave the file out"
            )
        wide = states.astype(np.float64)
        summary = np.concatenate([wide.mean(axis=0), wide.std(axis=0)]).astype(np.float32)
        made.append((pool(states, INSTANTS), summary))
    return made


def _write(group: Group, path: Path, rows: Sequence[tuple[Floats, Floats]]) -> None:
    shard = Shard(
        contents=tuple(utterance.content for utterance in group.utterances),
        instants=np.stack([instants for instants, _ in rows]),
        summary=np.stack([summary for _, summary in rows]),
    )
    write_shard(path, shard)


@functools.lru_cache(maxsize=1)
def load(encoder: Encoder, layers: tuple[int, ...], precision: Precision, device: str) -> Loaded:
    """Load an encoder; the last one is kept. Arguments as for `Loaded`."""
    return Loaded(encoder, layers, precision=precision, device=device)


def _device() -> str:
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise FeatureError(f"device '{name}' cannot be used ({reason}); write cpu or cuda:0") from (
            error
        )


def batch_seconds(device: str) -> float:
    """How many seconds of speech a batch has on a device."""
    if not device.startswith("cuda"):
        return CPU_SECONDS
    memory = torch.cuda.get_device_properties(torch.device(device)).total_memory
    return max(2 * CPU_SECONDS, SECONDS_A_GIBIBYTE * memory / 2**30)
