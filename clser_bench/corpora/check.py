"""What is in a corpus, and what is odd about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from clser_bench.corpora.corpus import list_corpus
from clser_bench.corpora.index import Sound, measure
from clser_bench.corpora.model import Corpus
from clser_bench.errors import AudioError
from clser_bench.files import cache_folder
from clser_bench.problem import SkippedFile
from clser_bench.protocol import EMOTIONS

_K = TypeVar("_K", str, int)

SILENT = 1e-3
"""Root mean square (full scale is 1) below which a recording counts as silent."""

CLIPPED = 1e-3
"""Share of samples at full scale from which a recording counts as clipped."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Figures of a corpus, and its faults.

    Attributes:
        code: the corpus's code.
        title: its name in prose.
        root: its folder.
        utterances: their number.
        seconds: total duration.
        shortest: duration of the shortest utterance in seconds.
        longest: of the longest.
        emotions: number of utterances per emotion.
        speakers: number of utterances per speaker.
        cells: (speaker, emotion, number), for every combination, 0 included.
        rates: number of utterances per sampling rate in Hz.
        duplicates: names of utterances that are the same audio, in groups.
        silent: names of utterances with RMS below `SILENT`.
        clipped: names of utterances whose share of full-scale samples is `CLIPPED` or more.
        left_out: how many files are left out on purpose, by reason.
        skipped: files left out because they are bad.
        differences: where the corpus differs from its definition, in words.
    """

    code: str
    title: str
    root: Path
    utterances: int
    seconds: float
    shortest: float
    longest: float
    emotions: tuple[tuple[str, int], ...]
    speakers: tuple[tuple[str, int], ...]
    cells: tuple[tuple[str, str, int], ...]
    rates: tuple[tuple[int, int], ...]
    duplicates: tuple[tuple[str, ...], ...]
    silent: tuple[str, ...]
    clipped: tuple[str, ...]
    left_out: tuple[tuple[str, int], ...]
    skipped: tuple[SkippedFile, ...]
    differences: tuple[str, ...]


def check(corpus: Corpus, *, cache: Path | None = None) -> Check:
    """Look a corpus over.

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
        code=corpus.spec.code,
        title=corpus.spec.title,
        root=corpus.root,
        utterances=len(lengths),
        seconds=sum(lengths),
        shortest=min(lengths),
        longest=max(lengths),
        emotions=tuple((name, by_emotion[name]) for name in EMOTIONS if by_emotion[name]),
        speakers=_counted(utterance.speaker for utterance in corpus.utterances),
        cells=_cells(corpus),
        rates=_counted(utterance.rate for utterance in corpus.utterances),
        duplicates=_duplicates(corpus),
        silent=tuple(sorted(name for name, sound in sounds.items() if sound.rms < SILENT)),
        clipped=tuple(sorted(name for name, sound in sounds.items() if sound.clipped >= CLIPPED)),
        left_out=list_corpus(corpus.spec, corpus.root).left_out if corpus.spec.pattern else (),
        skipped=corpus.skipped,
        differences=_differences(corpus, by_emotion),
    )


def _sounds(corpus: Corpus, cache: Path) -> dict[str, Sound]:
    paths = {utterance.name: utterance.path for utterance in corpus.utterances}
    sounds = {}
    for name, sound in measure(paths, corpus.root, cache=cache, what="checking").items():
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


def _duplicates(corpus: Corpus) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = defaultdict(list)
    for utterance in corpus.utterances:
        groups[utterance.content].append(utterance.name)
    return tuple(sorted(tuple(sorted(names)) for names in groups.values() if len(names) > 1))


def _differences(corpus: Corpus, counts: Counter[str]) -> tuple[str, ...]:
    spec = corpus.spec
    told = [
        f"{emotion}: {counts[emotion]} utterances, {spec.counts[emotion]} expected"
        for emotion in EMOTIONS
        if emotion in spec.counts and counts[emotion] != spec.counts[emotion]
    ]
    speakers = len({utterance.speaker for utterance in corpus.utterances})
    if spec.speakers and speakers != spec.speakers:
        told.append(f"{speakers} speakers, {spec.speakers} expected")
    return tuple(told)
