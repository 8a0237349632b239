"""A small transformer over the instants whose features hide the language from an adversary.

Reference: the idea of ADoGT: Gao, Wang, Liu, Dang and Okada, Adversarial Domain Generalized
Transformer for Cross-Corpus Speech Emotion Recognition, IEEE Transactions on Affective Computing,
2023 (doi 10.1109/TAFFC.2023.3290795), of which only the abstract could be had; the adversary is
that of Ganin et al., JMLR 17 (2016), equations 9, 10 and 18, with the ramp of section 5.2.2; the
layers are those of Vaswani et al., NIPS 2017.

Departures: this is not a re-implementation of ADoGT. Of what its abstract names, the transformer
and the domain-adversarial loss are here; the centre loss, the features of a pretrained model and
the gated fusion are not: the summary takes the place of the extra features and is joined by
concatenation. The domain adversary tells source from target, not several source corpora. Two
layers of width 64 with four heads, pre-LN, no dropout, mean pooling, over spans of four
neighbouring instants (`span`) and not over each, for speed; the shared optimiser, with half the
steps and half the batch of utterances without labels, likewise. The weight of the adversary and
the learning rate were chosen on the suite `dev` (results/selection).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from clser_bench.nn.backbone import reverse_gradient, sigmoid_ramp
from clser_bench.plugin import Batch, Shape, Trained, View, cross_entropy, hyper, join, register

WIDTH = 64
HEADS = 4
LAYERS = 2


class AdversarialNetwork(nn.Module):
    """Transformer over spans of instants, summary, emotion head, domain classifier.

    Args:
        shape: sizes.
        span: instants of a span.
    """

    def __init__(self, shape: Shape, span: int) -> None:
        super().__init__()
        self.span = span
        self.inputs = nn.Linear(span * shape.d, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(-(-shape.t // span), WIDTH))
        layers = [EncoderLayer(WIDTH, HEADS, WIDTH) for _ in range(LAYERS)]
        self.encoder = nn.Sequential(*layers, nn.LayerNorm(WIDTH))
        self.summary = nn.Sequential(nn.Linear(shape.f, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU())
        self.head = nn.Linear(2 * WIDTH, shape.c)
        self.domain = nn.Sequential(
            nn.Linear(2 * WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, 1)
        )

    def embed(self, view: View) -> Tensor:
        """Mean of the encoded spans beside the mapped summary [b, 128]."""
        encoded = self.encoder(self.inputs(spans(view.instants, self.span)) + self.position)
        return torch.cat([encoded.mean(dim=-2), self.summary(view.summary)], dim=-1)

    def forward(self, view: View) -> Tensor:
        """Class scores [b, c]."""
        scores: Tensor = self.head(self.embed(view))
        return scores


@register("adversarial-transformer", version=1)
class AdversarialTransformer(Trained):
    """Cross-entropy of emotions plus that of domains behind a reversed gradient."""

    control = {"adversary_weight": 0.0}
    keeps = "of ADoGT the transformer and the adversary alone; not ranked as that method"
    inputs_instants = True
    steps: int = hyper(100, low=1, high=100_000, about="optimiser steps (batches)")
    source_batch: int = hyper(32, low=1, high=65536, about="source utterances without labels")
    target_batch: int = hyper(32, low=1, high=65536, about="target utterances")
    span: int = hyper(4, low=1, high=1024, about="instants that are joined to one position")
    learning_rate: float = 3e-3
    adversary_weight: float = hyper(
        0.1, low=0.0, high=10.0, grid=(0.03, 0.1, 0.3, 1.0), about="factor of the domain loss"
    )
    ramp: float = hyper(10.0, low=0.1, high=100.0, log=True, about="gamma of the adversary's ramp")

    def network(self, shape: Shape) -> nn.Module:
        return AdversarialNetwork(shape, self.span)

    def loss(self, network: AdversarialNetwork, batch: Batch) -> Tensor:
        embedding = network.embed(join(batch.labelled, batch.source, batch.target))
        known, both = embedding[: len(batch.y)], embedding[len(batch.y) :]
        emotion = cross_entropy(network.head(known), batch.y)
        ramp = sigmoid_ramp(self.ramp, batch.progress, dtype=emotion.dtype)
        weight = self.adversary_weight * ramp
        scores = network.domain(reverse_gradient(both, weight)).squeeze(-1)
        truth = torch.zeros_like(scores)
        truth[len(batch.source.summary) :] = 1
        return emotion + functional.binary_cross_entropy_with_logits(scores, truth)


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
