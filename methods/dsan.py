"""Deep subdomain adaptation: kernel means of both languages match emotion by emotion.

Reference: Zhu et al., Deep Subdomain Adaptation Network for Image Classification, IEEE
Transactions on Neural Networks and Learning Systems, 2020: the local MMD (LMMD) with its class
weights, and the objective of DSAN. The kernels, the classes that count (those that are the
likeliest of some utterance on both sides of a batch), the ramp 2 / (1 + exp(-10 p)) - 1 and the
factor 0.5 are those of the authors' code (easezyc/deep-transfer-learning).

Departures: the shared backbone, optimiser and budget instead of a pre-trained ResNet; the adapted
layer is the embedding; few source utterances have labels here, so the source's side is the labelled
batch with one-hot weights and a batch of the whole source with its softmax for weights, as the
target's, without gradient; the ramp follows steps instead of epochs. The weight (0.5 in the
authors' code) was chosen on the suite `wide` (results/selection).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.backbone import sigmoid_ramp
from clser_bench.nn.losses import FLOOR, five_kernels
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("dsan", version=2)
class Dsan(Trained):
    """Cross-entropy of emotions plus LMMD of the embedding."""

    control = {"lmmd_weight": 0.0}

    lmmd_weight: float = hyper(
        0.01, low=0.0, high=100.0, grid=(0.01, 0.05, 0.15, 0.5), about="of LMMD after the ramp"
    )
    ramp: float = hyper(10.0, low=0.1, high=100.0, log=True, about="gamma of the authors' ramp")

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        known, rest = network.embed(batch.labelled), network.embed(batch.source)
        target = network.embed(batch.target)
        scores = network.head(known)
        emotion = cross_entropy(scores, batch.y)
        labels = functional.one_hot(batch.y, scores.shape[-1]).to(scores.dtype)
        lmmd = local_mmd(
            torch.cat([known, rest]),
            target,
            torch.cat([labels, network.head(rest).softmax(dim=-1)]),
            network.head(target).softmax(dim=-1),
        )
        weight = self.lmmd_weight * sigmoid_ramp(self.ramp, batch.progress, dtype=emotion.dtype)
        return emotion + weight * lmmd


def class_shares(q: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """q[i, k] / sum_i q[i, k]: columns sum to one, or are zero where a class has no mass."""
    return q / q.sum(dim=0).clamp_min(FLOOR)


def present(q: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
    """1 for classes that are the likeliest of at least one row, else 0."""
    likeliest = functional.one_hot(q.argmax(dim=-1), q.shape[-1])
    return likeliest.amax(dim=0).to(q.dtype)


def local_mmd(
    source: Float[Tensor, "n e"],
    target: Float[Tensor, "m e"],
    source_classes: Float[Tensor, "n c"],
    target_classes: Float[Tensor, "m c"],
) -> Float[Tensor, ""]:
    """LMMD^2: distance of the means of source and target class by class, averaged over classes.

    With w[i, k] = q[i, k] / sum_i q[i, k] on each side and five Gaussian kernels, the mean over
    k of |sum_i w_s[i, k] phi(s[i]) - sum_j w_t[j, k] phi(t[j])|^2, over the classes that are the
    likeliest of some row on both sides; zero where there is none. A row is paired with itself
    too, so it is never negative.

    Reference: Zhu et al., Deep Subdomain Adaptation Network for Image Classification, TNNLS
    2020, LMMD; the choice of classes as in the authors' code.

    Args:
        source: embeddings.
        target: embeddings of the other side.
        source_classes: labels (one-hot) or class probabilities; no gradient flows through them.
        target_classes: class probabilities; likewise.
    """
    kernel = five_kernels(torch.cat([source, target]))
    source_classes, target_classes = source_classes.detach(), target_classes.detach()
    weight = torch.cat([class_shares(source_classes), -class_shares(target_classes)])
    each = (weight * (kernel @ weight)).sum(dim=0)
    shared = present(source_classes) * present(target_classes)
    return (shared * each).sum() / shared.sum().clamp_min(1)
