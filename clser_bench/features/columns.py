"""The columns of the acoustic feature sets, and the statistics over frames that make them.

`acoustic`, an instant (the mean over the frames of a span):
    mel01 … mel26: power in a mel band, dB re full scale.
    mfcc00 … mfcc12: orthonormal cosine transform of the 26 bands, dB.
    pitch: octaves above 160 Hz, interpolated over unvoiced frames; 0 where none is voiced.
    voicing: height of the highest peak of the normalised autocorrelation, 0 to 1.
    level: root mean square, dB re full scale.
    loudness: sum over the mel bands of power to the 0.3 (Stevens' law), no unit.
    centroid, spread, rolloff: of the power spectrum, kHz; roll-off at 85 %.
    slope_low, slope_high: of the spectrum over 0–0.5 kHz and 0.5–1.5 kHz, dB/kHz.
    alpha_ratio: power in 0.05–1 kHz over that in 1–5 kHz, dB.
    hammarberg: highest bin in 0–2 kHz over the highest in 2–5 kHz, dB.
    flux: distance to the spectrum of the frame before, both of length one, 0 to 1.4.
    flatness: geometric over arithmetic mean of the power spectrum, dB.

`acoustic`, a summary (over the frames from the first to the last within 40 dB of the loudest;
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

`minimal`, in the spirit of the Geneva Minimalistic Acoustic Parameter Set (Eyben et al. 2016) but
without openSMILE, has mfcc00 … mfcc04, pitch, voicing, level, loudness and the nine columns of the
spectrum's shape, with their statistics, and the mean and deviation over voiced frames (over all
where none is voiced) of
    hnr: harmonics-to-noise ratio, dB, -30 to 30: 10 log10(r / (1 - r)) of the height r of the
        highest peak of the normalised autocorrelation (Boersma 1993, eq. 4).
    h1_h2: the first harmonic over the second, dB.
    h1_a3: the first harmonic over the highest bin in 2–3.6 kHz, about where the third formant
        lies, dB. (GeMAPS takes the harmonic nearest to the third formant itself.) Both in
        windows of 40 ms.

The columns of openSMILE's sets are listed in `opensmile_columns/`, under openSMILE's own names.
"""

from __future__ import annotations

import functools
import importlib.resources

import numpy as np
import numpy.typing as npt

from clser_bench.problem import Floats, Value

Names = tuple[str, ...]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

INSTANTS = 32
"""t: how many spans an utterance is pooled to."""

RATE = 16_000
BANDS = 26
CEPSTRA = 13

