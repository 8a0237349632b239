"""The feature set `minimal`: a choice of acoustic's columns, with voice quality."""

from __future__ import annotations

import numpy as np
import torch

from clser_bench.features import acoustic
from clser_bench.features.acoustic_names import INSTANT_NAMES as ALL_INSTANTS
from clser_bench.features.acoustic_names import SUMMARY_NAMES as ALL_SUMMARY
from clser_bench.features.minimal_names import INSTANT_NAMES, QUALITY, SUMMARY_NAMES
from clser_bench.features.pooling import pool
from clser_bench.features.quality import quality_columns
from clser_bench.features.sets import INSTANTS
from clser_bench.features.summaries import summarise
from clser_bench.problem import Floats

_LONG = [ALL_INSTANTS.index(name) for name in INSTANT_NAMES if name not in QUALITY]
_SHORT = [ALL_SUMMARY.index(name) for name in SUMMARY_NAMES if name in ALL_SUMMARY]


def check() -> None:
    """Raise unless torchaudio can be imported.

    Raises:
        FeatureError: it cannot.
    """
    acoustic.check()


def extract(samples: Floats, rate: int) -> tuple[Floats, Floats]:
    """Compute instants and summary; see `minimal_names` for the columns.

    Args:
        samples: as for `acoustic.extract`.
        rate: in Hz.

    Returns:
        Instants float32 [32, d] over the active stretch, and summary float32 [f].
    """
    with acoustic.one_thread(), torch.inference_mode():
        heard = acoustic.hear(samples, rate)
        quality = quality_columns(heard.signal, heard.contour)[heard.kept]
    columns, voiced = heard.columns[heard.kept], (heard.contour.hertz > 0)[heard.kept]
    spoken = (quality[voiced] if voiced.any() else quality).astype(np.float64)
    summary = np.concatenate(
        [summarise(columns, voiced)[_SHORT], spoken.mean(axis=0), spoken.std(axis=0)]
    )
    instants = np.concatenate([columns[:, _LONG], quality], axis=1)
    return pool(instants, INSTANTS), summary.astype(np.float32)
