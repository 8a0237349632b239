"""Group norm over the samples of an utterance, not over its padding.

The first layer of wav2vec 2.0 base, HuBERT base and their kin normalises each channel over time.
Padded, an utterance would be normalised over its padding too, and its features would depend on
what it was batched with. Here the statistics run over each utterance's own frames: what comes out
is what the encoder gives for the utterance alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedGroupNorm(nn.Module):
    """A group norm with one group a channel, over the valid frames of each utterance.

    Attributes:
        frames: int64 [b], valid frames of each utterance of the coming batch; None for all.

    Args:
        norm: the layer to stand in for; its parameters are used.

    Raises:
        ValueError: it has groups of several channels.
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
    """Replace every group norm of a network in place.

    Args:
        network: an encoder of samples.

    Returns:
        The layers that have to be told the frames of each batch.
    """
    found = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.GroupNorm)
    ]
    masked = []
    for parent, name, child in found:
        layer = MaskedGroupNorm(child)
        setattr(parent, name, layer)
        masked.append(layer)
    return masked
