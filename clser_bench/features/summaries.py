"""Frames of an utterance pooled to instants, and the statistics that make a summary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clser_bench.features.columns import (
    ACOUSTIC_INSTANTS,
    ACOUSTIC_PARAMETERS,
    CEPSTRA,
    MFCC,
    PROSODY,
    SHAPE,
)
from clser_bench.problem import Floats

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SECONDS = float(ACOUSTIC_PARAMETERS["hop_seconds"])

_PITCH = ACOUSTIC_INSTANTS.index("pitch")
_LEVEL = ACOUSTIC_INSTANTS.index("level")
_LOUDNESS = ACOUSTIC_INSTANTS.index("loudness")
_MFCC = slice(ACOUSTIC_INSTANTS.index(MFCC[0]), ACOUSTIC_INSTANTS.index(MFCC[0]) + CEPSTRA)
_LATE = slice(_PITCH, _PITCH + len(PROSODY) + len(SHAPE))
_SHAPE = slice(_PITCH + len(PROSODY), _LATE.stop)


def pool(frames: Floats, spans: int) -> Floats:
    """Average frames over spans of equal length that cover them all, in order.

    A span has `ceil(m / spans)` frames. Their starts are spread evenly, so neighbours overlap
    where `m` is no multiple of `spans`; with fewer frames than spans, frames are repeated.

    Args:
        frames: [m, d], m at least 1.
        spans: t.

    Returns:
        float32 [t, d].

    Raises:
        ValueError: there is no frame.
    """
    count = len(frames)
    if not count:
        raise ValueError("pool needs at least one frame")
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
    """The frames from the first to the last that is within 40 dB of the loudest.

    Silence before and after is a habit of the recording, not of the speaker.

    Args:
        level: [m] in dB.
    """
    (loud,) = np.nonzero(level >= level.max() - float(ACOUSTIC_PARAMETERS["trim_db"]))
    return slice(int(loud[0]), int(loud[-1]) + 1)


def summarise(frames: Floats, voiced: Flags) -> Floats:
    """Compute the columns `ACOUSTIC_SUMMARY`, in that order.

    Args:
        frames: [m, d], the columns `ACOUSTIC_INSTANTS`; m at least 1.
        voiced: [m].

    Returns:
        float32 [f].
    """
    values = frames.astype(np.float64)
    spoken = values[voiced] if voiced.any() else values
    mean, deviation = values.mean(0), values.std(0)
    mean[_PITCH], deviation[_PITCH] = spoken[:, _PITCH].mean(), spoken[:, _PITCH].std()
    percentiles = np.quantile(values[:, _LATE], (0.2, 0.5, 0.8), axis=0)
    percentiles[:, 0] = np.quantile(spoken[:, _PITCH], (0.2, 0.5, 0.8))
    parts = (
        mean,
        deviation,
        percentiles.ravel(),
        spoken[:, _MFCC].mean(0),
        spoken[:, _SHAPE].mean(0),
        _changes(values[:, _MFCC]),
        _rise_and_fall(values[:, _PITCH], voiced[1:] & voiced[:-1]),
        _rise_and_fall(values[:, _LEVEL], np.ones(len(values) - 1, np.bool_)),
        _timing(values, voiced),
    )
    return np.concatenate(parts).astype(np.float32)


def _changes(columns: Doubles) -> Doubles:
    """Mean absolute change per second of each column; 0 for a single frame."""
    if len(columns) < 2:
        return np.zeros(columns.shape[1])
    mean: Doubles = np.abs(np.diff(columns, axis=0)).mean(0) / SECONDS
    return mean


def _rise_and_fall(contour: Doubles, where: Flags) -> Doubles:
    """Mean of the positive and mean of the negative changes per second [2]; 0 without any.

    Args:
        contour: [m].
        where: [m - 1], the steps that count.
    """
    steps = np.diff(contour)[where] / SECONDS
    up, down = steps[steps > 0], steps[steps < 0]
    return np.array([part.mean() if len(part) else 0.0 for part in (up, down)])


def _timing(values: Doubles, voiced: Flags) -> Doubles:
    """The columns `TIMING`, in that order [7]."""
    seconds = len(values) * SECONDS
    level = values[:, _LEVEL]
    stretches = _stretches(voiced)
    return np.array(
        [
            np.log2(seconds),
            voiced.mean(),
            (level <= level.max() - float(ACOUSTIC_PARAMETERS["pause_db"])).mean(),
            _mean_length(stretches),
            _mean_length(_stretches(~voiced)),
            len(stretches) / seconds,
            _peaks(values[:, _LOUDNESS]) / seconds,
        ]
    )


def _stretches(flags: Flags) -> npt.NDArray[np.int64]:
    """Lengths of the runs of true values, in frames."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.nonzero(edges < 0)[0] - np.nonzero(edges > 0)[0]


def _mean_length(stretches: npt.NDArray[np.int64]) -> float:
    """In seconds; 0 where there is none."""
    return float(stretches.mean()) * SECONDS if len(stretches) else 0.0


def _peaks(loudness: Doubles) -> int:
    """How many times loudness, smoothed over 70 ms, peaks above its mean: about one a syllable."""
    if len(loudness) < 9:
        return 0
    smooth = np.convolve(loudness, np.full(7, 1 / 7), mode="valid")
    middle = smooth[1:-1]
    is_peak = (middle > smooth[:-2]) & (middle >= smooth[2:]) & (middle > loudness.mean())
    return int(is_peak.sum())
