"""Corruptions of speech for curves of robustness: which there are, and what they do to samples.

Default levels, from mild to severe:

    noise: white noise; signal-to-noise ratio in dB; 20, 10, 0.
    pink: pink noise (1/f, from 20 Hz up); signal-to-noise ratio in dB; 20, 10, 0.
    babble: six simulated talkers, noise with the spectrum and the syllables of speech and no
        recorded voice in it; signal-to-noise ratio in dB; 20, 10, 0.
    reverb: a simulated room of 100 cubic metres, 1 m from the talker; reverberation time (RT60) in
        seconds; 0.3, 0.6, 1.
    telephone: 300 to 3400 Hz, 8 kHz, mu-law; bits of a sample; 8, 6, 4.
    gain: louder or softer, clipped at full scale; dB; -10, -20, 10.
    speed: faster or slower as a tape is, pitch and tempo together; factor; 0.9, 1.1, 0.8, 1.25.
    clip: what lies above a share of the peak cut off; dB below the peak; 3, 10, 20.

A list is written `noise:20,10,0,reverb`: `kind:level` opens a kind, bare numbers after it are more
levels of it, and a bare kind stands for its default levels.

Speech's power, for signal-to-noise ratios, is that of its active frames: frames of 25 ms that are
at most 30 dB below the loudest one, about the mean of the utterance. Pauses thus do not count, and
utterances with long ones do not get less noise. Noise runs through pauses as well. A sum may exceed
full scale: it is not clipped, so that noise stays noise. The ratio counts noise up to half the
sampling rate, so it means the same for two corpora only at the same rate: resample first, corrupt
after. Samples are float64 [t] but for `corrupted`.

scipy and soxr are imported where they are used: command lines and requests only read the names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.hashing import generator
from clser_bench.problem import Floats

VERSION = 1
"""Raised when a corruption of the same name gives other samples."""

Doubles = npt.NDArray[np.float64]
_Apply = Callable[[Doubles, int, float, np.random.Generator], Doubles]

_FRAME = 0.025  # seconds
_ACTIVE = 1e-3  # of the loudest frame's energy: -30 dB
_LOWEST = 20.0  # Hz; most of the power of 1/f lies below, where it is inaudible

_TALKERS = 6
_SYLLABLES = 4.0  # Hz, upper end of the talkers' modulation
# Speech at normal effort: spectrum level in dB of thirds of octaves (ANSI S3.5-1997, table 3).
_THIRDS = 1000 * 10 ** (np.arange(-8, 10) / 10)  # Hz
_SPEECH = (
    *(32.41, 34.48, 34.75, 33.98, 34.59, 34.27, 32.06, 28.30, 25.01),
    *(23.00, 20.15, 17.32, 13.18, 11.55, 9.33, 5.31, 2.59, 1.13),
)

# Reverberant over direct energy 1 m from a talker in 100 cubic metres, for RT60 = 1 s:
# 16 pi r^2 / A with Sabine's absorption A = 0.161 V / RT60.
_REVERBERANT = 16 * np.pi / (0.161 * 100)

_TELEPHONE_RATE = 8000
_TELEPHONE_BAND = (300, 3400)
_MU = 255.0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to corrupt speech.

    Attributes:
        unit: what a level is, for the axis of a figure.
        defaults: the levels that the bare name stands for, mild to severe.
        least: lowest level allowed.
        most: highest level allowed.
        whole: levels are whole numbers.
        clean: the level that would leave speech as it is, for `telephone` but for its band;
            infinity where higher levels are milder.
    """

    unit: str
    defaults: tuple[float, ...]
    least: float
    most: float
    whole: bool = False
    clean: float = math.inf


