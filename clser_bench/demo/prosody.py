"""What the demo corpora are made of: published rules of emotional prosody, and four languages.

The sources give directions and orders of size, relative to the same speaker's neutral speech;
the sizes here are this project's, on the side that the source names. Short names:

- BS1996: Banse & Scherer (1996). Acoustic profiles in vocal emotion expression. Journal of
  Personality and Social Psychology 70(3).
- BS2000: Burkhardt & Sendlmeier (2000). Verification of acoustical correlates of emotional
  speech using formant-synthesis. ISCA Workshop on Speech and Emotion.
- MA1993: Murray & Arnott (1993). Toward the simulation of emotion in synthetic speech. Journal
  of the Acoustical Society of America 93(2).
- SC2003: Scherer (2003). Vocal communication of emotion. Speech Communication 40.
- SR2001: Schröder (2001). Emotional speech synthesis: a review. Eurospeech.

Labels, speakers' names and genders are those of the corpus definitions (`tasks/demo_*.toml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PARAMETERS = ("rate", "pitch", "range", "loudness", "brightness", "breath", "tremor")
"""What a rule may change. Units of a change: `rate` percent of the speaker's rate, `pitch`
semitones, `range` percent of the pitch range, `loudness` dB, `brightness` dB above 1 kHz (a tense
voice is bright, a lax one dull), `breath` share of noise above 1.5 kHz, `tremor` depth of a
modulation of loudness, 0 to 1."""


@dataclass(frozen=True)
class Rule:
    """One change that one emotion makes.

    Attributes:
        emotion: one of `EMOTIONS`; neutral has no rule.
        parameter: one of `PARAMETERS`.
        change: relative to neutral, in the parameter's unit.
        source: where the direction is from.
        says: the finding of the source, in a few words.
    """

    emotion: str
    parameter: str
    change: float
    source: str
    says: str


RULES = (
    Rule("anger", "rate", 15, "MA1993", "slightly faster"),
    Rule("anger", "pitch", 3, "BS1996", "hot anger: higher"),
    Rule("anger", "range", 50, "MA1993", "much wider"),
    Rule("anger", "loudness", 7, "SC2003", "louder"),
    Rule("anger", "brightness", 6, "BS1996", "more energy in high frequencies"),
    Rule("disgust", "rate", -20, "MA1993", "very much slower"),
    Rule("disgust", "pitch", -3, "MA1993", "very much lower"),
    Rule("disgust", "range", 10, "MA1993", "slightly wider"),
    Rule("disgust", "loudness", -2, "MA1993", "lower"),
    Rule("disgust", "brightness", 3, "MA1993", "grumbled"),
    Rule("fear", "rate", 25, "BS2000", "faster by about a third"),
    Rule("fear", "pitch", 6, "BS2000", "very much higher"),
    Rule("fear", "range", 10, "BS2000", "a fifth wider"),
    Rule("fear", "breath", 0.3, "BS2000", "falsetto"),
    Rule("fear", "tremor", 0.5, "MA1993", "irregular voicing"),
    Rule("happiness", "rate", 12, "BS2000", "faster"),
    Rule("happiness", "pitch", 4, "BS2000", "higher by half"),
    Rule("happiness", "range", 80, "BS2000", "twice as wide"),
    Rule("happiness", "loudness", 3.5, "SC2003", "louder"),
    Rule("happiness", "brightness", 2.5, "BS2000", "modal or tense"),
    Rule("sadness", "rate", -25, "BS2000", "slower by two fifths"),
    Rule("sadness", "pitch", -2, "MA1993", "slightly lower"),
    Rule("sadness", "range", -45, "BS2000", "narrower"),
    Rule("sadness", "loudness", -6, "SC2003", "softer"),
    Rule("sadness", "brightness", -5, "BS1996", "less energy in high frequencies"),
    Rule("sadness", "breath", 0.5, "SR2001", "breathy"),
    Rule("surprise", "rate", 10, "SR2001", "faster"),
    Rule("surprise", "pitch", 5, "SR2001", "steeply rising accents"),
    Rule("surprise", "range", 95, "SR2001", "much wider"),
    Rule("surprise", "loudness", 2, "SR2001", "louder"),
    Rule("surprise", "breath", 0.25, "SR2001", "breathy"),
)


def changes(emotion: str) -> dict[str, float]:
    """Changes of an emotion by parameter; 0 where there is no rule."""
    ruled = {rule.parameter: rule.change for rule in RULES if rule.emotion == emotion}
    return {parameter: float(ruled.get(parameter, 0.0)) for parameter in PARAMETERS}


Channel = Literal["telephone", "room", "clean", "noise"]


@dataclass(frozen=True)
class Voice:
    """A speaker.

    Attributes:
        variant: espeak-ng's voice variant.
        pitch: semitones above the variant's own.
        rate: words a minute.
    """

    variant: str
    pitch: float
    rate: float


@dataclass(frozen=True, kw_only=True)
class Language:
    """One synthetic corpus.

    Attributes:
        code: of the corpus definition.
        language: espeak-ng's name of the language.
        voices: speaker to voice.
        sentences: what is said, with nothing emotional in it.
        strengths: how much of each rule shows, by parameter; 1 is the rule itself.
        scatter: how much utterances, and speakers among each other, vary; 1 is usual.
        channel: what the recording went through.
    """

    code: str
    language: str
    voices: Mapping[str, Voice]
    sentences: tuple[str, ...]
    strengths: Mapping[str, float]
    scatter: float
    channel: Channel


LANGUAGES = (
    Language(
        code="DE",
        language="de",
        voices={
            "de_f1": Voice("f1", 0.0, 165),
            "de_f2": Voice("f2", -1.5, 180),
            "de_f3": Voice("f5", 1.0, 172),
            "de_m1": Voice("m1", 0.5, 170),
            "de_m2": Voice("m3", -1.0, 185),
            "de_m3": Voice("m7", 1.0, 160),
        },
        sentences=(
            "Das Buch liegt auf dem Tisch.",
            "Am Montag kommt der Zug um acht.",
            "Sie stellt die Tasse in den Schrank.",
            "Der Schlüssel hängt neben der Tür.",
            "Er geht heute zu Fuß nach Hause.",
            "Im Garten stehen zwei alte Stühle.",
        ),
        strengths={
            "rate": 1.0,
            "pitch": 0.7,
            "range": 0.7,
            "loudness": 1.0,
            "brightness": 1.0,
            "breath": 0.6,
            "tremor": 0.6,
        },
        scatter=1.05,
        channel="telephone",
    ),
    Language(
        code="IT",
        language="it",
        voices={
            "it_f1": Voice("f2", 0.5, 180),
            "it_f2": Voice("f3", 0.0, 170),
            "it_f3": Voice("f4", -1.0, 188),
            "it_m1": Voice("m2", 0.0, 178),
            "it_m2": Voice("m4", 1.0, 168),
            "it_m3": Voice("m8", -0.5, 190),
        },
        sentences=(
            "La porta della casa è aperta.",
            "Il treno parte alle otto.",
            "Metto il libro sul tavolo.",
            "Domani andiamo al mercato.",
            "La finestra guarda sul giardino.",
            "Due sedie stanno in cucina.",
        ),
        strengths={
            "rate": 0.6,
            "pitch": 1.0,
            "range": 1.1,
            "loudness": 0.7,
            "brightness": 0.6,
            "breath": 1.0,
            "tremor": 1.0,
        },
        scatter=1.1,
        channel="room",
    ),
    Language(
        code="ZH",
        language="cmn",
        voices={
            "zh_f1": Voice("f1", 1.0, 190),
            "zh_f2": Voice("f3", -0.5, 200),
            "zh_f3": Voice("f5", 0.0, 182),
            "zh_m1": Voice("m1", 0.0, 195),
            "zh_m2": Voice("m5", -1.0, 205),
            "zh_m3": Voice("m6", 0.5, 185),
        },
        sentences=(
            "他把书放在桌子上。",
            "火车八点开。",
            "门在左边。",
            "我们明天去学校。",
            "杯子在厨房里。",
            "今天是星期一。",
        ),
        strengths={
            "rate": 0.9,
            "pitch": 0.6,
            "range": 0.3,
            "loudness": 1.1,
            "brightness": 1.1,
            "breath": 0.5,
            "tremor": 0.5,
        },
        scatter=1.0,
        channel="clean",
    ),
    Language(
        code="EN",
        language="en",
        voices={
            "en_f1": Voice("f1", -0.5, 175),
            "en_f2": Voice("f3", 1.0, 165),
            "en_f3": Voice("f4", 0.0, 182),
            "en_m1": Voice("m2", 0.5, 170),
            "en_m2": Voice("m3", 0.0, 180),
            "en_m3": Voice("m7", -1.0, 162),
        },
        sentences=(
            "The kettle is on the stove.",
            "The bus leaves at a quarter past nine.",
            "She put the letter in the drawer.",
            "There are two chairs in the garden.",
            "He walks to work on Mondays.",
            "The window is next to the door.",
        ),
        strengths={
            "rate": 0.7,
            "pitch": 0.9,
            "range": 0.9,
            "loudness": 0.6,
            "brightness": 0.7,
            "breath": 0.8,
            "tremor": 0.8,
        },
        scatter=1.25,
        channel="noise",
    ),
)
