"""Parts of networks that work under vmap: attention, heads, gradient reversal, rising weights.

Attention is written as matrix products, gradient reversal without an autograd.Function.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from clser_bench.nn.backbone import HIDDEN, SharedClassifier
from clser_bench.nn.information import cosine_logits


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


class CosineClassifier(SharedClassifier):
    """The shared backbone with a prototype per class; the method divides by its temperature."""

    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__(d, f, c)
        self.head = nn.Linear(HIDDEN, c, bias=False)
        nn.init.xavier_normal_(self.head.weight)

    def classify(
        self, embedding: Float[Tensor, "b e"], temperature: Tensor | float
    ) -> Float[Tensor, "b c"]:
        """Class scores of embeddings: prototypes · unit embedding / temperature."""
        return cosine_logits(embedding, self.head.weight, temperature)


def two_layers(c: int) -> nn.Sequential:
    """A head of one hidden layer on the shared embedding.

    Args:
        c: classes.
    """
    return nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, c))


def reverse_gradient(x: Tensor, weight: Tensor | float) -> Tensor:
    """The identity, whose gradient is multiplied by `-weight`.

    Reference: Ganin & Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015,
    equations 7 and 8.

    Args:
        x: any shape.
        weight: strength, a number or a 0-d tensor.
    """
    return (1 + weight) * x.detach() - weight * x


def sigmoid_ramp(
    gamma: Tensor | float, progress: float, *, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """2 / (1 + exp(-gamma p)) - 1: zero at the start, near one in the end.

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016),
    section 5.2.2.

    Args:
        gamma: steepness, positive.
        progress: p, share of training done.
        dtype: of the result.
    """
    return 2 / (1 + torch.exp(-torch.as_tensor(gamma, dtype=dtype) * progress)) - 1
