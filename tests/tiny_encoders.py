"""Encoders of every architecture in small, with random weights, saved as the hub keeps them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from clser_bench.features.encoders.forward import import_transformers

hub = import_transformers()

_COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 8,
    "initializer_range": 0.2,  # so that a layer changes what it is given
}
_SAMPLES: dict[str, Any] = {
    **_COMMON,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 8, 8),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_LARGE: dict[str, Any] = {**_SAMPLES, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
_WHISPER: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 64,
    "init_std": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}

MAKERS: dict[str, Callable[[], Any]] = {
    "wav2vec2-base": lambda: hub.Wav2Vec2Model(hub.Wav2Vec2Config(**_SAMPLES)),
    "wav2vec2-large": lambda: hub.Wav2Vec2Model(hub.Wav2Vec2Config(**_LARGE)),
    "hubert-base": lambda: hub.HubertModel(hub.HubertConfig(**_SAMPLES)),
    "hubert-large": lambda: hub.HubertModel(hub.HubertConfig(**_LARGE)),
    "wavlm-base": lambda: hub.WavLMModel(hub.WavLMConfig(**_SAMPLES)),
    "wavlm-large": lambda: hub.WavLMModel(hub.WavLMConfig(**_LARGE)),
    "unispeech": lambda: hub.UniSpeechModel(hub.UniSpeechConfig(**_SAMPLES)),
    "unispeech-sat": lambda: hub.UniSpeechSatModel(hub.UniSpeechSatConfig(**_LARGE)),
    "data2vec-audio": lambda: hub.Data2VecAudioModel(
        hub.Data2VecAudioConfig(
            **{**_SAMPLES, "num_conv_pos_embeddings": 3}, conv_pos_kernel_size=7
        )
    ),
    "wav2vec2-conformer": lambda: hub.Wav2Vec2ConformerModel(
        hub.Wav2Vec2ConformerConfig(
            **_SAMPLES, feat_extract_norm="layer", conv_depthwise_kernel_size=7
        )
    ),
    "wav2vec2-bert": lambda: hub.Wav2Vec2BertModel(
        hub.Wav2Vec2BertConfig(
            **_COMMON, feature_projection_input_dim=160, conv_depthwise_kernel_size=7
        )
    ),
    "whisper": lambda: hub.WhisperModel(hub.WhisperConfig(**_WHISPER)),
}
"""By kind: builds a model of it."""


def save_tiny(kind: str, folder: Path) -> Path:
    """Write an encoder and its feature extractor.

    Args:
        kind: one of `MAKERS`.
        folder: where; the encoder gets a folder of its kind's name in it.
    """
    place = folder / kind
    with torch.random.fork_rng(), contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(1)
        MAKERS[kind]().save_pretrained(place)
    _extractor(kind).save_pretrained(place)
    return place


def _extractor(kind: str) -> Any:
    if kind == "whisper":
        return hub.WhisperFeatureExtractor()
    if kind == "wav2vec2-bert":
        return hub.SeamlessM4TFeatureExtractor()
    return hub.Wav2Vec2FeatureExtractor(return_attention_mask="base" not in kind)
