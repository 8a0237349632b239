"""A corpus as it lies on disk: utterances, and the files left out."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clser_bench.hashing import digest
from clser_bench.problem import SkippedFile
from clser_bench.protocol import CorpusSpec


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One labelled recording of a corpus. Never handed to a method.

    Attributes:
        name: POSIX path relative to the corpus folder; unique in the corpus.
        path: the file.
        emotion: one of `EMOTIONS`.
        speaker: the corpus's own name of the speaker.
        gender: `female`, `male`, `other` or empty where unknown.
        text: what is said, or the corpus's code for it; empty where unknown.
        content: SHA-256 of the decoded samples and their rate, 64 hexadecimal digits.
        seconds: duration.
        rate: sampling rate of the file in Hz.
    """

    name: str
    path: Path
    emotion: str
    speaker: str
    gender: str = ""
    text: str = ""
    content: str = ""
    seconds: float = 0.0
    rate: int = 0


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus as found on disk.

    Attributes:
        spec: its definition.
        root: its folder.
        utterances: ordered by content hash, then name: the order of every feature table, so
            that a row index says nothing about the label.
        skipped: files left out by `--skip-bad`.
    """

    spec: CorpusSpec
    root: Path
    utterances: tuple[Utterance, ...]
    skipped: tuple[SkippedFile, ...] = ()

    @functools.cached_property
    def emotions(self) -> npt.NDArray[np.str_]:
        """The emotion of each row [n]."""
        return np.array([utterance.emotion for utterance in self.utterances], dtype=np.str_)

    @functools.cached_property
    def speakers(self) -> npt.NDArray[np.str_]:
        """The speaker of each row [n]."""
        return np.array([utterance.speaker for utterance in self.utterances], dtype=np.str_)

    @functools.cached_property
    def content(self) -> str:
        """Hash of all audio, in row order."""
        return digest([utterance.content for utterance in self.utterances])
