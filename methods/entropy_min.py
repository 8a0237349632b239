"""Entropy minimisation: the classifier is to be sure of the target's emotions.

Reference: Grandvalet & Bengio, Semi-supervised Learning by Entropy Minimization, NIPS 2004: the
log-likelihood of the labelled utterances minus lambda times the entropy of the unlabelled ones.

Departures: the shared backbone, optimiser and budget; the unlabelled utterances are the target's,
of another language than the labelled ones; lambda does not rise during
training. It was chosen on the suite `wide` (results/selection/README.md): at 0.1, with five labels
of an emotion, the target falls onto few emotions.
"""

from torch import Tensor

from clser_bench.nn.losses import mean_entropy
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("entropy-min", version=2)
class EntropyMin(Trained):
    """Cross-entropy of emotions plus the entropy of the target's predictions."""

    control = {"entropy_weight": 0.0}
    uses = ("labelled", "target")

    entropy_weight: float = hyper(
        0.03,
        low=0.0,
        high=100.0,
        grid=(0.01, 0.03, 0.1, 0.3),
        about="lambda, factor of the entropy",
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        return emotion + self.entropy_weight * mean_entropy(network(batch.target))
