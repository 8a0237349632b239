"""Figures of a corpus (`corpus check`) and of its utterances, to see where methods fail.

They come from the index that reading a corpus keeps in the cache, so nothing is decoded twice;
files that changed since are decoded again.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from clser_bench.corpora.index import Sound, measure
from clser_bench.corpora.model import Corpus
from clser_bench.errors import AudioError, CorpusError
from clser_bench.files import cache_folder
from clser_bench.progress import SILENT as QUIET
from clser_bench.progress import Progress
from clser_bench.protocol import EMOTIONS

SILENT = 1e-3
"""Root mean square (full scale is 1) below which a recording counts as silent."""

CLIPPED = 1e-3
"""Share of samples at full scale from which a recording counts as clipped."""

RECOGNITION = {"emodb": "erkennung.txt"}
"""Corpora that come with the share of listeners who recognised each file: name to file."""

_NAME, _RATE = "Satz", "erkannt"
_PERCENT = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{1,6})?")
_LARGEST = 1 << 20  # bytes; the original has 25 thousand
_SHOWN = 60  # characters of a wrong value
_K = TypeVar("_K", str, int)


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
    silent: tuple[str, ...]  # names of utterances with RMS below `SILENT`
    # names of utterances whose share of full-scale samples is `CLIPPED` or more
    clipped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """One utterance."""

    name: str  # POSIX path relative to the corpus folder
    seconds: float  # duration
    # root mean square in dBFS, where a square wave at full scale has 0; None for digital
    # silence
    level: float | None
    gender: str = ""  # of the speaker; empty where unknown
    # percent of listeners who recognised the emotion; None where unknown
    human: float | None = None


def check(corpus: Corpus, *, cache: Path | None = None) -> Check:
    """Sum a corpus up; AudioError where a file has been broken since it was read."""
    sounds = _sounds(corpus, cache or cache_folder(), "checking")
    items = corpus.utterances
    lengths = [item.seconds for item in items]
    by_emotion = Counter(item.emotion for item in items)
    cells = Counter((item.speaker, item.emotion) for item in items)
    speakers = _counted(item.speaker for item in items)
    return Check(
        seconds=sum(lengths),
        shortest=min(lengths, default=0.0),
        longest=max(lengths, default=0.0),
        emotions=tuple((name, by_emotion[name]) for name in EMOTIONS if by_emotion[name]),
        speakers=speakers,
        cells=tuple(
            (speaker, emotion, cells[speaker, emotion])
            for speaker, _ in speakers
            for emotion in corpus.spec.emotions
        ),
        rates=_counted(item.rate for item in items),
        silent=tuple(sorted(name for name, sound in sounds.items() if sound.rms < SILENT)),
        clipped=tuple(sorted(name for name, sound in sounds.items() if sound.clipped >= CLIPPED)),
    )


def utterance_metadata(
    corpus: Corpus, *, cache: Path, workers: int | None = None, progress: Progress = QUIET
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
    """A root mean square (full scale is 1) in dBFS, 20 log10(rms); None for silence."""
    return 20 * math.log10(rms) if rms > 0 else None


def recognition_rates(path: Path) -> dict[str, float]:
    """Read EMO-DB's table of how many listeners recognised each file: name to percent.

    Tab-separated in Latin-1, with decimal commas and no-break spaces; the columns `Satz` (the
    file) and `erkannt` (percent) are read. CorpusError names a line that cannot be true.
    """
    try:
        size = path.stat().st_size
        lines = path.read_text(encoding="latin-1").splitlines() if size <= _LARGEST else []
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from error
    if size > _LARGEST:
        raise CorpusError(f"{path}: has {size} bytes, more than a table of EMO-DB can ({_LARGEST})")
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
    for number, (line, cells) in enumerate(zip(lines[1:], rows[1:], strict=True), start=2):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        if len(cells) <= max(file, share) or not cells[file]:
            raise CorpusError(f"{where}: a file and its rate are expected; got {_quoted(line)}")
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


def _sounds(
    corpus: Corpus,
    cache: Path,
    what: str,
    *,
    workers: int | None = None,
    progress: Progress = QUIET,
) -> dict[str, Sound]:
    """The figures of each utterance by name; raises the error of the first broken file."""
    measured, _ = measure(
        corpus.utterances, corpus.root, cache=cache, what=what, workers=workers, progress=progress
    )
    sounds = {}
    for name, sound in measured.items():
        if isinstance(sound, AudioError):
            raise sound
        sounds[name] = sound
    return sounds


def _counted(values: Iterable[_K]) -> tuple[tuple[_K, int], ...]:
    return tuple(sorted(Counter(values).items()))


def _quoted(text: str) -> str:
    """A value from a file in one line, not too long, without control characters."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
