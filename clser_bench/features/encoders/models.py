"""Encoders on disk: where they lie, what they are, loading them. safetensors only."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.encoders.names import Request
from clser_bench.files import regular_size, require_folder
from clser_bench.hashing import digest

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
