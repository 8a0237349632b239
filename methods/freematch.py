"""FreeMatch: consistency on the target with thresholds that follow the network's own confidence.

Reference: Wang et al., FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning, ICLR
2023: the self-adaptive thresholds of equations 5 to 7, the loss of equation 8 and the
self-adaptive fairness of equations 9 to 11, its weight 0.01 as in the authors' code.

Departures: the shared backbone, optimiser and budget instead of the paper's; noise on the features
instead of augmentation of images (as `fixmatch`); the momentum of the averages is 0.9 instead of
0.999, for there are 200 steps and not a million; they start at 1 / c, as in the paper.
"""

import torch
from torch import Tensor

from clser_bench.nn.consistency import Thresholds, fairness_loss, thresholded_loss
from clser_bench.plugin import (
    Batch,
    SharedClassifier,
    State,
    Trained,
    cross_entropy,
    hyper,
    register,
)


@register("freematch", version=1)
class FreeMatch(Trained):
    """Pseudo-labels of weak views above thresholds of their classes."""

    uses = ("labelled", "target")
    views = True
    control = {"unlabelled_weight": 0.0, "fairness_weight": 0.0}
    keeps = "both self-adaptive thresholds and the fairness term"

    unlabelled_weight: float = hyper(
        0.03, low=0.0, high=100.0, grid=(0.03, 0.1, 0.3, 1.0), about="factor of the target's loss"
    )
    fairness_weight: float = hyper(
        0.01, low=0.0, high=10.0, grid=(0.0, 0.01, 0.1), about="factor of the fairness term"
    )
    momentum: float = hyper(0.9, low=0.0, high=0.9999, about="of the moving averages")

    def initial_carry(self, network: SharedClassifier) -> State:
        even = torch.full_like(network.head.bias, 1 / len(network.head.bias))
        return Thresholds(even[0], even, even)._asdict()

    def update_carry(self, network: SharedClassifier, batch: Batch) -> State:
        kept = Thresholds(**batch.carry)
        return kept.moved(network(batch.weak), self.momentum)._asdict()

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        weak, strong = network(batch.weak), network(batch.strong)
        kept = Thresholds(**batch.carry)
        threshold = kept.of(weak)
        sure = (weak.detach().softmax(dim=-1).max(dim=-1).values >= threshold).to(weak.dtype)
        taught = thresholded_loss(weak, strong, threshold)
        fair = fairness_loss(strong, sure, kept)
        emotion = cross_entropy(network(batch.labelled), batch.y)
        return emotion + self.unlabelled_weight * taught + self.fairness_weight * fair
