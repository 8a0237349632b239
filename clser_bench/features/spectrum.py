"""Frames of 25 ms every 10 ms: log-mel, MFCC, level, loudness, spectral shape, and pitch.

Pitch by the autocorrelation method of P. Boersma, "Accurate short-term analysis of the fundamental
frequency and the harmonics-to-noise ratio of a sampled sound", Proceedings of the Institute of
Phonetic Sciences 17, Amsterdam, 1993: section 2 (window correction, eq. 9), section 5 (candidates,
path). Departures: peaks are found by a parabola in a correlation limited to 6 kHz, not by
windowed-sine interpolation; frames are 40 ms whatever the lowest pitch.

torchaudio is imported here even where its compiled part does not load. Its wheels on the package
index are linked against CUDA: beside the CPU build of torch, `import torchaudio` fails with
"libc10_cuda.so: cannot open shared object file", although the functions used here are plain
PyTorch. A stub in place of the loader of the compiled part lets the rest be imported. Where
torchaudio imports by itself, nothing is touched.
"""

from __future__ import annotations

import functools
import importlib
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clser_bench.errors import FeatureError
from clser_bench.features.columns import ACOUSTIC_PARAMETERS, BANDS, CEPSTRA, RATE
from clser_bench.problem import Floats

_SET = {name: float(value) for name, value in ACOUSTIC_PARAMETERS.items()}

FRAME = round(RATE * _SET["frame_seconds"])
HOP = round(RATE * _SET["hop_seconds"])
SIZE = 512
"""Points of the Fourier transform: the next power of two above a frame."""

FLOOR = 10 ** (_SET["floor_db"] / 10)
_RANGE = 10 ** (-_SET["range_db"] / 10)

_WINDOW = round(RATE * _SET["pitch_window_seconds"])
_SIZE = 1024  # of the transform for pitch: a window and the longest lag fit without wrapping
_BAND = round(_SIZE * _SET["pitch_band_hz"] / RATE)  # a narrower band makes rounder peaks
_SHORTEST = int(RATE / _SET["pitch_high_hz"])
_LONGEST = int(RATE / _SET["pitch_low_hz"]) + 1
_CANDIDATES = int(_SET["pitch_candidates"])


@dataclass(frozen=True, kw_only=True)
class _Constants:
    window: Tensor  # [FRAME]
    bands: Tensor  # [bins, BANDS]
    cosines: Tensor  # [BANDS, CEPSTRA]
    kilohertz: Tensor  # [bins]


@functools.cache
def _constants() -> _Constants:
    tools = load_torchaudio().functional
    bins = SIZE // 2 + 1
    return _Constants(
        window=torch.hann_window(FRAME),
        bands=tools.melscale_fbanks(bins, _SET["band_low_hz"], _SET["band_high_hz"], BANDS, RATE),
        cosines=tools.create_dct(CEPSTRA, BANDS, "ortho"),
        kilohertz=torch.linspace(0, RATE / 2000, bins),
    )


