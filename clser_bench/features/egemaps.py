"""The feature set `egemaps`: eGeMAPSv02 by openSMILE, low-level descriptors and functionals."""

from __future__ import annotations

from clser_bench.features.egemaps_names import INSTANT_NAMES, PARAMETERS, SUMMARY_NAMES
from clser_bench.features.opensmile_run import Configuration, require, run
from clser_bench.features.pooling import pool
from clser_bench.features.sets import INSTANTS
from clser_bench.problem import Floats

_CONFIGURATION = Configuration(
    file="egemaps/v02/eGeMAPSv02.conf",
    levels=("lld",),
    columns=len(INSTANT_NAMES),
    functionals=len(SUMMARY_NAMES),
    shortest_seconds=float(PARAMETERS["shortest_seconds"]),
)


def check() -> None:
    """Raise unless openSMILE is installed.

    Raises:
        MissingExtraError: it is not.
    """
    require("egemaps")


def extract(samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute instants and summary at the rate of the file, as openSMILE does.

    Args:
        samples: float32 mono [samples], full scale 1; cut to 16 bits as openSMILE does. A clip
            too short for a single functional is padded with zeros on both sides to 0.1 s.
        rate: in Hz.

    Returns:
        Instants float32 [32, 25], the means of the descriptors over each span, and summary
        float32 [88].

    Raises:
        MissingExtraError: openSMILE is not installed.
        FeatureError: openSMILE gave nothing.
    """
    check()
    descriptors, functionals = _process(samples, rate)
    return pool(descriptors, INSTANTS), functionals


def _process(samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Descriptors float32 [m, 25] before they are pooled, and functionals float32 [88]."""
    return run(_CONFIGURATION, samples, rate)
