"""The four languages: who speaks, what is said, how strongly emotion shows, over what channel.

Labels, speakers' names and genders are those of the corpus definitions (`tasks/demo_*.toml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
    """What makes one synthetic corpus.

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
