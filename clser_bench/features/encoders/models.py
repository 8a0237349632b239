"""Encoders by name, such as `hf:NAME@REVISION:layer=12:pool=mean`, and on disk; safetensors only.

Short names, recommended layers, and the corpora that an encoder was trained on, are in
`tasks/encoders.toml`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.files import expanded, regular_size, require_folder, validated
from clser_bench.hashing import digest

PREFIX = "hf:"

Precision = Literal["float32", "bf16", "fp16"]

Context = Literal["padded", "own", "30s"]
"""The frames that those of Whisper attend to: see `encoders.whisper`."""

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
    """The corpora of this benchmark that an encoder was trained on."""

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


_LONGEST_JSON, _LONGEST_WEIGHTS = 1 << 24, 1 << 50  # bytes
_LARGEST = 10**8  # of a number in a configuration: models are smaller in every respect
_MOST_LAYERS = 1000  # above that, missing ones are not listed
_RATE = 16_000  # of every architecture in FAMILIES
_MAY_BE_NEGATIVE = ("pad_token_id", "bos_token_id", "eos_token_id", "mask_feature_length")
_LAYER = re.compile(r"(?:^|\.)encoder\.layers\.(\d+)\.")
_FILES = ("config.json", "preprocessor_config.json")

WAVEFORM = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
"""Encoders of samples whose padded batches give what single utterances give."""

ALONE = ("data2vec-audio", "wav2vec2-conformer")
"""Encoders of samples that leak from the padding (stacked positional convolutions, convolution
modules without a mask): only utterances of equal length share a batch."""

SPECTRAL = ("wav2vec2-bert", "whisper")
"""Encoders of log-mel frames."""

FAMILIES = (*WAVEFORM, *ALONE, *SPECTRAL)
"""The `model_type` of every architecture that is known to work; each has its test."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder on disk."""

    name: str  # repository or folder, without its path
    revision: str  # commit of the repository, or the first 16 digits of the content of a folder
    content: str  # SHA-256 over weights and configurations
    family: str  # its `model_type`
    layers: int  # how many transformer layers it has
    size: int  # d, values of a hidden state
    rate: int  # samples per second it wants
    folder: Path
    remote_code: bool = False


def find_encoder(request: Request) -> Encoder:
    """Find an encoder on disk, or fetch it from the hub where there is a way.

    FeatureError where it is not there and cannot be fetched (with what to do), has no weights in
    safetensors, or is of an architecture that is not known to work.
    """
    folder = Path(request.model) if request.folder else _snapshot(request)
    return _described(
        folder,
        name=folder.resolve().name if request.folder else request.model,
        revision="" if request.folder else folder.name,
        remote_code=request.remote_code,
    )


@functools.lru_cache(maxsize=16)
def _described(folder: Path, *, name: str, revision: str, remote_code: bool) -> Encoder:
    require_folder(
        folder,
        error=FeatureError,
        about="; it must hold an encoder as `save_pretrained` writes it (config.json, "
        "preprocessor_config.json, model.safetensors)",
    )
    config, inputs = (_json(folder / name) for name in _FILES)
    family = str(config.get("model_type", ""))
    if not remote_code and ("auto_map" in config or "auto_map" in inputs):
        raise FeatureError(
            f"{folder}: brings code of its own ('auto_map' in its configuration), which is not "
            "run. Where you have read and trust it, add :remote-code; if the architecture is one "
            "of the library's, take 'auto_map' out"
        )
    if family not in FAMILIES and not remote_code:
        raise FeatureError(
            f"{folder}: architecture '{family}' is not among those whose features are known to be "
            f"right{did_you_mean(family, FAMILIES)}"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise FeatureError(
            f"{folder}: no weights in safetensors, and pickled ones (.bin) can run any code, so "
            'they are not read. Convert them where you trust them: python -c "from transformers '
            f"import AutoModel; AutoModel.from_pretrained('{name}').save_pretrained('FOLDER')\", "
            "copy preprocessor_config.json beside, and use --features hf:./FOLDER"
        )
    layers = _number(config, ("encoder_layers", "num_hidden_layers"), folder)
    size = _number(config, ("d_model", "hidden_size"), folder)
    shapes = {name: shape for path in weights for name, shape in _shapes(path).items()}
    if family in FAMILIES:
        _check_shapes(folder, shapes, layers=layers, size=size)
        _check_inputs(folder, family, config, inputs)
    parts = []  # every byte of the weights: a name or a revision can be moved, content cannot
    for path in (*(folder / name for name in _FILES), *weights):
        with path.open("rb") as file:
            parts.append([path.name, hashlib.file_digest(file, "sha256").hexdigest()])
    content = digest(parts)
    return Encoder(
        name=name,
        revision=revision or content[:16],
        content=content,
        family=family,
        layers=layers,
        size=size,
        rate=_number(inputs, ("sampling_rate",), folder),
        folder=folder,
        remote_code=remote_code,
    )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights in a safetensors file, by name; only its header is read."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 (with the heavy rest)

    regular_size(path, error=FeatureError, most=_LONGEST_WEIGHTS)
    try:
        with safe_open(path, "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise FeatureError(
            f"{path}: is no whole safetensors file ({error}); fetch it again"
        ) from error


def _check_shapes(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], *, layers: int, size: int
) -> None:
    """Compare the layers in the weights with those that the configuration promises."""
    found = {int(match[1]): name for name in shapes if (match := _LAYER.search(name)) is not None}
    if sorted(found) != list(range(len(found))) or len(found) != layers:
        missing = sorted(set(range(layers)) - set(found))[:3] if layers < _MOST_LAYERS else []
        which = [f"layer {number} is missing" for number in missing]
        more = sorted(set(found) - set(range(layers)))[:3]
        which += [f"{found[number]} is not expected" for number in more]
        raise FeatureError(
            f"{folder}: its configuration has {layers} layers and its weights {len(found)}"
            + (f" ({'; '.join(which)})" if which else "")
        )
    norm = next((n for n in sorted(shapes) if _LAYER.search(n) and n.endswith("norm.weight")), None)
    if norm is not None and shapes[norm] != (size,):
        raise FeatureError(
            f"{folder}: its configuration has {size} values in a hidden state, and {norm} has "
            f"{shapes[norm]}"
        )


