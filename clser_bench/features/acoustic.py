"""The feature sets `acoustic` and `minimal`: samples to frames, instants and a summary.

Their columns are described in `columns`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soxr
import torch

from clser_bench.features.columns import (
    ACOUSTIC_INSTANTS,
    ACOUSTIC_PARAMETERS,
    ACOUSTIC_SUMMARY,
    INSTANTS,
    MINIMAL_INSTANTS,
    MINIMAL_SUMMARY,
    QUALITY,
    RATE,
)
from clser_bench.features.pitch import Pitch, pitch
from clser_bench.features.quality import quality_columns
from clser_bench.features.spectrum import (
    FRAME,
    level,
    load_torchaudio,
    mel_columns,
    power,
    shape_columns,
)
from clser_bench.features.summaries import Flags, active, pool, summarise
from clser_bench.problem import Floats

_LONG = [ACOUSTIC_INSTANTS.index(name) for name in MINIMAL_INSTANTS if name not in QUALITY]
_SHORT = [ACOUSTIC_SUMMARY.index(name) for name in MINIMAL_SUMMARY if name in ACOUSTIC_SUMMARY]


def check(_: str) -> None:
    """Raise `FeatureError` unless torchaudio can be imported."""
    load_torchaudio()


def extract(name: str, samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute instants and summary.

    Args:
        name: `acoustic` or `minimal`.
        samples: float32 mono [samples], full scale 1; resampled to 16 kHz. Clips shorter than
            a frame are padded with zeros on both sides.
        rate: in Hz.

    Returns:
        Instants float32 [32, d] over the active stretch, and summary float32 [f].
    """
    with one_thread(), torch.inference_mode():
        speech = analyse(samples, rate)
        if name == "acoustic":
            columns, voiced = speech.active()
            return pool(columns, INSTANTS), summarise(columns, voiced)
        quality = quality_columns(speech.signal, speech.contour)[speech.kept]
    columns, voiced = speech.active()
    spoken = (quality[voiced] if voiced.any() else quality).astype(np.float64)
    summary = np.concatenate(
        [summarise(columns, voiced)[_SHORT], spoken.mean(axis=0), spoken.std(axis=0)]
    )
    instants = np.concatenate([columns[:, _LONG], quality], axis=1)
    return pool(instants, INSTANTS), summary.astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Speech:
    """An utterance as frames, silence around it included.

    Attributes:
        signal: float32 [samples] at 16 kHz, mean removed.
        contour: its pitch.
        columns: float32 [m, d], the columns `ACOUSTIC_INSTANTS`.
        kept: the active stretch of the frames.
    """

    signal: torch.Tensor
    contour: Pitch
    columns: Floats
    kept: slice

    def active(self) -> tuple[Floats, Flags]:
        """The frames of the active stretch [m, d], and whether each is voiced [m]."""
        return self.columns[self.kept], (self.contour.hertz > 0)[self.kept]


def analyse(samples: Floats, rate: int) -> Speech:
    """Compute the frames of an utterance.

    Args:
        samples: as for `extract`.
        rate: in Hz.
    """
    signal = _prepare(samples, rate)
    spectrum = power(signal)
    log_mel, cepstrum, loudness = mel_columns(spectrum)
    loud = level(spectrum)
    contour = pitch(signal, len(spectrum))
    columns = (
        log_mel.numpy(),
        cepstrum.numpy(),
        _octaves(contour)[:, None],
        contour.voicing[:, None],
        loud.numpy(),
        loudness.numpy(),
        shape_columns(spectrum).numpy(),
    )
    return Speech(
        signal=signal,
        contour=contour,
        columns=np.concatenate(columns, axis=1),
        kept=active(loud.numpy()[:, 0]),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: sums must not depend on the machine's cores."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _prepare(samples: Floats, rate: int) -> torch.Tensor:
    """Resample to 16 kHz, take off the mean, pad to a frame."""
    signal = np.asarray(samples, np.float32)
    if rate != RATE:
        signal = soxr.resample(signal, rate, RATE, quality="VHQ")
    signal = signal - signal.mean(dtype=np.float64).astype(np.float32) if len(signal) else signal
    missing = max(FRAME - len(signal), 0)
    padded = np.pad(signal, (missing // 2, missing - missing // 2))
    return torch.from_numpy(padded.astype(np.float32, copy=False))


def _octaves(contour: Pitch) -> Floats:
    """Octaves above the reference, drawn straight through unvoiced frames [m]."""
    (voiced,) = np.nonzero(contour.hertz > 0)
    if not len(voiced):
        return np.zeros_like(contour.hertz)
    octaves = np.log2(contour.hertz[voiced] / float(ACOUSTIC_PARAMETERS["pitch_reference_hz"]))
    filled = np.interp(np.arange(len(contour.hertz)), voiced, octaves)
    return np.asarray(filled, np.float32)