ACOUSTIC_PARAMETERS: dict[str, Value] = {
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

MINIMAL_PARAMETERS: dict[str, Value] = {
    **ACOUSTIC_PARAMETERS,
    "least_periodic": 0.001,
    "harmonic_window_seconds": 0.04,
    "harmonic_reach": 0.25,
    "third_low_hz": 2000.0,
    "third_high_hz": 3600.0,
}

MEL = tuple(f"mel{band:02d}" for band in range(1, BANDS + 1))
MFCC = tuple(f"mfcc{order:02d}" for order in range(CEPSTRA))
PROSODY = ("pitch", "voicing", "level", "loudness")
SHAPE = (
    *("centroid", "spread", "rolloff", "slope_low", "slope_high"),
    *("alpha_ratio", "hammarberg", "flux", "flatness"),
)
TIMING = (
    *("log2_seconds", "voiced_share", "pause_share", "voiced_seconds", "unvoiced_seconds"),
    *("voiced_rate", "peak_rate"),
)
QUALITY = ("hnr", "h1_h2", "h1_a3")

ACOUSTIC_INSTANTS: Names = (*MEL, *MFCC, *PROSODY, *SHAPE)

ACOUSTIC_SUMMARY: Names = (
    *(f"mean_{name}" for name in ACOUSTIC_INSTANTS),
    *(f"sd_{name}" for name in ACOUSTIC_INSTANTS),
    *(f"p{percent}_{name}" for percent in (20, 50, 80) for name in (*PROSODY, *SHAPE)),
    *(f"voiced_{name}" for name in (*MFCC, *SHAPE)),
    *(f"delta_{name}" for name in MFCC),
    *("rise_pitch", "fall_pitch", "rise_level", "fall_level"),
    *TIMING,
)

OF_ACOUSTIC = (*MFCC[:5], *PROSODY, *SHAPE)
MINIMAL_OF_ACOUSTIC = tuple(
    name for name in ACOUSTIC_SUMMARY if name in TIMING or name.partition("_")[2] in OF_ACOUSTIC
)
"""Columns that `minimal` has of `acoustic`: of an instant, and of a summary."""

MINIMAL_INSTANTS: Names = (*OF_ACOUSTIC, *QUALITY)

MINIMAL_SUMMARY: Names = (
    *MINIMAL_OF_ACOUSTIC,
    *(f"mean_{name}" for name in QUALITY),
    *(f"sd_{name}" for name in QUALITY),
)


@functools.cache
def opensmile_columns(name: str) -> tuple[Names, Names]:
    """The columns of `egemaps` or `compare16`: of an instant, and of a summary."""
    folder = importlib.resources.files("clser_bench.features") / "opensmile_columns"
    texts = [(folder / f"{name}_{kind}.txt").read_text("ascii") for kind in ("instants", "summary")]
    instants, summary = (tuple(text.split("\n")[:-1]) for text in texts)
    return instants, summary


_SECONDS = float(ACOUSTIC_PARAMETERS["hop_seconds"])
_PITCH, _LEVEL, _LOUDNESS = map(ACOUSTIC_INSTANTS.index, ("pitch", "level", "loudness"))
_MFCC = slice(BANDS, BANDS + CEPSTRA)
_SHAPE = slice(_PITCH + len(PROSODY), len(ACOUSTIC_INSTANTS))


def pool(frames: Floats, spans: int) -> Floats:
    """Average frames [m, d] over spans of equal length that cover them all: float32 [t, d].

    A span has `ceil(m / spans)` frames. Their starts are spread evenly, so neighbours overlap
    where `m` is no multiple of `spans`; with fewer frames than spans, frames are repeated.
    """
    count = len(frames)
    length = -(-count // spans)
    starts = np.arange(spans) * (count - length) // max(spans - 1, 1)
    members = starts[:, None] + np.arange(length)
    means: Floats = frames[members].mean(axis=1, dtype=np.float64).astype(np.float32)
    return means


def pooled(frames: Floats, pool: str) -> Floats:
    """Statistics over frames [m, d] side by side, such as mean and deviation of `mean+sd` [f]."""
    wide = frames.astype(np.float64)
    statistics = {"mean": wide.mean(axis=0), "sd": wide.std(axis=0)}
    return np.concatenate([statistics[name] for name in pool.split("+")]).astype(np.float32)


def active(level: Floats) -> slice:
    """The frames from the first to the last within 40 dB of the loudest, by level [m] in dB.

    Silence before and after is a habit of the recording, not of the speaker.
    """
    (loud,) = np.nonzero(level >= level.max() - float(ACOUSTIC_PARAMETERS["trim_db"]))
    return slice(int(loud[0]), int(loud[-1]) + 1)


def summarise(frames: Floats, voiced: Flags) -> Floats:
    """The columns `ACOUSTIC_SUMMARY` float32 [f] of frames [m, d] with `ACOUSTIC_INSTANTS`."""
    values = frames.astype(np.float64)
    spoken = values[voiced] if voiced.any() else values
    mean, deviation = values.mean(0), values.std(0)
    mean[_PITCH], deviation[_PITCH] = spoken[:, _PITCH].mean(), spoken[:, _PITCH].std()
    percentiles = np.quantile(values[:, _PITCH:], (0.2, 0.5, 0.8), axis=0)
    percentiles[:, 0] = np.quantile(spoken[:, _PITCH], (0.2, 0.5, 0.8))
    changes = np.abs(np.diff(values[:, _MFCC], axis=0))
    parts = (
        mean,
        deviation,
        percentiles.ravel(),
        spoken[:, _MFCC].mean(0),
        spoken[:, _SHAPE].mean(0),
        changes.mean(0) / _SECONDS if len(changes) else np.zeros(CEPSTRA),
        _rise_and_fall(np.diff(values[:, _PITCH])[voiced[1:] & voiced[:-1]]),
        _rise_and_fall(np.diff(values[:, _LEVEL])),
        _timing(values, voiced),
    )
    return np.concatenate(parts).astype(np.float32)


def _rise_and_fall(steps: Doubles) -> list[float]:
    """Mean of the positive and mean of the negative changes per second; 0 without any."""
    rates = steps / _SECONDS
    return [
        float(part.mean()) if len(part) else 0.0 for part in (rates[rates > 0], rates[rates < 0])
    ]


def _timing(values: Doubles, voiced: Flags) -> list[float]:
    """The columns `TIMING`, in that order."""
    seconds, level = len(values) * _SECONDS, values[:, _LEVEL]
    pauses = level <= level.max() - float(ACOUSTIC_PARAMETERS["pause_db"])
    stretches = []  # lengths of the voiced and of the unvoiced ones, in frames
    for flags in (voiced, ~voiced):
        edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
        stretches.append(np.nonzero(edges < 0)[0] - np.nonzero(edges > 0)[0])
    return [
        float(np.log2(seconds)),
        float(voiced.mean()),
        float(pauses.mean()),
        *(float(one.mean()) * _SECONDS if len(one) else 0.0 for one in stretches),
        len(stretches[0]) / seconds,
        _peaks(values[:, _LOUDNESS]) / seconds,
    ]


def _peaks(loudness: Doubles) -> int:
    """How many times loudness, smoothed over 70 ms, peaks above its mean: about one a syllable."""
    if len(loudness) < 9:
        return 0
    smooth = np.convolve(loudness, np.full(7, 1 / 7), mode="valid")
    middle = smooth[1:-1]
    is_peak = (middle > smooth[:-2]) & (middle >= smooth[2:]) & (middle > loudness.mean())
    return int(is_peak.sum())
