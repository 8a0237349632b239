"""Information maximisation, smoothed labels, labels by centroids and cosine classifiers."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.contrastive import concentration
from clser_bench.nn.uncertainty import mean_entropy


def smoothed_cross_entropy(
    logits: Float[Tensor, "n c"], y: Int[Tensor, " n"], smoothing: Tensor | float
) -> Float[Tensor, ""]:
    """-mean_i sum_k q[i, k] log p[i, k], q[i, k] = (1 - s) 1[k = y_i] + s / c.

    Written out because torch's `label_smoothing` takes no tensor.

    Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR
    2016, section on label smoothing.

    Args:
        logits: class scores.
        y: classes.
        smoothing: s, from 0 to 1.
    """
    log_p = logits.log_softmax(dim=-1)
    return (1 - smoothing) * functional.nll_loss(log_p, y) - smoothing * log_p.mean()


def information_loss(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """mean_i H(p_i) - H(mean_i p_i): least where rows are sure and classes equally frequent.

    The negative mutual information of rows and predicted classes.

    Reference: Liang et al., Do We Really Need to Access the Source Data?, ICML 2020: L_ent + L_div.

    Args:
        logits: class scores.
    """
    return mean_entropy(logits) + concentration(logits)


def weighted_centroids(
    u: Float[Tensor, "n e"], weight: Float[Tensor, "n c"]
) -> Float[Tensor, "c e"]:
    """sum_i w[i, k] u_i / sum_i w[i, k]; zero for a class without weight.

    Args:
        u: vectors.
        weight: w, not negative.
    """
    total = weight.sum(dim=0).unsqueeze(-1)
    return weight.T @ u / torch.where(total > 0, total, 1)


def centroid_labels(
    embedding: Float[Tensor, "n e"], scores: Float[Tensor, "n c"], *, rounds: int
) -> Int[Tensor, " n"]:
    """Classes of the nearest centroids by cosine: k-means that starts from soft predictions.

    A 1 is appended to each embedding and the result brought to unit length. The centroids of the
    first round weigh the rows by the softmax of their scores, those of later rounds by the labels
    of the round before. A class that no row held before a round is given to none in it.

    Reference: Liang et al., Do We Really Need to Access the Source Data?, ICML 2020,
    self-supervised pseudo-labelling; details as in the authors' code.

    Args:
        embedding: of all rows.
        scores: of the same rows, log-probabilities but for an offset per row.
        rounds: assignments; the paper's centroids, renewed once, are 2.
    """
    one = torch.ones_like(embedding[:, :1])
    u = functional.normalize(torch.cat([embedding, one], dim=-1), dim=-1)
    weight, label = scores.softmax(dim=-1), scores.argmax(dim=-1)
    for _ in range(rounds):
        held = functional.one_hot(label, scores.shape[-1]).any(dim=0)
        cosine = u @ functional.normalize(weighted_centroids(u, weight), dim=-1).T
        label = cosine.masked_fill(~held, -torch.inf).argmax(dim=-1)
        weight = functional.one_hot(label, scores.shape[-1]).to(u.dtype)
    return label


def cosine_logits(
    u: Float[Tensor, "n e"], prototypes: Float[Tensor, "c e"], temperature: Tensor | float
) -> Float[Tensor, "n c"]:
    """w_k · u_i / (|u_i| T): the length of an embedding does not count, that of a prototype does.

    Reference: Saito et al., Semi-supervised Domain Adaptation via Minimax Entropy, ICCV 2019,
    section on the similarity-based network.

    Args:
        u: embeddings.
        prototypes: w, a row per class.
        temperature: T, positive.
    """
    return functional.normalize(u, dim=-1) @ prototypes.T / temperature
