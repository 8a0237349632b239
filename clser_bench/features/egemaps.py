"""The feature set `egemaps`: eGeMAPSv02 by openSMILE, low-level descriptors and functionals.

One pass of openSMILE gives both: its configuration is the one that `opensmile.Smile` uses, with
a sink at each of the two levels. So the functionals are those of `opensmile.Smile`, at half
the time.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from clser_bench.errors import FeatureError, MissingExtraError
from clser_bench.features.egemaps_names import INSTANT_NAMES, PARAMETERS, SUMMARY_NAMES
from clser_bench.features.pooling import pool
from clser_bench.features.sets import INSTANTS
from clser_bench.trial import Floats

_LEVELS = {"extsinklld": len(INSTANT_NAMES), "extsinkfunc": len(SUMMARY_NAMES)}
"""The sinks of openSMILE's two-level output, and the columns of each."""

_BUSY = threading.Lock()
"""An instance takes one utterance at a time."""


def check() -> None:
    """Raise unless openSMILE is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if importlib.util.find_spec("opensmile") is None:
        raise MissingExtraError("the feature set 'egemaps'", "opensmile")


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
    levels = _process(samples, rate)
    if any(not len(level) for level in levels):
        missing = max(math.ceil(float(PARAMETERS["shortest_seconds"]) * rate) - len(samples), 0)
        levels = _process(np.pad(samples, (missing // 2, missing - missing // 2)), rate)
    descriptors, functionals = levels
    if not len(descriptors) or not len(functionals):
        raise FeatureError(f"openSMILE gave no features for {len(samples)} samples at {rate} Hz")
    return pool(descriptors, INSTANTS), functionals[0]


def _process(samples: Floats, rate: int) -> list[Floats]:
    """Run openSMILE: what each sink of `_LEVELS` received, float32 [m, columns]."""
    rows: dict[str, list[Floats]] = {name: [] for name in _LEVELS}
    # Cut, not rounded: so does opensmile.Smile.
    pcm = np.clip(samples * np.float32(32768), -32768, 32767).astype(np.int16)
    with _BUSY:
        try:
            _run(_instance(rate), pcm.tobytes(), rows)
        except BaseException:
            _instance.cache_clear()  # its state is unknown now
            raise
    empty = [np.zeros((0, columns), np.float32) for columns in _LEVELS.values()]
    levels = [
        np.concatenate([zero, *rows[name]]) for name, zero in zip(_LEVELS, empty, strict=True)
    ]
    for received in rows.values():
        received.clear()  # openSMILE's bindings keep every callback, and so these lists
    return levels


def _run(smile: Any, pcm: bytes, rows: dict[str, list[Floats]]) -> None:
    """Put one utterance through, and make ready for the next."""
    for name, received in rows.items():
        smile.external_sink_set_callback_ex(name, _collector(received))
    smile.external_audio_source_write_data("extsource", pcm)
    smile.external_audio_source_set_eoi("extsource")
    smile.run()
    smile.reset()


def _collector(received: list[Floats]) -> Any:
    def collect(data: Floats, _: object) -> None:
        received.append(data.copy())  # openSMILE reuses its buffer

    return collect


@functools.lru_cache(maxsize=4)
def _instance(rate: int) -> Any:
    """Set up openSMILE; kept, since that takes a quarter of the time of an utterance."""
    library, root = _library()
    shared = root / "shared"
    smile = library.OpenSMILE()
    smile.initialize(
        config_file=str(root / "egemaps" / "v02" / "eGeMAPSv02.conf"),
        options={
            "source": shared / "standard_external_wave_input.conf.inc",
            "sink": shared / "standard_external_data_output_multi.conf.inc",
            "bufferModeRbConf": shared / "BufferModeRb.conf.inc",
            "frameModeFunctionalsConf": shared / "FrameModeFunctionals.conf.inc",
            "sampleRate": rate,
            "nBits": PARAMETERS["bits"],
        },
        loglevel=1,
    )
    return smile


@functools.cache
def _library() -> tuple[ModuleType, Path]:
    """OpenSMILE's bindings and the folder of its configurations."""
    library = importlib.import_module("opensmile.core.lib")
    return library, Path(str(library.__file__)).parent / "config"
