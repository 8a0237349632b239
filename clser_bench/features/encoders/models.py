"""Encoders on disk: where they lie, what they are, loading them. safetensors only."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.encoders.names import Request
from clser_bench.hashing import digest

_BLOCK = 1 << 22
_FILES = ("config.json", "preprocessor_config.json")
_PATTERNS = ("*.json", "*.safetensors")

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
    """An encoder on disk.

    Attributes:
        name: repository or folder, without its path.
        revision: commit of the repository, or the first 16 digits of the content of a folder.
        content: SHA-256 over weights and configurations.
        family: its `model_type`.
        layers: how many transformer layers it has.
        size: d, values of a hidden state.
        rate: samples per second it wants.
        folder: where it lies; no part of its identity.
        remote_code: whether code in the folder may run.
    """

    name: str
    revision: str
    content: str
    family: str
    layers: int
    size: int
    rate: int
    folder: Path
    remote_code: bool = False


def find_encoder(request: Request) -> Encoder:
    """Find an encoder on disk, or fetch it from the hub where there is a way.

    Args:
        request: as `names.parse` read it.

    Raises:
        FeatureError: it is not there and cannot be fetched (with what to do), has no weights in
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
    if not folder.is_dir():
        raise FeatureError(
            f"{folder}: there is no such folder; it must hold an encoder as `save_pretrained` "
            "writes it (config.json, preprocessor_config.json, model.safetensors)"
        )
    config = _json(folder / "config.json")
    family = str(config.get("model_type", ""))
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
    content = _content(folder, weights)
    return Encoder(
        name=name,
        revision=revision or content[:16],
        content=content,
        family=family,
        layers=_number(config, ("encoder_layers", "num_hidden_layers"), folder),
        size=_number(config, ("d_model", "hidden_size"), folder),
        rate=_number(_json(folder / "preprocessor_config.json"), ("sampling_rate",), folder),
        folder=folder,
        remote_code=remote_code,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FeatureError(
            f"{path}: cannot be read ({error.strerror}); the encoder needs it"
        ) from error
    except ValueError as error:
        raise FeatureError(f"{path}: not JSON ({error})") from error
    if not isinstance(read, dict):
        raise FeatureError(f"{path}: holds no settings")
    return read


def _number(config: dict[str, Any], keys: tuple[str, ...], folder: Path) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            return value
    raise FeatureError(f"{folder}: its configuration does not tell '{keys[-1]}'")


def _content(folder: Path, weights: list[Path]) -> str:
    """Hash every byte of the weights; a name or a revision can be moved, content cannot."""
    parts = []
    for path in (*(folder / name for name in _FILES), *weights):
        state = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                state.update(block)
        parts.append([path.name, state.hexdigest()])
    return digest(parts)


def _snapshot(request: Request) -> Path:
    """The folder of a repository at a revision: from the hub's cache, else from the hub."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 (a second to import)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    patterns = [*_PATTERNS, *(["*.py"] if request.remote_code else [])]
    get = functools.partial(
        snapshot_download,
        request.model,
        revision=request.revision or None,
        allow_patterns=patterns,
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
        raise FeatureError(_how_to_fetch(request, error)) from error


def _how_to_fetch(request: Request, error: Exception) -> str:
    at = f" --revision {request.revision}" if request.revision else ""
    folder = request.model.rpartition("/")[2]
    why = str(error).strip().partition("\n")[0][:200]
    layers = "" if request.layers == "last" else f":layer={request.layers}"
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return (
        f"encoder '{request.model}' is neither on this machine (in {home}) nor to be fetched "
        f"({why}). On a machine with a connection run\n"
        f"  pip install huggingface_hub && hf download {request.model}{at} "
        f"--include '*.json' '*.safetensors' --local-dir {folder}\n"
        f"copy the folder {folder} to this machine, and use\n"
        f"  --features hf:./{folder}{layers}"
    )
