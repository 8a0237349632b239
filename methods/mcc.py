"""Minimum class confusion: predictions of the target in which classes are not mistaken.

Reference: Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020:
probability rescaling, class correlation with uncertainty reweighting, category normalisation, and
their sum with the cross-entropy. The reweighting by constants is that of the
authors' code (thuml/Transfer-Learning-Library); temperature 2.5 and weight 1 are the paper's.

Departures: the shared backbone, optimiser and budget instead of a pre-trained network with a
bottleneck; emotions are learned from the few labelled source utterances, and the unlabelled source
is not used. The weight was chosen on the suite `wide` (results/selection/defaults.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.nn.losses import entropy
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register

SMALLEST = 1e-30
"""Below this, a class that nobody predicts counts as empty (float32 ends near 1e-38)."""


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


def class_confusion(logits: Float[Tensor, "n c"], temperature: Tensor | float) -> Float[Tensor, ""]:
    """How much the classes are mistaken for one another in a batch of predictions.

    With p the softmax of logits / T, w[i] = 1 + exp(-H(p[i])) and
    C[k, l] = sum_i w[i] p[i, k] p[i, l], every row of C is divided by its sum; the result is the
    mean over classes of what lies off the diagonal. The weights w are constants for the gradient,
    as in the authors' code; the paper's common factor, by which they sum to n, cancels in the
    division.

    Args:
        logits: class scores.
        temperature: T, positive.

    Returns:
        Between 0 (certain predictions, none of the classes empty) and 1 - 1 / c (all predictions
        the same, be they uniform or certain of one class).
    """
    scaled = logits / temperature
    p = torch.softmax(scaled, dim=-1)
    weight = 1 + torch.exp(-entropy(scaled).detach())
    together = (p * weight[:, None]).T @ p
    # A row's sum is the weighted mass of its class, since every row of p sums to one.
    mass = (p * weight[:, None]).sum(dim=0).clamp_min(SMALLEST)
    own = torch.diagonal(together, dim1=-2, dim2=-1) / mass
    return 1 - own.mean()
