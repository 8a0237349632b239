"""The feature set `acoustic`: its parameters, and the name and unit of each column.

An instant (the mean over the frames of a span):
    mel01 … mel26: power in a mel band, dB re full scale.
    mfcc00 … mfcc12: orthonormal cosine transform of the 26 bands, dB.
    pitch: octaves above 160 Hz, drawn straight through unvoiced frames; 0 where none is voiced.
    voicing: height of the highest peak of the normalised autocorrelation, 0 to 1.
    level: root mean square, dB re full scale.
    loudness: sum over the mel bands of power to the 0.3 (Stevens' law), no unit.
    centroid, spread, rolloff: of the power spectrum, kHz; roll-off at 85 %.
    slope_low, slope_high: of the spectrum over 0–0.5 kHz and 0.5–1.5 kHz, dB/kHz.
    alpha_ratio: power in 0.05–1 kHz over that in 1–5 kHz, dB.
    hammarberg: highest bin in 0–2 kHz over the highest in 2–5 kHz, dB.
    flux: distance to the spectrum of the frame before, both of length one, 0 to 1.4.
    flatness: geometric over arithmetic mean of the power spectrum, dB.

A summary (over the frames from the first to the last that is within 40 dB of the loudest;
pitch over voiced frames only):
    mean_X, sd_X: of every column X above, in its unit.
    p20_X, p50_X, p80_X: percentiles of the columns from pitch to flatness.
    voiced_X: mean over voiced frames, of the MFCCs and of centroid to flatness.
    delta_X: mean absolute change per second, of the MFCCs.
    rise_X, fall_X: mean of the rising and of the falling changes of pitch (octaves/s) and of
        level (dB/s).
    log2_seconds: binary logarithm of the duration in seconds.
    voiced_share, pause_share: share of frames voiced; share 25 dB or more below the loudest.
    voiced_seconds, unvoiced_seconds: mean length of a voiced and of an unvoiced stretch.
    voiced_rate, peak_rate: voiced stretches, and peaks of smoothed loudness, per second.
"""

from __future__ import annotations

from clser_bench.problem import Value

VERSION = 1

RATE = 16_000
BANDS = 26
CEPSTRA = 13

PARAMETERS: dict[str, Value] = {
    "rate": RATE,
    "frame_seconds": 0.025,
    "hop_seconds": 0.01,
    "bands": BANDS,
    "band_low_hz": 50.0,
    "band_high_hz": 7600.0,
    "cepstra": CEPSTRA,
    "floor_db": -100.0,
    "range_db": 80.0,
    "trim_db": 40.0,
    "pause_db": 25.0,
    "pitch_window_seconds": 0.04,
    "pitch_band_hz": 6000.0,
    "pitch_low_hz": 70.0,
    "pitch_high_hz": 600.0,
    "pitch_reference_hz": 160.0,
    "pitch_candidates": 5,
    "voicing_threshold": 0.45,
    "silence_threshold": 0.03,
    "octave_cost": 0.01,
    "octave_jump_cost": 0.35,
    "voicing_change_cost": 0.14,
    "loudness_exponent": 0.3,
    "rolloff_share": 0.85,
}

MEL = tuple(f"mel{band:02d}" for band in range(1, BANDS + 1))
MFCC = tuple(f"mfcc{order:02d}" for order in range(CEPSTRA))
PROSODY = ("pitch", "voicing", "level", "loudness")
SHAPE = (
    "centroid",
    "spread",
    "rolloff",
    "slope_low",
    "slope_high",
    "alpha_ratio",
    "hammarberg",
    "flux",
    "flatness",
)
TIMING = (
    "log2_seconds",
    "voiced_share",
    "pause_share",
    "voiced_seconds",
    "unvoiced_seconds",
    "voiced_rate",
    "peak_rate",
)

INSTANT_NAMES = (*MEL, *MFCC, *PROSODY, *SHAPE)

SUMMARY_NAMES = (
    *(f"mean_{name}" for name in INSTANT_NAMES),
    *(f"sd_{name}" for name in INSTANT_NAMES),
    *(f"p{percent}_{name}" for percent in (20, 50, 80) for name in (*PROSODY, *SHAPE)),
    *(f"voiced_{name}" for name in (*MFCC, *SHAPE)),
    *(f"delta_{name}" for name in MFCC),
    "rise_pitch",
    "fall_pitch",
    "rise_level",
    "fall_level",
    *TIMING,
)
