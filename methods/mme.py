"""Prototypes move to where the target is unsure, and the features gather around them.

Reference: Saito, Kim, Sclaroff, Darrell & Saenko, Semi-supervised Domain Adaptation via Minimax
Entropy, ICCV 2019 (MME): the classifier minimises the labelled loss minus lambda H, the features
the labelled loss plus lambda H, H the mean entropy of the target's predictions; one step for both
by gradient reversal.

Departures: the paper has a few labelled target utterances, which also pull the prototypes to the
target; here there are none, and the labelled loss is that of the few labelled source utterances.
The shared backbone (random at the start, not pretrained), optimiser with its weight decay, budget
and schedule; one learning rate for backbone and classifier, the paper's differ. The authors' code
(VisionLearningGroup/SSDA_MME) takes a step for the labelled loss and then one for the entropy;
here their sum is one step. Lambda and T, 0.1 and 0.05 in the paper, were chosen on the suite `wide`
(results/selection/README.md): a network without pretraining is sure of everything at T = 0.05.
"""

from torch import Tensor, nn

from clser_bench.nn.backbone import CosineClassifier, reverse_gradient
from clser_bench.nn.losses import mean_entropy
from clser_bench.plugin import (
    Batch,
    Embedded,
    Shape,
    Support,
    Trained,
    View,
    cross_entropy,
    hyper,
    join,
    register,
)


@register("mme", version=2)
class Mme(Trained):
    """Minimax entropy."""

    control = {"entropy_weight": 0.0}
    uses = ("labelled", "target")
    keeps = "the minimax game; no labelled target utterance pulls the prototypes"

    entropy_weight: float = hyper(
        0.03, low=0.0, high=10.0, grid=(0.03, 0.1, 0.3, 1.0), about="lambda, factor of the entropy"
    )
    temperature: float = hyper(
        0.3, low=1e-3, high=10.0, log=True, grid=(0.05, 0.1, 0.3), about="T of the classifier"
    )

    def network(self, shape: Shape) -> nn.Module:
        return CosineClassifier(shape.d, shape.f, shape.c)

    def loss(self, network: CosineClassifier, batch: Batch) -> Tensor:
        embedding = network.embed(join(batch.labelled, batch.target))
        known, target = embedding[: len(batch.y)], embedding[len(batch.y) :]
        emotion = cross_entropy(network.classify(known, self.temperature), batch.y)
        unsure = mean_entropy(network.classify(reverse_gradient(target, 1.0), self.temperature))
        return emotion - self.entropy_weight * unsure

    def embed(
        self, network: CosineClassifier, view: View, support: Support, *, target: bool
    ) -> Embedded:
        """Embeddings and the scores at the method's temperature."""
        embedding = network.embed(view)
        return Embedded(embedding, network.classify(embedding, self.temperature))
