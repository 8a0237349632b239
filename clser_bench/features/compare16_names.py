"""The feature set `compare16`: the columns of openSMILE's ComParE 2016, under openSMILE's names.

References: B. Schuller et al., "The INTERSPEECH 2016 Computational Paralinguistics Challenge:
Deception, Sincerity & Native Language", Interspeech 2016. The descriptors and functionals are those
of the 2013 set: F. Weninger, F. Eyben, B. Schuller, M. Mortillaro and K. R. Scherer, "On the
acoustics of emotion in audio: what speech, music, and sound have in common", Frontiers in
Psychology 4:292, 2013. The units below are those of openSMILE's code.

An instant (the mean over the frames of a span): 65 descriptors, each a moving average over three
frames (`_sma`), then their deltas in the same order (`_sma_de`: slope of the line through five
frames about this one, unit per frame of 10 ms).
    F0final: pitch by subharmonic summation and Viterbi smoothing, Hz; 0 where unvoiced.
    voicingFinalUnclipped: probability of voicing, about 0 to 1.
    jitterLocal, jitterDDP: relative to the period; 0 where unvoiced.
    shimmerLocal: relative to the amplitude; 0 where unvoiced.
    logHNR: harmonics-to-noise ratio, dB; -100 where unvoiced.
    audspec_lengthL1norm, audspecRasta_lengthL1norm: sum of the 26 bands of the auditory spectrum
        (loudness), without and with RASTA filter, no unit.
    pcm_RMSenergy: root mean square, share of full scale.
    pcm_zcr: zero crossings per sample.
    audSpec_Rfilt[0…25]: bands of the auditory spectrum with RASTA filter, 20 Hz to 8 kHz, no unit.
    pcm_fftMag_fband250-650, _fband1000-4000: power in the band over the number of bins, no unit.
    pcm_fftMag_spectralRollOff25.0 … 90.0: below which that percentage of the power lies, Hz.
    _spectralFlux: root mean square change of magnitude from the frame before, no unit.
    _spectralCentroid: Hz. _spectralVariance: Hz². _spectralSkewness, _spectralKurtosis: no unit.
    _spectralEntropy: bits. _spectralSlope: power per Hz. _psySharpness: acum.
    _spectralHarmonicity: rise and fall between neighbouring peaks over the number of bins, no unit.
    mfcc[1…14]: with lifter 22, no unit.

A summary: 6373 functionals of these contours (`_sma`) and of their deltas (`_sma_de`).
    F0final to logHNR: 39 of each contour and each delta, over the frames where it is not 0; and of
        F0final five more: share of the frames voiced (ff0_nnz) and lengths of voiced stretches.
    The other 59: 54 of each contour and 46 of each delta.
    Values (unit of the descriptor): amean, posamean (of positive values), rqmean (quadratic mean),
        range, quartile1–3, iqr (between quartiles), percentile1.0, percentile99.0, pctlrange0-1
        (between these), stddev, peakRangeAbs, peakMeanAbs, peakMeanMeanDist (peaks above the mean).
    Ratios: flatness (geometric over arithmetic mean), skewness, kurtosis; peakRangeRel,
        peakMeanRel, minRangeRel (over the mean).
    Positions and shares of the duration, 0 to 1: maxPos, minPos, centroid, upleveltime25–90 (above
        that percentage of the range), risetime, leftctime (curved to the left).
    Times in seconds: meanPeakDist, peakDistStddev; meanSegLen, maxSegLen, minSegLen, segLenStddev
        (of stretches that begin where the contour rises above 25 % or 75 % of its range; of
        F0final, of voiced stretches).
    Slopes between extremes (unit per second): meanRisingSlope, stddevRisingSlope and Falling.
    Line and parabola through the contour scaled to 0 … 1: linregc1–2, qregc1–3 (per second; per
        frame from F0final to logHNR), and the mean squared errors linregerrQ, qregerrQ.
    Linear prediction of the contour: lpgain, lpc0–4.
"""

from __future__ import annotations

from clser_bench.problem import Value

VERSION = 1

PARAMETERS: dict[str, Value] = {
    "set": "ComParE_2016",
    "levels": "lld,lld_de,func",
    "rate": "as decoded",
    "bits": 16,
    "shortest_seconds": 0.1,
}

