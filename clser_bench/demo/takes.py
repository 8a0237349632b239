"""The plan of the demo corpora: every utterance, and how it is to sound.

Rules of emotional prosody with their sources, languages, voices and sentences are in `voices.toml`.
"""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from clser_bench.corpora.definitions import CorpusSpec, definitions
from clser_bench.hashing import digest, generator, seed_of

VERSION = 1
"""Raised when the demo corpora come out differently: they get a new folder."""

_SENTENCES_EACH = 4

_SCATTER = {
    "rate": 8.0,
    "pitch": 1.2,
    "range": 20.0,
    "loudness": 2.0,
    "brightness": 1.5,
    "breath": 0.1,
    "tremor": 0.08,
}
"""Standard deviation between utterances of one speaker and emotion, in the rules' units."""

PARAMETERS = tuple(_SCATTER)
"""What a rule may change."""

_SPEAKERS = 0.8
"""Deviation between speakers in how they express one emotion, as a share of `_SCATTER`."""

_LANGUAGES = (0.4, 1.6)
"""Range of the factor by which a language's rule for one emotion differs from its strengths: the
direction of a published rule is never turned round."""

Channel = Literal["telephone", "room", "clean", "noise"]


@dataclass(frozen=True, kw_only=True)
class Language:
    """One synthetic corpus."""

    code: str  # of the corpus definition
    language: str  # espeak-ng's name of the language
    # speaker to espeak-ng's `variant`, `pitch` (semitones above the variant's own) and `rate`
    # (words a minute)
    voices: Mapping[str, Mapping[str, Any]]
    sentences: tuple[str, ...]  # what is said, with nothing emotional in it
    # how much of each rule shows, by parameter; 1 is the rule itself
    strengths: Mapping[str, float]
    scatter: float  # how much utterances, and speakers among each other, vary; 1 is usual
    channel: Channel  # what the recording went through


_DATA: dict[str, Any] = tomllib.loads(
    importlib.resources.files(__package__).joinpath("voices.toml").read_text(encoding="utf-8")
)
LANGUAGES = tuple(Language(**entry) for entry in _DATA["languages"])
RULES: list[dict[str, Any]] = _DATA["rules"]
"""Changes relative to neutral: `emotion`, `parameter`, `change`, `source`, `says`."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One utterance to speak; its samples depend on nothing else."""

    voice: str  # espeak-ng's name of language and variant, `de+m3`
    text: str
    rate: int  # words a minute, 80 to 450
    pitch: int  # 0 to 99; 50 is the voice's own, 50 more an octave higher
    range: int  # pitch range, 0 to 99; 50 is the voice's own
    seed: int  # of the synthesiser's noise, 31 bits


@dataclass(frozen=True, kw_only=True)
class Take:
    """One utterance to make."""

    name: str  # file relative to the corpus folder
    emotion: str  # one of `EMOTIONS`
    speaker: str
    request: Request  # to the synthesiser
    loudness: float  # dB relative to the corpus's usual level
    brightness: float  # dB added above 1 kHz
    breath: float  # share of noise above 1.5 kHz, 0 to 1
    tremor: float  # depth of the modulation of loudness, 0 to 1
    seed: int  # of the noise that is added


def changes(emotion: str) -> dict[str, float]:
    """Changes of an emotion by parameter; 0 where there is no rule."""
    ruled = {rule["parameter"]: rule["change"] for rule in RULES if rule["emotion"] == emotion}
    return {parameter: float(ruled.get(parameter, 0.0)) for parameter in PARAMETERS}


@functools.cache
def takes() -> Mapping[str, tuple[Take, ...]]:
    """Everything that is spoken, by corpus code, in a fixed order."""
    planned = {}
    for language in LANGUAGES:
        spec, count = definitions().corpora[language.code], len(language.sentences)
        planned[language.code] = tuple(
            _take(language, spec, speaker=speaker, label=label, sentence=sentence)
            for position, speaker in enumerate(language.voices)
            for label in spec.labels
            # every speaker says most of the sentences, each another selection
            for sentence in sorted((position + step) % count for step in range(_SENTENCES_EACH))
        )
    return planned


@functools.cache
def recipe() -> str:
    """Hash of everything the demo corpora are made from; 64 hexadecimal digits."""
    planned = {
        language.code: [language.channel, [asdict(take) for take in takes()[language.code]]]
        for language in LANGUAGES
    }
    return digest({"version": VERSION, "rules": RULES, "takes": planned})


def _take(language: Language, spec: CorpusSpec, *, speaker: str, label: str, sentence: int) -> Take:
    emotion = spec.labels[label]
    who = (VERSION, language.code, speaker, emotion)
    purpose = ("demo", *who, sentence)
    # the rule as the language has it, the speaker's own way, and the utterance's chance
    size = len(PARAMETERS)
    factors = generator("demo language", VERSION, language.code, emotion).uniform(*_LANGUAGES, size)
    own = _SPEAKERS * generator("demo speaker", *who).standard_normal(size)
    now = generator("demo utterance", *who, sentence).standard_normal(size)
    scatter = language.scatter * np.array([_SCATTER[name] for name in PARAMETERS])
    rule = np.array([changes(emotion)[name] * language.strengths[name] for name in PARAMETERS])
    values = (rule * factors + scatter * (own + now)).tolist()
    shift = dict(zip(PARAMETERS, values, strict=True))
    voice = language.voices[speaker]
    return Take(
        name=f"{speaker}/{label}_s{sentence + 1}.wav",
        emotion=emotion,
        speaker=speaker,
        request=Request(
            voice=f"{language.language}+{voice['variant']}",
            text=language.sentences[sentence],
            rate=_whole(voice["rate"] * (1 + shift["rate"] / 100), low=80, high=400),
            pitch=_whole(50 + (voice["pitch"] + shift["pitch"]) * 50 / 12, low=0, high=99),
            range=_whole(50 * (1 + shift["range"] / 100), low=0, high=99),
            seed=seed_of(*purpose) % 2**31,
        ),
        loudness=round(shift["loudness"], 3),
        brightness=round(shift["brightness"], 3),
        breath=round(min(max(shift["breath"], 0.0), 1.0), 3),
        tremor=round(min(max(shift["tremor"], 0.0), 0.9), 3),
        seed=seed_of(*purpose, "noise"),
    )


def _whole(value: float, *, low: int, high: int) -> int:
    return int(min(max(round(value), low), high))
