"""Figures of a corpus: what `corpus check` prints besides its findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from clser_bench.corpora.index import Sound, measure
from clser_bench.corpora.model import Corpus
from clser_bench.errors import AudioError
from clser_bench.files import cache_folder
from clser_bench.protocol import EMOTIONS

_K = TypeVar("_K", str, int)

SILENT = 1e-3
"""Root mean square (full scale is 1) below which a recording counts as silent."""

CLIPPED = 1e-3
"""Share of samples at full scale from which a recording counts as clipped."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Figures of a corpus.

    Attributes:
        seconds: total duration.
        shortest: duration of the shortest utterance in seconds; 0 where there is none.
        longest: of the longest.
        emotions: number of utterances per emotion.
        speakers: number of utterances per speaker.
        cells: (speaker, emotion, number), for every combination, 0 included.
        rates: number of utterances per sampling rate in Hz.
        silent: names of utterances with RMS below `SILENT`.
        clipped: names of utterances whose share of full-scale samples is `CLIPPED` or more.
    """

    seconds: float
    shortest: float
    longest: float
    emotions: tuple[tuple[str, int], ...]
    speakers: tuple[tuple[str, int], ...]
    cells: tuple[tuple[str, str, int], ...]
    rates: tuple[tuple[int, int], ...]
    silent: tuple[str, ...]
    clipped: tuple[str, ...]


def check(corpus: Corpus, *, cache: Path | None = None) -> Check:
    """Sum a corpus up.

    Args:
        corpus: as read; nothing is decoded again unless a file has changed since.
        cache: the cache folder it was read with; None for the usual one.

    Raises:
        AudioError: a file has been broken since the corpus was read.
    """
    sounds = _sounds(corpus, cache or cache_folder())
    lengths = [utterance.seconds for utterance in corpus.utterances]
    by_emotion = Counter(utterance.emotion for utterance in corpus.utterances)
    return Check(
        seconds=sum(lengths),
        shortest=min(lengths, default=0.0),
        longest=max(lengths, default=0.0),
        emotions=tuple((name, by_emotion[name]) for name in EMOTIONS if by_emotion[name]),
        speakers=_counted(utterance.speaker for utterance in corpus.utterances),
        cells=_cells(corpus),
        rates=_counted(utterance.rate for utterance in corpus.utterances),
        silent=tuple(sorted(name for name, sound in sounds.items() if sound.rms < SILENT)),
        clipped=tuple(sorted(name for name, sound in sounds.items() if sound.clipped >= CLIPPED)),
    )


def _sounds(corpus: Corpus, cache: Path) -> dict[str, Sound]:
    measured = measure(corpus.utterances, corpus.root, cache=cache, what="checking")
    sounds = {}
    for name, sound in measured.sounds.items():
        if isinstance(sound, AudioError):
            raise sound
        sounds[name] = sound
    return sounds


def _counted(values: Iterable[_K]) -> tuple[tuple[_K, int], ...]:
    return tuple(sorted(Counter(values).items()))


def _cells(corpus: Corpus) -> tuple[tuple[str, str, int], ...]:
    counts = Counter((utterance.speaker, utterance.emotion) for utterance in corpus.utterances)
    speakers = sorted({speaker for speaker, _ in counts})
    return tuple(
        (speaker, emotion, counts[speaker, emotion])
        for speaker in speakers
        for emotion in corpus.spec.emotions
    )
