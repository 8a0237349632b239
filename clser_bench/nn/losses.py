"""Losses that several methods share: entropy, information, neighbours, kernel means."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

FLOOR = 1e-6  # least bandwidth and least mass of a class
KERNELS = 5  # Gaussian kernels that are added, each of half the bandwidth of the one before
LARGEST = 4.0  # the first one's bandwidth, in units of the mean squared distance of two rows


def information_loss(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """mean_i H(p_i) - H(mean_i p_i): least where rows are sure and classes equally frequent.

    The negative mutual information of rows and predicted classes.

    Reference: Liang et al., Do We Really Need to Access the Source Data?, ICML 2020: L_ent + L_div.
    """
    return mean_entropy(logits) + concentration(logits)


def cosine_logits(
    u: Float[Tensor, "n e"], prototypes: Float[Tensor, "c e"], temperature: Tensor | float
) -> Float[Tensor, "n c"]:
    """w_k · u_i / (|u_i| T): the length of an embedding does not count, that of a prototype does.

    Reference: Saito et al., Semi-supervised Domain Adaptation via Minimax Entropy, ICCV 2019,
    section on the similarity-based network.
    """
    return functional.normalize(u, dim=-1) @ prototypes.T / temperature


def entropy(logits: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """-sum_k p[i, k] log p[i, k] of the softmax, in nats."""
    log_p = torch.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


def mean_entropy(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """-mean_i sum_k p[i, k] log p[i, k] of the softmax, in nats.

    Reference: Grandvalet & Bengio, Semi-supervised Learning by Entropy Minimization, NIPS 2004.
    """
    return entropy(logits).mean()


def concentration(logits: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """sum_k m_k log m_k, m the mean of the rows' probabilities; least where m is uniform.

    Reference: the diversity term of Liang et al., Do We Really Need to Access the Source Data?
    (SHOT), ICML 2020.
    """
    log_m = logits.log_softmax(dim=-1).logsumexp(dim=0) - torch.log(
        torch.tensor(float(len(logits)), dtype=logits.dtype)
    )
    return (log_m.exp() * log_m).sum()


class Neighbourhood(NamedTuple):
    """The nearest rows of each row of a bank of embeddings."""

    rows: Int[Tensor, "n k"]  # int64 [n, k], nearest first
    label: Int[Tensor, " n"]  # int64 [n], the likeliest class of a row and its neighbours together


def neighbourhood(
    bank: Float[Tensor, "n e"], scores: Float[Tensor, "n c"], *, count: int
) -> Neighbourhood:
    """The rows with the largest cosines to each row, and its class by their mean probabilities.

    Where there are fewer other rows than asked for, these are repeated; a lone row is its own
    neighbour.

    Args:
        scores: of the same rows, log-probabilities but for an offset per row.
    """
    u = functional.normalize(bank, dim=-1)
    cosine = u @ u.T
    cosine.fill_diagonal_(-torch.inf)
    nearest = cosine.topk(min(count, max(1, len(u) - 1)), dim=-1).indices
    rows = nearest[:, torch.arange(count) % nearest.shape[1]]
    p = scores.softmax(dim=-1)
    label = (p + p[rows].sum(dim=1)).argmax(dim=-1)
    return Neighbourhood(rows, label)


def matching_entropy(
    u: Float[Tensor, "b e"], others: Float[Tensor, "o e"], temperature: Tensor | float
) -> Float[Tensor, ""]:
    """mean_i H(softmax_j(u_i·o_j / tau)): least where each row resembles one of the others.

    Reference: CDS (see `instance_contrast`), equation 5, with the other side's instances; Yue et
    al., Prototypical Cross-domain Self-supervised Learning for Few-shot Unsupervised Domain
    Adaptation, CVPR 2021 (PCS), equation 7, with the other side's prototypes.
    """
    return mean_entropy(
        functional.normalize(u, dim=-1) @ functional.normalize(others, dim=-1).T / temperature
    )


def thresholded_loss(
    weak: Float[Tensor, "n c"], strong: Float[Tensor, "n c"], threshold: Tensor | float
) -> Float[Tensor, ""]:
    """Cross-entropy of strong views to the confident pseudo-labels of weak ones.

    mean over all i of 1(max_k q[i, k] >= tau_i) · H(argmax_k q[i, k], p[i]), where q are the
    probabilities of the weak view and p those of the strong one. Rows below the threshold count
    in the mean.

    Reference: Sohn et al., FixMatch, NeurIPS 2020: the unsupervised loss, equation 4.

    Args:
        threshold: tau, 0 to 1; one for all rows, or a row's own [n].
    """
    confidence, label = weak.detach().softmax(dim=-1).max(dim=-1)
    each = functional.cross_entropy(strong, label, reduction="none")
    return (each * (confidence >= threshold).to(each.dtype)).mean()


def mean_confidence(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """The mean over rows of the largest probability, without gradient.

    Reference: Berthelot et al., AdaMatch, ICLR 2022, section 3.3: tau times this value on the
    labelled batch is the relative confidence threshold.
    """
    return logits.detach().softmax(dim=-1).max(dim=-1).values.mean()


def squared_distances(x: Float[Tensor, "n e"]) -> Float[Tensor, "n n"]:
    """|x[i] - x[j]|^2, never negative."""
    # Distances do not see the mean; without it, rows that lie close together keep their digits.
    x = x - x.detach().mean(dim=0)
    size = x.square().sum(dim=-1)
    return (size[:, None] + size - 2 * x @ x.transpose(0, 1)).clamp_min(0)


def five_kernels(x: Float[Tensor, "n e"]) -> Float[Tensor, "n n"]:
    """Sum of exp(-d^2 / b) for b = 1/4, 1/2, 1, 2 and 4 times the mean d^2 of two rows.

    No gradient flows through the bandwidths.
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
    """
    off = kernel * (1 - torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device))
    targets = len(kernel) - sources
    within_source = off[:sources, :sources].sum() / max(sources * (sources - 1), 1)
    within_target = off[sources:, sources:].sum() / max(targets * (targets - 1), 1)
    return within_source + within_target - 2 * kernel[:sources, sources:].mean()
