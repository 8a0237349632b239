"""Batch nuclear-norm maximisation: predictions of the target that are certain and diverse.

Reference: Cui et al., Towards Discriminability and Diversity: Batch Nuclear-norm Maximization
under Label Insufficient Situations, CVPR 2020: the nuclear norm of the batch's predictions
divided by the batch's size, subtracted from the cross-entropy with the factor lambda = 1.

Departures: the shared backbone, optimiser and budget instead of a pre-trained network; emotions
are learned from the few labelled source utterances, and the unlabelled source is not used. The
norm is largest for classes of equal size, hence the declared prior. The authors' code
(cuishuhao/BNM) takes the mean of the singular values, so it divides by the smaller of batch size
and number of classes: close to the batch size for its 36 rows and 31 or 65 classes, but its term
would be about 13 times ours for 64 rows and 5 classes, which is more than the grid reaches.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("bnm", version=1)
class Bnm(Trained):
    """Cross-entropy of emotions minus the nuclear norm of the target's predictions."""

    control = {"norm_weight": 0.0}
    uses = ("labelled", "target")
    assumes_prior = "uniform"

    norm_weight: float = hyper(
        1.0, low=0.0, high=100.0, grid=(0.1, 0.3, 1.0, 3.0), about="lambda, of the norm"
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        return emotion - self.norm_weight * batch_nuclear_norm(network(batch.target))


def batch_nuclear_norm(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """The sum of the singular values of the softmax [n, c], divided by n.

    Large where predictions are certain and spread over many classes: n one-hot rows with n[k] in
    class k give sum_k sqrt(n[k]) / n.

    Args:
        logits: class scores.
    """
    values: Tensor = torch.linalg.svdvals(torch.softmax(logits, dim=-1))
    return values.sum() / len(logits)
