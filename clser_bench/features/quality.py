"""Voice quality of frames: harmonics-to-noise ratio and the balance of the lowest harmonics.

After F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research
and affective computing", IEEE Transactions on Affective Computing 7(2), 2016, section 3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clser_bench.features.columns import MINIMAL_PARAMETERS, RATE
from clser_bench.features.pitch import Pitch
from clser_bench.features.spectrum import FRAME, HOP
from clser_bench.problem import Floats, Rows

WINDOW = round(RATE * float(MINIMAL_PARAMETERS["harmonic_window_seconds"]))
"""Longer than a frame: the harmonics of a low voice lie 80 Hz apart."""

SIZE = 2048
"""Points of the Fourier transform: bins of 8 Hz, so that a harmonic's peak is not missed."""

_LEAST = float(MINIMAL_PARAMETERS["least_periodic"])
_REACH = float(MINIMAL_PARAMETERS["harmonic_reach"])
_LOW, _HIGH = float(MINIMAL_PARAMETERS["third_low_hz"]), float(MINIMAL_PARAMETERS["third_high_hz"])
_FLOOR = 1e-12


def quality_columns(signal: Tensor, contour: Pitch) -> Floats:
    """Compute the columns `QUALITY`, in that order.

    Args:
        signal: float32 [samples] at 16 kHz.
        contour: the pitch of m frames, frame i centred at `FRAME / 2 + i * HOP`.

    Returns:
        float32 [m, 3]. Ratios of harmonics are drawn straight through unvoiced frames, and are 0
        where none is voiced.
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
    """The power spectrum of some frames, dB [v, bins].

    Args:
        signal: float32 [samples] at 16 kHz.
        places: numbers of the frames [v].
    """
    margin = (WINDOW - FRAME) // 2
    padded = torch.nn.functional.pad(signal, (margin, margin + HOP))
    frames = padded.unfold(0, WINDOW, HOP)[torch.from_numpy(places)]
    power = torch.fft.rfft(frames * torch.hann_window(WINDOW), n=SIZE).abs().square()
    return 10 * torch.log10(power + _FLOOR)


def harmonic_level(decibel: Tensor, pitch: Tensor, number: int) -> Tensor:
    """The level of a harmonic: the highest bin within a quarter of the pitch about it, dB [v].

    Args:
        decibel: [v, bins] from `harmonic_spectrum`.
        pitch: in Hz [v].
        number: 1 is the fundamental.
    """
    return _highest(decibel, (number - _REACH) * pitch, (number + _REACH) * pitch)


def _highest(decibel: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The highest bin of each frame from `low` to `high` Hz [v]."""
    hertz = torch.linspace(0, RATE / 2, decibel.shape[1])
    inside = (hertz >= low[:, None]) & (hertz <= high[:, None])
    return decibel.masked_fill(~inside, -torch.inf).amax(dim=1)