_RATIO = Kind(unit="signal-to-noise ratio, dB", defaults=(20, 10, 0), least=-30, most=60)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "noise": _RATIO,
        "pink": _RATIO,
        "babble": _RATIO,
        "reverb": Kind(unit="RT60, s", defaults=(0.3, 0.6, 1), least=0.05, most=5, clean=0),
        "telephone": Kind(unit="bits", defaults=(8, 6, 4), least=3, most=8, whole=True),
        "gain": Kind(unit="gain, dB", defaults=(-10, -20, 10), least=-60, most=60, clean=0),
        "speed": Kind(
            unit="speed, factor", defaults=(0.9, 1.1, 0.8, 1.25), least=0.5, most=2, clean=1
        ),
        "clip": Kind(
            unit="limit, dB below the peak", defaults=(3, 10, 20), least=0, most=60, clean=0
        ),
    }
)
"""Every corruption by its name."""


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption at a level.

    Attributes:
        kind: one of `KINDS`.
        level: in the unit of the kind, within its range.

    Raises:
        SpecError: the kind is unknown, or the level is not one of the kind's.
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpecError(f"corruption '{self.kind}' is unknown{did_you_mean(self.kind, KINDS)}")
        # Adding 0 turns -0 into 0: one level, one name.
        object.__setattr__(self, "level", float(self.level) + 0.0)
        kind = KINDS[self.kind]
        if not kind.least <= self.level <= kind.most:
            raise SpecError(
                f"corruption '{self.name}': the level ({kind.unit}) must lie within {kind.least:g} "
                f"and {kind.most:g}"
            )
        if kind.whole and not self.level.is_integer():
            raise SpecError(
                f"corruption '{self.name}': the level ({kind.unit}) must be a whole number, such "
                f"as {kind.defaults[0]:g}"
            )

    @property
    def name(self) -> str:
        """The one way to write it, `noise:10`."""
        return f"{self.kind}:{repr(self.level).removesuffix('.0')}"


def parse(*texts: str) -> tuple[Corruption, ...]:
    """Read lists of corruptions.

    Args:
        texts: each such as `noise:20,10,0,reverb`; spaces around commas do not matter.

    Returns:
        The corruptions in the order in which they are first named, each once.

    Raises:
        SpecError: an item is no corruption, or a number follows no kind.
    """
    return tuple(dict.fromkeys(item for text in texts for item in _read(text)))


def _read(text: str) -> list[Corruption]:
    items: list[Corruption] = []
    opened = ""
    for word in (part.strip() for part in text.split(",")):
        kind, colon, level = word.partition(":")
        if not word:
            raise SpecError(f"corruptions {text!r}: empty between commas; write noise:20,10")
        if colon:
            opened = kind
            items.append(Corruption(kind, _level(level, word)))
        elif not _is_number(word):
            opened = ""
            items += _defaults(word)
        elif opened:
            items.append(Corruption(opened, float(word)))
        else:
            raise SpecError(
                f"corruptions {text!r}: {word} is a level of nothing; write noise:20,10"
            )
    return items


def _defaults(kind: str) -> list[Corruption]:
    if kind not in KINDS:
        raise SpecError(f"corruption {kind!r} is unknown{did_you_mean(kind, KINDS)}")
    return [Corruption(kind, level) for level in KINDS[kind].defaults]


def _level(text: str, item: str) -> float:
    if not _is_number(text):
        raise SpecError(f"corruption {item!r}: {text!r} is no number; write noise:10")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def corrupted(samples: Floats, rate: int, corruption: Corruption, *, content: str) -> Floats:
    """Corrupt an utterance.

    Args:
        samples: [t] mono, floating point, full scale ±1.
        rate: samples per second.
        corruption: what to do.
        content: names the utterance, its content hash; with the corruption's name it seeds what
            is random, so that another utterance gets another noise.

    Returns:
        float32, [t] but for `speed`, [about t / factor, at least 1]. Silence stays silence.

    Raises:
        ValueError: the samples are not mono floating point.
    """
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"samples must be floating point [t], not {samples.dtype} {samples.shape}")
    if not len(samples):
        return samples.astype(np.float32)
    random = generator("corruption", corruption.name, content)
    apply = APPLIED[corruption.kind]
    made = apply(np.ascontiguousarray(samples, np.float64), rate, corruption.level, random)
    return np.asarray(made, dtype=np.float32)


def active_power(samples: npt.NDArray[Any], rate: int) -> float:
    """Power of speech without its pauses.

    Args:
        samples: [t], at least one.
        rate: samples per second.

    Returns:
        Mean square about the mean over the active frames (see the module); 0 for silence.
    """
    centred = np.asarray(samples, np.float64) - np.mean(samples, dtype=np.float64)
    starts = np.arange(0, len(centred), max(1, round(_FRAME * rate)))
    energies = np.add.reduceat(centred**2, starts)
    lengths = np.diff(starts, append=len(centred))
    active = energies >= _ACTIVE * energies.max()
    return float(energies[active].sum() / lengths[active].sum())


