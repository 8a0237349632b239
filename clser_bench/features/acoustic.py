"""The feature sets `acoustic` and `minimal`: samples to frames, instants and a summary.

Their columns are described in `columns`. Frames are 25 ms long, every 10 ms; frame i is centred at
`FRAME / 2 + i * HOP` samples of the signal at 16 kHz.

Pitch by the autocorrelation method of P. Boersma, "Accurate short-term analysis of the fundamental
frequency and the harmonics-to-noise ratio of a sampled sound", Proceedings of the Institute of
Phonetic Sciences 17, Amsterdam, 1993: section 2 (window correction, eq. 9), section 5 (candidates,
path). Departures: peaks are found by a parabola in a correlation limited to 6 kHz, not by
windowed-sine interpolation; frames are 40 ms whatever the lowest pitch.

Voice quality (harmonics-to-noise ratio, the balance of the lowest harmonics) after F. Eyben et al.,
"The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and affective
computing", IEEE Transactions on Affective Computing 7(2), 2016, section 3.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor

from clser_bench.errors import FeatureError
from clser_bench.features import columns
from clser_bench.features.columns import BANDS, CEPSTRA, INSTANTS, RATE, pool, summarise
from clser_bench.problem import Floats, Rows

_SET = {name: float(value) for name, value in columns.MINIMAL_PARAMETERS.items()}

FRAME = round(RATE * _SET["frame_seconds"])
HOP = round(RATE * _SET["hop_seconds"])
SIZE = 512
"""Points of the Fourier transform: the next power of two above a frame."""

FLOOR = 10 ** (_SET["floor_db"] / 10)
_RANGE = 10 ** (-_SET["range_db"] / 10)

_PITCH_WINDOW = round(RATE * _SET["pitch_window_seconds"])
_PITCH_SIZE = 1024  # points: a window and the longest lag fit without wrapping
_BAND = round(_PITCH_SIZE * _SET["pitch_band_hz"] / RATE)  # a narrower band makes rounder peaks
_SHORTEST = int(RATE / _SET["pitch_high_hz"])
_LONGEST = int(RATE / _SET["pitch_low_hz"]) + 1
_CANDIDATES = int(_SET["pitch_candidates"])

# Longer than a frame: the harmonics of a low voice lie 80 Hz apart.
_HARMONIC_WINDOW = round(RATE * _SET["harmonic_window_seconds"])
_HARMONIC_SIZE = 2048  # points: bins of 8 Hz, so that a harmonic's peak is not missed

_LONG = [columns.ACOUSTIC_INSTANTS.index(name) for name in columns.OF_ACOUSTIC]
_SHORT = [columns.ACOUSTIC_SUMMARY.index(name) for name in columns.MINIMAL_OF_ACOUSTIC]
_LOADER = "torchaudio._extension"


@dataclass(frozen=True, kw_only=True)
class Pitch:
    """The pitch contour of an utterance."""

    hertz: Floats  # float32 [m], 0 where unvoiced
    voicing: Floats  # float32 [m], height of the highest peak of the autocorrelation, 0 to 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Speech:
    """An utterance as frames, silence around it included."""

    signal: Tensor  # float32 [samples] at 16 kHz, mean removed
    contour: Pitch
    columns: Floats  # float32 [m, d], the columns `ACOUSTIC_INSTANTS`
    kept: slice  # the active stretch


def check(_: str) -> None:
    """Raise `FeatureError` unless torchaudio can be imported."""
    load_torchaudio()


def extract(name: str, samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute instants float32 [32, d] over the active stretch, and summary float32 [f].

    Samples are float32 mono [samples], full scale 1, and are resampled to 16 kHz; clips shorter
    than a frame are padded with zeros on both sides. The name is `acoustic` or `minimal`.
    """
    with _one_thread(), torch.inference_mode():
        speech = analyse(samples, rate)
        frames, voiced = speech.columns[speech.kept], (speech.contour.hertz > 0)[speech.kept]
        summary = summarise(frames, voiced)
        if name == "acoustic":
            return pool(frames, INSTANTS), summary
        quality = quality_columns(speech.signal, speech.contour)[speech.kept]
    spoken = (quality[voiced] if voiced.any() else quality).astype(np.float64)
    summary = np.concatenate([summary[_SHORT], spoken.mean(axis=0), spoken.std(axis=0)])
    instants = np.concatenate([frames[:, _LONG], quality], axis=1)
    return pool(instants, INSTANTS), summary.astype(np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: sums must not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    parts = (
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
        columns=np.concatenate(parts, axis=1),
        kept=columns.active(loud.numpy()[:, 0]),
    )


def _octaves(contour: Pitch) -> Floats:
    """Octaves above the reference, drawn straight through unvoiced frames [m]."""
    (voiced,) = np.nonzero(contour.hertz > 0)
    if not len(voiced):
        return np.zeros_like(contour.hertz)
    octaves = np.log2(contour.hertz[voiced] / _SET["pitch_reference_hz"])
    filled = np.interp(np.arange(len(contour.hertz)), voiced, octaves)
    return np.asarray(filled, np.float32)


@functools.cache
def _constants() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The window [FRAME], mel bands [bins, BANDS], cosines [BANDS, CEPSTRA] and kHz [bins]."""
    tools, bins = load_torchaudio().functional, SIZE // 2 + 1
    bands = tools.melscale_fbanks(bins, _SET["band_low_hz"], _SET["band_high_hz"], BANDS, RATE)
    cosines = tools.create_dct(CEPSTRA, BANDS, "ortho")
    return torch.hann_window(FRAME), bands, cosines, torch.linspace(0, RATE / 2000, bins)


def power(samples: Tensor) -> Tensor:
    """The short-time power spectrum, scaled so that a frame's bins add up to its mean square.

    Of float32 [samples] at 16 kHz, at least one frame long: [m, bins], full scale 1.
    """
    window, *_ = _constants()
    spectrum: Tensor = load_torchaudio().functional.spectrogram(
        samples,
        pad=(SIZE - FRAME) // 2,
        window=window,
        n_fft=SIZE,
        hop_length=HOP,
        win_length=FRAME,
        power=2.0,
        normalized=False,
        center=False,
    )
    scale = torch.full((SIZE // 2 + 1, 1), 2.0)
    scale[0] = scale[-1] = 1.0
    energy = window.square().sum() * SIZE
    return (spectrum * (scale / energy)).T.contiguous()


def decibel(values: Tensor, *, floor: float | Tensor = FLOOR) -> Tensor:
    """`10 log10` of powers, not below the floor (a power above 0; -100 dB by default)."""
    least = torch.as_tensor(floor, dtype=values.dtype)
    return 10 * torch.log10(torch.maximum(values, least))


def mel_columns(spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-mel [m, 26] in dB, MFCC [m, 13] and loudness [m, 1] of `power` [m, bins].

    Log-mel is at most 80 dB below the utterance's highest: digital silence would otherwise outweigh
    speech.
    """
    _, filters, cosines, _ = _constants()
    bands = spectrum @ filters
    log_mel = decibel(bands, floor=torch.clamp(bands.max() * _RANGE, min=FLOOR))
    loudness = bands.pow(_SET["loudness_exponent"]).sum(1, keepdim=True)
    return log_mel, log_mel @ cosines, loudness


def level(spectrum: Tensor) -> Tensor:
    """Root mean square of the windowed frame, dB re full scale [m, 1]."""
    return decibel(spectrum.sum(1, keepdim=True))


def shape_columns(spectrum: Tensor) -> Tensor:
    """The columns `SHAPE`, in that order, of `power` [m, bins]: [m, 9], finite for silence."""
    *_, kilohertz = _constants()
    # A floor far below the quantisation noise of 16 bits: silence counts as white.
    floor = FLOOR / SIZE
    floored = spectrum + floor
    share = floored / floored.sum(1, keepdim=True)
    centroid = share @ kilohertz
    spread = (share * (kilohertz - centroid[:, None]).square()).sum(1).sqrt()
    # Rounding may leave the sum below the share; the last bin is then the answer.
    below = (share.cumsum(1) < _SET["rolloff_share"]).sum(1)
    rolloff = kilohertz[below.clamp(max=len(kilohertz) - 1)]
    log_power = decibel(floored, floor=floor)
    low, high = _between(floored, 0.05, 1.0).sum(1), _between(floored, 1.0, 5.0).sum(1)
    alpha = decibel(low, floor=floor) - decibel(high, floor=floor)
    hammarberg = _between(log_power, 0.0, 2.0).amax(1) - _between(log_power, 2.0, 5.0).amax(1)
    slopes = _slope(log_power, 0.0, 0.5), _slope(log_power, 0.5, 1.5)
    # The distance of successive magnitude spectra of length one; 0 for the first.
    magnitude = floored.sqrt()
    unit = magnitude / magnitude.square().sum(1, keepdim=True).sqrt()
    flux = torch.zeros(len(unit))
    flux[1:] = (unit[1:] - unit[:-1]).square().sum(1).sqrt()
    flatness = log_power.mean(1) - decibel(floored.mean(1), floor=floor)
    shape = [centroid, spread, rolloff, *slopes, alpha, hammarberg, flux, flatness]
    return torch.stack(shape, dim=1)


def _between(spectra: Tensor, low: float, high: float) -> Tensor:
    """The bins from `low` up to, not including, `high` kHz."""
    *_, bins = _constants()
    return spectra[:, (bins >= low) & (bins < high)]


def _slope(log_power: Tensor, low: float, high: float) -> Tensor:
    """Least-squares slope over the bins of a range, dB/kHz [m]."""
    kilohertz = _between(_constants()[-1][None], low, high)[0]
    centred = kilohertz - kilohertz.mean()
    return _between(log_power, low, high) @ (centred / centred.square().sum())


def pitch(samples: Tensor, frames: int) -> Pitch:
    """Follow the pitch of a signal at 16 kHz over so many frames."""
    margin = (_PITCH_WINDOW - FRAME) // 2
    missing = (frames - 1) * HOP + _PITCH_WINDOW - margin - len(samples)
    padded = torch.nn.functional.pad(samples, (margin, max(missing, 0)))
    windows = padded.unfold(0, _PITCH_WINDOW, HOP)[:frames]
    windows = windows - windows.mean(1, keepdim=True)
    peak = windows.abs().amax(1)
    peak = peak / peak.max().clamp(min=1e-6)
    # The correlation of the signal is that of the windowed signal over that of the window (eq. 9).
    window, correction = _pitch_window()
    hertz, height, strength = _candidates(_correlate(windows * window) / correction)
    # The candidate "unvoiced" is stronger in quiet frames.
    threshold = _SET["voicing_threshold"]
    quiet = 2 - peak.numpy() * (1 + threshold) / _SET["silence_threshold"]
    unvoiced = np.asarray(threshold + np.maximum(quiet, 0), np.float32)
    path = _best_path(hertz, np.concatenate([unvoiced[:, None], strength], axis=1))
    chosen = np.concatenate([np.zeros((frames, 1), np.float32), hertz], axis=1)
    return Pitch(hertz=chosen[np.arange(frames), path], voicing=height)


@functools.cache
def _pitch_window() -> tuple[Tensor, Tensor]:
    """The window, and its normalised autocorrelation [_LONGEST + 1]."""
    window = torch.hann_window(_PITCH_WINDOW)
    return window, _correlate(window[None])[0]


def _correlate(windows: Tensor) -> Tensor:
    """Autocorrelation over lag 0 to _LONGEST, 1 at lag 0 [m, _LONGEST + 1]."""
    spectrum = torch.fft.rfft(windows, n=_PITCH_SIZE)
    squared = spectrum.real.square() + spectrum.imag.square()
    squared[:, _BAND:] = 0
    correlation: Tensor = torch.fft.irfft(squared, n=_PITCH_SIZE)[:, : _LONGEST + 1]
    return correlation / correlation[:, :1].clamp(min=1e-12)


def _candidates(correlation: Tensor) -> tuple[Floats, Floats, Floats]:
    """The strongest peaks of each frame, of autocorrelations [m, _LONGEST + 1].

    Frequency in Hz [m, _CANDIDATES], 0 where there are fewer; the height of the highest peak [m];
    strength [m, _CANDIDATES], which is the height less a cost for low frequencies (so that the
    first of equal peaks wins), and minus infinity where there is no peak.
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

    Of frequencies [m, _CANDIDATES] and strengths [m, 1 + _CANDIDATES], minus infinity where there
    is no candidate.
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


def quality_columns(signal: Tensor, contour: Pitch) -> Floats:
    """The columns `columns.QUALITY`, in that order, of a signal at 16 kHz: float32 [m, 3].

    Ratios of harmonics are drawn straight through unvoiced frames, and are 0 where none is voiced.
    """
    least = _SET["least_periodic"]
    periodic = contour.voicing.astype(np.float64).clip(least, 1 - least)
    (voiced,) = np.nonzero(contour.hertz > 0)
    ratios = np.zeros((len(periodic), 2))
    if len(voiced):
        spectrum, hertz = harmonic_spectrum(signal, voiced), torch.from_numpy(contour.hertz[voiced])
        first, second = (harmonic_level(spectrum, hertz, number) for number in (1, 2))
        ends = (torch.full_like(hertz, _SET[f"third_{end}_hz"]) for end in ("low", "high"))
        for column, other in enumerate((second, _highest(spectrum, *ends))):
            found = (first - other).numpy()
            ratios[:, column] = np.interp(np.arange(len(periodic)), voiced, found)
    hnr = 10 * np.log10(periodic / (1 - periodic))
    return np.concatenate([hnr[:, None], ratios], axis=1).astype(np.float32)


def harmonic_spectrum(signal: Tensor, places: Rows) -> Tensor:
    """The power spectrum of the frames of these numbers, of a signal at 16 kHz, dB [v, bins]."""
    margin = (_HARMONIC_WINDOW - FRAME) // 2
    padded = torch.nn.functional.pad(signal, (margin, margin + HOP))
    frames = padded.unfold(0, _HARMONIC_WINDOW, HOP)[torch.from_numpy(places)]
    windowed = frames * torch.hann_window(_HARMONIC_WINDOW)
    power = torch.fft.rfft(windowed, n=_HARMONIC_SIZE).abs().square()
    return 10 * torch.log10(power + 1e-12)


def harmonic_level(decibel: Tensor, pitch: Tensor, number: int) -> Tensor:
    """The level of a harmonic: the highest bin within a quarter of the pitch about it, dB [v].

    Of `harmonic_spectrum` [v, bins] and the pitch in Hz [v]; number 1 is the fundamental.
    """
    reach = _SET["harmonic_reach"]
    return _highest(decibel, (number - reach) * pitch, (number + reach) * pitch)


def _highest(decibel: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The highest bin of each frame from `low` to `high` Hz [v]."""
    hertz = torch.linspace(0, RATE / 2, decibel.shape[1])
    inside = (hertz >= low[:, None]) & (hertz <= high[:, None])
    return decibel.masked_fill(~inside, -torch.inf).amax(dim=1)


@functools.cache
def load_torchaudio() -> ModuleType:
    """Import torchaudio, without its compiled part where that does not load.

    FeatureError where it is not installed, or fails for another reason.
    """
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        raise FeatureError(
            "torchaudio is not installed, and acoustic features and encoders need it: "
            "pip install torchaudio"
        ) from error
    except (OSError, ImportError, RuntimeError) as error:
        cause = error
    # Import again behind the stub; what the failed import left behind is dropped first.
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
    vars(stub).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=lambda function: function,
        __getattr__=missing,
    )
    return stub
