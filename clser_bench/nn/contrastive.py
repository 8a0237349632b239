"""Contrastive losses over neighbours and over classes, and the spread of predictions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

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
