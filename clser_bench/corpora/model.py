"""A corpus: its utterances, the files left out, and what is odd about it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.hashing import digest, generator
from clser_bench.problem import Finding, SkippedFile
from clser_bench.protocol import base_code

_NEAR, _STEADY = 15, 60  # tenths of a decibel
_AS_LONG = 0.01  # seconds
_LIKES = 3


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One labelled recording of a corpus. Never handed to a method."""

    # POSIX path relative to the corpus folder, with `#t=START,END` for a segment; unique in
    # the corpus
    name: str
    path: Path
    emotion: str  # one of `EMOTIONS`
    speaker: str  # the corpus's own name of the speaker
    gender: str = ""  # `female`, `male`, `other` or empty where unknown
    text: str = ""  # what is said, or the corpus's code for it; empty where unknown
    start: float = 0.0  # where the utterance begins in the file, seconds
    end: float | None = None  # where it ends; None for the end of the file
    # SHA-256 of the decoded samples and their rate, 64 hexadecimal digits; empty before the
    # file is decoded, as are `seconds` and `rate`
    content: str = ""
    seconds: float = 0.0  # duration
    rate: int = 0  # sampling rate of the file in Hz
    shape: str = ""  # its loudness over time (`corpora.figures.Sound`)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A corpus by its file names or its table, before anything is decoded."""

    spec: CorpusSpec
    root: Path
    origin: Path  # the folder or table that the user named
    utterances: tuple[Utterance, ...]  # in the order of the folder or table
    # files that should be utterances and cannot be, each with the reason
    bad: tuple[SkippedFile, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()  # how many files are left out on purpose, by reason
    # where a name stands in a table (`line 4`), for messages about its file
    places: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()  # what is odd about it so far


def finding(kind: str, spec: CorpusSpec, what: str, files: Iterable[str] = ()) -> Finding:
    """A finding about a corpus, whose title begins the sentence."""
    return Finding(
        kind=kind, corpus=spec.code, files=tuple(files), sentence=f"{spec.heading}{what}"
    )


def overlaps(
    first: Iterable[Utterance], second: Iterable[Utterance] | None = None
) -> Iterator[tuple[Utterance, Utterance]]:
    """Segments of one file that share sound: two of one corpus, or one of each of two."""
    both = [(item, 0) for item in first] + [(item, 1) for item in second or ()]
    latest: dict[tuple[Path, int], Utterance] = {}  # of those before, the one that ends last
    for item, side in sorted(both, key=lambda entry: entry[0].start):
        other = latest.get((item.path, side if second is None else 1 - side))
        if other and (other.end is None or item.start < other.end):
            yield (item, other) if second is not None and side == 0 else (other, item)
        own = latest.get((item.path, side))
        if own is None or (own.end is not None and (item.end is None or item.end > own.end)):
            latest[item.path, side] = item


def alike(utterances: Iterable[Utterance]) -> Iterator[tuple[Utterance, Utterance]]:
    """Recordings of different content that differ in gain or encoding only, as far as is seen.

    They are as long as each other, and their loudness over time is the same within `_NEAR` all
    along. Of 160 recordings all were found again at another gain, at 16 kHz and in mu-law, 156 as
    Vorbis and Opus, 151 as MP3, 53 at 8 kHz; of 6,322 real and 600 demo recordings no two were as
    near (the nearest were 4.1 and 2.4 dB apart). What is as loud from beginning to end is left out,
    and what is like more than three others, as tones with one beat are: copies come in pairs.
    """
    every = [item for item in utterances if item.shape]
    if not every:
        return
    shapes = np.frombuffer(bytes.fromhex("".join(item.shape for item in every)), dtype=np.uint8)
    shapes = shapes.reshape(len(every), -1).astype(np.int16)
    levels = shapes.mean(axis=1)
    order = np.argsort(levels, kind="stable")
    order = order[shapes[order].max(axis=1) >= _STEADY]
    shapes, levels = shapes[order], levels[order]
    seconds = np.array([every[place].seconds for place in order])
    found: list[tuple[int, int]] = []
    for step in range(1, len(order)):
        one = np.flatnonzero(levels[step:] - levels[:-step] <= _NEAR / 3)
        if not len(one):
            break
        one = one[np.abs(seconds[one + step] - seconds[one]) <= _AS_LONG]
        one = one[np.abs(shapes[one + step] - shapes[one]).max(axis=1, initial=0) <= _NEAR]
        found += zip(order[one].tolist(), order[one + step].tolist(), strict=True)
    likes = Counter(place for pair in found for place in pair)
    for first, second in found:
        pair = every[first], every[second]
        if max(likes[first], likes[second]) <= _LIKES and pair[0].content != pair[1].content:
            yield pair


def rows_of_part(utterances: Sequence[Utterance], code: str) -> npt.NDArray[np.int64]:
    """The ascending rows [m] of a part of a corpus, such as `B.first.a` (`protocol.PARTS`)."""

    def shuffled(names: Iterable[str], purpose: str) -> list[str]:
        ordered = sorted(names)
        order = generator("parts", base_code(code), purpose).permutation(len(ordered))
        return [ordered[place] for place in order]

    genders = {item.speaker: item.gender for item in utterances}
    speakers: list[str] = []
    for gender in sorted(set(genders.values())):
        speakers += shuffled((name for name in genders if genders[name] == gender), gender)
    texts = shuffled({item.text for item in utterances}, "texts")
    members: dict[str, Callable[[Utterance], bool]] = {
        "female": lambda item: item.gender == "female",
        "male": lambda item: item.gender == "male",
        "first": lambda item: item.speaker in speakers[0::2],
        "second": lambda item: item.speaker in speakers[1::2],
        "a": lambda item: item.text in texts[0::2],
        "b": lambda item: item.text in texts[1::2],
    }
    words = code.split(".")[1:]
    inside = [all(members[word](item) for word in words) for item in utterances]
    return np.flatnonzero(inside).astype(np.int64)


def _column(name: str, about: str) -> functools.cached_property[npt.NDArray[np.str_]]:
    """An attribute of all utterances of a corpus, as an array that is made once."""

    def values(corpus: Corpus) -> npt.NDArray[np.str_]:
        return np.array([getattr(item, name) for item in corpus.utterances], dtype=np.str_)

    values.__doc__ = about
    return functools.cached_property(values)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus on disk, each recording decoded once."""

    spec: CorpusSpec
    root: Path
    # ordered by content hash, then name: the order of every feature table, so that a row
    # index says nothing about the label. No two have the same content.
    utterances: tuple[Utterance, ...]
    skipped: tuple[SkippedFile, ...] = ()  # files left out by `--skip-bad`
    left_out: tuple[tuple[str, int], ...] = ()  # how many files are left out on purpose, by reason
    findings: tuple[Finding, ...] = ()  # what is odd about it

    emotions = _column("emotion", "The emotion of each row [n].")
    speakers = _column("speaker", "The speaker of each row [n].")
    genders = _column("gender", "The gender of each row's speaker [n]; empty where unknown.")
    contents = _column("content", "The content hash of each row [n].")

    @functools.cached_property
    def content(self) -> str:
        """Hash of all audio, in row order."""
        return digest([utterance.content for utterance in self.utterances])
