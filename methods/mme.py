"""Prototypes move to where the target is unsure, and the features gather around them.

Reference: Saito, Kim, Sclaroff, Darrell & Saenko, Semi-supervised Domain Adaptation via Minimax
Entropy, ICCV 2019 (MME): the classifier minimises the labelled loss minus lambda H, the features
the labelled loss plus lambda H, H the mean entropy of the target's predictions; one step for both
by gradient reversal; temperature 0.05 and lambda 0.1 as in the paper and the authors' code.

Departures: the paper has a few labelled target utterances, which also pull the prototypes to the
target; here there are none, and the labelled loss is that of the few labelled source utterances.
The shared backbone (random at the start, not pretrained), optimiser with its weight decay, budget
and schedule; one learning rate for backbone and classifier, the paper's differ. The authors' code
(VisionLearningGroup/SSDA_MME) takes a step for the labelled loss and then one for the entropy;
here their sum is one step.
"""

from torch import Tensor, nn

from clser_bench.nn.gradient import reverse_gradient
from clser_bench.nn.information import cosine_logits
from clser_bench.nn.uncertainty import mean_entropy
from clser_bench.plugin import (
    HIDDEN,
    Batch,
    Embedded,
    Shape,
    SharedClassifier,
    Support,
    Trained,
    View,
    cross_entropy,
    hyper,
    join,
    register,
)


class Prototypes(SharedClassifier):
    """The shared backbone with a prototype per class; the method divides by its temperature."""

    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__(d, f, c)
        self.head = nn.Linear(HIDDEN, c, bias=False)
        nn.init.xavier_normal_(self.head.weight)

    def classify(self, embedding: Tensor, temperature: Tensor | float) -> Tensor:
        """Class scores of embeddings."""
        return cosine_logits(embedding, self.head.weight, temperature)


@register("mme", version=1)
class Mme(Trained):
    """Minimax entropy."""

    control = {"entropy_weight": 0.0}
    uses = ("labelled", "target")

    entropy_weight: float = hyper(
        0.1, low=0.0, high=10.0, grid=(0.03, 0.1, 0.3, 1.0), about="lambda, factor of the entropy"
    )
    temperature: float = hyper(0.05, low=1e-3, high=10.0, log=True, about="T of the classifier")

    def network(self, shape: Shape) -> nn.Module:
        return Prototypes(shape.d, shape.f, shape.c)

    def loss(self, network: Prototypes, batch: Batch) -> Tensor:
        embedding = network.embed(join(batch.labelled, batch.target))
        known, target = embedding[: len(batch.y)], embedding[len(batch.y) :]
        emotion = cross_entropy(network.classify(known, self.temperature), batch.y)
        unsure = mean_entropy(network.classify(reverse_gradient(target, 1.0), self.temperature))
        return emotion - self.entropy_weight * unsure

    def embed(self, network: Prototypes, view: View, support: Support, *, target: bool) -> Embedded:
        """Embeddings and the scores at the method's temperature."""
        embedding = network.embed(view)
        return Embedded(embedding, network.classify(embedding, self.temperature))
