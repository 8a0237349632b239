"""From synthesised samples to a recording: voice quality, loudness, channel.

Whoever changes what comes out raises `VERSION` of `takes.py`; else finished corpora stay.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr
from scipy import signal

from clser_bench.demo import espeak
from clser_bench.demo.languages import Channel
from clser_bench.demo.takes import Take
from clser_bench.hashing import generator

RATE = 16_000
"""Sampling rate of the demo corpora in Hz."""

_LEVEL = -27.0  # dB, root mean square of a neutral utterance relative to full scale
_PEAK = 0.95
_TREMOR_HZ = 6.5

Samples = npt.NDArray[np.float64]


def record(spoken: npt.NDArray[np.int16], *, take: Take, channel: Channel) -> Samples:
    """Turn what the synthesiser spoke into a recording.

    Args:
        spoken: samples [samples] at `espeak.RATE`.
        take: how it is to sound.
        channel: what it goes through.

    Returns:
        Samples [samples] at `RATE`, within ±1.
    """
    voice = soxr.resample(spoken / 32768.0, espeak.RATE, RATE, quality="VHQ")
    noise = generator("demo noise", take.seed)
    voice = _breathy(voice, share=take.breath, noise=noise)
    voice = _bright(voice, decibels=take.brightness)
    voice = _trembling(voice, depth=take.tremor, phase=noise.uniform(0, 2 * np.pi))
    voice *= 10 ** ((_LEVEL + take.loudness) / 20) / (_root_mean_square(voice) + 1e-9)
    heard = _CHANNELS[channel](voice, noise)
    peak = float(np.abs(heard).max()) + 1e-9
    return np.asarray(heard * min(1.0, _PEAK / peak), dtype=np.float64)


def _root_mean_square(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def _breathy(voice: Samples, *, share: float, noise: np.random.Generator) -> Samples:
    """Let noise that follows the voice's envelope take the place of its upper harmonics."""
    white = noise.standard_normal(len(voice))
    low = signal.sosfilt(signal.butter(2, 1500, fs=RATE, output="sos"), voice)
    hiss = signal.sosfilt(signal.butter(2, 1500, "highpass", fs=RATE, output="sos"), white)
    envelope = signal.sosfilt(signal.butter(1, 30, fs=RATE, output="sos"), np.abs(voice))
    return (1 - share) * voice + share * (low + 0.5 * np.maximum(envelope, 0) * hiss)


def _bright(voice: Samples, *, decibels: float) -> Samples:
    """Raise or lower what lies above 1 kHz (a tense or a lax voice)."""
    high = signal.sosfilt(signal.butter(1, 1000, "highpass", fs=RATE, output="sos"), voice)
    return voice + (10 ** (decibels / 20) - 1) * high


def _trembling(voice: Samples, *, depth: float, phase: float) -> Samples:
    seconds = np.arange(len(voice)) / RATE
    return voice * (1 + depth * np.sin(2 * np.pi * _TREMOR_HZ * seconds + phase))


def _telephone(voice: Samples, noise: np.random.Generator) -> Samples:
    band = signal.butter(4, (300, 3400), "bandpass", fs=RATE, output="sos")
    return signal.sosfilt(band, voice) + _hiss(voice, noise, decibels=-62)


def _room(voice: Samples, noise: np.random.Generator) -> Samples:
    """A room of 0.4 s reverberation time; the same one for every utterance."""
    seconds = np.arange(int(0.35 * RATE)) / RATE
    tail = generator("demo room").standard_normal(len(seconds)) * 10 ** (-3 * seconds / 0.4)
    tail *= 0.6 / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return signal.fftconvolve(voice, tail)[: len(voice)] + _hiss(voice, noise, decibels=-65)


def _clean(voice: Samples, noise: np.random.Generator) -> Samples:
    return voice + _hiss(voice, noise, decibels=-75)


def _noise(voice: Samples, noise: np.random.Generator) -> Samples:
    """Steady noise, stronger in low frequencies."""
    hum = signal.sosfilt(
        signal.butter(1, 500, fs=RATE, output="sos"), _hiss(voice, noise, decibels=-38)
    )
    return voice + hum


def _hiss(voice: Samples, noise: np.random.Generator, *, decibels: float) -> Samples:
    return noise.standard_normal(len(voice)) * 10 ** (decibels / 20)


_CHANNELS = {"telephone": _telephone, "room": _room, "clean": _clean, "noise": _noise}
