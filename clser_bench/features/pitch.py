"""Pitch by the autocorrelation method of Boersma.

Reference: P. Boersma, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound", Proceedings of the Institute of Phonetic Sciences
17, Amsterdam, 1993: section 2 (window correction, eq. 9), section 5 (candidates, path).

Departures: peaks are found by a parabola in a correlation limited to 6 kHz, not by windowed-sine
interpolation; frames are 40 ms whatever the lowest pitch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clser_bench.features.columns import ACOUSTIC_PARAMETERS, RATE
from clser_bench.features.spectrum import FRAME, HOP
from clser_bench.problem import Floats

WINDOW = round(RATE * float(ACOUSTIC_PARAMETERS["pitch_window_seconds"]))
SIZE = 1024
"""Points of the Fourier transform: a window and the longest lag fit without wrapping."""

BAND = round(SIZE * float(ACOUSTIC_PARAMETERS["pitch_band_hz"]) / RATE)
"""Bins from here up are left out: a narrower band makes rounder peaks."""

SHORTEST = int(RATE / float(ACOUSTIC_PARAMETERS["pitch_high_hz"]))
LONGEST = int(RATE / float(ACOUSTIC_PARAMETERS["pitch_low_hz"])) + 1
CANDIDATES = int(ACOUSTIC_PARAMETERS["pitch_candidates"])
VOICING_THRESHOLD = float(ACOUSTIC_PARAMETERS["voicing_threshold"])
SILENCE_THRESHOLD = float(ACOUSTIC_PARAMETERS["silence_threshold"])
OCTAVE_COST = float(ACOUSTIC_PARAMETERS["octave_cost"])
JUMP_COST = float(ACOUSTIC_PARAMETERS["octave_jump_cost"])
CHANGE_COST = float(ACOUSTIC_PARAMETERS["voicing_change_cost"])


@dataclass(frozen=True, kw_only=True)
class Pitch:
    """The pitch contour of an utterance.

    Attributes:
        hertz: float32 [m], 0 where unvoiced.
        voicing: float32 [m], height of the highest peak of the autocorrelation, 0 to 1.
    """

    hertz: Floats
    voicing: Floats


def pitch(samples: Tensor, frames: int) -> Pitch:
    """Follow the pitch.

    Args:
        samples: float32 [samples] at 16 kHz.
        frames: m; frame i is centred where frame i of `spectrum.power` is.
    """
    windows, peak = _windows(samples, frames)
    hertz, height, strength = _candidates(_autocorrelation(windows))
    path = _best_path(hertz, np.concatenate([_unvoiced(peak)[:, None], strength], axis=1))
    chosen = np.concatenate([np.zeros((frames, 1), np.float32), hertz], axis=1)
    return Pitch(hertz=chosen[np.arange(frames), path], voicing=height)


def _windows(samples: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Cut windows, mean removed [m, WINDOW], and their peaks relative to the loudest [m]."""
    margin = (WINDOW - FRAME) // 2
    missing = (frames - 1) * HOP + WINDOW - margin - len(samples)
    padded = torch.nn.functional.pad(samples, (margin, max(missing, 0)))
    windows = padded.unfold(0, WINDOW, HOP)[:frames]
    windows = windows - windows.mean(1, keepdim=True)
    peak = windows.abs().amax(1)
    return windows, peak / peak.max().clamp(min=1e-6)


@functools.cache
def _hann() -> tuple[Tensor, Tensor]:
    """The window, and its normalised autocorrelation [LONGEST + 1]."""
    window = torch.hann_window(WINDOW)
    return window, _correlate(window[None])[0]


def _correlate(windows: Tensor) -> Tensor:
    """Autocorrelation over lag 0 to LONGEST, 1 at lag 0 [m, LONGEST + 1]."""
    spectrum = torch.fft.rfft(windows, n=SIZE)
    squared = spectrum.real.square() + spectrum.imag.square()
    squared[:, BAND:] = 0
    correlation: Tensor = torch.fft.irfft(squared, n=SIZE)[:, : LONGEST + 1]
    return correlation / correlation[:, :1].clamp(min=1e-12)


def _autocorrelation(windows: Tensor) -> Tensor:
    """That of the signal: that of the windowed signal over that of the window (eq. 9)."""
    window, correction = _hann()
    return _correlate(windows * window) / correction


def _candidates(correlation: Tensor) -> tuple[Floats, Floats, Floats]:
    """The strongest peaks of each frame.

    Args:
        correlation: [m, LONGEST + 1].

    Returns:
        Frequency in Hz [m, CANDIDATES], 0 where there are fewer; the height of the highest peak
        [m]; strength [m, CANDIDATES], which is the height less a cost for low frequencies (so
        that the first of equal peaks wins), and minus infinity where there is no peak.
    """
    left, middle, right = (
        correlation[:, SHORTEST - 1 + shift : LONGEST - 1 + shift] for shift in range(3)
    )
    is_peak = (middle > left) & (middle >= right) & (middle > VOICING_THRESHOLD / 2)
    # Parabola through the peak and its neighbours; its curvature is negative at a peak.
    curvature = torch.where(is_peak, left - 2 * middle + right, -1.0)
    slope = (right - left) / 2
    hertz = RATE / (torch.arange(SHORTEST, LONGEST) - slope / curvature)
    height = middle - slope.square() / (2 * curvature)
    # A peak above 1 comes of the correction by the window; it is reflected as in the paper.
    height = torch.where(height > 1, 1 / height, height)
    cost = OCTAVE_COST * torch.log2(float(ACOUSTIC_PARAMETERS["pitch_high_hz"]) / hertz.abs())
    strength, place = torch.where(is_peak, height - cost, -torch.inf).topk(CANDIDATES, dim=1)
    found = torch.where(torch.isfinite(strength), hertz.gather(1, place), 0.0)
    highest = torch.where(is_peak, height, 0.0).amax(1)
    return found.numpy(), highest.numpy(), strength.numpy()


def _unvoiced(peak: Tensor) -> Floats:
    """Strength of the candidate "unvoiced" [m]: larger in quiet frames."""
    quiet = 2 - peak.numpy() * (1 + VOICING_THRESHOLD) / SILENCE_THRESHOLD
    return np.asarray(VOICING_THRESHOLD + np.maximum(quiet, 0), np.float32)


def _best_path(hertz: Floats, strength: Floats) -> npt.NDArray[np.int64]:
    """The candidate of each frame [m] by dynamic programming; 0 is unvoiced.

    Args:
        hertz: [m, CANDIDATES].
        strength: [m, 1 + CANDIDATES]; minus infinity where there is no candidate.
    """
    cost = _transitions(hertz)
    score = strength[0]
    back = np.zeros(strength.shape, np.int64)
    for frame in range(1, len(strength)):
        reached = score[:, None] - cost[frame - 1]
        back[frame] = reached.argmax(axis=0)
        score = reached.max(axis=0) + strength[frame]
    path = np.zeros(len(strength), np.int64)
    path[-1] = score.argmax()
    for frame in range(len(strength) - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path


def _transitions(hertz: Floats) -> Floats:
    """Cost of going from a candidate to one of the next frame [m - 1, 1 + c, 1 + c]."""
    octaves = np.log2(hertz.clip(1))
    cost = np.full((len(hertz) - 1, CANDIDATES + 1, CANDIDATES + 1), CHANGE_COST, np.float32)
    cost[:, 0, 0] = 0
    cost[:, 1:, 1:] = JUMP_COST * np.abs(octaves[:-1, :, None] - octaves[1:, None, :])
    return cost
