"""The feature set `minimal`: its parameters, and the name and unit of each column.

In the spirit of the Geneva Minimalistic Acoustic Parameter Set (Eyben et al. 2016), without
openSMILE: prosody, the five lowest MFCC, the shape of the spectrum and voice quality.

An instant has these columns of `acoustic` (`acoustic_names`): mfcc00 … mfcc04, pitch, voicing,
level, loudness and the nine columns of the spectrum's shape. And
    hnr: harmonics-to-noise ratio, dB, -30 to 30: 10 log10(r / (1 - r)) of the height r of the
        highest peak of the normalised autocorrelation (Boersma 1993, eq. 4).
    h1_h2: the first harmonic over the second, dB.
    h1_a3: the first harmonic over the highest bin in 2–3.6 kHz, about where the third formant
        lies, dB. (GeMAPS takes the harmonic nearest to the third formant itself.) Both in
        windows of 40 ms.

A summary has the columns of `acoustic` that are made of these, and
    mean_X, sd_X: of hnr, h1_h2 and h1_a3 over voiced frames; over all where none is voiced.
"""

from __future__ import annotations

from clser_bench.features import acoustic_names
from clser_bench.problem import Value

VERSION = 1

PARAMETERS: dict[str, Value] = {
    **acoustic_names.PARAMETERS,
    "least_periodic": 0.001,
    "harmonic_window_seconds": 0.04,
    "harmonic_reach": 0.25,
    "third_low_hz": 2000.0,
    "third_high_hz": 3600.0,
}

QUALITY = ("hnr", "h1_h2", "h1_a3")

_FROM_ACOUSTIC = (*acoustic_names.MFCC[:5], *acoustic_names.PROSODY, *acoustic_names.SHAPE)

INSTANT_NAMES = (*_FROM_ACOUSTIC, *QUALITY)

SUMMARY_NAMES = (
    *(
        name
        for name in acoustic_names.SUMMARY_NAMES
        if name in acoustic_names.TIMING or name.partition("_")[2] in _FROM_ACOUSTIC
    ),
    *(f"mean_{name}" for name in QUALITY),
    *(f"sd_{name}" for name in QUALITY),
)
