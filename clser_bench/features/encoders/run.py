"""Shards made by an encoder: decoding ahead, batches of like length, several devices."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from clser_bench.corpora.corrupt import unchanged
from clser_bench.corpora.model import Utterance
from clser_bench.errors import AudioError, FeatureError
from clser_bench.features.columns import INSTANTS, pool, pooled
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.extract import Done, Task, own_device, run_tasks, write_rows
from clser_bench.features.sets import LONGEST_SECONDS, Layer
from clser_bench.files import cores
from clser_bench.problem import Floats

CPU_SECONDS = 12
"""Seconds of speech in a batch on a CPU; larger ones leave its caches (benchmarks/features.py)."""

SECONDS_A_GIBIBYTE = 8
"""Seconds of speech in a batch for each GiB of a GPU's memory."""

WINDOW_SECONDS = 480
WINDOW_BATCHES = 8
"""Speech that is planned together: at least so many seconds and batches. Enough utterances to find
others of like length; and what a killed run loses."""

PACKED = 3
"""How many times the speech is in a batch where frames are packed without padding."""

PADDING = 0.05
"""The largest share of padding in a batch."""

_AHEAD_THREADS = 2

load = functools.lru_cache(maxsize=1)(Loaded)
"""Load an encoder; the last one is kept."""


