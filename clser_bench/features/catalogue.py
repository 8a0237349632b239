"""Which feature sets there are, and how they are found by name. Loads no audio library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features import acoustic_names, compare16_names, egemaps_names, minimal_names
from clser_bench.features.encoders.models import Encoder, find_encoder
from clser_bench.features.encoders.names import PREFIX, Precision, layer_numbers, parse
from clser_bench.features.sets import LONGEST_SECONDS, SHORTEST_SECONDS, FeatureSet, Layer
from clser_bench.problem import Value

ENCODER_VERSION = 1
"""Raised when the features of encoders change though no model does."""


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


_ACOUSTIC = _set(
    "acoustic",
    "log-mel, MFCC, pitch, loudness and spectral shape at 16 kHz; needs no extra",
    version=acoustic_names.VERSION,
    parameters=acoustic_names.PARAMETERS,
    names=(acoustic_names.INSTANT_NAMES, acoustic_names.SUMMARY_NAMES),
)


def _choice(
    name: str, about: str, columns: tuple[str, ...], *, extra: tuple[str, ...] = ()
) -> FeatureSet:
    """A choice of the columns of `acoustic`.

    Args:
        name: of the set.
        about: one line.
        columns: instants that it has, and whose statistics it has.
        extra: further columns of the summary.
    """
    chosen = [c for c in _ACOUSTIC.summary if c.partition("_")[2] in columns or c in extra]
    return FeatureSet(
        name=name,
        version=1,
        about=about,
        parameters=(),
        instants=columns,
        summary=tuple(chosen),
        parts=(_ACOUSTIC,),
    )


_SETS = {
    made.name: made
    for made in (
        _choice("mel", "log-mel bands: 26 of acoustic's columns", acoustic_names.MEL),
        _choice("mfcc", "MFCC: 13 of acoustic's columns", acoustic_names.MFCC),
        _choice(
            "prosody",
            "pitch, voicing, level, loudness and timing: acoustic without any spectrum",
            acoustic_names.PROSODY,
            extra=acoustic_names.TIMING,
        ),
        _set(
            "minimal",
            "prosody, five MFCC, spectral shape and voice quality at 16 kHz; needs no extra",
            version=minimal_names.VERSION,
            parameters=minimal_names.PARAMETERS,
            names=(minimal_names.INSTANT_NAMES, minimal_names.SUMMARY_NAMES),
        ),
        _ACOUSTIC,
        _set(
            "egemaps",
            "openSMILE eGeMAPSv02: 25 low-level descriptors, 88 functionals (extra opensmile)",
            version=egemaps_names.VERSION,
            parameters=egemaps_names.PARAMETERS,
            names=(egemaps_names.INSTANT_NAMES, egemaps_names.SUMMARY_NAMES),
        ),
        _set(
            "compare16",
            "openSMILE ComParE 2016: 65 low-level descriptors with deltas, 6373 functionals (extra "
            "opensmile)",
            version=compare16_names.VERSION,
            parameters=compare16_names.PARAMETERS,
            names=(compare16_names.INSTANT_NAMES, compare16_names.SUMMARY_NAMES),
        ),
    )
}

FEATURE_SETS = tuple(_SETS)
"""The names of the acoustic sets."""


def feature_set(name: str) -> FeatureSet:
    """Find a feature set by name.

    Args:
        name: of `FEATURE_SETS`, several of `mel`, `mfcc` and `prosody` joined by `+`, or an
            encoder's (see `encoders.names.parse`).

    Raises:
        FeatureError: there is none of this name, or an encoder cannot be found.
    """
    if name.startswith(PREFIX):
        return _encoder_set(name)
    choices = name.split("+")
    if len(choices) > 1 and all(_SETS.get(one, _ACOUSTIC).parts for one in choices):
        return _joined(choices)
    if name not in _SETS:
        raise FeatureError(
            f"feature set '{name}' is unknown{did_you_mean(name, FEATURE_SETS)}; mel, mfcc and "
            "prosody can be joined (mfcc+prosody), encoders are named hf:REPOSITORY or hf:./FOLDER"
        )
    return _SETS[name]


def _joined(names: Sequence[str]) -> FeatureSet:
    """Choices of acoustic's columns together, each column once."""
    chosen = [_SETS[name] for name in dict.fromkeys(names)]
    return FeatureSet(
        name="+".join(dict.fromkeys(names)),
        version=1,
        about="together: " + ", ".join(dict.fromkeys(names)),
        parameters=(),
        instants=tuple(dict.fromkeys(column for one in chosen for column in one.instants)),
        summary=tuple(dict.fromkeys(column for one in chosen for column in one.summary)),
        parts=(_ACOUSTIC,),
    )


def _encoder_set(name: str) -> FeatureSet:
    request = parse(name)
    encoder = find_encoder(request)
    layers = layer_numbers(request.layers, count=encoder.layers, name=name)
    parts = tuple(layer_set(encoder, layer, request.precision) for layer in layers)
    if len(parts) == 1:
        return parts[0]
    every = len(layers) == encoder.layers + 1
    written = "all" if every else "+".join(map(str, layers))
    return FeatureSet(
        name=_encoder_name(encoder, written, request.precision),
        version=1,
        about=f"mean of {len(layers)} layers of {encoder.name}",
        parameters=(),
        instants=parts[0].instants,
        summary=parts[0].summary,
        parts=parts,
    )


def layer_set(encoder: Encoder, layer: int, precision: Precision) -> FeatureSet:
    """The set that is one layer of an encoder: mean instants, mean and deviation over frames.

    Args:
        encoder: the encoder.
        layer: 0 is what enters the first layer.
        precision: of the arithmetic.
    """
    columns = tuple(f"hidden{column:04d}" for column in range(encoder.size))
    parameters: dict[str, Value] = {
        "content": encoder.content,
        "family": encoder.family,
        "layer": layer,
        "precision": precision,
        "longest_seconds": LONGEST_SECONDS,
        "shortest_seconds": SHORTEST_SECONDS,
    }
    return FeatureSet(
        name=_encoder_name(encoder, str(layer), precision),
        version=ENCODER_VERSION,
        about=f"layer {layer} of {encoder.layers} of {encoder.name}",
        parameters=tuple(sorted(parameters.items())),
        instants=columns,
        summary=(*(f"mean_{c}" for c in columns), *(f"sd_{c}" for c in columns)),
        layer=Layer(encoder=encoder, number=layer, precision=precision),
    )


def _encoder_name(encoder: Encoder, layers: str, precision: Precision) -> str:
    """The name with everything that was left open filled in; no path of this machine."""
    how = "" if precision == "float32" else f":precision={precision}"
    code = ":remote-code" if encoder.remote_code else ""
    return f"{PREFIX}{encoder.name}@{encoder.revision}:layer={layers}{how}{code}"
