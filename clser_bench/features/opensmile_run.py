"""One pass of openSMILE over an utterance: its descriptors and its functionals together.

`opensmile.Smile` runs once for each level. Here a pass has the configuration that
`opensmile.Smile` uses, with a sink for the descriptors and one for the functionals. So the values
are those of `opensmile.Smile`, in the time of one of its passes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from clser_bench.errors import FeatureError, MissingExtraError
from clser_bench.problem import Floats

BITS = 16
"""Of the samples that openSMILE is given; `opensmile.Smile` gives it the same."""

_BUSY = threading.Lock()
"""An instance takes one utterance at a time."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What openSMILE computes in a pass.

    Attributes:
        file: the configuration, as a path in openSMILE's own folder of them.
        levels: of descriptors; their columns are put side by side, and of their frames those are
            kept that every level has.
        columns: of the descriptors, over all levels.
        functionals: how many there are.
        shortest_seconds: to what a clip is padded where openSMILE gives nothing for it.
    """

    file: str
    levels: tuple[str, ...]
    columns: int
    functionals: int
    shortest_seconds: float


def require(name: str) -> None:
    """Raise unless openSMILE is installed.

    Args:
        name: of the feature set that needs it.

    Raises:
        MissingExtraError: it is not.
    """
    if importlib.util.find_spec("opensmile") is None:
        raise MissingExtraError(f"the feature set '{name}'", "opensmile")


def run(configuration: Configuration, samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute descriptors and functionals at the rate of the file; the same whatever ran before.

    Args:
        configuration: what to compute.
        samples: float32 mono [samples], full scale 1; cut to 16 bits as openSMILE does. A clip
            that openSMILE gives nothing for is padded with zeros on both sides.
        rate: in Hz.

    Returns:
        Descriptors float32 [m, columns] and functionals float32 [functionals].

    Raises:
        FeatureError: openSMILE gave nothing.
    """
    descriptors, functionals = _pass(configuration, samples, rate)
    if not len(descriptors) or not len(functionals):
        missing = max(math.ceil(configuration.shortest_seconds * rate) - len(samples), 0)
        padded = np.pad(samples, (missing // 2, missing - missing // 2))
        descriptors, functionals = _pass(configuration, padded, rate)
    if not len(descriptors) or not len(functionals):
        raise FeatureError(f"openSMILE gave no features for {len(samples)} samples at {rate} Hz")
    return descriptors, functionals[0]


def _pass(configuration: Configuration, samples: Floats, rate: int) -> list[Floats]:
    """Run openSMILE once: what each sink received, float32 [m, columns]."""
    sinks = {"extsinklld": configuration.columns, "extsinkfunc": configuration.functionals}
    rows: dict[str, list[Floats]] = {name: [] for name in sinks}
    # Cut, not rounded: so does opensmile.Smile.
    pcm = np.clip(samples * np.float32(32768), -32768, 32767).astype(np.int16)
    with _BUSY:
        try:
            _put_through(_instance(configuration, rate), pcm.tobytes(), rows)
        except BaseException:
            _instance.cache_clear()  # its state is unknown now
            raise
    received = [
        np.concatenate([np.zeros((0, columns), np.float32), *rows[name]])
        for name, columns in sinks.items()
    ]
    for frames in rows.values():
        frames.clear()  # openSMILE's bindings keep every callback, and so these lists
    return received


def _put_through(smile: Any, pcm: bytes, rows: dict[str, list[Floats]]) -> None:
    """Put one utterance through, and make ready for the next."""
    for name, frames in rows.items():
        smile.external_sink_set_callback_ex(name, _collector(frames))
    smile.external_audio_source_write_data("extsource", pcm)
    smile.external_audio_source_set_eoi("extsource")
    smile.run()
    smile.reset()


def _collector(frames: list[Floats]) -> Any:
    def collect(data: Floats, _: object) -> None:
        frames.append(data.copy())  # openSMILE reuses its buffer

    return collect


@functools.lru_cache(maxsize=4)
def _instance(configuration: Configuration, rate: int) -> Any:
    """Set up openSMILE; kept, since that takes a quarter of the time of an utterance or more."""
    library, root = _library()
    shared = root / "shared"
    smile = library.OpenSMILE()
    smile.initialize(
        config_file=str(root / configuration.file),
        options={
            "source": shared / "standard_external_wave_input.conf.inc",
            "sink": shared / "standard_external_data_output_multi.conf.inc",
            # A reader of several levels waits for all of them, frame by frame.
            "sinkLevelLLD": ";".join(configuration.levels),
            "bufferModeRbConf": shared / "BufferModeRb.conf.inc",
            "frameModeFunctionalsConf": shared / "FrameModeFunctionals.conf.inc",
            "sampleRate": rate,
            "nBits": BITS,
        },
        loglevel=1,
    )
    return smile


@functools.cache
def _library() -> tuple[ModuleType, Path]:
    """OpenSMILE's bindings and the folder of its configurations."""
    library = importlib.import_module("opensmile.core.lib")
    return library, Path(str(library.__file__)).parent / "config"
