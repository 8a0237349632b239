"""What is known of each audio file after one decoding, kept between runs."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clser_bench.corpora.audio import Audio, content_hash, decode
from clser_bench.errors import AudioError
from clser_bench.hashing import digest
from clser_bench.progress import SILENT, Progress

_FORMAT = 1
_FULL_SCALE = 1 - 2.0**-15  # the largest sample that 16 bits hold


@dataclass(frozen=True)
class Sound:
    """One audio file in figures.

    Attributes:
        content: SHA-256 of rate and samples, 64 hexadecimal digits.
        seconds: duration.
        rate: samples per second.
        peak: largest absolute sample; full scale is 1.
        rms: root of the mean square.
        clipped: share of samples at full scale, 0 to 1.
    """

    content: str
    seconds: float
    rate: int
    peak: float
    rms: float
    clipped: float


_Stamp = tuple[int, int]
_Known = dict[str, tuple[_Stamp, Sound]]


def measure(
    files: Mapping[str, Path],
    root: Path,
    *,
    cache: Path,
    what: str,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Sound | AudioError]:
    """Decode each file that is new or changed, and recall the others.

    A file is known again by its absolute path, size and time of change. Broken files are tried
    anew each time.

    Args:
        files: name to path, in the order of the result.
        root: the corpus folder; one index is kept for each.
        cache: the cache folder.
        what: for the progress display.
        workers: threads that decode; None takes the cores this process may use.
        progress: told of each file.

    Returns:
        For each name its figures, or what is wrong with the file.
    """
    place = _place(root, cache)
    known = _load(place)
    stamps = {name: _stamp(path) for name, path in files.items()}
    fresh = {
        name: path
        for name, path in files.items()
        if str(path) not in known or known[str(path)][0] != stamps[name]
    }
    made = _decode_all(fresh, what, workers or _cores(), progress or SILENT) if fresh else {}
    for name, sound in made.items():
        stamp = stamps[name]
        if isinstance(sound, Sound) and stamp is not None:
            known[str(files[name])] = (stamp, sound)
    if made:
        _save(place, known)
    return {name: made[name] if name in made else known[str(files[name])][1] for name in files}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode_all(
    files: Mapping[str, Path], what: str, workers: int, progress: Progress
) -> dict[str, Sound | AudioError]:
    made = {}
    progress.start(what, len(files))
    try:
        # threads suffice: decoding and hashing release the interpreter's lock
        with ThreadPoolExecutor(workers) as pool:
            for name, sound in zip(files, pool.map(_sound, files.values()), strict=True):
                made[name] = sound
                progress.advance()
    finally:
        progress.stop()
    return made


def _sound(path: Path) -> Sound | AudioError:
    try:
        return figures(decode(path))
    except AudioError as error:
        return error


def figures(audio: Audio) -> Sound:
    """Sum audio up.

    Args:
        audio: as decoded, not resampled.
    """
    size = np.abs(audio.samples)
    return Sound(
        content=content_hash(audio),
        seconds=audio.seconds,
        rate=audio.rate,
        peak=float(size.max()),
        rms=float(np.sqrt(np.mean(np.square(size, dtype=np.float64)))),
        clipped=float(np.mean(size >= _FULL_SCALE)),
    )


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _place(root: Path, cache: Path) -> Path:
    return cache / "audio" / f"{digest(str(root.resolve()))[:32]}.json"


def _load(place: Path) -> _Known:
    """Read an index; anything that is not one, whatever the reason, is as good as none."""
    try:
        read = json.loads(place.read_text(encoding="utf-8"))
        if read["format"] != _FORMAT:
            return {}
        rows = read["files"].items()
        return {path: ((size, time), _checked(row)) for path, (size, time, row) in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _checked(row: list[Any]) -> Sound:
    sound = Sound(*row)
    wanted = [str, float, int, float, float, float]
    if [type(value) for value in row] != wanted or len(sound.content) != 64:
        raise ValueError("not a row of the index")
    return sound


def _save(place: Path, known: _Known) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        path: [*stamp, list(dataclasses.astuple(sound))] for path, (stamp, sound) in known.items()
    }
    text = json.dumps({"format": _FORMAT, "files": rows})
    handle, name = tempfile.mkstemp(dir=place.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(place)
