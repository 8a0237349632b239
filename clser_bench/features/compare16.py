"""The feature set `compare16`: ComParE 2016 by openSMILE, descriptors, deltas and functionals.

Frame by frame, deltas belong to descriptors of the same number, but openSMILE gives two frames of
deltas more, past the end of the descriptors. An instant is made of the frames that both have. The
functionals are openSMILE's own, over all frames.
"""

from __future__ import annotations

from clser_bench.features.compare16_names import INSTANT_NAMES, PARAMETERS, SUMMARY_NAMES
from clser_bench.features.opensmile_run import Configuration, require, run
from clser_bench.features.pooling import pool
from clser_bench.features.sets import INSTANTS
from clser_bench.problem import Floats

_CONFIGURATION = Configuration(
    file="compare/ComParE_2016.conf",
    levels=("lld", "lld_de"),
    columns=len(INSTANT_NAMES),
    functionals=len(SUMMARY_NAMES),
    shortest_seconds=float(PARAMETERS["shortest_seconds"]),
)


def check() -> None:
    """Raise unless openSMILE is installed.

    Raises:
        MissingExtraError: it is not.
    """
    require("compare16")


def extract(samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute instants and summary at the rate of the file, as openSMILE does.

    Args:
        samples: float32 mono [samples], full scale 1; cut to 16 bits as openSMILE does. A clip
            shorter than a frame of 60 ms, for which openSMILE gives nothing, is padded with zeros
            on both sides to 0.1 s.
        rate: in Hz.

    Returns:
        Instants float32 [32, 130], the means over each span of the 65 descriptors and of their 65
        deltas, and summary float32 [6373].

    Raises:
        MissingExtraError: openSMILE is not installed.
        FeatureError: openSMILE gave nothing.
    """
    check()
    descriptors, functionals = run(_CONFIGURATION, samples, rate)
    return pool(descriptors, INSTANTS), functionals
