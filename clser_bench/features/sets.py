"""What a feature set is, and which there are. Importing this loads no audio library."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features import acoustic_names, egemaps_names
from clser_bench.hashing import digest
from clser_bench.trial import Floats, Value

INSTANTS = 32
"""t: how many spans an utterance is pooled to."""

DTYPE = "float32"
"""Of every table."""

Extract = Callable[[Floats, int], tuple[Floats, Floats]]


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """A way to turn samples into instants and a summary.

    Attributes:
        name: under which it is asked for.
        version: raised when its values change though no parameter does.
        about: one line for `clser-bench list features`.
        parameters: everything that can be set, sorted by name.
        instants: names of the d features of an instant.
        summary: names of the f features of a summary.
        module: the module whose `extract` and `check` do the work; imported when first needed.
    """

    name: str
    version: int
    about: str
    parameters: tuple[tuple[str, Value], ...]
    instants: tuple[str, ...]
    summary: tuple[str, ...]
    module: str

    @functools.cached_property
    def key(self) -> str:
        """Hash of everything that determines the values: 64 hexadecimal digits."""
        return digest(
            {
                "name": self.name,
                "version": self.version,
                "parameters": [[name, value] for name, value in self.parameters],
                "dtype": DTYPE,
                "t": INSTANTS,
                "instants": list(self.instants),
                "summary": list(self.summary),
            }
        )

    def check(self) -> None:
        """Raise unless what the set needs is installed.

        Raises:
            MissingExtraError: an optional dependency is absent.
        """
        importlib.import_module(self.module).check()

    def extract(self, samples: Floats, rate: int) -> tuple[Floats, Floats]:
        """Compute the features of one utterance; the same bytes whatever ran before.

        Args:
            samples: float32 mono [samples], full scale 1.
            rate: sampling rate in Hz.

        Returns:
            Instants float32 [t, d] and summary float32 [f].

        Raises:
            FeatureError: there are no samples.
            MissingExtraError: an optional dependency is absent.
        """
        if samples.ndim != 1 or not len(samples):
            raise FeatureError(f"samples must be mono [samples] and not empty, got {samples.shape}")
        extract = cast(Extract, importlib.import_module(self.module).extract)
        return extract(samples, rate)


def _set(
    name: str,
    about: str,
    *,
    version: int,
    parameters: Mapping[str, Value],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> FeatureSet:
    return FeatureSet(
        name=name,
        version=version,
        about=about,
        parameters=tuple(sorted(parameters.items())),
        instants=names[0],
        summary=names[1],
        module=f"clser_bench.features.{name}",
    )


_SETS = {
    "acoustic": _set(
        "acoustic",
        "log-mel, MFCC, pitch, loudness and spectral shape at 16 kHz; needs no extra",
        version=acoustic_names.VERSION,
        parameters=acoustic_names.PARAMETERS,
        names=(acoustic_names.INSTANT_NAMES, acoustic_names.SUMMARY_NAMES),
    ),
    "egemaps": _set(
        "egemaps",
        "openSMILE eGeMAPSv02: 25 low-level descriptors, 88 functionals (extra opensmile)",
        version=egemaps_names.VERSION,
        parameters=egemaps_names.PARAMETERS,
        names=(egemaps_names.INSTANT_NAMES, egemaps_names.SUMMARY_NAMES),
    ),
}

FEATURE_SETS = tuple(_SETS)
"""The names that `feature_set` knows."""


def feature_set(name: str) -> FeatureSet:
    """Find a feature set by name.

    Raises:
        FeatureError: there is none of this name.
    """
    if name not in _SETS:
        raise FeatureError(f"feature set '{name}' is unknown{did_you_mean(name, FEATURE_SETS)}")
    return _SETS[name]