def power(samples: Tensor) -> Tensor:
    """The short-time power spectrum, scaled so that a frame's bins add up to its mean square.

    Frame i is centred at `FRAME / 2 + i * HOP` samples.

    Args:
        samples: float32 [samples] at 16 kHz, at least one frame long.

    Returns:
        [m, bins], full scale 1.
    """
    constants = _constants()
    margin = (SIZE - FRAME) // 2
    spectrum: Tensor = load_torchaudio().functional.spectrogram(
        samples,
        pad=margin,
        window=constants.window,
        n_fft=SIZE,
        hop_length=HOP,
        win_length=FRAME,
        power=2.0,
        normalized=False,
        center=False,
    )
    scale = torch.full((SIZE // 2 + 1, 1), 2.0)
    scale[0] = scale[-1] = 1.0
    energy = constants.window.square().sum() * SIZE
    return (spectrum * (scale / energy)).T.contiguous()


def decibel(values: Tensor, *, floor: float | Tensor = FLOOR) -> Tensor:
    """`10 log10` of powers, not below the floor (a power above 0; -100 dB by default)."""
    least = torch.as_tensor(floor, dtype=values.dtype)
    return 10 * torch.log10(torch.maximum(values, least))


def mel_columns(spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-mel, MFCC and loudness.

    Args:
        spectrum: [m, bins] from `power`.

    Returns:
        Log-mel [m, 26] in dB, at most 80 dB below the utterance's highest (digital silence
        would otherwise outweigh speech); MFCC [m, 13]; loudness [m, 1].
    """
    constants = _constants()
    bands = spectrum @ constants.bands
    log_mel = decibel(bands, floor=torch.clamp(bands.max() * _RANGE, min=FLOOR))
    loudness = bands.pow(_SET["loudness_exponent"]).sum(1, keepdim=True)
    return log_mel, log_mel @ constants.cosines, loudness


def level(spectrum: Tensor) -> Tensor:
    """Root mean square of the windowed frame, dB re full scale [m, 1]."""
    return decibel(spectrum.sum(1, keepdim=True))


def shape_columns(spectrum: Tensor) -> Tensor:
    """The columns `SHAPE`, in that order.

    Args:
        spectrum: [m, bins] from `power`.

    Returns:
        [m, 9]; finite for silence.
    """
    kilohertz = _constants().kilohertz
    # A floor far below the quantisation noise of 16 bits: silence counts as white.
    floored = spectrum + FLOOR / SIZE
    share = floored / floored.sum(1, keepdim=True)
    centroid = share @ kilohertz
    spread = (share * (kilohertz - centroid[:, None]).square()).sum(1).sqrt()
    # Rounding may leave the sum below the share; the last bin is then the answer.
    below = (share.cumsum(1) < _SET["rolloff_share"]).sum(1)
    rolloff = kilohertz[below.clamp(max=len(kilohertz) - 1)]
    log_power = decibel(floored, floor=FLOOR / SIZE)
    columns = [centroid, spread, rolloff, *_tilt(floored, log_power), _flux(floored)]
    flatness = log_power.mean(1) - decibel(floored.mean(1), floor=FLOOR / SIZE)
    return torch.stack([*columns, flatness], dim=1)


def _tilt(spectrum: Tensor, log_power: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two slopes, alpha ratio, Hammarberg index: each [m]."""
    low = _between(spectrum, 0.05, 1.0).sum(1)
    high = _between(spectrum, 1.0, 5.0).sum(1)
    alpha = decibel(low, floor=FLOOR / SIZE) - decibel(high, floor=FLOOR / SIZE)
    hammarberg = _between(log_power, 0.0, 2.0).amax(1) - _between(log_power, 2.0, 5.0).amax(1)
    return _slope(log_power, 0.0, 0.5), _slope(log_power, 0.5, 1.5), alpha, hammarberg


def _between(columns: Tensor, low: float, high: float) -> Tensor:
    """The bins from `low` up to, not including, `high` kHz."""
    bins = _constants().kilohertz
    return columns[:, (bins >= low) & (bins < high)]


def _slope(log_power: Tensor, low: float, high: float) -> Tensor:
    """Least-squares slope over the bins of a range, dB/kHz [m]."""
    kilohertz = _between(_constants().kilohertz[None], low, high)[0]
    centred = kilohertz - kilohertz.mean()
    return _between(log_power, low, high) @ (centred / centred.square().sum())


def _flux(spectrum: Tensor) -> Tensor:
    """Distance of successive magnitude spectra of length one [m]; 0 for the first."""
    magnitude = spectrum.sqrt()
    unit = magnitude / magnitude.square().sum(1, keepdim=True).sqrt()
    flux = torch.zeros(len(unit))
    flux[1:] = (unit[1:] - unit[:-1]).square().sum(1).sqrt()
    return flux


@dataclass(frozen=True, kw_only=True)
class Pitch:
    """The pitch contour of an utterance."""

    hertz: Floats  # float32 [m], 0 where unvoiced
    voicing: Floats  # float32 [m], height of the highest peak of the autocorrelation, 0 to 1


def pitch(samples: Tensor, frames: int) -> Pitch:
    """Follow the pitch of a signal at 16 kHz; frame i is centred where frame i of `power` is."""
    windows, peak = _windows(samples, frames)
    # The correlation of the signal is that of the windowed signal over that of the window (eq. 9).
    window, correction = _hann()
    hertz, height, strength = _candidates(_correlate(windows * window) / correction)
    # The candidate "unvoiced" is stronger in quiet frames.
    threshold = _SET["voicing_threshold"]
    quiet = 2 - peak.numpy() * (1 + threshold) / _SET["silence_threshold"]
    unvoiced = np.asarray(threshold + np.maximum(quiet, 0), np.float32)
    path = _best_path(hertz, np.concatenate([unvoiced[:, None], strength], axis=1))
    chosen = np.concatenate([np.zeros((frames, 1), np.float32), hertz], axis=1)
    return Pitch(hertz=chosen[np.arange(frames), path], voicing=height)


def _windows(samples: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Cut windows, mean removed [m, _WINDOW], and their peaks relative to the loudest [m]."""
    margin = (_WINDOW - FRAME) // 2
    missing = (frames - 1) * HOP + _WINDOW - margin - len(samples)
    padded = torch.nn.functional.pad(samples, (margin, max(missing, 0)))
    windows = padded.unfold(0, _WINDOW, HOP)[:frames]
    windows = windows - windows.mean(1, keepdim=True)
    peak = windows.abs().amax(1)
    return windows, peak / peak.max().clamp(min=1e-6)


@functools.cache
def _hann() -> tuple[Tensor, Tensor]:
    """The window, and its normalised autocorrelation [_LONGEST + 1]."""
    window = torch.hann_window(_WINDOW)
    return window, _correlate(window[None])[0]


def _correlate(windows: Tensor) -> Tensor:
    """Autocorrelation over lag 0 to _LONGEST, 1 at lag 0 [m, _LONGEST + 1]."""
    spectrum = torch.fft.rfft(windows, n=_SIZE)
    squared = spectrum.real.square() + spectrum.imag.square()
    squared[:, _BAND:] = 0
    correlation: Tensor = torch.fft.irfft(squared, n=_SIZE)[:, : _LONGEST + 1]
    return correlation / correlation[:, :1].clamp(min=1e-12)


def _candidates(correlation: Tensor) -> tuple[Floats, Floats, Floats]:
    """The strongest peaks of each frame.

    Args:
        correlation: [m, _LONGEST + 1].

    Returns:
        Frequency in Hz [m, _CANDIDATES], 0 where there are fewer; the height of the highest peak
        [m]; strength [m, _CANDIDATES], which is the height less a cost for low frequencies (so
        that the first of equal peaks wins), and minus infinity where there is no peak.
    """
    left, middle, right = (
        correlation[:, _SHORTEST - 1 + shift : _LONGEST - 1 + shift] for shift in range(3)
    )
    is_peak = (middle > left) & (middle >= right) & (middle > _SET["voicing_threshold"] / 2)
    # Parabola through the peak and its neighbours; its curvature is negative at a peak.
    curvature = torch.where(is_peak, left - 2 * middle + right, -1.0)
    slope = (right - left) / 2
    hertz = RATE / (torch.arange(_SHORTEST, _LONGEST) - slope / curvature)
    height = middle - slope.square() / (2 * curvature)
    # A peak above 1 comes of the correction by the window; it is reflected as in the paper.
    height = torch.where(height > 1, 1 / height, height)
    cost = _SET["octave_cost"] * torch.log2(_SET["pitch_high_hz"] / hertz.abs())
    strength, place = torch.where(is_peak, height - cost, -torch.inf).topk(_CANDIDATES, dim=1)
    found = torch.where(torch.isfinite(strength), hertz.gather(1, place), 0.0)
    highest = torch.where(is_peak, height, 0.0).amax(1)
    return found.numpy(), highest.numpy(), strength.numpy()


def _best_path(hertz: Floats, strength: Floats) -> npt.NDArray[np.int64]:
    """The candidate of each frame [m] by dynamic programming; 0 is unvoiced.

    Args:
        hertz: [m, _CANDIDATES].
        strength: [m, 1 + _CANDIDATES]; minus infinity where there is no candidate.
    """
    octaves = np.log2(hertz.clip(1))
    size = (len(hertz) - 1, _CANDIDATES + 1, _CANDIDATES + 1)
    cost = np.full(size, _SET["voicing_change_cost"], np.float32)
    cost[:, 0, 0] = 0
    cost[:, 1:, 1:] = _SET["octave_jump_cost"] * np.abs(octaves[:-1, :, None] - octaves[1:, None])
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


_LOADER = "torchaudio._extension"


@functools.cache
def load_torchaudio() -> ModuleType:
    """Import torchaudio, without its compiled part where that does not load.

    Raises:
        FeatureError: torchaudio is not installed, or fails for another reason.
    """
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        raise FeatureError(
            "torchaudio is not installed, and acoustic features and encoders need it: "
            "pip install torchaudio"
        ) from error
    except (OSError, ImportError, RuntimeError) as error:
        return _without_compiled_part(error)


def _without_compiled_part(cause: Exception) -> ModuleType:
    """Import again behind the stub; what the failed import left behind is dropped first."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules[_LOADER] = _stub()
    try:
        return importlib.import_module("torchaudio")
    except (OSError, ImportError, RuntimeError) as error:
        del sys.modules[_LOADER]
        raise FeatureError(
            f"torchaudio cannot be imported ({cause}), nor without its compiled part ({error}); "
            "install the torchaudio that belongs to the installed torch"
        ) from error


def _stub() -> ModuleType:
    """A loader that says that no compiled part is there."""

    def missing(name: str) -> Any:
        # Older releases ask for further switches of this form.
        if name.startswith("_IS_"):
            return False
        raise AttributeError(name)

    stub = ModuleType(_LOADER)
    stub.__dict__["_IS_TORCHAUDIO_EXT_AVAILABLE"] = False
    stub.__dict__["_IS_ALIGN_AVAILABLE"] = False
    stub.__dict__["fail_if_no_align"] = lambda function: function
    stub.__dict__["__getattr__"] = missing
    return stub
