"""A corpus: its utterances, the files left out, and what is odd about it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clser_bench.hashing import digest
from clser_bench.problem import Finding, SkippedFile
from clser_bench.protocol import CorpusSpec


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One labelled recording of a corpus. Never handed to a method.

    Attributes:
        name: POSIX path relative to the corpus folder, with `#t=START,END` for a segment; unique
            in the corpus.
        path: the file.
        emotion: one of `EMOTIONS`.
        speaker: the corpus's own name of the speaker.
        gender: `female`, `male`, `other` or empty where unknown.
        text: what is said, or the corpus's code for it; empty where unknown.
        start: where the utterance begins in the file, seconds.
        end: where it ends; None for the end of the file.
        content: SHA-256 of the decoded samples and their rate, 64 hexadecimal digits; empty
            before the file is decoded, as are `seconds` and `rate`.
        seconds: duration.
        rate: sampling rate of the file in Hz.
    """

    name: str
    path: Path
    emotion: str
    speaker: str
    gender: str = ""
    text: str = ""
    start: float = 0.0
    end: float | None = None
    content: str = ""
    seconds: float = 0.0
    rate: int = 0


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A corpus by its file names or its table, before anything is decoded.

    Attributes:
        spec: its definition.
        root: its folder.
        origin: the folder or table that the user named.
        utterances: in the order of the folder or table.
        bad: files that should be utterances and cannot be, each with the reason.
        left_out: how many files are left out on purpose, by reason.
        places: where a name stands in a table (`line 4`), for messages about its file.
        findings: what is odd about it so far.
    """

    spec: CorpusSpec
    root: Path
    origin: Path
    utterances: tuple[Utterance, ...]
    bad: tuple[SkippedFile, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus on disk, each recording decoded once.

    Attributes:
        spec: its definition.
        root: its folder.
        utterances: ordered by content hash, then name: the order of every feature table, so
            that a row index says nothing about the label. No two have the same content.
        skipped: files left out by `--skip-bad`.
        left_out: how many files are left out on purpose, by reason.
        findings: what is odd about it.
    """

    spec: CorpusSpec
    root: Path
    utterances: tuple[Utterance, ...]
    skipped: tuple[SkippedFile, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    findings: tuple[Finding, ...] = ()

    @functools.cached_property
    def emotions(self) -> npt.NDArray[np.str_]:
        """The emotion of each row [n]."""
        return np.array([utterance.emotion for utterance in self.utterances], dtype=np.str_)

    @functools.cached_property
    def speakers(self) -> npt.NDArray[np.str_]:
        """The speaker of each row [n]."""
        return np.array([utterance.speaker for utterance in self.utterances], dtype=np.str_)

    @functools.cached_property
    def genders(self) -> npt.NDArray[np.str_]:
        """The gender of each row's speaker [n]; empty where unknown."""
        return np.array([utterance.gender for utterance in self.utterances], dtype=np.str_)

    @functools.cached_property
    def contents(self) -> npt.NDArray[np.str_]:
        """The content hash of each row [n]."""
        return np.array([utterance.content for utterance in self.utterances], dtype=np.str_)

    @functools.cached_property
    def content(self) -> str:
        """Hash of all audio, in row order."""
        return digest([utterance.content for utterance in self.utterances])
