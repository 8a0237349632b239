"""Encoders that have a short name: recommended layers, and which corpora they were trained on.

The facts are in `tasks/encoders.toml`.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clser_bench.errors import FeatureError
from clser_bench.features.encoders.names import PREFIX

Exposure = Literal["labels", "audio", "no", "unknown"]
"""How a corpus entered the training of an encoder: with emotion labels, as audio, or not."""

_FILE = "encoders.toml"


class Training(BaseModel):
    """What an encoder was trained on, as far as this benchmark's corpora go.

    Attributes:
        default: for every corpus that is not named.
        corpora: corpus code to what is known of it.
        source: where this is stated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: Exposure
    corpora: dict[str, Exposure] = Field(default_factory=dict)
    source: str


class KnownEncoder(BaseModel):
    """An encoder with a short name.

    Attributes:
        model: repository of the hub.
        layer: the recommended layer, or several as in `layer=2-3`.
        layer_source: where the recommendation comes from.
        heard: what it was trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    layer: str
    layer_source: str
    heard: Training


def tasks_table(key: str) -> dict[str, Any]:
    """A top-level table of `tasks/encoders.toml`; empty where there is none."""
    file = importlib.resources.files("clser_bench.tasks").joinpath(_FILE)
    table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get(key, {})
    return table


@functools.cache
def known_encoders() -> dict[str, KnownEncoder]:
    """The encoders of `tasks/encoders.toml` by short name.

    Raises:
        FeatureError: the file does not have the right form.
    """
    try:
        return {
            name: KnownEncoder.model_validate(values)
            for name, values in tasks_table("encoders").items()
        }
    except ValidationError as error:
        raise FeatureError(f"{_FILE}: {error}") from error


def find_known(model: str) -> KnownEncoder | None:
    """The known encoder of a repository, or of a folder that is named like one; None for others.

    Args:
        model: repository, short name, or the last part of a path.
    """
    for name, encoder in known_encoders().items():
        if model in (name, encoder.model, encoder.model.rpartition("/")[2]):
            return encoder
    return None


def recommended_layer(model: str, *, count: int) -> str:
    """The layer that is taken where none is named: the recommended one, else the middle one.

    Args:
        model: as for `find_known`.
        count: layers of the encoder.
    """
    encoder = find_known(model)
    numbers = [int(number) for number in re.findall(r"\d+", encoder.layer)] if encoder else []
    fits = encoder is not None and max(numbers) <= count  # a folder of that name may hold another
    return encoder.layer if encoder is not None and fits else str(count // 2)


def heard(features: str, corpus: str) -> Exposure:
    """How a corpus entered the training of the encoders of a feature set.

    Args:
        features: the name of the set as records have it; several encoders (joined sets, sets by
            language) give the strongest exposure of any.
        corpus: its code.

    Returns:
        `no` for sets without an encoder, `unknown` for an encoder that is not known and for a
        user's own table.
    """
    order: tuple[Exposure, ...] = ("no", "unknown", "audio", "labels")
    found: list[Exposure] = ["unknown"] if "table:" in features else ["no"]
    for model in re.findall(rf"{PREFIX}([^@:,\]+]+)", features):
        encoder = find_known(model)
        known = encoder.heard if encoder else None
        found.append(known.corpora.get(corpus, known.default) if known else "unknown")
    return max(found, key=order.index)