def with_noise(samples: Doubles, rate: int, *, noise: Doubles, ratio: float) -> Doubles:
    """Add noise at a signal-to-noise ratio.

    Args:
        samples: [t].
        rate: samples per second.
        noise: [t] of any power.
        ratio: dB, active power of the samples over the power of what is added.

    Returns:
        [t]; the samples as they are where they or the noise are silent.
    """
    speech, own = active_power(samples, rate), float(np.mean(noise**2))
    if speech == 0 or own == 0:
        return samples
    return samples + noise * math.sqrt(speech / own * 10 ** (-ratio / 10))


def white(count: int, _rate: int, *, random: np.random.Generator) -> Doubles:
    """Gaussian noise [count], of the same power at every frequency."""
    return random.standard_normal(count)


def pink(count: int, rate: int, *, random: np.random.Generator) -> Doubles:
    """Noise [count] whose power density falls as 1/f, nothing below 20 Hz."""

    def amplitude(hertz: Doubles) -> Doubles:
        return np.where(hertz < _LOWEST, 0, np.maximum(hertz, _LOWEST) ** -0.5)

    return _shaped(count, rate, random, amplitude)


def babble(count: int, rate: int, *, random: np.random.Generator) -> Doubles:
    """Six simulated talkers [count]: noise with the spectrum of speech, each swelling on its own.

    After the artificial babble of Dreschler et al. (ICRA noises, Audiology 40, 2001), whose
    modulation came from recordings; here it is the magnitude of noise up to 4 Hz (syllables).
    """
    total = np.zeros(count)
    for _ in range(_TALKERS):
        voice = _shaped(count, rate, random, _speech_spectrum)
        swell = _shaped(count, rate, random, lambda hertz: 1.0 * (hertz <= _SYLLABLES))
        total += voice * np.abs(swell) / np.sqrt(np.mean(swell**2))
    return total


def in_room(samples: Doubles, rate: int, *, seconds: float, random: np.random.Generator) -> Doubles:
    """Let samples sound in a simulated room.

    The room answers with the direct sound, undelayed, and a tail of Gaussian noise that decays by
    60 dB in `seconds`, all frequencies alike. The tail is as loud as Sabine's formula has it in
    100 cubic metres 1 m from the talker: as the direct sound for 0.32 s, 5 dB above it for 1 s.

    Args:
        samples: [t].
        rate: samples per second.
        seconds: reverberation time, RT60.
        random: where the tail comes from.

    Returns:
        [t], with the power of `samples`; what rings on after their end is left out.
    """
    from scipy import signal  # noqa: PLC0415 (slow)

    count = min(len(samples), int(1.5 * seconds * rate) + 1)
    decay = 10 ** (-3 * np.arange(count) / (seconds * rate))
    later = 10 ** (-6 / (seconds * rate))
    response = random.standard_normal(count) * decay
    response *= np.sqrt(_REVERBERANT * seconds * (1 - later) / later)
    response[0] = 1.0
    wet = signal.fftconvolve(samples, response)[: len(samples)]
    before, after = np.mean(samples**2), np.mean(wet**2)
    return np.asarray(wet * np.sqrt(before / after)) if after > 0 else samples