def encode(tasks: Sequence[Task], *, devices: Sequence[str] = ()) -> Iterator[Done]:
    """Make the shards of some layers of one encoder in one pass.

    Devices are `cuda:0` and the like, each with a process of its own where there are several; none
    for the first GPU, else the CPU. FeatureError where one is not there, or a file changed.
    """
    places = tuple(devices) or ("cuda:0" if torch.cuda.is_available() else "cpu",)
    for place in places:
        try:
            torch.empty(1, device=torch.device(place))
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise FeatureError(
                f"device '{place}' cannot be used ({reason}); write cpu or cuda:0"
            ) from error
    budget = min(batch_seconds(place) for place in places)
    windows: list[list[Task]] = []
    speech = np.inf  # of the last window, seconds
    for task in tasks:
        if speech >= max(WINDOW_SECONDS, budget * WINDOW_BATCHES):
            windows.append([])
            speech = 0.0
        windows[-1].append(task)
        speech += sum(one.seconds for one in task.utterances)
    layers = {one.layer for task in tasks for one in task.features if one.layer is not None}
    how = functools.partial(
        _encode_window,
        layers=tuple(sorted(layers, key=lambda layer: layer.number)),
        seconds=budget,
        threads=max(1, cores() // len(places)),
    )
    if len(places) == 1:
        for window in windows:
            yield from how(window, device=places[0])
    else:
        on_own_device = functools.partial(_on_own_device, how)
        for done in run_tasks(on_own_device, windows, workers=len(places), devices=places):
            yield from done


def _on_own_device(how: functools.partial[Iterator[Done]], window: list[Task]) -> list[Done]:
    return list(how(window, device=own_device()))


def _encode_window(
    tasks: Sequence[Task], *, device: str, layers: Sequence[Layer], seconds: float, threads: int
) -> Iterator[Done]:
    """Encode and write some tasks, and yield each when it is written."""
    torch.set_num_threads(threads)
    first, numbers = layers[0], tuple(layer.number for layer in layers)
    how = {"precision": first.precision, "context": first.context}
    loaded = load(first.encoder, numbers, device=device, **how)
    everyone = [utterance for task in tasks for utterance in task.utterances]
    rows: dict[str, list[tuple[Floats, Floats]] | str] = {}
    with ThreadPoolExecutor(_AHEAD_THREADS) as ahead:
        planned = batches(everyone, loaded, seconds)
        order = [place for batch in planned for place in batch]
        waiting = {place: ahead.submit(_prepared, loaded, everyone[place]) for place in order}
        try:
            for batch in planned:
                ready = {everyone[n].content: waiting.pop(n).result() for n in batch}
                rows |= {key: one for key, one in ready.items() if isinstance(one, str)}
                good = {key: one for key, one in ready.items() if not isinstance(one, str)}
                for key, states in zip(good, _encoded(loaded, list(good.values())), strict=True):
                    rows[key] = _pooled(states, layers)
        finally:
            ahead.shutdown(wait=True, cancel_futures=True)
    for task in tasks:
        found = {one.content: rows[one.content] for one in task.utterances}
        good_rows = {key: row for key, row in found.items() if not isinstance(row, str)}
        for features in task.features:
            if features.layer is not None and task.cache is not None:
                at = numbers.index(features.layer.number)
                write_rows(task.cache, features, {key: r[at] for key, r in good_rows.items()})
        bad = tuple((key, row) for key, row in found.items() if isinstance(row, str))
        yield Done(count=len(found), bad=bad, number=task.number)


def batches(
    utterances: Sequence[Utterance], loaded: Loaded, seconds: float
) -> tuple[tuple[int, ...], ...]:
    """Plan batches from what is known of utterances before they are decoded."""
    rate = loaded.encoder.rate
    longest = round(LONGEST_SECONDS * rate)
    lengths = [min(round(u.seconds * rate), longest) for u in utterances]
    if loaded.context == "30s":
        lengths = [longest] * len(lengths)
    padding = PADDING if loaded.padding else 0.0
    if loaded.packed:  # nothing is padded, and many utterances share what is loaded of a level
        seconds, padding = seconds * PACKED, 1.0
    return plan(lengths, longest=round(seconds * rate), padding=padding)


def _prepared(loaded: Loaded, utterance: Utterance) -> list[Floats] | str:
    """The pieces of an utterance, or why there are none."""
    try:
        return loaded.prepare(unchanged(utterance, rate=loaded.encoder.rate).samples)
    except AudioError as error:
        return error.reason
    except MemoryError:
        return "its features need more memory than there is"


def _encoded(loaded: Loaded, utterances: Sequence[list[Floats]]) -> list[list[Floats]]:
    """The frames of each utterance of a batch at each layer, pieces joined."""
    together: dict[int, list[int]] = {}
    found: dict[int, list[Floats]] = {}
    for place, pieces in enumerate(utterances):
        if len(pieces) > 1:
            parts = [_run(loaded, [piece])[0] for piece in pieces]
            found[place] = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
        else:
            together.setdefault(0 if loaded.padding else len(pieces[0]), []).append(place)
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


def _pooled(frames: Sequence[Floats], layers: Sequence[Layer]) -> list[tuple[Floats, Floats]] | str:
    """Instants and summary (mean and deviation over frames) of each layer, or why not."""
    for layer, states in zip(layers, frames, strict=True):
        if not np.isfinite(states).all():
            return (
                f"layer {layer.number} of '{layer.encoder.name}' gives values that are not finite "
                f"({layer.precision}); try precision=float32, or leave the file out"
            )
    return [(pool(states, INSTANTS), pooled(states, "mean+sd")) for states in frames]


def batch_seconds(device: str) -> float:
    """How many seconds of speech a batch has on a device."""
    if not device.startswith("cuda"):
        return CPU_SECONDS
    memory = torch.cuda.get_device_properties(torch.device(device)).total_memory
    return max(2 * CPU_SECONDS, SECONDS_A_GIBIBYTE * memory / 2**30)


def plan(
    lengths: Sequence[int], *, longest: int, padding: float = PADDING
) -> tuple[tuple[int, ...], ...]:
    """Cut utterances of these samples into batches of like length: positions, each once.

    A batch has at most `longest` samples, padding included, unless it is one utterance, and at most
    the share `padding` of padding; 0 puts equal lengths together only. The longest batches come
    first, so that memory that does not suffice shows at once.
    """
    planned: list[list[int]] = []
    total = 0
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        # The first of a batch is its longest: all others are padded to it.
        full = lengths[planned[-1][0]] * (len(planned[-1]) + 1) if planned else 0
        spare = full - total - lengths[place]
        if not planned or full > longest or spare > padding * full:
            planned.append([])
            total = 0
        planned[-1].append(place)
        total += lengths[place]
    return tuple(map(tuple, planned))
