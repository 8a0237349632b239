"""Names of encoders, such as `hf:NAME@REVISION:layer=12:pool=mean`, and those with a short name.

Recommended layers, and the corpora that an encoder was trained on, are in `tasks/encoders.toml`.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.files import expanded, validated

PREFIX = "hf:"

Precision = Literal["float32", "bf16", "fp16"]

Context = Literal["padded", "own", "30s"]
"""What Whisper's frames attend to: see `encoders.whisper`."""

POOLS = ("mean", "sd", "mean+sd")
"""Statistics over the frames that a summary may have."""

_OPTIONS = ("layer", "pool", "context", "precision", "remote-code")
_CHOICES = {"pool": POOLS, "context": get_args(Context), "precision": get_args(Precision)}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LAYERS = re.compile(r"last|all|\d{1,4}(?:-\d{1,4}|(?:\+\d{1,4})*)")


@dataclass(frozen=True, kw_only=True)
class Request:
    """An encoder as the user named it."""

    model: str  # a repository of the hub, or a folder
    folder: bool
    # branch, tag or commit of a repository; empty for what is on disk, else `main`
    revision: str = ""
    # as written: `last`, `all`, `12`, `6-12`, `6+9`; empty for the recommended one
    layers: str = ""
    pool: str = "mean"  # one of `POOLS`
    context: Context | Literal[""] = ""  # of Whisper; empty for its default
    precision: Precision = "float32"
    remote_code: bool = False


def parse(name: str) -> Request:
    """Read the name of an encoder.

    `hf:MODEL[@REVISION]` and options, each `:KEY=VALUE`. MODEL is a repository of the hub
    (`facebook/hubert-large-ll60k`) or a folder (with a slash at its start, or `./`, `../`, `~/`).
    `layer` is a number (0 is what enters the first layer), a range `6-12` or a sum `6+9` (the mean
    of these layers), `last`, or `all` (every layer is extracted; the mean is the result); without
    it the recommended one is taken. `pool` is one of `POOLS` (default `mean`), `context` one of
    `Context` (Whisper only), `precision` `float32` (the default), `bf16` or `fp16`; `remote-code`
    has no value. FeatureError where it is not of this form.
    """
    body = name.removeprefix(PREFIX)
    model, *options = body.split(":")
    folder = model.startswith(("/", "./", "../", "~"))
    revision = ""
    if not folder:
        model, _, revision = model.partition("@")
        if not _REPOSITORY.fullmatch(model) or ".." in model:
            raise FeatureError(
                f"encoder '{name}': '{model}' is neither a repository of the hub (such as "
                "facebook/hubert-large-ll60k) nor a folder (write ./FOLDER)"
            )
        if "@" in body and (not _REVISION.fullmatch(revision) or ".." in revision):
            raise FeatureError(f"encoder '{name}': '{revision}' is no revision of a repository")
    values: dict[str, str] = {}
    for key, _, value in (option.partition("=") for option in options):
        allowed = _CHOICES.get(key, ())
        if key not in _OPTIONS:
            fault = f"there is no option '{key}'{did_you_mean(key, _OPTIONS)}"
        elif key in values:
            fault = "an option is given twice"
        elif allowed and value not in allowed:
            fault = f"{key} '{value}' is unknown{did_you_mean(value, allowed)}"
        elif key == "layer" and not _LAYERS.fullmatch(value):
            fault = f"layer '{value}'; write a number, a range 6-12, a sum 6+9, last or all"
        elif key == "remote-code" and value:
            fault = "remote-code takes no value"
        else:
            values[key] = value
            continue
        raise FeatureError(f"encoder '{name}': {fault}")
    remote_code = "remote-code" in values
    if remote_code and not folder and not _COMMIT.fullmatch(revision):
        raise FeatureError(
            f"encoder '{name}': remote-code runs what comes with the model, so it needs the commit "
            "that you have read: @ and 40 hexadecimal digits"
        )
    given: dict[str, Any] = {key: values[key] for key in _CHOICES if key in values}
    return Request(
        model=str(expanded(model)) if folder else model,
        folder=folder,
        revision=revision,
        layers=values.get("layer", ""),
        remote_code=remote_code,
        **given,
    )


def layer_numbers(layers: str, *, count: int, name: str) -> tuple[int, ...]:
    """The layers that `Request.layers` asks for, ascending; FeatureError beyond `count`."""
    if layers == "last":
        return (count,)
    if layers == "all":
        return tuple(range(count + 1))
    first, dash, last = layers.partition("-")
    if dash:
        numbers = list(range(int(first), int(last) + 1))
    else:
        numbers = sorted({int(number) for number in layers.split("+")})
    if not numbers or numbers[-1] > count:
        raise FeatureError(
            f"encoder '{name}': layer {layers} is not there; it has layers 0 to {count}"
        )
    return tuple(numbers)


Exposure = Literal["labels", "audio", "no", "unknown"]
"""How a corpus entered the training of an encoder: with emotion labels, as audio, or not."""

_FILE = "encoders.toml"


class Training(BaseModel):
    """What an encoder was trained on, as far as this benchmark's corpora go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: Exposure
    corpora: dict[str, Exposure] = Field(default_factory=dict)  # corpus code to what is known of it
    source: str  # where this is stated


class KnownEncoder(BaseModel):
    """An encoder with a short name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    layer: str  # the recommended layer, or several as in `layer=2-3`
    layer_source: str  # where the recommendation comes from
    heard: Training


def tasks_table(key: str) -> dict[str, Any]:
    """A top-level table of `tasks/encoders.toml`; empty where there is none."""
    file = importlib.resources.files("clser_bench.tasks").joinpath(_FILE)
    table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get(key, {})
    return table


@functools.cache
def known_encoders() -> dict[str, KnownEncoder]:
    """The encoders of `tasks/encoders.toml` by short name."""
    return {
        name: validated(KnownEncoder, values, f"{_FILE}: encoders.{name}", error=FeatureError)
        for name, values in tasks_table("encoders").items()
    }


def find_known(model: str) -> KnownEncoder | None:
    """The known encoder of a short name, a repository or the last part of a path; else None."""
    for name, encoder in known_encoders().items():
        if model in (name, encoder.model, encoder.model.rpartition("/")[2]):
            return encoder
    return None


def recommended_layer(model: str, *, count: int) -> str:
    """The recommended layer of a model (as for `find_known`), else the middle one."""
    encoder = find_known(model)
    numbers = [int(number) for number in re.findall(r"\d+", encoder.layer)] if encoder else []
    fits = encoder is not None and max(numbers) <= count  # a folder of that name may hold another
    return encoder.layer if encoder is not None and fits else str(count // 2)


def exposure(features: str, corpus: str) -> Exposure:
    """How a corpus entered the training of the encoders of a feature set, named as in records.

    Of several encoders (joined sets, sets by language) the strongest. `no` for sets without an
    encoder, `unknown` for an encoder that is not known and for a user's own table.
    """
    order: tuple[Exposure, ...] = ("no", "unknown", "audio", "labels")
    found: list[Exposure] = ["unknown"] if "table:" in features else ["no"]
    for model in re.findall(rf"{PREFIX}([^@:,\]+]+)", features):
        encoder = find_known(model)
        known = encoder.heard if encoder else None
        found.append(known.corpora.get(corpus, known.default) if known else "unknown")
    return max(found, key=order.index)
