"""An encoder in memory: samples in, the frames of each utterance at each wanted layer out."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clser_bench.errors import FeatureError
from clser_bench.features.acoustic import load_torchaudio
from clser_bench.features.encoders.models import ALONE, SPECTRAL, Context, Encoder, Precision
from clser_bench.features.encoders.whisper import OwnFrames
from clser_bench.features.sets import LONGEST_SECONDS, SHORTEST_SECONDS
from clser_bench.problem import Floats

_UNUSED = ("masked_spec_embed", "decoder.", "adapter.")
"""Weights that features do not need."""

_LARGEST_WEIGHT = 1e6
"""No trained encoder has one as large: float16 holds 65,504 at most."""

_CONFIGURATION_FAULTS = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, ImportError, MemoryError),
)
"""The library's own errors where a configuration is contradictory: it checks little of it."""

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Loaded:
    """An encoder on a device; FeatureError where its files do not make a model.

    Args:
        layers: wanted layers, ascending: 0 is what enters the first layer, the last number of the
            encoder is its output.
        precision: of the arithmetic; weights stay float32.
        context: of Whisper, `30s` unless said otherwise (see `whisper`); no other encoder has one.
    """

    def __init__(
        self,
        encoder: Encoder,
        layers: Sequence[int],
        *,
        precision: Precision = "float32",
        context: Context | None = None,
        device: str = "cpu",
    ) -> None:
        self.encoder, self.layers, self.device = encoder, tuple(layers), torch.device(device)
        self.precision = precision
        self.inputs, model = _load(encoder)
        self.whisper = encoder.family == "whisper"
        self.context = (context or "30s") if self.whisper else None
        # Whether utterances of different lengths may share a batch.
        self.padding = encoder.family not in ALONE
        self.network: Any = model.get_encoder() if self.whisper else model
        stack = self.network.layers if self.whisper else self.network.encoder.layers
        self.network.adapter = None  # a downsampler of translation models, no layer of the encoder
        self._norms = [] if self.whisper else mask_group_norms(self.network)
        del stack[max(1, self.layers[-1]) :]  # above the highest wanted one
        self.network.eval().requires_grad_(False).to(self.device)
        self._own: OwnFrames | None = None
        if self.context in ("padded", "own"):
            how: Any = {"count": encoder.layers, "padded": self.context == "padded"}
            self._own = OwnFrames(self.network, self.inputs.mel_filters, layers, **how)
        # Whether the frames of a batch are packed, without padding.
        self.packed = self._own is not None
        self._kept: dict[int, Tensor] = {}
        for layer in self.layers:
            if layer == 0:
                stack[0].register_forward_pre_hook(partial(self._keep, 0))
            elif layer < encoder.layers:
                stack[layer - 1].register_forward_hook(partial(self._keep, layer))

    def _keep(self, layer: int, _: nn.Module, *states: Any) -> None:
        """Of a layer what leaves it, of the first also what enters it."""
        found = states[-1][0] if isinstance(states[-1], tuple) else states[-1]
        self._kept[layer] = found.clone()  # later layers may write into it

    def prepare(self, samples: Floats) -> list[Floats]:
        """Turn an utterance [samples] into what the network takes, whatever others there are.

        Its pieces (one, unless it is longer than `LONGEST_SECONDS`), [samples] or [frames, bands].
        """
        rate = self.encoder.rate
        missing = max(round(SHORTEST_SECONDS * rate) - len(samples), 0)
        padded = np.pad(samples, (missing // 2, missing - missing // 2))
        count = -(-len(padded) // round(LONGEST_SECONDS * rate))
        if self.encoder.family in SPECTRAL:
            spectrum = self._own.prepare if self._own else self._spectrum
            return [spectrum(piece) for piece in np.array_split(padded, count)]
        values = self.inputs(padded, sampling_rate=rate, return_tensors="np")["input_values"][0]
        return list(np.array_split(values.astype(np.float32), count))

    def _spectrum(self, piece: Floats) -> Floats:
        extract = partial(self.inputs, piece, sampling_rate=self.encoder.rate, return_tensors="np")
        if self.whisper:
            values = extract(padding="max_length")["input_features"][0].T.astype(np.float32)
            # The true length travels as a last row: frames of the padding are not pooled.
            return np.concatenate([values, np.full((1, values.shape[1]), len(piece), np.float32)])
        made = extract()
        spectrum: Floats = made["input_features"][0].astype(np.float32)
        return spectrum[: int(made["attention_mask"][0].sum())]

    @torch.inference_mode()
    def run(self, pieces: Sequence[Floats]) -> list[list[Floats]]:
        """Encode pieces of like length: of each, for each wanted layer, float32 [frames, d]."""
        lower, kind = _TYPES.get(self.precision), self.device.type
        autocast: Any = torch.autocast(kind, dtype=lower) if lower else nullcontext()
        with autocast, warnings.catch_warnings():
            # transformers' WavLM gives its mask and its position bias in different types.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            if self._own:
                return self._own.run(pieces, self.device)
            hidden, frames = self._whisper(pieces) if self.whisper else self._masked(pieces)
        at = [self._kept.get(layer, hidden) for layer in self.layers]
        self._kept.clear()
        arrays = [states.float().cpu().numpy() for states in at]
        return [[array[row, :count] for array in arrays] for row, count in enumerate(frames)]

    def _whisper(self, pieces: Sequence[Floats]) -> tuple[Tensor, list[int]]:
        spectra = np.stack([piece[:-1].T for piece in pieces])
        lengths = [int(piece[-1, 0]) for piece in pieces]
        states = self.network(torch.from_numpy(spectra).to(self.device)).last_hidden_state
        hop = round(LONGEST_SECONDS * self.encoder.rate) / states.shape[1]
        return states, [min(max(1, int(-(-count // hop))), states.shape[1]) for count in lengths]

    def _masked(self, pieces: Sequence[Floats]) -> tuple[Tensor, list[int]]:
        lengths = torch.tensor([len(piece) for piece in pieces])
        width = int(lengths.max())
        batch = np.zeros((len(pieces), width, *pieces[0].shape[1:]), np.float32)
        for row, piece in zip(batch, pieces, strict=True):
            row[: len(piece)] = piece
        mask = (torch.arange(width) < lengths[:, None]).long().to(self.device)
        frames = [lengths]  # of each utterance, after each convolution
        if batch.ndim == 2:
            config = self.network.config
            for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
                frames.append((frames[-1] - kernel) // stride + 1)
        for norm in self._norms:  # behind the first convolution
            norm.frames = frames[1].to(self.device)
        values = torch.from_numpy(batch).to(self.device)
        states = self.network(values, attention_mask=mask).last_hidden_state
        return states, frames[-1].tolist()


@functools.cache
def import_transformers() -> Any:
    """Import transformers, which takes seconds and imports torchaudio too."""
    load_torchaudio()
    return importlib.import_module("transformers")


def _load(encoder: Encoder) -> tuple[Any, Any]:
    """The feature extractor and the model, from the folder alone: the network is not asked."""
    hub = import_transformers()
    from huggingface_hub.errors import StrictDataclassError  # noqa: PLC0415
    from safetensors import SafetensorError  # noqa: PLC0415

    logging: Any = importlib.import_module("transformers.utils.logging")
    options = {"local_files_only": True, "trust_remote_code": encoder.remote_code}
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it would report weights of heads that nobody needs
    try:
        inputs = hub.AutoFeatureExtractor.from_pretrained(encoder.folder, **options)
        model, report = hub.AutoModel.from_pretrained(
            encoder.folder,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    except (*_CONFIGURATION_FAULTS, StrictDataclassError, SafetensorError) as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise FeatureError(f"{encoder.folder}: cannot be loaded as an encoder ({why})") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    missing = sorted(n for n in report["missing_keys"] if not n.startswith(_UNUSED))
    if missing:  # they would be random numbers, and nobody would notice
        raise FeatureError(
            f"{encoder.folder}: {len(missing)} weights of the encoder are not in its files, such "
            f"as {missing[0]}; it is the checkpoint of another model, or incomplete"
        )
    for name, values in model.named_parameters():
        # values that are not finite would be blamed on the recordings
        most = 0.0 if name.startswith(_UNUSED) else float(values.detach().abs().max())
        if not most < _LARGEST_WEIGHT:
            what = "is not finite (NaN or infinite)"
            if math.isfinite(most):
                what = f"is as large as {most:.3g}, which no training leaves"
            raise FeatureError(f"{encoder.folder}: the weight {name} {what}; fetch the model again")
    return inputs, model


class MaskedGroupNorm(nn.Module):
    """A group norm with one group a channel, over the valid frames of each utterance.

    The first layer of wav2vec 2.0 base, HuBERT base and their kin normalises each channel over
    time. Padded, an utterance would be normalised over its padding too, and its features would
    depend on the batch. ValueError for a norm with groups of several channels.

    Attributes:
        frames: int64 [b], valid frames of each utterance of the coming batch; None for all.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        if norm.num_groups != norm.num_channels:
            raise ValueError("only a group norm with a group for each channel can be masked")
        self.norm = norm
        self.frames: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise [b, channels, time]; padding comes out as zero."""
        if self.frames is None or bool((self.frames == hidden.shape[-1]).all()):
            return self.norm(hidden)  # type: ignore[no-any-return]
        # Row by row: the library's kernel reads the data once, masked sums many times.
        normed = torch.zeros_like(hidden)
        for row, count in enumerate(self.frames.tolist()):
            normed[row, :, :count] = self.norm(hidden[row : row + 1, :, :count])[0]
        return normed


def mask_group_norms(network: nn.Module) -> list[MaskedGroupNorm]:
    """Replace every group norm of a network in place."""
    masked = []
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                masked.append(MaskedGroupNorm(child))
                setattr(parent, name, masked[-1])
    return masked
