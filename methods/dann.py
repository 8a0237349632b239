"""Domain-adversarial training: features from which the language cannot be told.

Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016):
equations 9, 10 and 18 (objective and saddle point), section 5.2.2 for the ramp
lambda = 2 / (1 + exp(-10 p)) - 1.

Departures: the shared backbone, optimiser and budget instead of the paper's; the learning rate
follows the shared schedule; the domain classifier sees the whole source, labelled or not.
The weight of the adversary (1 in the paper) was chosen on the suite `dev` (results/selection).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from clser_bench.nn.backbone import reverse_gradient, sigmoid_ramp
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


class DomainAdversary(SharedClassifier):
    """The shared classifier with a domain classifier of one hidden layer."""

    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__(d, f, c)
        self.domain = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))


@register("dann", version=1)
class Dann(Trained):
    """Domain-adversarial neural network."""

    control = {"adversary_weight": 0.0}

    adversary_weight: float = hyper(
        0.1, low=0.0, high=10.0, grid=(0.1, 0.3, 1.0, 3.0), about="factor of the domain loss"
    )
    ramp: float = hyper(10.0, low=0.1, high=100.0, log=True, about="gamma of the paper's ramp")

    def network(self, shape: Shape) -> nn.Module:
        return DomainAdversary(shape.d, shape.f, shape.c)

    def loss(self, network: DomainAdversary, batch: Batch) -> Tensor:
        embedding = network.embed(join(batch.labelled, batch.source, batch.target))
        known, both = embedding[: len(batch.y)], embedding[len(batch.y) :]
        emotion = cross_entropy(network.head(known), batch.y)
        weight = self.adversary_weight * sigmoid_ramp(
            self.ramp, batch.progress, dtype=emotion.dtype
        )
        scores = network.domain(reverse_gradient(both, weight)).squeeze(-1)
        truth = torch.zeros_like(scores)
        truth[len(batch.source.summary) :] = 1
        return emotion + functional.binary_cross_entropy_with_logits(scores, truth)
