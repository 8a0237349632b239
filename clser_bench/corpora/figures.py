"""Figures of recordings, each decoded once: of a file, of an utterance, of a corpus.

What was measured stays in the cache; files that changed since are decoded again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from clser_bench.corpora.audio import mono_blocks
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import AudioError, CorpusError
from clser_bench.files import cache_folder, cores, regular_size, write_whole
from clser_bench.hashing import digest
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import EMOTIONS

RECOGNITION = {"emodb": "erkennung.txt"}
"""Corpora that come with the share of listeners who recognised each file: name to file."""

_HEADER = "clser-bench audio index 3 "
_EARLIER = b'{"format": 1', b"clser-bench audio index 2 "
_FRAMES, _PARTS = 200, 64  # a second, and an utterance
_FULL_SCALE = 1 - 2.0**-15  # the largest sample that 16 bits hold
_SILENT = 1e-3  # root mean square below which a recording counts as silent
_CLIPPED = 1e-3  # share of samples at full scale from which it counts as clipped
_NAME, _RATE = "Satz", "erkannt"
_PERCENT = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{1,6})?")
_LARGEST = 1 << 20  # bytes of a table of recognition rates; the original has 25 thousand
_SHOWN = 60  # characters of a wrong value


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


_Stamp = tuple[int, ...]
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
        with shown(progress, what, len(fresh)), ThreadPoolExecutor(workers or cores()) as pool:
            # no thread for what is absent, which may be all of a long table
            absent = [item for item in fresh if stamps[item.path] is None]
            present = [item for item in fresh if stamps[item.path] is not None]
            # threads suffice: decoding and hashing release the interpreter's lock
            measured = ((absent, map(_sound, absent)), (present, pool.map(_sound, present)))
            for items, found in measured:
                for item, sound in zip(items, found, strict=True):
                    progress.advance()
                    sounds[item.name] = sound
                    stamp = stamps[item.path]
                    if isinstance(sound, Sound) and stamp is not None:
                        known[_key(item)] = (stamp, sound)
        trouble += _save(place, known)
    return {
        item.name: sounds[item.name] if item.name in sounds else known[_key(item)][1]
        for item in utterances
    }, trouble


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
    rms = math.sqrt(energy / count)
    shape = _shape(np.concatenate(frames))
    return Sound(state.hexdigest(), count / rate, rate, peak, rms, full / count, shape)


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
        if header.startswith(_EARLIER):
            return {}, ()
        if header == f"{_HEADER}{hashlib.sha256(body).hexdigest()}".encode():
            rows = json.loads(body).items()
            return {key: (tuple(stamp), Sound(*row)) for key, (stamp, row) in rows}, ()
        what = "is damaged"
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    except (ValueError, TypeError, AttributeError):
        what = "is damaged"
    return {}, (f"{place}: {what}; its recordings are decoded again",)


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


@dataclass(frozen=True, kw_only=True)
class Check:
    """Figures of a corpus."""

    seconds: float  # total duration
    shortest: float  # duration of the shortest utterance in seconds; 0 where there is none
    longest: float  # of the longest
    emotions: tuple[tuple[str, int], ...]  # number of utterances per emotion
    speakers: tuple[tuple[str, int], ...]  # number of utterances per speaker
    # (speaker, emotion, number), for every combination, 0 included
    cells: tuple[tuple[str, str, int], ...]
    rates: tuple[tuple[int, int], ...]  # number of utterances per sampling rate in Hz
    silent: tuple[str, ...]  # names of utterances with hardly any sound
    clipped: tuple[str, ...]  # names of utterances with many samples at full scale


def check(corpus: Corpus, *, cache: Path | None = None) -> Check:
    """Sum a corpus up; AudioError where a file has been broken since it was read."""
    sounds = _sounds(corpus, cache or cache_folder(), "checking")
    items = corpus.utterances
    lengths = [item.seconds for item in items]
    by_emotion = Counter(item.emotion for item in items)
    by_speaker = sorted(Counter(item.speaker for item in items).items())
    cells = Counter((item.speaker, item.emotion) for item in items)
    return Check(
        seconds=sum(lengths),
        shortest=min(lengths, default=0.0),
        longest=max(lengths, default=0.0),
        emotions=tuple((name, by_emotion[name]) for name in EMOTIONS if by_emotion[name]),
        speakers=tuple(by_speaker),
        cells=tuple(
            (speaker, emotion, cells[speaker, emotion])
            for speaker, _ in by_speaker
            for emotion in corpus.spec.emotions
        ),
        rates=tuple(sorted(Counter(item.rate for item in items).items())),
        silent=tuple(sorted(name for name, sound in sounds.items() if sound.rms < _SILENT)),
        clipped=tuple(sorted(name for name, sound in sounds.items() if sound.clipped >= _CLIPPED)),
    )


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """One utterance, to see where methods fail."""

    name: str  # POSIX path relative to the corpus folder
    seconds: float  # duration
    level: float | None  # as `level`
    gender: str = ""  # of the speaker; empty where unknown
    human: float | None = None  # percent of listeners who recognised the emotion, where known


def utterance_metadata(
    corpus: Corpus, *, cache: Path, workers: int | None = None, progress: Progress = SILENT
) -> tuple[Metadata, ...]:
    """Duration, level, gender and human recognition rate of every utterance, in order.

    AudioError where a file has been broken since the corpus was read, CorpusError where the table
    of recognition rates is damaged.
    """
    what = f"measuring {corpus.spec.title}"
    sounds = _sounds(corpus, cache, what, workers=workers, progress=progress)
    # The table lies in the corpus's folder, or beside the folder of its recordings.
    name, root = RECOGNITION.get(corpus.spec.name, ""), corpus.root
    tables = [root / name, *([root.parent / name] if root.name.lower() == "wav" else [])]
    table = next((path for path in tables if name and path.is_file()), None)
    rates = recognition_rates(table) if table else {}
    return tuple(
        Metadata(
            name=utterance.name,
            seconds=sounds[utterance.name].seconds,
            level=level(sounds[utterance.name].rms),
            gender=utterance.gender,
            human=rates.get(PurePosixPath(utterance.name).stem),
        )
        for utterance in corpus.utterances
    )


def level(rms: float) -> float | None:
    """A root mean square in dBFS, 20 log10(rms), 0 for a square wave at full scale, None for 0."""
    return 20 * math.log10(rms) if rms > 0 else None


def recognition_rates(path: Path) -> dict[str, float]:
    """Read EMO-DB's table of how many listeners recognised each file: name to percent.

    Tab-separated in Latin-1, with decimal commas and no-break spaces; the columns `Satz` (the
    file) and `erkannt` (percent) are read. CorpusError names a line that cannot be true.
    """
    regular_size(path, error=CorpusError, most=_LARGEST)
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from error
    # strip also takes no-break spaces away
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines]
    header = rows[0] if rows else []
    if _NAME not in header or _RATE not in header:
        raise CorpusError(
            f"{path}: line 1: columns '{_NAME}' and '{_RATE}' are expected, parted by tabs; got "
            f"{_quoted(' | '.join(header))}"
        )
    file, share = header.index(_NAME), header.index(_RATE)
    rates: dict[str, float] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cells):
            continue
        where = f"{path}: line {number}"
        if len(cells) <= max(file, share) or not cells[file]:
            line = _quoted(lines[number - 1])
            raise CorpusError(f"{where}: a file and its rate are expected; got {line}")
        text, name = cells[share], PurePosixPath(cells[file]).stem
        rate = float(text.replace(",", ".")) if _PERCENT.fullmatch(text) else math.inf
        if rate > 100:
            raise CorpusError(
                f"{where}: recognition rate {_quoted(text)}: a percentage from 0 to 100 is "
                "expected, such as 85,71"
            )
        if rates.setdefault(name, rate) != rate:
            raise CorpusError(
                f"{where}: '{name}' has {rate:g} %, and {rates[name]:g} % in a line before; "
                "take the file from the corpus again"
            )
    return rates


def _sounds(corpus: Corpus, cache: Path, what: str, **how: Any) -> dict[str, Sound]:
    """The figures of each utterance by name; raises the error of the first broken file."""
    measured, _ = measure(corpus.utterances, corpus.root, cache=cache, what=what, **how)
    sounds = {}
    for name, sound in measured.items():
        if isinstance(sound, AudioError):
            raise sound
        sounds[name] = sound
    return sounds


def _quoted(text: str) -> str:
    """A value from a file in one line, not too long, without control characters."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
