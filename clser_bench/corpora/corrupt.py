"""Corruptions of speech for curves of robustness: which there are, and what they do to samples.

A list is written `noise:20,10,0,reverb`: `kind:level` opens a kind, bare numbers after it are more
levels of it, and a bare kind stands for its default levels.

Speech's power, for signal-to-noise ratios, is that of its active frames: frames of 25 ms that are
at most 30 dB below the loudest one, about the mean of the utterance. Pauses thus do not count, and
utterances with long ones do not get less noise. Noise runs through pauses as well. A sum may exceed
full scale: it is not clipped, so that noise stays noise. The ratio counts noise up to half the
sampling rate: resample first, corrupt after.

scipy, soxr and soundfile are imported where they are used: command lines only read the names.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import FeatureError, SpecError, did_you_mean
from clser_bench.hashing import digest, generator
from clser_bench.problem import Floats

if TYPE_CHECKING:
    from clser_bench.corpora.audio import Audio

VERSION = 1  # raised when a corruption of the same name gives other samples
CORRUPTED_RATE = 16_000  # speech is resampled to this rate in Hz before it is corrupted
Doubles = npt.NDArray[np.float64]

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


@dataclass(frozen=True)
class Kind:
    """A way to corrupt speech."""

    unit: str  # of a level, for the axis of a figure
    defaults: tuple[float, ...]  # the levels that the bare name stands for, mild to severe
    least: float  # lowest level allowed
    most: float  # highest level allowed
    # the level that would leave speech as it is, for `telephone` but for its band; infinity
    # where higher levels are milder
    clean: float = math.inf
    whole: bool = False  # levels are whole numbers


_RATIO = Kind("signal-to-noise ratio, dB", (20, 10, 0), -30, 60)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "noise": _RATIO,  # white
        "pink": _RATIO,  # 1/f, from 20 Hz up
        "babble": _RATIO,  # six simulated talkers
        # a simulated room; the reverberation time
        "reverb": Kind("RT60, s", (0.3, 0.6, 1), 0.05, 5, clean=0),
        # 300 to 3400 Hz, 8 kHz, mu-law; bits of a sample
        "telephone": Kind("bits", (8, 6, 4), 3, 8, whole=True),
        # louder or softer, clipped at full scale
        "gain": Kind("gain, dB", (-10, -20, 10), -60, 60, clean=0),
        # as a tape is faster or slower, pitch and tempo together
        "speed": Kind("speed, factor", (0.9, 1.1, 0.8, 1.25), 0.5, 2, clean=1),
        # what lies above a share of the peak cut off
        "clip": Kind("limit, dB below the peak", (3, 10, 20), 0, 60, clean=0),
    }
)
"""Every corruption by its name."""


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption at a level; SpecError where the kind has no such level."""

    kind: str  # one of `KINDS`
    level: float  # in the unit of the kind, within its range

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpecError(f"corruption '{self.kind}' is unknown{did_you_mean(self.kind, KINDS)}")
        # Adding 0 turns -0 into 0: one level, one name.
        object.__setattr__(self, "level", float(self.level) + 0.0)
        kind = KINDS[self.kind]
        fault = ""
        if not kind.least <= self.level <= kind.most:
            fault = f"lie within {kind.least:g} and {kind.most:g}"
        elif kind.whole and not self.level.is_integer():
            fault = f"be a whole number, such as {kind.defaults[0]:g}"
        if fault:
            raise SpecError(f"corruption '{self.name}': the level ({kind.unit}) must {fault}")

    @property
    def name(self) -> str:
        """The one way to write it, `noise:10`."""
        return f"{self.kind}:{repr(self.level).removesuffix('.0')}"


def parse(*texts: str) -> tuple[Corruption, ...]:
    """Read lists of corruptions, `noise:20,10,0,reverb`; spaces around commas do not matter.

    In the order in which they are first named, each once; SpecError where an item is none, or a
    number follows no kind.
    """
    return tuple(dict.fromkeys(item for text in texts for item in _read(text)))


def _read(text: str) -> Iterator[Corruption]:
    opened = ""
    for word in map(str.strip, text.split(",")):
        kind, colon, level = word.partition(":")
        try:
            number = float(level if colon else word)
        except ValueError:
            number = None
        if not word:
            raise SpecError(f"corruptions {text!r}: empty between commas; write noise:20,10")
        if colon and number is None:
            raise SpecError(f"corruption {word!r}: {level!r} is no number; write noise:10")
        if number is None and word not in KINDS:
            raise SpecError(f"corruption {word!r} is unknown{did_you_mean(word, KINDS)}")
        if colon or number is None:
            opened = kind if colon else ""
        elif not opened:
            raise SpecError(
                f"corruptions {text!r}: {word} is a level of nothing; write noise:20,10"
            )
        if number is None:
            yield from (Corruption(word, level) for level in KINDS[word].defaults)
        else:
            yield Corruption(opened, number)


