"""Whisper's encoder on an utterance's own frames, without the work on 30 s of padding.

Whisper was trained on windows of 30 s, and the frames of the padding are attended to. Their states
depend mostly on the level that the padding has after the log-mel scaling (the maximum minus 8, one
number an utterance), and a little, smoothly over time, on the utterance. With the context `padded`,
the encoder runs once on 30 s of constant mel at each level that occurs (about ten), and the keys
and values of every layer are kept. Of an utterance, its own frames are computed, `EXTRA` frames of
the padding behind them (`DEEP_EXTRA` for the upper half of the layers), and `SAMPLED` ones further
away. In each layer the kept keys and values are corrected by the differences of the sampled frames
from the kept ones, interpolated over time, and all computed frames attend to these and to the own
ones. With the context `own` frames attend to own frames alone. `30s` (in `forward`) is the whole
window as Whisper was trained.

The frames of a batch are packed one utterance after another, so nothing is masked and nothing is
padded: a row depends on its own utterance alone.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clser_bench.cleanup import make_folder, remove_folder
from clser_bench.problem import Floats

EXTRA, DEEP_EXTRA = 10, 200
"""Frames of the padding right behind the utterance that are computed with it: for the layers up to
the middle one, and for those above it, whose padding follows the utterance more."""

SAMPLED = 24
"""Further frames of the padding that are computed with it, the denser the nearer."""

LEVEL_STEP = 0.1
"""Levels of the padding are rounded to this: 4 dB."""

KEPT_BYTES = 1 << 30
"""Keys and values in memory; those of further levels lie in a temporary file that is mapped."""

_HOP, _WINDOW = 160, 400  # samples at 16 kHz
_POSITIONS = 1500  # frames of 20 ms in 30 s
_SAMPLES = 2 * _HOP  # of a frame


@dataclass(frozen=True, eq=False, kw_only=True)
class Padding:
    """The states of 30 s of padding at a level."""

    entering: Tensor  # what enters the first layer [1500, d]
    layers: tuple[tuple[Tensor, Tensor], ...]  # keys and values [1500, d] of each layer


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
        self._kept: dict[int, Padding] = {}
        self._bytes = 0
        self._folder: Path | None = None

    def prepare(self, piece: Floats) -> Floats:
        """The log-mel spectrum of own frames of a piece at 16 kHz, as the 30 s window has it.

        float32 [2 f + 3, bands]: the columns of f frames, two more of the padding, and the number
        of samples.
        """
        extra = DEEP_EXTRA if self._layers[-1] > self._count // 2 else EXTRA
        frames = min(own_frames(len(piece)) + extra, _POSITIONS)
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
        """Encode prepared pieces: of each, for each wanted layer, float32 [frames, d]."""
        middle = self._count // 2
        states: dict[int, list[Floats]] = {}
        # In two passes, so that the states of a layer do not depend on which others are wanted.
        for extra, layers in (
            (EXTRA, [layer for layer in self._layers if layer <= middle]),
            (DEEP_EXTRA, [layer for layer in self._layers if layer > middle]),
        ):
            if layers:
                states |= self._pass(pieces, device, extra, layers)
        return [[states[layer][n] for layer in self._layers] for n in range(len(pieces))]

    def _pass(
        self, pieces: Sequence[Floats], device: torch.device, extra: int, layers: Sequence[int]
    ) -> dict[int, list[Floats]]:
        """Own frames of each piece at some layers, with so many further frames."""
        entering, rows, paddings = [], [], []
        counts = [own_frames(int(piece[-1, 0])) for piece in pieces]
        for piece, count in zip(pieces, counts, strict=True):
            columns = piece[: 2 * min(count + extra, _POSITIONS) + 2]
            hidden = self._convolved(torch.from_numpy(columns.T).to(device))
            own, padding = len(hidden), None
            if self._padded and own < _POSITIONS:
                padding = self._of_level(round(float(piece[-2, 0]) / LEVEL_STEP), hidden)
                hidden = torch.cat([hidden, padding.entering[sampled_positions(own)]])
            entering.append(hidden)
            rows.append((own, len(hidden)))
            paddings.append(padding)
        hidden = torch.cat(entering)
        states = {0: hidden} if 0 in layers else {}
        for number in range(layers[-1]):
            hidden = self._layer(number, hidden, rows, paddings)
            if number + 1 in layers:
                states[number + 1] = hidden
        if self._count in states:
            states[self._count] = self._network.layer_norm(states[self._count])
        starts = np.cumsum([0, *(total for _, total in rows)])
        arrays = {layer: values.float().cpu().numpy() for layer, values in states.items()}
        return {
            layer: [array[a : a + n] for a, n in zip(starts, counts, strict=False)]
            for layer, array in arrays.items()
        }

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
        self,
        number: int,
        hidden: Tensor,
        rows: Sequence[tuple[int, int]],
        paddings: Sequence[Padding | None],
    ) -> Tensor:
        """One layer over packed frames [s, d]: of each utterance its own, then the sampled ones.

        `rows` has how many of each utterance are its own, and how many there are; `paddings` is
        None where frames attend to own frames alone.
        """
        layer = self._network.layers[number]
        attention = layer.self_attn
        normed = layer.self_attn_layer_norm(hidden)
        query, key, value = (
            project(normed) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        attended = torch.empty_like(query)
        start = 0
        for (own, total), padding in zip(rows, paddings, strict=True):
            part = slice(start, start + total)
            start += total
            pair = [key[part], value[part]]
            if padding is not None:
                kept = padding.layers[number]
                pair = [_corrected(one, other, own) for one, other in zip(pair, kept, strict=True)]
            # [f, d] to heads [1, h, f, d / h] and back
            split = (x.view(len(x), self._heads, -1).transpose(0, 1)[None] for x in pair)
            asked = query[part].view(total, self._heads, -1).transpose(0, 1)[None]
            answer = torch.nn.functional.scaled_dot_product_attention(asked, *split)
            attended[part] = answer[0].transpose(0, 1).flatten(1)
        hidden = hidden + attention.out_proj(attended)
        wide = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))
        return hidden + layer.fc2(wide)  # type: ignore[no-any-return]

    def _of_level(self, level: int, like: Tensor) -> Padding:
        """Keys and values of every layer for 30 s of padding at a level."""
        if level in self._kept:
            return self._kept[level]
        bands = self._filters.shape[0]
        columns = torch.full((bands, 2 * _POSITIONS + 2), level * LEVEL_STEP, device=like.device)
        entering = hidden = self._convolved(columns)
        kept = []
        for number in range(self._layers[-1]):
            layer = self._network.layers[number]
            normed = layer.self_attn_layer_norm(hidden)
            pair = layer.self_attn.k_proj(normed), layer.self_attn.v_proj(normed)
            kept.append(self._keep(pair, f"{level}-{number}"))
            hidden = self._layer(number, hidden, [(_POSITIONS, _POSITIONS)], [None])
        self._kept[level] = Padding(entering=entering, layers=tuple(kept))
        return self._kept[level]

    def _keep(self, pair: tuple[Tensor, Tensor], name: str) -> tuple[Tensor, Tensor]:
        """The same pair, in a file where memory has its share already."""
        size = sum(one.nbytes for one in pair)
        if pair[0].device.type != "cpu" or self._bytes + size <= KEPT_BYTES:
            self._bytes += size
            return pair
        if self._folder is None:
            self._folder = make_folder()
            weakref.finalize(self, remove_folder, self._folder)
        mapped = []
        for part, values in enumerate(pair):
            # A mapped file: the system takes its pages from memory as needed.
            path = str(self._folder / f"{name}-{part}")
            how: dict[str, Any] = {"size": values.numel(), "dtype": values.dtype}
            mapped.append(torch.from_file(path, shared=True, **how).view(values.shape))
            mapped[-1].copy_(values)
        return mapped[0], mapped[1]


def own_frames(samples: int) -> int:
    """Frames of 20 ms that so many samples at 16 kHz make."""
    return max(1, -(-samples // _SAMPLES))


@functools.lru_cache(maxsize=_POSITIONS)
def sampled_positions(own: int) -> Tensor:
    """The positions of the sampled frames behind `own` frames, ascending to the last [m]."""
    left = _POSITIONS - own
    steps = np.unique(np.geomspace(1, left, min(SAMPLED, left)).round().astype(np.int64))
    return torch.from_numpy(own + steps - 1)


@functools.lru_cache(maxsize=_POSITIONS)
def _interpolation(own: int) -> Tensor:
    """Weights [1500 - own, m] that draw the sampled frames' values straight over the padding."""
    sampled = sampled_positions(own).numpy()
    places = np.arange(own, _POSITIONS)
    weights = [np.interp(places, sampled, one) for one in np.eye(len(sampled))]
    return torch.from_numpy(np.stack(weights, axis=1).astype(np.float32))


def _corrected(computed: Tensor, kept: Tensor, own: int) -> Tensor:
    """Keys or values of 30 s [1500, d]: `computed` of own and sampled frames, `kept` of padding."""
    weights = _interpolation(own).to(kept)
    difference = computed[own:] - kept[sampled_positions(own)]
    whole = torch.empty_like(kept)
    whole[:own] = computed[:own]
    whole[own:] = torch.addmm(kept[own:], weights, difference)
    return whole
