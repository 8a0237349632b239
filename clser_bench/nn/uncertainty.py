"""How sure predictions are: entropy, confusion, nuclear norm, disagreement; and feature norms."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.nn.discrepancy import entropy

SMALLEST = 1e-30
"""Below this, a class that nobody predicts counts as empty (float32 ends near 1e-38)."""


def mean_entropy(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """-mean_i sum_k p[i, k] log p[i, k] of the softmax, in nats.

    Reference: Grandvalet & Bengio, Semi-supervised Learning by Entropy Minimization, NIPS 2004.

    Args:
        logits: class scores.
    """
    log_p = torch.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1).mean()


def class_confusion(logits: Float[Tensor, "n c"], temperature: Tensor | float) -> Float[Tensor, ""]:
    """How much the classes are mistaken for one another in a batch of predictions.

    With p the softmax of logits / T, w[i] = 1 + exp(-H(p[i])) and
    C[k, l] = sum_i w[i] p[i, k] p[i, l], every row of C is divided by its sum; the result is the
    mean over classes of what lies off the diagonal. The weights w are constants for the gradient,
    as in the authors' code; the paper's common factor, by which they sum to n, cancels in the
    division.

    Reference: Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020
    (probability rescaling, class correlation, uncertainty reweighting, category normalisation).

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


def batch_nuclear_norm(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """The sum of the singular values of the softmax [n, c], divided by n.

    Large where predictions are certain and spread over many classes: n one-hot rows with n[k] in
    class k give sum_k sqrt(n[k]) / n.

    Reference: Cui et al., Towards Discriminability and Diversity: Batch Nuclear-norm Maximization
    under Label Insufficient Situations, CVPR 2020.

    Args:
        logits: class scores.
    """
    values: Tensor = torch.linalg.svdvals(torch.softmax(logits, dim=-1))
    return values.sum() / len(logits)


def classifier_discrepancy(
    one: Float[Tensor, "n c"], other: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """The mean over utterances and classes of |softmax(one) - softmax(other)|.

    Reference: Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation,
    CVPR 2018 (discrepancy loss).

    Args:
        one: class scores of one classifier.
        other: class scores of another for the same utterances.
    """
    return (torch.softmax(one, dim=-1) - torch.softmax(other, dim=-1)).abs().mean()


def stepwise_norm_loss(embedding: Float[Tensor, "n e"], step: Tensor | float) -> Float[Tensor, ""]:
    """mean_i (|x[i]| - (r[i] + step))^2, where r[i] is |x[i]| as a constant.

    The value is always step^2; what matters is the gradient, which lengthens every embedding.

    Reference: Xu et al., Larger Norm More Transferable: An Adaptive Feature Norm Approach for
    Unsupervised Domain Adaptation, ICCV 2019 (Stepwise Adaptive Feature Norm).

    Args:
        embedding: one row per utterance.
        step: Delta r, what each norm shall grow by.
    """
    norm: Tensor = torch.linalg.vector_norm(embedding, dim=-1)
    return ((norm - (norm.detach() + step)) ** 2).mean()


def common_norm_loss(embedding: Float[Tensor, "n e"], radius: Tensor | float) -> Float[Tensor, ""]:
    """(mean_i |x[i]| - radius)^2.

    Reference: Xu et al., ICCV 2019 (Hard Adaptive Feature Norm), as in `stepwise_norm_loss`.

    Args:
        embedding: one row per utterance.
        radius: R, the mean norm to reach.
    """
    norm: Tensor = torch.linalg.vector_norm(embedding, dim=-1)
    return (norm.mean() - radius) ** 2
