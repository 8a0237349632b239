"""Pseudo-labels: the network's own likeliest classes of the target, trusted more and more.

Reference: Lee, Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep
Neural Networks, ICML 2013 workshop on challenges in representation learning: the overall loss
with the coefficient alpha(t), which is zero until T1, rises linearly until T2 and is alpha_f
from then on.

Departures: the shared backbone, optimiser and budget, without the paper's dropout and pre-training;
softmax with cross-entropy instead of a sigmoid for each class; the utterances without labels are
the target's, another corpus than the labelled ones; T1 and T2 are shares of training (the paper
counts epochs, 100 and 600 without pre-training: here a tenth and six tenths). alpha_f (3 in the
paper) was chosen on the suite `wide` (results/selection/README.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("pseudo-label", version=2)
class PseudoLabel(Trained):
    """Cross-entropy of the labelled source, and of the target to its own likeliest classes."""

    control = {"pseudo_weight": 0.0}
    uses = ("labelled", "target")

    pseudo_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 0.3, 1.0, 3.0), about="alpha_f, in the end"
    )
    ramp_start: float = hyper(0.1, low=0.0, high=1.0, about="T1, as a share of training")
    ramp_length: float = hyper(0.5, low=1e-3, high=1.0, about="T2 - T1, as a share of training")

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        ramp = linear_ramp(batch.progress, self.ramp_start, self.ramp_length, dtype=emotion.dtype)
        return emotion + self.pseudo_weight * ramp * pseudo_label_loss(network(batch.target))


def linear_ramp(
    progress: float, start: Tensor | float, length: Tensor | float, *, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """Zero until `start`, one after `start + length`, a straight line between.

    Reference: Lee, Pseudo-Label, ICML workshop 2013: alpha(t) / alpha_f, with T1 = start and
    T2 = start + length.

    Args:
        progress: share of training done.
        start: share of training at which it begins to rise.
        length: share of training that it rises for, positive.
        dtype: of the result.
    """
    return torch.as_tensor((progress - start) / length, dtype=dtype).clamp(0, 1)


def pseudo_label_loss(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """Cross-entropy of each row to its own likeliest class: mean of -max_k log p[i, k].

    Reference: Lee, Pseudo-Label, ICML workshop 2013: the second sum of the overall loss.

    Args:
        logits: class scores; the gradient does not see how the class was chosen.
    """
    return -torch.log_softmax(logits, dim=-1).max(dim=-1).values.mean()
