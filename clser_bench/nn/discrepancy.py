"""Discrepancies of source and target: kernel means, covariances, adversaries, transport."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

FLOOR = 1e-6
"""Least bandwidth and least mass of a class."""

KERNELS = 5
"""Gaussian kernels that are added, each of half the bandwidth of the one before."""

LARGEST = 4.0
"""The first one's bandwidth, in units of the mean squared distance of two rows."""


def squared_distances(x: Float[Tensor, "n e"]) -> Float[Tensor, "n n"]:
    """|x[i] - x[j]|^2, never negative."""
    # Distances do not see the mean; without it, rows that lie close together keep their digits.
    x = x - x.detach().mean(dim=0)
    size = x.square().sum(dim=-1)
    return (size[:, None] + size - 2 * x @ x.transpose(0, 1)).clamp_min(0)


def five_kernels(x: Float[Tensor, "n e"]) -> Float[Tensor, "n n"]:
    """Sum of exp(-d^2 / b) for b = 1/4, 1/2, 1, 2 and 4 times the mean d^2 of two rows.

    No gradient flows through the bandwidths.

    Args:
        x: embeddings of source and target together.
    """
    squared = squared_distances(x)
    pairs = max(len(x) * (len(x) - 1), 1)
    mean = (squared.detach().sum() / pairs).clamp_min(FLOOR)
    kernel = torch.exp(-squared / (LARGEST * mean))
    total = kernel
    # Half the bandwidth is the square of the kernel, cheaper than one more exponential.
    for _ in range(KERNELS - 1):
        kernel = kernel.square()
        total = total + kernel
    return total


def mean_distance(kernel: Float[Tensor, "n n"], sources: int) -> Float[Tensor, ""]:
    """Squared distance of the means of source and target in a kernel's space, unbiased.

    mean over i != j of k(s[i], s[j]) + mean over i != j of k(t[i], t[j])
    - 2 mean over i, j of k(s[i], t[j]).

    Reference: Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), the unbiased estimator
    of MMD^2 (section 2). It can be below zero.

    Args:
        kernel: of all pairs, the source's rows first.
        sources: number of the source's rows.
    """
    off = kernel * (1 - torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device))
    targets = len(kernel) - sources
    within_source = off[:sources, :sources].sum() / max(sources * (sources - 1), 1)
    within_target = off[sources:, sources:].sum() / max(targets * (targets - 1), 1)
    return within_source + within_target - 2 * kernel[:sources, sources:].mean()


def multi_kernel_mmd(
    source: Float[Tensor, "n e"], target: Float[Tensor, "m e"]
) -> Float[Tensor, ""]:
    """MK-MMD^2 with five Gaussian kernels of equal weight.

    Reference: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML
    2015, MK-MMD; kernels and bandwidths as in the authors' code.

    Args:
        source: embeddings.
        target: embeddings of the other side.
    """
    return mean_distance(five_kernels(torch.cat([source, target])), len(source))


def joint_mmd(
    source: Float[Tensor, "n e"],
    target: Float[Tensor, "m e"],
    source_classes: Float[Tensor, "n c"],
    target_classes: Float[Tensor, "m c"],
    bandwidth: Tensor | float,
) -> Float[Tensor, ""]:
    """JMMD^2: the kernel of a pair is that of the embeddings times that of the predictions.

    Reference: Long et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017,
    JMMD; kernels as in the authors' code: five for the embedding, one for the predictions.

    Args:
        source: embeddings.
        target: embeddings of the other side.
        source_classes: class probabilities of the source's rows.
        target_classes: of the target's.
        bandwidth: of the predictions' kernel exp(-|p - q|^2 / b).
    """
    kernel = five_kernels(torch.cat([source, target]))
    squared = squared_distances(torch.cat([source_classes, target_classes]))
    return mean_distance(kernel * torch.exp(-squared / bandwidth), len(source))


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


