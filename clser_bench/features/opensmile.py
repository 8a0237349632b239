"""The feature sets `egemaps` and `compare16` by openSMILE: descriptors and functionals.

References: F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice
research and affective computing", IEEE Transactions on Affective Computing 7(2), 2016; B. Schuller
et al., "The INTERSPEECH 2016 Computational Paralinguistics Challenge: Deception, Sincerity & Native
Language", Interspeech 2016 (descriptors and functionals of F. Weninger et al., "On the acoustics of
emotion in audio: what speech, music, and sound have in common", Frontiers in Psychology 4:292,
2013). Columns have openSMILE's names and units (`opensmile_columns/`).

One pass here has the configuration of `opensmile.Smile`, which runs once for each level, with a
sink for the descriptors and one for the functionals. ComParE's deltas belong to the descriptors of
the same frame number; openSMILE gives two frames of deltas more, past the end of the descriptors,
and instants use the frames that both have.
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
from clser_bench.features.columns import INSTANTS, opensmile_columns, pool
from clser_bench.problem import Floats

BITS = 16
"""Of the samples that openSMILE is given; `opensmile.Smile` gives it the same."""

SHORTEST_SECONDS = 0.1
"""A clip for which openSMILE gives nothing is padded with zeros on both sides to this."""

_LOCK = threading.Lock()  # an instance takes one utterance at a time

_CONFIGURATIONS = {
    "egemaps": ("egemaps/v02/eGeMAPSv02.conf", ("lld",)),
    "compare16": ("compare/ComParE_2016.conf", ("lld", "lld_de")),
}
"""A path in openSMILE's own folder of configurations, and the levels of descriptors, whose columns
are put side by side."""


def check(name: str) -> None:
    """Raise `MissingExtraError` unless openSMILE is installed, which the set of this name needs."""
    if importlib.util.find_spec("opensmile") is None:
        raise MissingExtraError(f"the feature set '{name}'", "opensmile")


def extract(name: str, samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute instants and summary at the rate of the file, as openSMILE does.

    Samples are float32 mono [samples], full scale 1, cut to 16 bits as openSMILE does. Instants
    float32 [32, d] are the means of the descriptors over each span, the functionals float32 [f].
    MissingExtraError where openSMILE is not installed, FeatureError where it gave nothing.
    """
    check(name)
    descriptors, functionals = process(name, samples, rate)
    return pool(descriptors, INSTANTS), functionals


def process(name: str, samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Descriptors float32 [m, d] before they are pooled, and functionals float32 [f].

    The same whatever ran before. Arguments and errors as for `extract`.
    """
    missing = max(math.ceil(SHORTEST_SECONDS * rate) - len(samples), 0)
    for margins in ((0, 0), (missing // 2, missing - missing // 2)):
        descriptors, functionals = _pass(name, np.pad(samples, margins), rate)
        if len(descriptors) and len(functionals):
            return descriptors, functionals[0]
    raise FeatureError(f"openSMILE gave no features for {len(samples)} samples at {rate} Hz")


def _pass(name: str, samples: Floats, rate: int) -> list[Floats]:
    """Run openSMILE once; what each sink received, float32 [m, columns]."""
    columns = dict(zip(("extsinklld", "extsinkfunc"), opensmile_columns(name), strict=True))
    rows = {sink: [np.zeros((0, len(names)), np.float32)] for sink, names in columns.items()}
    # Cut, not rounded: so does opensmile.Smile.
    pcm = np.clip(samples * np.float32(32768), -32768, 32767).astype(np.int16)
    with _LOCK:
        try:
            smile = _instance(name, rate)
            for sink, frames in rows.items():
                # A copy: openSMILE reuses its buffer.
                keep = functools.partial(lambda kept, data, _: kept.append(data.copy()), frames)
                smile.external_sink_set_callback_ex(sink, keep)
            smile.external_audio_source_write_data("extsource", pcm.tobytes())
            smile.external_audio_source_set_eoi("extsource")
            smile.run()
            smile.reset()  # ready for the next
        except BaseException as error:
            _instance.cache_clear()  # its state is unknown now
            if isinstance(error, _library()[0].OpenSmileException):
                raise FeatureError(f"openSMILE fails on it at {rate} Hz ({error})") from error
            raise
    received = [np.concatenate(frames) for frames in rows.values()]
    for frames in rows.values():
        frames.clear()  # openSMILE's bindings keep every callback, and so these lists
    return received


@functools.lru_cache(maxsize=4)
def _instance(name: str, rate: int) -> Any:
    """Set up openSMILE; kept, since that takes a quarter of the time of an utterance or more."""
    library, root = _library()
    shared, (file, levels) = root / "shared", _CONFIGURATIONS[name]
    smile = library.OpenSMILE()
    smile.initialize(
        config_file=str(root / file),
        options={
            "source": shared / "standard_external_wave_input.conf.inc",
            "sink": shared / "standard_external_data_output_multi.conf.inc",
            # A reader of several levels waits for all of them, frame by frame.
            "sinkLevelLLD": ";".join(levels),
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