VOICE = (
    "F0final_sma",
    "voicingFinalUnclipped_sma",
    "jitterLocal_sma",
    "jitterDDP_sma",
    "shimmerLocal_sma",
    "logHNR_sma",
)
ENERGY = (
    "audspec_lengthL1norm_sma",
    "audspecRasta_lengthL1norm_sma",
    "pcm_RMSenergy_sma",
    "pcm_zcr_sma",
)
SPECTRUM = (
    *(f"audSpec_Rfilt_sma[{band}]" for band in range(26)),
    *(f"pcm_fftMag_fband{band}_sma" for band in ("250-650", "1000-4000")),
    *(f"pcm_fftMag_spectralRollOff{percent}_sma" for percent in ("25.0", "50.0", "75.0", "90.0")),
    "pcm_fftMag_spectralFlux_sma",
    "pcm_fftMag_spectralCentroid_sma",
    "pcm_fftMag_spectralEntropy_sma",
    "pcm_fftMag_spectralVariance_sma",
    "pcm_fftMag_spectralSkewness_sma",
    "pcm_fftMag_spectralKurtosis_sma",
    "pcm_fftMag_spectralSlope_sma",
    "pcm_fftMag_psySharpness_sma",
    "pcm_fftMag_spectralHarmonicity_sma",
    *(f"mfcc_sma[{order}]" for order in range(1, 15)),
)

_EXTREMES = ("range", "maxPos", "minPos")
_PERCENTILES = (
    *("quartile1", "quartile2", "quartile3", "iqr1-2", "iqr2-3", "iqr1-3"),
    *("percentile1.0", "percentile99.0", "pctlrange0-1"),
)
_MOMENTS = ("stddev", "skewness", "kurtosis")
_SEGMENTS = ("meanSegLen", "maxSegLen", "minSegLen", "segLenStddev")
_TIMES = (
    *("upleveltime25", "upleveltime50", "upleveltime75", "upleveltime90"),
    *("risetime", "leftctime"),
)
_PREDICTION = ("lpgain", "lpc0", "lpc1", "lpc2", "lpc3", "lpc4")
_PEAKS = (
    *("meanPeakDist", "peakDistStddev", "peakRangeAbs", "peakRangeRel"),
    *("peakMeanAbs", "peakMeanMeanDist", "peakMeanRel", "minRangeRel"),
    *("meanRisingSlope", "stddevRisingSlope", "meanFallingSlope", "stddevFallingSlope"),
)
_REGRESSION = (
    *("linregc1", "linregc2", "linregerrQ"),
    *("qregc1", "qregc2", "qregc3", "qregerrQ", "centroid"),
)

_DISTRIBUTION = (*_EXTREMES, *_PERCENTILES, *_MOMENTS, *_SEGMENTS, *_TIMES, *_PREDICTION)
_VOICED = (
    *("amean", "flatness", "posamean", "rqmean"),
    *(*_EXTREMES, *_REGRESSION, *_PERCENTILES, *_MOMENTS, *_TIMES, *_PREDICTION),
)
_STRETCHES = ("ff0_nnz", *(f"ff0_{name}" for name in _SEGMENTS))
_COURSE = ("amean", "flatness", "rqmean", *_PEAKS, *_REGRESSION)
_DELTA_COURSE = ("flatness", "posamean", "rqmean", *_PEAKS)


def _deltas(descriptors: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.replace("_sma", "_sma_de") for name in descriptors)


def _functionals(descriptors: tuple[str, ...], functionals: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_{functional}" for name in descriptors for functional in functionals)


_DESCRIPTORS = (*VOICE, *ENERGY, *SPECTRUM)

INSTANT_NAMES = (*_DESCRIPTORS, *_deltas(_DESCRIPTORS))

SUMMARY_NAMES = (
    *_functionals((*ENERGY, *_deltas(ENERGY), *SPECTRUM, *_deltas(SPECTRUM)), _DISTRIBUTION),
    *_functionals((*VOICE, *_deltas(VOICE)), _VOICED),
    *_functionals(VOICE[:1], _STRETCHES),
    *_functionals((*ENERGY, *SPECTRUM), _COURSE),
    *_functionals(_deltas((*ENERGY, *SPECTRUM)), _DELTA_COURSE),
)
