"""Minimum class confusion: predictions of the target in which classes are not mistaken.

Reference: Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020:
probability rescaling, class correlation with uncertainty reweighting, category normalisation, and
their sum with the cross-entropy. The reweighting by constants is that of the
authors' code (thuml/Transfer-Learning-Library); temperature 2.5 and weight 1 are the paper's.

Departures: the shared backbone, optimiser and budget instead of a pre-trained network with a
bottleneck; emotions are learned from the few labelled source utterances, and the unlabelled
source is not used. The weight and the learning rate were chosen on the suite `dev`
(results/selection).
"""

from torch import Tensor

from clser_bench.nn.uncertainty import class_confusion
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("mcc", version=1)
class Mcc(Trained):
    """Cross-entropy of emotions plus the class confusion of the target."""

    control = {"confusion_weight": 0.0}
    uses = ("labelled", "target")

    confusion_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 0.3, 1.0, 3.0), about="factor of the confusion"
    )
    temperature: float = hyper(
        2.5, low=0.1, high=100.0, log=True, about="divides class scores before the softmax"
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        confusion = class_confusion(network(batch.target), self.temperature)
        return emotion + self.confusion_weight * confusion
