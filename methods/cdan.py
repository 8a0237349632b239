"""Conditional domain adversary: the language cannot be told from embedding and emotion together.

Reference: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018: the CDAN
objective with multilinear conditioning; with entropy conditioning (`cdan-e`, CDAN+E in the paper)
utterances weigh w = 1 + exp(-H). The ramp 2 / (1 + exp(-10 p)) - 1, the weights' sums (source and
target each to one, as constants) and the gradient of the weights, which passes to the classifier
with its sign reversed, are as in the authors' code (thuml/CDAN).

Departures: the shared backbone, optimiser and budget instead of a pre-trained network; the domain
classifier has one hidden layer of 128 as that of `dann`, instead of two of 1024 with dropout; no
randomised map, as embedding times classes is small here; the domain classifier sees the whole
source, labelled or not, and never the labels: class probabilities are the network's own. The
learning rate follows the shared schedule; the weight of the adversary (1 in the paper) was chosen
on the suite `dev` (results/selection), for each of the two forms.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from clser_bench.nn.backbone import reverse_gradient, sigmoid_ramp
from clser_bench.nn.losses import entropy
from clser_bench.plugin import (
    HIDDEN,
    Batch,
    Shape,
    SharedClassifier,
    Trained,
    cross_entropy,
    hyper,
    join,
    register,
)


class ConditionalAdversary(SharedClassifier):
    """The shared classifier with a domain classifier of embedding times classes."""

    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__(d, f, c)
        self.domain = nn.Sequential(nn.Linear(c * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))


@register(
    "cdan",
    version=1,
    presets={"cdan-e": {"entropy_weights": True, "adversary_weight": 0.1, "learning_rate": 1e-3}},
)
class Cdan(Trained):
    """Conditional domain-adversarial network."""

    control = {"adversary_weight": 0.0}

    adversary_weight: float = hyper(
        0.3, low=0.0, high=10.0, grid=(0.1, 0.3, 1.0, 3.0), about="factor of the domain loss"
    )
    ramp: float = hyper(10.0, low=0.1, high=100.0, log=True, about="gamma of the ramp")
    entropy_weights: bool = hyper(False, about="certain utterances weigh more in the domain loss")

    def network(self, shape: Shape) -> nn.Module:
        return ConditionalAdversary(shape.d, shape.f, shape.c)

    def loss(self, network: ConditionalAdversary, batch: Batch) -> Tensor:
        embedding = network.embed(join(batch.labelled, batch.source, batch.target))
        logits = network.head(embedding)
        emotion = cross_entropy(logits[: len(batch.y)], batch.y)
        both, scores = embedding[len(batch.y) :], logits[len(batch.y) :]
        strength = self.adversary_weight * sigmoid_ramp(
            self.ramp, batch.progress, dtype=emotion.dtype
        )
        # The classes condition the adversary; its gradient reaches the features alone.
        joint = multilinear_map(both, scores.softmax(dim=-1).detach())
        domains = network.domain(reverse_gradient(joint, strength)).squeeze(-1)
        weight = torch.ones_like(domains)
        if self.entropy_weights:
            weight = 1 + torch.exp(-reverse_gradient(entropy(scores), strength))
        return emotion + domain_loss(domains, weight, len(batch.source.summary))


def multilinear_map(
    embedding: Float[Tensor, "n e"], classes: Float[Tensor, "n c"]
) -> Float[Tensor, "n c*e"]:
    """The outer product of each row's class probabilities and embedding, flattened."""
    return (classes.unsqueeze(-1) * embedding.unsqueeze(-2)).flatten(-2)


def domain_loss(
    scores: Float[Tensor, " n"], weight: Float[Tensor, " n"], sources: int
) -> Float[Tensor, ""]:
    """Weighted binary cross-entropy of domains, half for the source and half for the target.

    1/2 (sum_i w[i] l[i] / sum_i w[i] over the source + the same over the target). The sums of
    weights count as constants, so a row's weight has a gradient of its own, as in the authors'
    code.

    Args:
        scores: logits of being target, the source's rows first.
        weight: positive; all ones for the plain loss.
        sources: number of the source's rows.
    """
    truth = torch.cat([torch.zeros_like(scores[:sources]), torch.ones_like(scores[sources:])])
    each = functional.binary_cross_entropy_with_logits(scores, truth, reduction="none")
    sides = [slice(0, sources), slice(sources, None)]
    means = [(weight[side] * each[side]).sum() / weight[side].detach().sum() for side in sides]
    return (means[0] + means[1]) / 2
