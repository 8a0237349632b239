"""The feature sets `acoustic` and `minimal`: samples to frames, instants and a summary.

Their columns are described in `columns`. Voice quality (harmonics-to-noise ratio, the balance of
the lowest harmonics) after F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set
(GeMAPS) for voice research and affective computing", IEEE Transactions on Affective Computing 7(2),
2016, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from clser_bench.features.columns import (
    ACOUSTIC_INSTANTS,
    ACOUSTIC_PARAMETERS,
    ACOUSTIC_SUMMARY,
    INSTANTS,
    MINIMAL_OF_ACOUSTIC,
    MINIMAL_PARAMETERS,
    OF_ACOUSTIC,
    RATE,
    Flags,
    active,
    pool,
    summarise,
)
from clser_bench.features.spectrum import (
    FRAME,
    HOP,
    Pitch,
    level,
    load_torchaudio,
    mel_columns,
    pitch,
    power,
    shape_columns,
)
from clser_bench.problem import Floats, Rows

_LONG = [ACOUSTIC_INSTANTS.index(name) for name in OF_ACOUSTIC]
_SHORT = [ACOUSTIC_SUMMARY.index(name) for name in MINIMAL_OF_ACOUSTIC]


def check(_: str) -> None:
    """Raise `FeatureError` unless torchaudio can be imported."""
    load_torchaudio()


def extract(name: str, samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute instants float32 [32, d] over the active stretch, and summary float32 [f].

    Samples are float32 mono [samples], full scale 1, and are resampled to 16 kHz; clips shorter
    than a frame are padded with zeros on both sides. The name is `acoustic` or `minimal`.
    """
    with one_thread(), torch.inference_mode():
        speech = analyse(samples, rate)
        if name == "acoustic":
            columns, voiced = speech.active()
            return pool(columns, INSTANTS), summarise(columns, voiced)
        quality = quality_columns(speech.signal, speech.contour)[speech.kept]
    columns, voiced = speech.active()
    spoken = (quality[voiced] if voiced.any() else quality).astype(np.float64)
    shared = summarise(columns, voiced)[_SHORT]
    summary = np.concatenate([shared, spoken.mean(axis=0), spoken.std(axis=0)])
    instants = np.concatenate([columns[:, _LONG], quality], axis=1)
    return pool(instants, INSTANTS), summary.astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Speech:
    """An utterance as frames, silence around it included."""

    signal: torch.Tensor  # float32 [samples] at 16 kHz, mean removed
    contour: Pitch
    columns: Floats  # float32 [m, d], the columns `ACOUSTIC_INSTANTS`
    kept: slice

    def active(self) -> tuple[Floats, Flags]:
        """The frames of the active stretch [m, d], and whether each is voiced [m]."""
        return self.columns[self.kept], (self.contour.hertz > 0)[self.kept]


def analyse(samples: Floats, rate: int) -> Speech:
    """Compute the frames of an utterance."""
    samples = np.asarray(samples, np.float32)
    if rate != RATE:
        samples = soxr.resample(samples, rate, RATE, quality="VHQ")
    if len(samples):
        samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    missing = max(FRAME - len(samples), 0)
    padded = np.pad(samples, (missing // 2, missing - missing // 2))
    signal = torch.from_numpy(padded.astype(np.float32, copy=False))
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
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _octaves(contour: Pitch) -> Floats:
    """Octaves above the reference, drawn straight through unvoiced frames [m]."""
    (voiced,) = np.nonzero(contour.hertz > 0)
    if not len(voiced):
        return np.zeros_like(contour.hertz)
    octaves = np.log2(contour.hertz[voiced] / float(ACOUSTIC_PARAMETERS["pitch_reference_hz"]))
    filled = np.interp(np.arange(len(contour.hertz)), voiced, octaves)
    return np.asarray(filled, np.float32)


WINDOW = round(RATE * float(MINIMAL_PARAMETERS["harmonic_window_seconds"]))
"""Longer than a frame: the harmonics of a low voice lie 80 Hz apart."""

SIZE = 2048
"""Points of the Fourier transform: bins of 8 Hz, so that a harmonic's peak is not missed."""

_LEAST = float(MINIMAL_PARAMETERS["least_periodic"])
_REACH = float(MINIMAL_PARAMETERS["harmonic_reach"])
_LOW, _HIGH = float(MINIMAL_PARAMETERS["third_low_hz"]), float(MINIMAL_PARAMETERS["third_high_hz"])
_FLOOR = 1e-12


def quality_columns(signal: Tensor, contour: Pitch) -> Floats:
    """The columns `columns.QUALITY`, in that order, of a signal at 16 kHz: float32 [m, 3].

    The pitch is that of m frames, frame i centred at `FRAME / 2 + i * HOP`. Ratios of harmonics are
    drawn straight through unvoiced frames, and are 0 where none is voiced.
    """
    periodic = contour.voicing.astype(np.float64).clip(_LEAST, 1 - _LEAST)
    (voiced,) = np.nonzero(contour.hertz > 0)
    ratios = np.zeros((len(periodic), 2))
    if len(voiced):
        found = _ratios(signal, voiced, contour.hertz[voiced])
        for column in range(2):
            ratios[:, column] = np.interp(np.arange(len(periodic)), voiced, found[:, column])
    hnr = 10 * np.log10(periodic / (1 - periodic))
    return np.concatenate([hnr[:, None], ratios], axis=1).astype(np.float32)


def _ratios(signal: Tensor, places: Rows, hertz: Floats) -> Floats:
    """H1-H2 and H1-A3 of the voiced frames, dB [v, 2]."""
    decibel = harmonic_spectrum(signal, places)
    pitch = torch.from_numpy(hertz)
    first = harmonic_level(decibel, pitch, 1)
    third = _highest(decibel, torch.full_like(pitch, _LOW), torch.full_like(pitch, _HIGH))
    ratios: Floats = torch.stack(
        [first - harmonic_level(decibel, pitch, 2), first - third], dim=1
    ).numpy()
    return ratios


def harmonic_spectrum(signal: Tensor, places: Rows) -> Tensor:
    """The power spectrum of the frames of these numbers, of a signal at 16 kHz, dB [v, bins]."""
    margin = (WINDOW - FRAME) // 2
    padded = torch.nn.functional.pad(signal, (margin, margin + HOP))
    frames = padded.unfold(0, WINDOW, HOP)[torch.from_numpy(places)]
    power = torch.fft.rfft(frames * torch.hann_window(WINDOW), n=SIZE).abs().square()
    return 10 * torch.log10(power + _FLOOR)


def harmonic_level(decibel: Tensor, pitch: Tensor, number: int) -> Tensor:
    """The level of a harmonic: the highest bin within a quarter of the pitch about it, dB [v].

    Of `harmonic_spectrum` [v, bins] and the pitch in Hz [v]; number 1 is the fundamental.
    """
    return _highest(decibel, (number - _REACH) * pitch, (number + _REACH) * pitch)


def _highest(decibel: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The highest bin of each frame from `low` to `high` Hz [v]."""
    hertz = torch.linspace(0, RATE / 2, decibel.shape[1])
    inside = (hertz >= low[:, None]) & (hertz <= high[:, None])
    return decibel.masked_fill(~inside, -torch.inf).amax(dim=1)
