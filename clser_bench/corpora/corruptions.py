"""The corruptions of speech there are, their levels, and how a list of them is written.

Default levels stand from mild to severe:

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
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clser_bench.errors import SpecError, did_you_mean


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
    return tuple(dict.fromkeys(found for text in texts for found in _read(text)))


def _read(text: str) -> list[Corruption]:
    found: list[Corruption] = []
    opened = ""
    for item in (part.strip() for part in text.split(",")):
        kind, colon, level = item.partition(":")
        if not item:
            raise SpecError(f"corruptions {text!r}: empty between commas; write noise:20,10")
        if colon:
            opened = kind
            found.append(Corruption(kind, _level(level, item)))
        elif not _is_number(item):
            opened = ""
            found += _defaults(item)
        elif opened:
            found.append(Corruption(opened, float(item)))
        else:
            raise SpecError(
                f"corruptions {text!r}: {item} is a level of nothing; write noise:20,10"
            )
    return found


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
