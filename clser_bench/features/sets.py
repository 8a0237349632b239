"""What a feature set is, and which there are. Importing this loads no audio library."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from clser_bench.errors import FeatureError
from clser_bench.features.encoders.models import Encoder
from clser_bench.features.encoders.names import Precision
from clser_bench.hashing import digest
from clser_bench.problem import Floats, Value

INSTANTS = 32
"""t: how many spans an utterance is pooled to."""

DTYPE = "float32"
"""Of every table."""

LONGEST_SECONDS = 30.0
"""Longer utterances reach an encoder in equal pieces no longer than this; frames are joined."""

SHORTEST_SECONDS = 0.1
"""Shorter ones are padded with zeros on both sides to this."""

Extract = Callable[[Floats, int], tuple[Floats, Floats]]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an encoder.

    Attributes:
        encoder: the encoder.
        number: 0 is what enters the first layer.
        precision: of the arithmetic.
    """

    encoder: Encoder
    number: int
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """A way to turn samples into instants and a summary.

    The values come from one of three places: a module, utterance by utterance; a layer of an
    encoder, batch by batch; or other sets, of which the columns of these names are averaged (one
    set gives a choice of its columns, the layers of an encoder their mean).

    Attributes:
        name: under which it is asked for.
        version: raised when its values change though no parameter does.
        about: one line for `clser-bench list features`.
        parameters: everything that can be set, sorted by name.
        instants: names of the d features of an instant.
        summary: names of the f features of a summary.
        module: the module whose `extract` and `check` do the work; imported when first needed.
        layer: the encoder's layer that does.
        parts: the sets that this one is made of.
    """

    name: str
    version: int
    about: str
    parameters: tuple[tuple[str, Value], ...]
    instants: tuple[str, ...]
    summary: tuple[str, ...]
    module: str = ""
    layer: Layer | None = None
    parts: tuple[FeatureSet, ...] = ()

    @functools.cached_property
    def key(self) -> str:
        """Hash of everything that determines the values: 64 hexadecimal digits."""
        identity: dict[str, Any] = {
            # An encoder is named by its content: the same weights may lie in any folder.
            "name": self.name if self.layer is None else "encoder",
            "version": self.version,
            "parameters": [[name, value] for name, value in self.parameters],
            "dtype": DTYPE,
            "t": INSTANTS,
            "instants": list(self.instants),
            "summary": list(self.summary),
        }
        if self.parts:
            identity["parts"] = [part.key for part in self.parts]
        return digest(identity)

    def check(self) -> None:
        """Raise unless what the set needs is installed.

        Raises:
            MissingExtraError: an optional dependency is absent.
        """
        if self.module:
            importlib.import_module(self.module).check()
        for part in self.parts:
            part.check()

    def extract(self, samples: Floats, rate: int) -> tuple[Floats, Floats]:
        """Compute the features of one utterance; the same bytes whatever ran before.

        Args:
            samples: float32 mono [samples], full scale 1.
            rate: sampling rate in Hz.

        Returns:
            Instants float32 [t, d] and summary float32 [f].

        Raises:
            FeatureError: there are no samples, or the set does not work utterance by utterance.
            MissingExtraError: an optional dependency is absent.
        """
        if not self.module:
            raise FeatureError(f"feature set '{self.name}' is not computed utterance by utterance")
        if samples.ndim != 1 or not len(samples):
            raise FeatureError(f"samples must be mono [samples] and not empty, got {samples.shape}")
        extract = cast(Extract, importlib.import_module(self.module).extract)
        return extract(samples, rate)
