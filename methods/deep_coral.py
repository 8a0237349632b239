"""Deep CORAL: class scores of both languages with the same covariances.

Reference: Sun & Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV 2016
workshops: equations 1 to 3 (the loss on covariances) and 6 (the joint objective).

Departures: the shared backbone, optimiser and budget instead of a pre-trained AlexNet; the loss
is on the class scores, the layer of the paper's experiments; it compares the target with the
whole source, labelled or not, while the emotions are learned from the few labelled utterances.
The paper sets lambda for each pair, so that both losses are about the same in the end; here it is
one number for all pairs, chosen on the suite `dev` (results/selection), where 0.8, the largest of
the six that the authors used on Office-31, was worse.
"""

from torch import Tensor

from clser_bench.nn.discrepancy import coral
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("deep-coral", version=1)
class DeepCoral(Trained):
    """Cross-entropy of emotions plus the CORAL loss of the class scores."""

    control = {"coral_weight": 0.0}

    coral_weight: float = hyper(
        0.2, low=0.0, high=1e4, grid=(0.03, 0.2, 0.8, 3.0), about="lambda, factor of the CORAL loss"
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        return emotion + self.coral_weight * coral(network(batch.source), network(batch.target))