def _check_inputs(
    folder: Path, family: str, config: Mapping[str, Any], inputs: Mapping[str, Any]
) -> None:
    """Compare what the encoder is fed with what its architecture was trained on."""
    expected: dict[str, object] = {"sampling_rate": _RATE}
    if family == "whisper":
        bands = config.get("num_mel_bins", 80)
        expected |= {"feature_size": bands, "hop_length": 160, "n_fft": 400, "chunk_length": 30}
    given = {"hop_length": 160, "n_fft": 400, "chunk_length": 30, "feature_size": 80, **inputs}
    for key, value in expected.items():
        if given.get(key) != value:
            raise FeatureError(
                f"{folder / _FILES[1]}: {key} is {given.get(key)!r}, and an encoder of the "
                f"architecture '{family}' needs {value!r}"
            )
    for key in ("do_normalize", "return_attention_mask"):
        if not isinstance(inputs.get(key, True), bool):
            raise FeatureError(f"{folder / _FILES[1]}: {key} must be true or false")


def _json(path: Path) -> dict[str, Any]:
    regular_size(path, error=FeatureError, most=_LONGEST_JSON)
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"{path}: not JSON ({error})") from error
    if not isinstance(read, dict):
        raise FeatureError(f"{path}: holds no settings")
    for key, value in read.items():
        number = isinstance(value, int) and not isinstance(value, bool)
        if number and not 0 <= value <= _LARGEST and key not in _MAY_BE_NEGATIVE:
            raise FeatureError(f"{path}: {f'{key} = {value}'[:60]} is no sensible setting")
    return read


def _number(config: dict[str, Any], keys: tuple[str, ...], folder: Path) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise FeatureError(f"{folder}: its configuration has no '{keys[-1]}' above 0")


def _snapshot(request: Request) -> Path:
    """The folder of a repository at a revision: from the hub's cache, else from the hub."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 (a second to import)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    get = functools.partial(
        snapshot_download,
        request.model,
        revision=request.revision or None,
        allow_patterns=["*.json", "*.safetensors", *(["*.py"] if request.remote_code else [])],
    )
    try:
        found = Path(get(local_files_only=True))
        if any(found.glob("*.safetensors")):
            return found
    except (LocalEntryNotFoundError, ValueError):
        pass  # not on this machine yet
    try:
        return Path(get())
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        at = f" --revision {request.revision}" if request.revision else ""
        layers = f":layer={request.layers}" if request.layers else ""
        folder = request.model.rpartition("/")[2]
        why = str(error).strip().partition("\n")[0][:200]
        home = os.environ.get("HF_HOME", "~/.cache/huggingface")
        raise FeatureError(
            f"encoder '{request.model}' is neither on this machine (in {home}) nor to be fetched "
            f"({why}). On a machine with a connection run\n"
            f"  pip install huggingface_hub && hf download {request.model}{at} "
            f"--include '*.json' '*.safetensors' --local-dir {folder}\n"
            f"copy the folder {folder} to this machine, and use\n"
            f"  --features hf:./{folder}{layers}"
        ) from error