def corrupted(samples: Floats, rate: int, corruption: Corruption, *, content: str) -> Floats:
    """Corrupt an utterance [t]: mono, floating point, full scale ±1. Silence stays silence.

    What is random is seeded by its content hash and the corruption: others get another noise.
    float32, [t] but for `speed`, [about t / factor, at least 1].
    """
    if not len(samples):
        return samples.astype(np.float32)
    random = generator("corruption", corruption.name, content)
    wide = np.ascontiguousarray(samples, np.float64)
    if corruption.kind in _NOISES:
        noise = _NOISES[corruption.kind](len(wide), rate, random)
        made = _with_noise(wide, rate, noise, corruption.level)
    else:
        made = _CHANGES[corruption.kind](wide, rate, corruption.level, random)
    return np.asarray(made, dtype=np.float32)


def active_power(samples: npt.NDArray[Any], rate: int) -> float:
    """Power of speech [t] without its pauses; 0 for silence.

    Mean square about the mean over the active frames (see the module).
    """
    centred = np.asarray(samples, np.float64) - np.mean(samples, dtype=np.float64)
    starts = np.arange(0, len(centred), max(1, round(_FRAME * rate)))
    energies = np.add.reduceat(centred**2, starts)
    lengths = np.diff(starts, append=len(centred))
    active = energies >= _ACTIVE * energies.max()
    return float(energies[active].sum() / lengths[active].sum())


def mu_law(samples: Doubles, *, bits: int) -> Doubles:
    """Round samples within ±1 to the 2^bits - 1 values of a mu-law coder, mu = 255; 0 stays 0."""
    steps = 2 ** (bits - 1) - 1
    companded = np.log1p(_MU * np.abs(samples)) / math.log1p(_MU)
    rounded: Doubles = np.round(companded * steps) / steps
    return np.sign(samples) * np.expm1(rounded * math.log1p(_MU)) / _MU


def _with_noise(samples: Doubles, rate: int, noise: Doubles, ratio: float) -> Doubles:
    """Add noise at a ratio in dB; samples stay as they are where they or the noise are silent."""
    speech, own = active_power(samples, rate), float(np.mean(noise**2))
    if speech == 0 or own == 0:
        return samples
    return samples + noise * math.sqrt(speech / own * 10 ** (-ratio / 10))


def _pink(count: int, rate: int, random: np.random.Generator) -> Doubles:
    """Noise whose power density falls as 1/f, nothing below 20 Hz."""

    def amplitude(hertz: Doubles) -> Doubles:
        return np.where(hertz < _LOWEST, 0, np.maximum(hertz, _LOWEST) ** -0.5)

    return _shaped(count, rate, random, amplitude)


def _babble(count: int, rate: int, random: np.random.Generator) -> Doubles:
    """Six simulated talkers: noise with the spectrum of speech, each swelling on its own.

    After the artificial babble of Dreschler et al. (ICRA noises, Audiology 40, 2001), whose
    modulation came from recordings; here it is the magnitude of noise up to 4 Hz (syllables).
    """

    def spectrum(hertz: Doubles) -> Doubles:
        # beyond the table it goes on level, below 80 Hz there is none
        level = np.interp(np.log(np.maximum(hertz, 1)), np.log(_THIRDS), _SPEECH)
        return np.where(hertz < 80, 0, 10 ** (level / 20))

    total = np.zeros(count)
    for _ in range(_TALKERS):
        voice = _shaped(count, rate, random, spectrum)
        swell = _shaped(count, rate, random, lambda hertz: 1.0 * (hertz <= _SYLLABLES))
        total += voice * np.abs(swell) / np.sqrt(np.mean(swell**2))
    return total


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


