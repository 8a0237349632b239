"""Encoder folders that are broken, contradictory or hostile: one clear error each, nothing run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from clser_bench.errors import FeatureError
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.encoders.models import find_encoder, parse
from tests.tiny_encoders import save_tiny


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: save_tiny(kind, folder) for kind in ("hubert-base", "whisper")}


Change = Callable[[Path], object]
Arrays = dict[str, np.ndarray]


def setting(name: str, **values: Any) -> Change:
    """Change a file of settings; None takes a setting out."""

    def change(place: Path) -> None:
        file = place / name
        read = {**json.loads(file.read_text()), **values}
        file.write_text(json.dumps({k: v for k, v in read.items() if v is not None}))

    return change


def weights(change: Callable[[Arrays], object]) -> Change:
    def write(place: Path) -> None:
        arrays = load_file(place / WEIGHTS)
        change(arrays)
        save_file(arrays, place / WEIGHTS)

    return write


def drop(part: str) -> Change:
    return weights(lambda arrays: [arrays.pop(n) for n in list(arrays) if part in n])


def extra_layer(arrays: Arrays) -> None:
    for name in [name for name in arrays if "layers.2." in name]:
        arrays[name.replace("layers.2.", "layers.3.")] = arrays[name]


def fill(part: str, value: float, *shape: int) -> Change:
    """Set the first weight of such a name to a value, in another shape where one is given."""

    def change(arrays: Arrays) -> None:
        name = min(name for name in arrays if part in name)
        arrays[name] = np.full(shape or arrays[name].shape, value, np.float32)

    return weights(change)


def replaced(name: str, content: bytes) -> Change:
    return lambda place: (place / name).write_bytes(content)


def pipe(name: str) -> Change:
    def change(place: Path) -> None:
        (place / name).unlink()
        os.mkfifo(place / name)

    return change


class Bomb:
    """Makes the folder `ran` where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def pickled(place: Path) -> None:
    """Weights as torch wrote them before safetensors."""
    (place / WEIGHTS).unlink()
    (place / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))


CONFIG, INPUTS, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"

FAULTS: dict[str, tuple[Change, str]] = {
    "pickled weights": (pickled, r"no weights in safetensors, .*pickled ones .*save_pretrained"),
    "pickled under the name of others": (replaced(WEIGHTS, pickle.dumps(Bomb())), "no whole safe"),
    "missing layer": (drop("encoder.layers.1."), "has 3 layers and its weights 2"),
    "missing weight": (drop("layers.1.attention.k_proj.weight"), "not in its files"),
    "extra layer": (weights(extra_layer), r"weights 4 .*layers.3.* is not expected"),
    "fewer layers": (setting(CONFIG, num_hidden_layers=2), "has 2 layers and its weights 3"),
    "misshapen": (fill("k_proj.weight", 0.0, 7, 5), "cannot be loaded as an encoder"),
    "NaN": (fill("encoder.layers.1.", np.nan), r"the weight .*layers\.1\..* is not finite"),
    "huge": (fill("encoder.layers.1.", 3e38), r"layers\.1\..* is as large as 3e\+38"),
    "whisper, infinite": (fill("encoder.layers.1.", np.inf), r"layers\.1\..* is not finite"),
    "another width": (setting(CONFIG, hidden_size=64), "64 values in a hidden"),
    "absurd layers": (setting(CONFIG, num_hidden_layers=10**6), "1000000 layers"),
    "absurd size": (setting(CONFIG, intermediate_size=10**15), "no sensible"),
    "negative": (setting(CONFIG, intermediate_size=-1), "no sensible setting"),
    "text for a number": (setting(CONFIG, hidden_size="32"), "'hidden_size'"),
    "heads that do not divide": (setting(CONFIG, num_attention_heads=5), "cannot be loaded"),
    "no heads": (setting(CONFIG, num_attention_heads=0), "cannot be loaded"),
    "convolutions": (setting(CONFIG, conv_stride=[5]), "cannot be loaded"),
    "near architecture": (setting(CONFIG, model_type="wav2vec3"), "did you mean 'wav2vec2'"),
    "no folder": (shutil.rmtree, "there is no such folder"),
    "no config": (lambda place: (place / CONFIG).unlink(), "cannot be read"),
    "list": (replaced(CONFIG, b"[1]"), "holds no settings"),
    "broken JSON": (replaced(CONFIG, b"{"), "not JSON"),
    "deep JSON": (replaced(CONFIG, b"[" * 100_000), "not JSON"),
    "huge JSON": (replaced(CONFIG, b" " * (1 << 24) + b"{}"), "at most"),
    "truncated": (lambda place: os.truncate(place / WEIGHTS, 9000), "no whole safetensors file"),
    "empty": (replaced(WEIGHTS, b""), "no whole safetensors file"),
    "false length": (replaced(WEIGHTS, b"\xff" * 64), "no whole safetensors file"),
    "FIFO weights": (pipe(WEIGHTS), "is not a regular file"),
    "FIFO config": (pipe(CONFIG), "is not a regular file"),
    "rate": (setting(INPUTS, sampling_rate=8000), "sampling_rate is 8000"),
    "no rate": (setting(INPUTS, sampling_rate=None), "sampling_rate is None"),
    "whisper, bands": (setting(INPUTS, feature_size=128), "feature_size is 128"),
    "whisper, hop": (setting(INPUTS, hop_length=80), "hop_length is 80"),
    "normalise as text": (setting(INPUTS, do_normalize="no"), "true or false"),
    "code": (setting(CONFIG, auto_map={"AutoModel": "evil.Model"}), "brings code of its own"),
    "code for inputs": (
        setting(INPUTS, auto_map={"AutoFeatureExtractor": "evil.In"}),
        "brings code",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_clear_error_and_nothing_is_run(
    fault: str, sound: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = FAULTS[fault]
    kind = "whisper" if fault.startswith("whisper") else "hubert-base"
    place = tmp_path / kind
    shutil.copytree(sound[kind], place)
    bomb = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
    (place / "evil.py").write_text(bomb)
    change(place)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FeatureError, match=message) as caught:
        Loaded(find_encoder(parse(f"hf:{place}")), (3,))
    assert str(place) in str(caught.value)
    assert not list(tmp_path.rglob("ran"))
