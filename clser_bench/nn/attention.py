"""Transformer layers written as matrix products, so that they work under vmap."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def attention(
    query: Float[Tensor, "... t w"], key: Float[Tensor, "... s w"], value: Float[Tensor, "... s w"]
) -> Float[Tensor, "... t w"]:
    """softmax(Q K^T / sqrt(w)) V.

    Reference: Vaswani et al., Attention Is All You Need, NIPS 2017, equation 1.

    Args:
        query: what each position looks for.
        key: what each position is found by.
        value: what each position gives.
    """
    logits = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
    # softmax written out: over rows as short as these torch's own is five times slower.
    weights = (logits - logits.detach().amax(dim=-1, keepdim=True)).exp()
    return (weights @ value) / weights.sum(dim=-1, keepdim=True)


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Reference: Vaswani et al. 2017, section 3.2.2.

    Args:
        width: values of a position.
        heads: number of heads, a divisor of the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
        """Each position's weighted sum of all positions of its row."""
        # b t (3 heads w') -> 3 of b heads t w'
        parts = self.inputs(x).unflatten(-1, (3, self.heads, -1)).movedim(-2, -4)
        query, key, value = parts.unbind(dim=-2)
        mixed: Tensor = self.output(attention(query, key, value).movedim(-3, -2).flatten(-2))
        return mixed


class EncoderLayer(nn.Module):
    """Self-attention, then two linear maps at each position, each on a normalised residual.

    The same as `nn.TransformerEncoderLayer(width, heads, hidden, dropout=0, norm_first=True)`.

    Reference: Vaswani et al. 2017, section 3.1, with the normalisation before each part: Xiong
    et al., On Layer Normalization in the Transformer Architecture, ICML 2020 (pre-LN).

    Args:
        width: values of a position.
        heads: number of heads, a divisor of the width.
        hidden: values between the two linear maps.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.before_maps = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
        """Positions after one layer."""
        x = x + self.attention(self.before_attention(x))
        out: Tensor = x + self.down(functional.relu(self.up(self.before_maps(x))))
        return out


def spans(h: Float[Tensor, "b t d"], length: int) -> Float[Tensor, "b s {length}*d"]:
    """Neighbouring instants joined end to end: t instants become t / length longer ones.

    Args:
        h: instants; zeros are added after the last where the length does not divide t.
        length: instants of a span.
    """
    h = functional.pad(h, (0, 0, 0, -h.shape[-2] % length))
    return h.reshape(*h.shape[:-2], h.shape[-2] // length, length * h.shape[-1])
