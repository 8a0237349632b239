"""Contrastive losses over neighbours, classes and prototypes, and the spread of predictions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.uncertainty import mean_entropy

NEVER = -1e9
"""Added to a logit that shall not count; finite, so that no gradient is infinite times zero."""


class Neighbourhood(NamedTuple):
    """The nearest rows of each row of a bank of embeddings.

    Attributes:
        rows: int64 [n, k], nearest first.
        label: int64 [n], the likeliest class of a row and its neighbours together.
    """

    rows: Int[Tensor, "n k"]
    label: Int[Tensor, " n"]


def neighbourhood(
    bank: Float[Tensor, "n e"], scores: Float[Tensor, "n c"], *, count: int
) -> Neighbourhood:
    """The rows with the largest cosines to each row, and its class by their mean probabilities.

    Where there are fewer other rows than asked for, these are repeated; a lone row is its own
    neighbour.

    Args:
        bank: embeddings, of any length.
        scores: of the same rows, log-probabilities but for an offset per row.
        count: k.
    """
    u = functional.normalize(bank, dim=-1)
    cosine = u @ u.T
    cosine.fill_diagonal_(-torch.inf)
    nearest = cosine.topk(min(count, max(1, len(u) - 1)), dim=-1).indices
    rows = nearest[:, torch.arange(count) % nearest.shape[1]]
    p = scores.softmax(dim=-1)
    label = (p + p[rows].sum(dim=1)).argmax(dim=-1)
    return Neighbourhood(rows, label)


def neighbour_contrast(
    u: Float[Tensor, "b e"],
    near: Float[Tensor, "b k e"],
    others: Float[Tensor, "o e"],
    apart: Float[Tensor, "b o"],
    temperature: Tensor | float,
) -> Float[Tensor, ""]:
    """Draw rows to their neighbours and away from others.

    mean over i and k of -log( exp(u_i·n_ik / tau) / (sum_k' exp(u_i·n_ik' / tau)
    + sum_j a_ij exp(u_i·o_j / tau)) ), all vectors at unit length: the InfoNCE loss (van den Oord
    et al., Representation Learning with Contrastive Predictive Coding, arXiv 1807.03748) with k
    positives.

    Args:
        u: embeddings.
        near: k neighbours of each.
        others: what to keep away from.
        apart: a, 1 where a row of `others` is neither the row itself nor a neighbour, else 0.
        temperature: tau, positive.
    """
    u = functional.normalize(u, dim=-1)
    positive = (functional.normalize(near, dim=-1) @ u.unsqueeze(-1)).squeeze(-1) / temperature
    negative = u @ functional.normalize(others, dim=-1).T / temperature + NEVER * (1 - apart)
    total = torch.cat([positive, negative], dim=-1).logsumexp(dim=-1, keepdim=True)
    return (total - positive).mean()


def supervised_contrast(
    u: Float[Tensor, "b e"], label: Int[Tensor, " b"], temperature: Tensor | float
) -> Float[Tensor, ""]:
    """Draw rows of one class together and away from the other classes.

    mean over i of -1/|P(i)| sum_{p in P(i)} log( exp(u_i·u_p / tau) / sum_{a != i}
    exp(u_i·u_a / tau) ), P(i) the other rows of the class of i, vectors at unit length. Rows
    without another of their class do not count; zero where there is none that counts.

    Reference: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020: the loss with the sum
    outside the logarithm.

    Args:
        u: embeddings.
        label: classes.
        temperature: tau, positive.
    """
    u = functional.normalize(u, dim=-1)
    itself = torch.eye(len(u), dtype=u.dtype, device=u.device)
    logit = u @ u.T / temperature
    log_share = logit - (logit + NEVER * itself).logsumexp(dim=-1, keepdim=True)
    same = (label.unsqueeze(-1) == label).to(u.dtype) * (1 - itself)
    size = same.sum(dim=-1)
    each = -(same * log_share).sum(dim=-1) / size.clamp_min(1)
    return each.sum() / (size > 0).sum().clamp_min(1)


def concentration(logits: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """sum_k m_k log m_k, m the mean of the rows' probabilities; least where m is uniform.

    Reference: the diversity term of Liang et al., Do We Really Need to Access the Source Data?
    (SHOT), ICML 2020.

    Args:
        logits: class scores.
    """
    log_m = logits.log_softmax(dim=-1).logsumexp(dim=0) - torch.log(
        torch.tensor(float(len(logits)), dtype=logits.dtype)
    )
    return (log_m.exp() * log_m).sum()


def instance_contrast(
    u: Float[Tensor, "b e"], keys: Float[Tensor, "b e"], temperature: Tensor | float
) -> Float[Tensor, ""]:
    """Each row shall be nearest to its own key: -mean_i log softmax_j(u_i·k_j / tau)[i].

    Reference: Kim et al., Cross-domain Self-supervised Learning for Domain Adaptation with Few
    Source Labels, arXiv 2003.08264 (CDS), equations 1 and 2 (in-domain instance discrimination).

    Args:
        u: embeddings.
        keys: of the same utterances, another time.
        temperature: tau, positive.
    """
    similarity = functional.normalize(u, dim=-1) @ functional.normalize(keys, dim=-1).T
    return -(similarity / temperature).log_softmax(dim=-1).diagonal().mean()


def matching_entropy(
    u: Float[Tensor, "b e"], others: Float[Tensor, "o e"], temperature: Tensor | float
) -> Float[Tensor, ""]:
    """mean_i H(softmax_j(u_i·o_j / tau)): least where each row resembles one of the others.

    Reference: CDS (see `instance_contrast`), equation 5, with the other side's instances; Yue et
    al., Prototypical Cross-domain Self-supervised Learning for Few-shot Unsupervised Domain
    Adaptation, CVPR 2021 (PCS), equation 7, with the other side's prototypes.

    Args:
        u: embeddings.
        others: of the other side.
        temperature: tau, positive.
    """
    return mean_entropy(
        functional.normalize(u, dim=-1) @ functional.normalize(others, dim=-1).T / temperature
    )


def prototype_contrast(
    u: Float[Tensor, "b e"], prototypes: Float[Tensor, "c e"], temperature: Tensor | float
) -> Float[Tensor, ""]:
    """-mean_i max_k log softmax_k(u_i·m_k / tau): each row draws nearer to its nearest prototype.

    Reference: PCS (see `matching_entropy`), equations 3 and 4, one clustering.

    Args:
        u: embeddings.
        prototypes: of the same side.
        temperature: tau, positive.
    """
    similarity = functional.normalize(u, dim=-1) @ functional.normalize(prototypes, dim=-1).T
    return -(similarity / temperature).log_softmax(dim=-1).max(dim=-1).values.mean()


def moved_prototypes(
    prototypes: Float[Tensor, "c e"], u: Float[Tensor, "b e"], keep: Tensor | float
) -> Float[Tensor, "c e"]:
    """A step of spherical k-means on a batch: each prototype moves to the mean of its rows.

    Args:
        prototypes: at unit length.
        u: embeddings; no gradient flows through them.
        keep: momentum, 0 to 1; a prototype without rows stays.
    """
    rows = functional.normalize(u.detach(), dim=-1)
    nearest = (rows @ prototypes.T).argmax(dim=-1)
    member = functional.one_hot(nearest, len(prototypes)).to(u.dtype)
    count = member.sum(dim=0).unsqueeze(-1)
    mean = member.T @ rows / count.clamp_min(1)
    moved = keep * prototypes + (1 - keep) * mean
    return functional.normalize(torch.where(count > 0, moved, prototypes), dim=-1)


def attraction(
    p: Float[Tensor, "b c"], near: Float[Tensor, "b k c"], dispersion: Tensor | float
) -> Float[Tensor, ""]:
    """-mean_i sum_k p_i·p_ik + dispersion · mean_i sum_{j != i} p_i·p_j.

    Reference: Yang et al., Attracting and Dispersing: A Simple Approach for Source-free Domain
    Adaptation, NeurIPS 2022 (AaD), equation 5.

    Args:
        p: class probabilities of a batch.
        near: those kept of each row's neighbours, without gradient.
        dispersion: lambda.
    """
    drawn = (near @ p.unsqueeze(-1)).sum(dim=(-2, -1)).mean()
    # In the second term the other rows of a pair are constants, as in the authors' code.
    inner = p @ p.detach().T
    apart = (inner.sum(dim=-1) - inner.diagonal()).mean()
    return dispersion * apart - drawn
