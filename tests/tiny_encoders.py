"""Encoders of every architecture in small, with random weights, saved as the hub keeps them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import torch

from clser_bench.features.encoders.forward import import_transformers

hub = import_transformers()

_COMMON: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "vocab_size": 8}
_COMMON |= {"num_hidden_layers": 3, "num_attention_heads": 2}
_COMMON |= {"initializer_range": 0.2}  # so that a layer changes what it is given
_SAMPLES: dict[str, Any] = {**_COMMON, "conv_dim": (16, 16, 16), "num_feat_extract_layers": 3}
_SAMPLES |= {"conv_kernel": (10, 3, 2), "conv_stride": (5, 8, 8)}
_SAMPLES |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_LARGE: dict[str, Any] = {**_SAMPLES, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
_STACKED = {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7}
_CONFORMER = {"conv_depthwise_kernel_size": 7}
_WHISPER: dict[str, Any] = {"d_model": 32, "vocab_size": 64, "init_std": 0.2}
_WHISPER |= {"encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
_WHISPER |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48}
_WHISPER |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}

MAKERS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2-base": ("Wav2Vec2", _SAMPLES),
    "wav2vec2-large": ("Wav2Vec2", _LARGE),
    "hubert-base": ("Hubert", _SAMPLES),
    "hubert-large": ("Hubert", _LARGE),
    "wavlm-base": ("WavLM", _SAMPLES),
    "wavlm-large": ("WavLM", _LARGE),
    "unispeech": ("UniSpeech", _SAMPLES),
    "unispeech-sat": ("UniSpeechSat", _LARGE),
    "data2vec-audio": ("Data2VecAudio", {**_SAMPLES, **_STACKED}),
    "wav2vec2-conformer": (
        "Wav2Vec2Conformer",
        {**_SAMPLES, **_CONFORMER, "feat_extract_norm": "layer"},
    ),
    "wav2vec2-bert": (
        "Wav2Vec2Bert",
        {**_COMMON, **_CONFORMER, "feature_projection_input_dim": 160},
    ),
    "whisper": ("Whisper", _WHISPER),
}
"""By kind: the name of its class and its settings."""


def save_tiny(kind: str, folder: Path) -> Path:
    """Write an encoder of one of `MAKERS` and its feature extractor, in a folder of its kind."""
    place = folder / kind
    name, settings = MAKERS[kind]
    with torch.random.fork_rng(), contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(1)
        model = getattr(hub, f"{name}Model")(getattr(hub, f"{name}Config")(**settings))
        model.save_pretrained(place)
    extractors = {"whisper": "Whisper", "wav2vec2-bert": "SeamlessM4T"}
    options = {} if kind in extractors else {"return_attention_mask": "base" not in kind}
    inputs = getattr(hub, f"{extractors.get(kind, 'Wav2Vec2')}FeatureExtractor")(**options)
    inputs.save_pretrained(place)
    return place