def _in_room(samples: Doubles, rate: int, seconds: float, random: np.random.Generator) -> Doubles:
    """A simulated room of this RT60; what rings on after the end is left out.

    The room answers with the direct sound, undelayed, and a tail of Gaussian noise that decays by
    60 dB in `seconds`, all frequencies alike. The tail is as loud as Sabine's formula has it in
    100 cubic metres 1 m from the talker: as the direct sound for 0.32 s, 5 dB above it for 1 s.
    The power stays.
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


def _by_telephone(samples: Doubles, rate: int, bits: float, _: np.random.Generator) -> Doubles:
    """Band-pass, 8 kHz, mu-law after scaling to the peak, and back."""
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
    coded = mu_law(narrow / peak, bits=int(bits)) * peak
    wide = soxr.resample(coded, _TELEPHONE_RATE, rate, quality="VHQ")
    return np.pad(wide[: len(samples)], (0, max(0, len(samples) - len(wide))))


def _sped(samples: Doubles, rate: int, factor: float, _: np.random.Generator) -> Doubles:
    import soxr  # noqa: PLC0415

    played = soxr.resample(samples, rate * factor, rate, quality="VHQ")
    return np.asarray(played) if len(played) else samples[:1]


def _gained(samples: Doubles, _: int, decibels: float, __: np.random.Generator) -> Doubles:
    return np.clip(samples * 10 ** (decibels / 20), -1, 1)


def _clipped(samples: Doubles, _: int, decibels: float, __: np.random.Generator) -> Doubles:
    limit = np.abs(samples).max() * 10 ** (-decibels / 20)
    return np.clip(samples, -limit, limit)


_NOISES: dict[str, Callable[[int, int, np.random.Generator], Doubles]] = {
    "noise": lambda count, _, random: random.standard_normal(count),
    "pink": _pink,
    "babble": _babble,
}
_CHANGES: dict[str, Callable[[Doubles, int, float, np.random.Generator], Doubles]] = {
    "reverb": _in_room,
    "telephone": _by_telephone,
    "gain": _gained,
    "speed": _sped,
    "clip": _clipped,
}


@dataclass(frozen=True, kw_only=True)
class Corrupted(Utterance):
    """An utterance under a corruption."""

    # content hash of the recording; `content` hashes it together with the corruption, so that
    # shards and tables of corrupted speech have names of their own
    original: str
    corruption: Corruption  # what is done to it


def corrupted_corpus(corpus: Corpus, corruption: Corruption) -> Corpus:
    """The same corpus under a corruption, which its title names.

    Its utterances are in the same order: rows of a table mean the same with and without it.
    """
    how: dict[str, Any] = {
        "corruption": corruption.name,
        "version": VERSION,
        "rate": CORRUPTED_RATE,
    }
    faster = corruption.level if corruption.kind == "speed" else 1.0
    utterances = []
    for one in corpus.utterances:
        known: dict[str, Any] = vars(one) | {
            "content": digest({"recording": one.content, **how}),
            "seconds": one.seconds / faster,
            "rate": CORRUPTED_RATE,
        }
        utterances.append(Corrupted(**known, original=one.content, corruption=corruption))
    title = f"{corpus.spec.title}, {corruption.name}"
    spec = corpus.spec.model_copy(update={"title": title})
    return dataclasses.replace(corpus, spec=spec, utterances=tuple(utterances))


def unchanged(utterance: Utterance, *, rate: int | None = None) -> Audio:
    """Decode an utterance and check that it is still the same; corrupt it where it is `Corrupted`.

    Corruption comes after resampling to 16 kHz, so that a signal-to-noise ratio means the same for
    every corpus, and before resampling to what a feature set wants. A set that reads clean files at
    a higher rate of their own (openSMILE's) thus loses what lies above 8 kHz too.

    Where the peak then exceeds full scale (speech with noise), the whole utterance is made softer
    until it does not: nothing is clipped, and features that depend on the level see that.

    Args:
        rate: resample to this rate in Hz (soxr, very high quality); None keeps the file's own, or
            16 kHz where it is corrupted.

    Raises:
        FeatureError: the file changed since the corpus was read.
        AudioError: it cannot be decoded, or is too short to resample.
    """
    from clser_bench.corpora import audio as files  # noqa: PLC0415 (loads soundfile)

    worse = utterance if isinstance(utterance, Corrupted) else None
    audio = files.decode(utterance.path, start=utterance.start, end=utterance.end)
    if files.content_hash(audio) != (worse.original if worse else utterance.content):
        raise FeatureError(
            f"{utterance.path}: changed since the corpus was read; run the command again"
        )
    if worse:
        audio = files.resampled(audio, CORRUPTED_RATE, utterance.path)
        samples = corrupted(audio.samples, audio.rate, worse.corruption, content=worse.original)
        peak = np.abs(samples).max()
        audio = files.Audio(samples / peak if peak > 1 else samples, audio.rate)
    return audio if rate is None else files.resampled(audio, rate, utterance.path)