def by_telephone(samples: Doubles, rate: int, *, bits: int) -> Doubles:
    """Send samples through a telephone: band-pass, 8 kHz, mu-law.

    The call is loud enough to fill the coder's scale, so that a softly recorded corpus is not
    coded more coarsely than a loud one. The filter has no delay.

    Args:
        samples: [t].
        rate: samples per second.
        bits: of a coded sample; 2^bits - 1 values, for plus and minus zero are one.

    Returns:
        [t].
    """
    import soxr  # noqa: PLC0415
    from scipy import signal  # noqa: PLC0415 (slow)

    # Silence after the end keeps a sample or two long enough to be filtered.
    padded = np.pad(samples, (0, max(1, rate // 50)))
    narrow = soxr.resample(padded, rate, _TELEPHONE_RATE, quality="VHQ")
    band = signal.butter(6, _TELEPHONE_BAND, "bandpass", fs=_TELEPHONE_RATE, output="sos")
    narrow = signal.sosfiltfilt(band, narrow)
    peak = float(np.abs(narrow).max())
    if peak == 0:
        return samples
    coded = mu_law(narrow / peak, bits=bits) * peak
    wide = soxr.resample(coded, _TELEPHONE_RATE, rate, quality="VHQ")
    return np.pad(wide[: len(samples)], (0, max(0, len(samples) - len(wide))))


def mu_law(samples: Doubles, *, bits: int) -> Doubles:
    """Round samples to the values that a mu-law coder has, mu = 255.

    Args:
        samples: within ±1.
        bits: of a coded sample.

    Returns:
        As many samples; 0 stays 0.
    """
    steps = 2 ** (bits - 1) - 1
    companded = np.log1p(_MU * np.abs(samples)) / math.log1p(_MU)
    rounded: Doubles = np.round(companded * steps) / steps
    return np.sign(samples) * np.expm1(rounded * math.log1p(_MU)) / _MU


def amplified(samples: Doubles, *, decibels: float) -> Doubles:
    """Make samples louder or softer, and clip them at full scale as a recorder does.

    Args:
        samples: [t].
        decibels: gain.

    Returns:
        [t], within ±1.
    """
    return np.clip(samples * 10 ** (decibels / 20), -1, 1)


def sped(samples: Doubles, rate: int, *, factor: float) -> Doubles:
    """Play samples faster or slower, pitch and tempo together.

    Args:
        samples: [t], at least one.
        rate: samples per second.
        factor: above 1 is faster and higher.

    Returns:
        [about t / factor], at least one sample, to be played at `rate`.
    """
    import soxr  # noqa: PLC0415

    played = soxr.resample(samples, rate * factor, rate, quality="VHQ")
    return np.asarray(played) if len(played) else samples[:1]


def clipped(samples: Doubles, *, decibels: float) -> Doubles:
    """Cut off what exceeds a limit below the peak.

    Args:
        samples: [t].
        decibels: of the limit below the largest magnitude.

    Returns:
        [t]; not amplified after.
    """
    limit = np.abs(samples).max() * 10 ** (-decibels / 20)
    return np.clip(samples, -limit, limit)


def _shaped(
    count: int,
    rate: int,
    random: np.random.Generator,
    amplitude: Callable[[Doubles], npt.NDArray[Any]],
) -> Doubles:
    """Gaussian noise [count] whose spectrum is multiplied by an amplitude of Hz."""
    from scipy import fft  # noqa: PLC0415 (slow)

    size = fft.next_fast_len(count, real=True)
    spectrum = fft.rfft(random.standard_normal(size))
    spectrum = spectrum * amplitude(fft.rfftfreq(size, 1 / rate))
    return np.asarray(fft.irfft(spectrum, size)[:count], dtype=np.float64)


def _speech_spectrum(hertz: Doubles) -> Doubles:
    """Amplitude of speech; beyond the table it goes on level, below 80 Hz there is none."""
    level = np.interp(np.log(np.maximum(hertz, 1)), np.log(_THIRDS), _SPEECH)
    return np.where(hertz < 80, 0, 10 ** (level / 20))


def _adding(make: Callable[..., Doubles]) -> _Apply:
    return lambda x, rate, level, random: with_noise(
        x, rate, noise=make(len(x), rate, random=random), ratio=level
    )


APPLIED: Mapping[str, _Apply] = MappingProxyType(
    {
        "noise": _adding(white),
        "pink": _adding(pink),
        "babble": _adding(babble),
        "reverb": lambda x, rate, level, random: in_room(x, rate, seconds=level, random=random),
        "telephone": lambda x, rate, level, _random: by_telephone(x, rate, bits=int(level)),
        "gain": lambda x, _rate, level, _random: amplified(x, decibels=level),
        "speed": lambda x, rate, level, _random: sped(x, rate, factor=level),
        "clip": lambda x, _rate, level, _random: clipped(x, decibels=level),
    }
)
"""What each kind does with samples [t], their rate, a level and a generator."""
