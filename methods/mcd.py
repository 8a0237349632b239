"""Two classifiers that disagree where the target is far from the source, and features that heal it.

Reference: Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, CVPR
2018: the discrepancy loss and the training steps A, B and C, C repeated twice (the paper tries 2, 3
and 4; the authors' code, mil-tokyo/MCD_DA, has 4). The scores are the sum of both heads' class
scores, as in that code.

Departures: the shared backbone, optimiser and budget instead of the paper's networks; each
classifier has one hidden layer on the shared embedding and no dropout, where the paper's have
several with dropout; only the few labelled source utterances are seen, never the unlabelled source;
no class-balance term; a factor of the discrepancy in steps B and C, 1 in the paper. A training step
takes two plus `repetitions` optimiser steps on one batch, where most methods take one; the L2
penalty acts in step A alone, once per training step as for every other method: in step C, whose
loss is small, Adam would take it at full size and shrink the backbone. The factor and the
repetitions were chosen on the suite `wide` (results/selection).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clser_bench.plugin import (
    HIDDEN,
    Batch,
    Phase,
    Shape,
    SharedClassifier,
    Trained,
    cross_entropy,
    hyper,
    register,
)


class TwoClassifiers(SharedClassifier):
    """The shared backbone with two heads of two layers."""

    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__(d, f, c)
        self.one, self.other = (
            nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, c))
            for _ in range(2)
        )
        del self.head

    def forward(self, view: object) -> Float[Tensor, "b c"]:
        """The sum of both heads' class scores."""
        embedding = self.embed(view)
        scores: Tensor = self.one(embedding) + self.other(embedding)
        return scores


@register("mcd", version=4)
class Mcd(Trained):
    """Maximum classifier discrepancy."""

    control = {"discrepancy_weight": 0.0}
    uses = ("labelled", "target")
    keeps = "the three training steps and the discrepancy; one hidden layer a head, no dropout"

    discrepancy_weight: float = hyper(
        0.3, low=0.0, high=100.0, grid=(0.03, 0.1, 0.3, 1.0), about="of steps B and C"
    )
    repetitions: int = hyper(2, low=1, high=20, about="how often step C is taken per batch")

    def network(self, shape: Shape) -> nn.Module:
        return TwoClassifiers(shape.d, shape.f, shape.c)

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("agree_on_source", uses=("labelled",)),
            Phase(
                "disagree_on_target",
                trains=("one", "other"),
                uses=("labelled", "target"),
                penalised=False,
            ),
            Phase(
                "agree_on_target",
                trains=("backbone",),
                repeat=self.repetitions,
                uses=("target",),
                penalised=False,
            ),
        )

    def agree_on_source(self, network: TwoClassifiers, batch: Batch) -> Tensor:
        """Step A: cross-entropy of both heads on the labelled source."""
        embedding = network.embed(batch.labelled)
        one = cross_entropy(network.one(embedding), batch.y)
        return one + cross_entropy(network.other(embedding), batch.y)

    def disagree_on_target(self, network: TwoClassifiers, batch: Batch) -> Tensor:
        """Step B: the heads stay right on the source and part on the target."""
        known = self.agree_on_source(network, batch)
        return known - self.agree_on_target(network, batch)

    def agree_on_target(self, network: TwoClassifiers, batch: Batch) -> Tensor:
        """Step C: features of the target on which the heads agree."""
        embedding = network.embed(batch.target)
        gap = classifier_discrepancy(network.one(embedding), network.other(embedding))
        return self.discrepancy_weight * gap


def classifier_discrepancy(
    one: Float[Tensor, "n c"], other: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """The mean over utterances and classes of |softmax(one) - softmax(other)|.

    Args:
        one: class scores of one classifier.
        other: class scores of another for the same utterances.
    """
    return (torch.softmax(one, dim=-1) - torch.softmax(other, dim=-1)).abs().mean()
