"""Columns of different acoustic sets that mean the same.

Each row: the column of `acoustic`, its equal in eGeMAPS, and the sign of their correlation
(`alpha_ratio` is low over high here, high over low in openSMILE). Definitions differ in details
(window, perceptual scale, voicing decision). Over the utterances (summaries) or instants of nEMO
and TurEV-DB together, z-scored by corpus, every pair correlates by 0.6 or more in the stated sign;
within speakers some correlate less (`mean_voicing` 0.35 on nEMO).
"""

from __future__ import annotations

_SUMMARIES = (
    ("mean_pitch", "F0semitoneFrom27.5Hz_sma3nz_amean", 1),
    ("p20_pitch", "F0semitoneFrom27.5Hz_sma3nz_percentile20.0", 1),
    ("p50_pitch", "F0semitoneFrom27.5Hz_sma3nz_percentile50.0", 1),
    ("p80_pitch", "F0semitoneFrom27.5Hz_sma3nz_percentile80.0", 1),
    ("mean_loudness", "loudness_sma3_amean", 1),
    ("p50_loudness", "loudness_sma3_percentile50.0", 1),
    ("p80_loudness", "loudness_sma3_percentile80.0", 1),
    ("mean_mfcc01", "mfcc1_sma3_amean", 1),
    ("mean_mfcc02", "mfcc2_sma3_amean", 1),
    ("mean_mfcc03", "mfcc3_sma3_amean", 1),
    ("mean_mfcc04", "mfcc4_sma3_amean", 1),
    ("voiced_mfcc01", "mfcc1V_sma3nz_amean", 1),
    ("voiced_mfcc02", "mfcc2V_sma3nz_amean", 1),
    ("voiced_mfcc03", "mfcc3V_sma3nz_amean", 1),
    ("voiced_mfcc04", "mfcc4V_sma3nz_amean", 1),
    ("voiced_alpha_ratio", "alphaRatioV_sma3nz_amean", -1),
    ("voiced_hammarberg", "hammarbergIndexV_sma3nz_amean", 1),
    ("voiced_slope_low", "slopeV0-500_sma3nz_amean", 1),
    ("voiced_slope_high", "slopeV500-1500_sma3nz_amean", 1),
    ("mean_voicing", "HNRdBACF_sma3nz_amean", 1),
    ("voiced_seconds", "MeanVoicedSegmentLengthSec", 1),
    ("mean_level", "equivalentSoundLevel_dBp", 1),
)

_INSTANTS = (
    ("loudness", "Loudness_sma3", 1),
    ("alpha_ratio", "alphaRatio_sma3", -1),
    ("hammarberg", "hammarbergIndex_sma3", 1),
    ("slope_low", "slope0-500_sma3", 1),
    ("mfcc01", "mfcc1_sma3", 1),
    ("mfcc02", "mfcc2_sma3", 1),
    ("mfcc03", "mfcc3_sma3", 1),
    ("mfcc04", "mfcc4_sma3", 1),
)

MEANING = {theirs: (ours, sign) for ours, theirs, sign in (*_SUMMARIES, *_INSTANTS)}
"""Column of eGeMAPS to the name of its equal, and the sign."""


def meaning(column: str) -> tuple[str, int]:
    """The name under which a column is compared with those of other sets, and its sign."""
    return MEANING.get(column, (column, 1))
