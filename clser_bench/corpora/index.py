"""Figures of each audio file after one decoding, kept between runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clser_bench.corpora.audio import mono_blocks
from clser_bench.corpora.model import Utterance
from clser_bench.errors import AudioError
from clser_bench.files import write_whole
from clser_bench.hashing import digest
from clser_bench.progress import SILENT, Progress, shown

_HEADER = "clser-bench audio index 3 "
_EARLIER = b'{"format": 1', b"clser-bench audio index 2 "
_FRAMES, _PARTS = 200, 64  # a second, and an utterance
_FULL_SCALE = 1 - 2.0**-15  # the largest sample that 16 bits hold


@dataclass(frozen=True)
class Sound:
    """One utterance in figures."""

    content: str  # SHA-256 of rate and samples, 64 hexadecimal digits
    seconds: float  # duration
    rate: int  # samples per second
    peak: float  # largest absolute sample; full scale is 1
    rms: float  # root of the mean square
    clipped: float  # share of samples at full scale, 0 to 1
    shape: str  # its loudness over time, 128 hexadecimal digits (`_shape`)


_Stamp = tuple[int, int, int, int]
_Known = dict[str, tuple[_Stamp, Sound]]


def measure(
    utterances: Sequence[Utterance],
    root: Path,
    *,
    cache: Path,
    what: str,
    recall: bool = True,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> tuple[dict[str, Sound | AudioError], tuple[str, ...]]:
    """Decode each utterance whose file is new or changed; recall the others, where `recall` is set.

    A file is the same as before if its path, size, times of change (of content and of inode) and
    inode are: a file that took another's name is noticed. Broken files are tried again each time.
    By name the figures, or what is wrong with the file; and what is wrong with the index of the
    folder `root` itself, a sentence each.
    """
    place = cache / "audio" / f"{digest(str(root.resolve()))[:32]}.json"
    known, trouble = _load(place)
    stamps = {path: _stamp(path) for path in {item.path for item in utterances}}
    fresh = [
        item
        for item in utterances
        if not recall or _key(item) not in known or known[_key(item)][0] != stamps[item.path]
    ]
    sounds: dict[str, Sound | AudioError] = {}
    if fresh:
        with shown(progress, what, len(fresh)):
            # no thread for what is absent, which may be all of a long table
            for item in (item for item in fresh if stamps[item.path] is None):
                progress.advance()
                sounds[item.name] = _sound(item)
            fresh = [item for item in fresh if item.name not in sounds]
            # threads suffice: decoding and hashing release the interpreter's lock
            with ThreadPoolExecutor(workers or cores()) as pool:
                for item, sound in zip(fresh, pool.map(_sound, fresh), strict=True):
                    progress.advance()
                    sounds[item.name] = sound
                    stamp = stamps[item.path]
                    if isinstance(sound, Sound) and stamp is not None:
                        known[_key(item)] = (stamp, sound)
        trouble += _save(place, known)
    for item in utterances:
        if item.name not in sounds:
            sounds[item.name] = known[_key(item)][1]
    return {item.name: sounds[item.name] for item in utterances}, trouble


def figures(rate_and_samples: Iterable[tuple[int, np.ndarray[Any, Any]]]) -> Sound:
    """Sum up blocks of one rate in Hz and float32 [samples], at least one sample in all."""
    state = hashlib.sha256()
    count, rate, full = 0, 0, 0
    peak = energy = 0.0
    frames = []
    for rate, samples in rate_and_samples:
        if not count:
            state.update(f"{rate}\n".encode("ascii"))
        state.update(np.ascontiguousarray(samples, dtype="<f4").data)
        size = np.abs(samples)
        count += len(samples)
        peak = max(peak, float(size.max()))
        squares = np.square(size, dtype=np.float64)
        energy += float(np.sum(squares))
        frame = max(1, rate // _FRAMES)
        frames.append(squares[: len(size) // frame * frame].reshape(-1, frame).sum(axis=1))
        full += int(np.sum(size >= _FULL_SCALE))
    return Sound(
        content=state.hexdigest(),
        seconds=count / rate,
        rate=rate,
        peak=peak,
        rms=math.sqrt(energy / count),
        clipped=full / count,
        shape=_shape(np.concatenate(frames)),
    )


def _shape(frames: np.ndarray[Any, Any]) -> str:
    """How far each of 64 equal parts is below the loudest, in tenths of a decibel up to 20.

    Neither gain nor encoding changes it by much (`corpora.model.alike`).

    Args:
        frames: energies of a 200th of a second each.

    Returns:
        A byte a part, in hexadecimal; empty where there is no sound, or less than 0.32 s of it.
    """
    if len(frames) < _PARTS:
        return ""
    total = np.concatenate([[0.0], np.cumsum(frames)])
    edges = np.linspace(0, len(frames), _PARTS + 1)
    parts = np.diff(np.interp(edges, np.arange(len(total)), total))
    most = float(parts.max())
    if not most > 0:
        return ""
    levels = 100 * np.log10(most / np.maximum(parts, most / 100))
    return bytes(np.rint(levels).astype(np.uint8)).hex()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _key(item: Utterance) -> str:
    whole = item.start == 0.0 and item.end is None
    return str(item.path) if whole else f"{item.path}\n{item.start!r} {item.end!r}"


def _sound(item: Utterance) -> Sound | AudioError:
    try:
        return figures(mono_blocks(item.path, start=item.start, end=item.end))
    except AudioError as error:
        return error


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _load(place: Path) -> tuple[_Known, tuple[str, ...]]:
    """Read an index; one of another format is as good as none."""
    try:
        header, _, body = place.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        why = f"{place}: cannot be read ({error.strerror}); its recordings are decoded again"
        return {}, (why,)
    if header.startswith(_EARLIER):
        return {}, ()
    damaged = (f"{place}: is damaged; its recordings are decoded again",)
    if header != f"{_HEADER}{hashlib.sha256(body).hexdigest()}".encode():
        return {}, damaged
    try:
        rows = json.loads(body).items()
        return {key: (tuple(stamp), Sound(*row)) for key, (stamp, row) in rows}, ()
    except (ValueError, TypeError, AttributeError):
        return {}, damaged


def _save(place: Path, known: _Known) -> tuple[str, ...]:
    rows = {key: [stamp, dataclasses.astuple(sound)] for key, (stamp, sound) in known.items()}
    body = json.dumps(rows).encode()
    try:
        content = f"{_HEADER}{hashlib.sha256(body).hexdigest()}\n".encode() + body
        write_whole(place, content, error=None)
    except OSError as error:
        why = f"{place.parent}: cannot be written ({error.strerror})"
        return (f"{why}; recordings are decoded again by every command",)
    return ()
