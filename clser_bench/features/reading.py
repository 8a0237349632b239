"""The audio of an utterance, as it was when its corpus was read."""

from __future__ import annotations

import soxr

from clser_bench.data.audio import Audio, content_hash, decode
from clser_bench.errors import FeatureError
from clser_bench.trial import Utterance


def unchanged(utterance: Utterance, *, rate: int | None = None) -> Audio:
    """Decode an utterance and check that it is still the same.

    Args:
        utterance: as read with its corpus.
        rate: resample to this rate in Hz (soxr, very high quality); None keeps the file's own.

    Raises:
        FeatureError: the file changed since the corpus was read.
        AudioError: it cannot be decoded.
    """
    audio = decode(utterance.path)
    if content_hash(audio) != utterance.content:
        raise FeatureError(
            f"{utterance.path}: changed since the corpus was read; run the command again"
        )
    if rate is None or rate == audio.rate:
        return audio
    return Audio(soxr.resample(audio.samples, audio.rate, rate, quality="VHQ"), rate)
