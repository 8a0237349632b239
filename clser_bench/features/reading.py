"""The audio of an utterance: as it was when its corpus was read, or corrupted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from clser_bench.corpora.audio import Audio, content_hash, decode
from clser_bench.corpora.corrupt import Corruption
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import AudioError, FeatureError
from clser_bench.hashing import digest

CORRUPTED_RATE = 16_000
"""Speech is resampled to this rate in Hz before it is corrupted."""


@dataclass(frozen=True, kw_only=True)
class Corrupted(Utterance):
    """An utterance under a corruption.

    Attributes:
        original: content hash of the recording; `content` hashes it together with the corruption,
            so that shards and tables of corrupted speech have names of their own.
        corruption: what is done to it.
    """

    original: str
    corruption: Corruption


def corrupted_corpus(corpus: Corpus, corruption: Corruption) -> Corpus:
    """The same corpus under a corruption.

    Args:
        corpus: as read from disk.
        corruption: what is done to every utterance.

    Returns:
        Its utterances in the same order: rows of a table mean the same with and without the
        corruption. The title names it.
    """
    title = f"{corpus.spec.title}, {corruption.name}"
    return dataclasses.replace(
        corpus,
        spec=corpus.spec.model_copy(update={"title": title}),
        utterances=tuple(_corrupted(utterance, corruption) for utterance in corpus.utterances),
    )


def unchanged(utterance: Utterance, *, rate: int | None = None) -> Audio:
    """Decode an utterance and check that it is still the same; corrupt it where it is `Corrupted`.

    Corruption comes after resampling to 16 kHz, so that a signal-to-noise ratio means the same for
    every corpus, and before resampling to what a feature set wants. A set that reads clean files at
    a higher rate of their own (openSMILE's) thus loses what lies above 8 kHz too.

    Where the peak then exceeds full scale (speech with noise), the whole utterance is made softer
    until it does not: nothing is clipped, and features that depend on the level see that.

    Args:
        utterance: as read with its corpus.
        rate: resample to this rate in Hz (soxr, very high quality); None keeps the file's own, or
            16 kHz where it is corrupted.

    Raises:
        FeatureError: the file changed since the corpus was read.
        AudioError: it cannot be decoded, or is too short to resample.
    """
    audio = decode(utterance.path, start=utterance.start, end=utterance.end)
    known = utterance.original if isinstance(utterance, Corrupted) else utterance.content
    if content_hash(audio) != known:
        raise FeatureError(
            f"{utterance.path}: changed since the corpus was read; run the command again"
        )
    if isinstance(utterance, Corrupted):
        audio = _under_corruption(_resampled(audio, CORRUPTED_RATE, utterance.path), utterance)
    return audio if rate is None else _resampled(audio, rate, utterance.path)


def described(utterance: Utterance) -> str:
    """The file of an utterance for an error, with the corruption where there is one."""
    if isinstance(utterance, Corrupted):
        return f"{utterance.path} with {utterance.corruption.name}"
    return str(utterance.path)


def _corrupted(utterance: Utterance, corruption: Corruption) -> Corrupted:
    from clser_bench.corpora.corrupt import VERSION  # noqa: PLC0415 (scipy.signal is slow)

    content = digest(
        {
            "recording": utterance.content,
            "corruption": corruption.name,
            "version": VERSION,
            "rate": CORRUPTED_RATE,
        }
    )
    fields = {field.name: getattr(utterance, field.name) for field in dataclasses.fields(utterance)}
    length = utterance.seconds / (corruption.level if corruption.kind == "speed" else 1.0)
    fields |= {"content": content, "seconds": length, "rate": CORRUPTED_RATE}
    return Corrupted(**fields, original=utterance.content, corruption=corruption)


def _under_corruption(audio: Audio, utterance: Corrupted) -> Audio:
    from clser_bench.corpora.corrupt import corrupted  # noqa: PLC0415 (scipy.signal is slow)

    samples = corrupted(audio.samples, audio.rate, utterance.corruption, content=utterance.original)
    peak = np.abs(samples).max()
    return Audio(samples / peak if peak > 1 else samples, audio.rate)


def _resampled(audio: Audio, rate: int, path: Path) -> Audio:
    if rate == audio.rate:
        return audio
    samples = soxr.resample(audio.samples, audio.rate, rate, quality="VHQ")
    if not len(samples):
        raise AudioError(
            path, f"has too few samples ({len(audio.samples)}) to resample to {rate} Hz"
        )
    return Audio(samples, rate)
