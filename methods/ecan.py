"""A source model whose features of the target are contrasted by neighbours and by classes.

Reference: Zhao, Wang, Lu, Li, Schuller, Zong & Zheng, Emotion-Aware Contrastive Adaptation
Network for Source-free Cross-corpus Speech Emotion Recognition, ICASSP 2024 (arXiv 2401.12925).
A model trained on the labelled source is adapted without it to L = L_div + lambda L_ncl
+ beta L_scl: nearest neighbour contrastive learning with a bank of the features of all target
utterances, supervised contrastive learning with pseudo-labels from a bank of their scores, and a
term for balanced predictions.

Departures: the paper's abstract and published summaries of it were at hand, not its equations:
the sum of the three terms, their purposes and the two banks are stated there, the formula of
each term is reconstructed from the literature that its name points to (below:
InfoNCE with the neighbours as positives, Khosla et al.'s loss, the negative entropy of the mean
prediction). Reconstructed likewise: the pseudo-label of an utterance is the likeliest class by
the mean score of itself and its neighbours; the head stays as the source left it, only features
are adapted. Lambda and beta were chosen on the suite `dev`
(results/selection), the temperature and the number of neighbours here. The
banks are renewed every `update_every` steps instead of at each; utterances to keep away from are
the bank's entries of the batch, not all of the bank. The shared backbone, optimiser, budget and
its schedule; the source model sees the labelled utterances only.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.losses import concentration, neighbourhood
from clser_bench.plugin import (
    Batch,
    SharedClassifier,
    Snapshot,
    SourceFree,
    State,
    hyper,
    register,
)

NEVER = -1e9
"""Added to a logit that shall not count; finite, so that no gradient is infinite times zero."""


@register("ecan", version=2)
class Ecan(SourceFree):
    """Emotion-aware contrastive adaptation network."""

    control = {"source_percent": 99}
    assumes_prior = "uniform"
    keeps = "the sum of three losses and the two banks; each formula is a reconstruction"
    note = "ECAN: terms reconstructed from summaries of the paper (arXiv 2401.12925)"
    neighbour_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 1.0), about="lambda, factor of L_ncl"
    )
    class_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 1.0), about="beta, factor of L_scl"
    )
    temperature: float = hyper(0.1, low=1e-3, high=10.0, log=True, about="tau of both contrasts")
    neighbours: int = hyper(5, low=1, high=1000, about="nearest target utterances")

    def target_loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        """L_div + lambda L_ncl + beta L_scl."""
        u = network.embed(batch.target)
        state = batch.state
        # A row is not kept away from itself (where a batch holds it twice) nor from a neighbour.
        close = (state["near_row"].unsqueeze(-1) == state["row"]).any(dim=-2)
        apart = ~(close | (state["row"].unsqueeze(-1) == state["row"]))
        local = neighbour_contrast(
            u, state["near"], state["feature"], apart.to(u.dtype), self.temperature
        )
        between = supervised_contrast(u, state["label"], self.temperature)
        spread = concentration(network.head(u))
        return spread + self.neighbour_weight * local + self.class_weight * between

    def update_pseudo_labels(self, snapshot: Snapshot) -> State:
        """The bank's features of each row and its neighbours, and pseudo-labels from the scores."""
        target = snapshot.target
        near = neighbourhood(target.embedding, target.scores, count=self.neighbours)
        return {
            "row": torch.arange(len(near.label)),
            "feature": target.embedding,
            "near_row": near.rows,
            "near": target.embedding[near.rows],
            "label": near.label,
        }


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