def covariance(x: Float[Tensor, "n e"]) -> Float[Tensor, "e e"]:
    """Sample covariance of columns, divided by n - 1 (by 1 for a lone row)."""
    centred = x - x.mean(dim=0)
    return centred.transpose(0, 1) @ centred / max(len(x) - 1, 1)


def coral(source: Float[Tensor, "n e"], target: Float[Tensor, "m e"]) -> Float[Tensor, ""]:
    """|C_s - C_t|_F^2 / (4 e^2), C the covariances.

    Reference: Sun & Saenko, Deep CORAL, ECCV 2016 workshops, equations 1 to 3.

    Args:
        source: activations of a layer.
        target: of the other side.
    """
    difference = covariance(source) - covariance(target)
    return difference.square().sum() / (4 * source.shape[-1] ** 2)


def multilinear_map(
    embedding: Float[Tensor, "n e"], classes: Float[Tensor, "n c"]
) -> Float[Tensor, "n c*e"]:
    """The outer product of each row's class probabilities and embedding, flattened.

    Reference: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, multilinear
    conditioning.
    """
    return (classes.unsqueeze(-1) * embedding.unsqueeze(-2)).flatten(-2)


def entropy(logits: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """-sum_k p[i, k] log p[i, k] of the softmax, in nats."""
    log_p = torch.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


def domain_loss(
    scores: Float[Tensor, " n"], weight: Float[Tensor, " n"], sources: int
) -> Float[Tensor, ""]:
    """Weighted binary cross-entropy of domains, half for the source and half for the target.

    1/2 (sum_i w[i] l[i] / sum_i w[i] over the source + the same over the target). The sums of
    weights count as constants, so a row's weight has a gradient of its own, as in the authors'
    code.

    Reference: Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, entropy
    conditioning, with w = 1 + exp(-H).

    Args:
        scores: logits of being target, the source's rows first.
        weight: positive; all ones for the plain loss.
        sources: number of the source's rows.
    """
    truth = torch.cat([torch.zeros_like(scores[:sources]), torch.ones_like(scores[sources:])])
    each = functional.binary_cross_entropy_with_logits(scores, truth, reduction="none")
    sides = [slice(0, sources), slice(sources, None)]
    means = [(weight[side] * each[side]).sum() / weight[side].detach().sum() for side in sides]
    return (means[0] + means[1]) / 2


def unbalanced_plan(
    cost: Float[Tensor, "m n"],
    *,
    entropy: Tensor | float,
    marginals: Tensor | float,
    iterations: int,
) -> Float[Tensor, "m n"]:
    """The plan G of least <G, C> + entropy · KL(G | ab') + marginals · (KL(G1 | a) + KL(G'1 | b)).

    a and b are uniform. Generalised Sinkhorn steps on the logarithms of the scalings:
    f <- r (log a - log sum_j exp(g_j - C_ij / entropy)), r = marginals / (marginals + entropy),
    likewise g. No gradient flows.

    Reference: Chizat et al., Scaling Algorithms for Unbalanced Optimal Transport Problems,
    Mathematics of Computation 2018, algorithm 1; `ot.unbalanced.sinkhorn_unbalanced` of POT.

    Args:
        cost: C.
        entropy: positive.
        marginals: positive; the larger, the better the masses are kept.
        iterations: steps.
    """
    m, n = cost.shape
    logit = -cost.detach() / entropy
    log_a, log_b = (-torch.log(torch.tensor(float(size), dtype=cost.dtype)) for size in (m, n))
    # With the reference measure ab' the kernel is ab' exp(-C / entropy).
    logit = logit + log_a + log_b
    power = marginals / (marginals + entropy)
    f, g = torch.zeros_like(logit[:, 0]), torch.zeros_like(logit[0])
    for _ in range(iterations):
        f = power * (log_a - torch.logsumexp(logit + g, dim=1))
        g = power * (log_b - torch.logsumexp(logit + f.unsqueeze(-1), dim=0))
    return torch.exp(logit + f.unsqueeze(-1) + g)
