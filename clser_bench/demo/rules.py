"""How an emotion changes the voice: published rules of emotional prosody, as data.

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
"""

from __future__ import annotations

from dataclasses import dataclass

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
        says: what the source says, in a few words.
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
    """What an emotion changes, by parameter; every parameter is there, 0 where there is no rule.

    Args:
        emotion: one of `EMOTIONS`.
    """
    found = {rule.parameter: rule.change for rule in RULES if rule.emotion == emotion}
    return {parameter: float(found.get(parameter, 0.0)) for parameter in PARAMETERS}
