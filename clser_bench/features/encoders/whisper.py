"""Whisper's encoder on an utterance's own frames, without the work on 30 s of padding.

Whisper was trained on windows of 30 s, and the frames of the padding are attended to. Their states
hardly depend on the utterance: they depend on the level that the padding has after the log-mel
scaling (the maximum minus 8, one number an utterance). With the context `padded`, the encoder runs
once on 30 s of constant mel at each level that occurs (about ten), and the keys and values of every
layer are kept. An utterance's own frames, and `EXTRA` frames of its padding, then attend to
themselves and to the kept keys and values of the positions behind them; feed-forward layers see own
frames only. With the context `own` they attend to themselves alone. `30s` (in `forward`) is the
whole window as Whisper was trained.

The frames of a batch are packed one utterance after another, so nothing is masked and nothing is
padded: a row depends on its own utterance alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clser_bench.problem import Floats

EXTRA = 10
"""Frames of the padding that are computed for the utterance itself."""

LEVEL_STEP = 0.1
"""Levels of the padding are rounded to this: 4 dB."""

KEPT_BYTES = 1 << 30
"""Keys and values in memory; those of further levels lie in a temporary file that is mapped."""

_HOP, _WINDOW = 160, 400  # samples at 16 kHz
_POSITIONS = 1500  # frames of 20 ms in 30 s
_SAMPLES = 2 * _HOP  # of a frame

Kept = list[tuple[Tensor, Tensor]]
"""Keys and values [1500, d] of each layer."""


class OwnFrames:
    """The encoder on own frames.

    Args:
        network: transformers' `WhisperEncoder`, cut to the layers that are wanted.
        filters: the mel filters [bins, bands] of its feature extractor.
        layers: wanted layers, ascending; 0 is what enters the first.
        count: layers of the whole encoder; the output of the last is normalised.
        padded: whether frames attend to the padding.
    """

    def __init__(
        self, network: Any, filters: Floats, layers: Sequence[int], *, count: int, padded: bool
    ) -> None:
        self._network, self._layers, self._count = network, tuple(layers), count
        self._padded = padded
        self._filters = torch.from_numpy(np.ascontiguousarray(filters.T, np.float32))
        self._window = torch.hann_window(_WINDOW)
        self._heads = network.config.encoder_attention_heads
        self._kept: dict[int, Kept] = {}
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def prepare(self, piece: Floats) -> Floats:
        """The log-mel spectrum of own frames, as the 30 s window has it.

        Args:
            piece: float32 [samples] at 16 kHz, at most 30 s.

        Returns:
            float32 [2 f + 3, bands]: the columns of f frames, two more of the padding, and the
            number of samples.
        """
        frames = min(own_frames(len(piece)) + EXTRA, _POSITIONS)
        columns = 2 * frames + 2
        wave = torch.zeros(columns * _HOP + _WINDOW)
        wave[: len(piece)] = torch.from_numpy(piece)
        spectrum = torch.stft(wave, _WINDOW, _HOP, window=self._window, return_complex=True)
        power = spectrum[:, :columns].abs().square().contiguous()
        log = (self._filters @ power).clamp(min=1e-10).log10()
        scaled = (log.clamp(min=float(log.max()) - 8.0) + 4) / 4
        return np.concatenate([scaled.T.numpy(), np.full((1, len(scaled)), len(piece), np.float32)])

    @torch.inference_mode()
    def run(self, pieces: Sequence[Floats], device: torch.device) -> list[list[Floats]]:
        """Encode one batch.

        Args:
            pieces: from `prepare`.
            device: where the network is.

        Returns:
            For each piece, for each wanted layer, float32 [frames, d].
        """
        # By level, the shorter first: each overwrites the keys of the one before it.
        levels = [round(float(piece[-2, 0]) / LEVEL_STEP) for piece in pieces]
        order = sorted(range(len(pieces)), key=lambda n: (levels[n], len(pieces[n])))
        spectra = [torch.from_numpy(pieces[n][:-1].T).to(device) for n in order]
        sizes = [(spectrum.shape[1] - 2) // 2 for spectrum in spectra]
        hidden = torch.cat([self._convolved(spectrum) for spectrum in spectra])
        keys = [levels[n] if self._padded else None for n in order]
        states = {0: hidden} if 0 in self._layers else {}
        for number in range(max(1, self._layers[-1])):
            hidden = self._layer(number, hidden, sizes, keys)
            if number + 1 in self._layers:
                states[number + 1] = hidden
        if self._count in states:
            states[self._count] = self._network.layer_norm(states[self._count])
        arrays = [states[layer].float().cpu().numpy() for layer in self._layers]
        starts = np.cumsum([0, *sizes])
        found: list[list[Floats]] = [[] for _ in pieces]
        for place, n in enumerate(order):
            start = starts[place]
            end = start + min(own_frames(int(pieces[n][-1, 0])), _POSITIONS)
            found[n] = [array[start:end] for array in arrays]
        return found

    def _convolved(self, spectrum: Tensor) -> Tensor:
        """What enters the first layer [f, d], of the columns of f + 1 frames [bands, 2 f + 2]."""
        network, gelu = self._network, torch.nn.functional.gelu
        frames = (spectrum.shape[1] - 2) // 2
        if frames == _POSITIONS:  # the window ends here: nothing is behind it
            spectrum = spectrum[:, : 2 * frames]
        hidden = gelu(network.conv2(gelu(network.conv1(spectrum[None]))))[0, :, :frames].T
        positions: Tensor = network.embed_positions.weight[:frames]
        return hidden + positions

    def _layer(
        self, number: int, hidden: Tensor, sizes: Sequence[int], levels: Sequence[int | None]
    ) -> Tensor:
        """One layer over packed frames [s, d], utterances of one level next to each other."""
        layer = self._network.layers[number]
        attention = layer.self_attn
        normed = layer.self_attn_layer_norm(hidden)
        query, key, value = (
            attention.q_proj(normed),
            attention.k_proj(normed),
            attention.v_proj(normed),
        )
        attended = torch.empty_like(query)
        start = 0
        for place, (size, level) in enumerate(zip(sizes, levels, strict=True)):
            rows = slice(start, start + size)
            start += size
            if level is None:
                attended[rows] = self._attend(query[rows], key[rows], value[rows])
                continue
            kept_key, kept_value = self._of_level(level, query)[number]
            if not place or level != levels[place - 1]:
                longest = max(s for s, other in zip(sizes, levels, strict=True) if other == level)
                saved = kept_key[:longest].clone(), kept_value[:longest].clone()
            kept_key[:size], kept_value[:size] = key[rows], value[rows]
            attended[rows] = self._attend(query[rows], kept_key, kept_value)
            if place + 1 == len(levels) or level != levels[place + 1]:
                kept_key[:longest], kept_value[:longest] = saved
        hidden = hidden + attention.out_proj(attended)
        wide = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))
        return hidden + layer.fc2(wide)  # type: ignore[no-any-return]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of [f, d] to [m, d]."""
        split = [x.view(len(x), self._heads, -1).transpose(0, 1)[None] for x in (query, key, value)]
        attended = torch.nn.functional.scaled_dot_product_attention(split[0], split[1], split[2])
        return attended[0].transpose(0, 1).flatten(1)

    def _of_level(self, level: int, like: Tensor) -> Kept:
        """Keys and values of every layer for 30 s of padding at a level."""
        if level in self._kept:
            return self._kept[level]
        bands = self._filters.shape[0]
        columns = torch.full((bands, 2 * _POSITIONS + 2), level * LEVEL_STEP, device=like.device)
        hidden, kept = self._convolved(columns), []
        for number in range(max(1, self._layers[-1])):
            layer = self._network.layers[number]
            normed = layer.self_attn_layer_norm(hidden)
            pair = layer.self_attn.k_proj(normed), layer.self_attn.v_proj(normed)
            kept.append(self._keep(pair, f"{level}-{number}"))
            hidden = self._layer(number, hidden, [_POSITIONS], [None])
        self._kept[level] = kept
        return kept

    def _keep(self, pair: tuple[Tensor, Tensor], name: str) -> tuple[Tensor, Tensor]:
        """The same pair, in a file where memory has its share already."""
        size = sum(one.nbytes for one in pair)
        if pair[0].device.type != "cpu" or self._bytes + size <= KEPT_BYTES:
            self._bytes += size
            return pair
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="clser-padding-")
        key, value = (
            _mapped(one, Path(self._folder.name) / f"{name}-{part}")
            for part, one in enumerate(pair)
        )
        return key, value


def own_frames(samples: int) -> int:
    """Frames of 20 ms that so many samples at 16 kHz make."""
    return max(1, -(-samples // _SAMPLES))


def _mapped(values: Tensor, path: Path) -> Tensor:
    """The same values in a mapped file, whose pages the system takes from memory as needed."""
    options: dict[str, Any] = {"size": values.numel(), "dtype": values.dtype}
    torch.from_file(str(path), shared=True, **options).view(values.shape).copy_(values)
    return torch.from_file(str(path), shared=True, **options).view(values.shape)
