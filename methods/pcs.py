"""Prototypes of both languages: contrast within a side, matching across, a prototype classifier.

Reference: Yue et al., Prototypical Cross-domain Self-supervised Learning for Few-shot Unsupervised
Domain Adaptation, CVPR 2021 (PCS): in-domain prototypical contrast (equations 3 and 4),
cross-domain instance-prototype matching (equations 6 and 7), mutual information of the answers
(equation 9), a cosine classifier (equation 8), all weighted as in equation 12.

Departures: the shared backbone, optimiser and budget; prototypes of a side are as many as classes,
start at the labelled classes' means and follow batches by spherical k-means steps, where the paper
clusters all embeddings anew every epoch with several numbers of clusters; one temperature instead
of one of each cluster; the classifier's weights are learned and not replaced by class means.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from clser_bench.nn.backbone import CosineClassifier
from clser_bench.nn.losses import information_loss, matching_entropy
from clser_bench.plugin import (
    Batch,
    Embedded,
    Shape,
    State,
    Support,
    Trained,
    View,
    cross_entropy,
    hyper,
    join,
    register,
)


@register("pcs", version=1)
class Pcs(Trained):
    """Prototypical cross-domain self-supervision."""

    assumes_prior = "uniform"
    control = {"inside_weight": 0.0, "across_weight": 0.0, "information_weight": 0.0}
    keeps = "the four losses; prototypes follow batches instead of a clustering of each epoch"

    inside_weight: float = hyper(
        0.01, low=0.0, high=100.0, grid=(0.01, 0.1), about="lambda_in, contrast within a side"
    )
    across_weight: float = hyper(
        0.01, low=0.0, high=100.0, grid=(0.01, 0.1), about="lambda_cross, matching across"
    )
    information_weight: float = hyper(
        0.03,
        low=0.0,
        high=100.0,
        grid=(0.03, 0.1, 0.5),
        about="lambda_mim, of the information",
    )
    temperature: float = hyper(0.3, low=1e-3, high=10.0, log=True, about="tau of all terms")
    momentum: float = hyper(0.9, low=0.0, high=0.9999, about="of the prototypes")

    def network(self, shape: Shape) -> nn.Module:
        return CosineClassifier(shape.d, shape.f, shape.c)

    def initial_carry(self, network: CosineClassifier) -> State:
        zeros = torch.zeros_like(network.head.weight)
        return {"step": zeros[0, 0], "source": zeros, "target": zeros}

    def update_carry(self, network: CosineClassifier, batch: Batch) -> State:
        """Class means of the labelled batch at first, then k-means steps on either side."""
        known = functional.normalize(network.embed(batch.labelled).detach(), dim=-1)
        member = functional.one_hot(batch.y, len(network.head.weight)).to(known.dtype)
        means = functional.normalize(member.T @ known, dim=-1)
        first = batch.carry["step"] == 0
        moved = {
            side: moved_prototypes(
                torch.where(first, means, batch.carry[side]), network.embed(view), self.momentum
            )
            for side, view in (("source", batch.source), ("target", batch.target))
        }
        return {"step": batch.carry["step"] + 1, **moved}

    def loss(self, network: CosineClassifier, batch: Batch) -> Tensor:
        m, n = len(batch.y), len(batch.source.summary)
        embedding = network.embed(join(batch.labelled, batch.source, batch.target))
        source, target = embedding[m : m + n], embedding[m + n :]
        own, other = batch.carry["source"], batch.carry["target"]
        tau = self.temperature
        inside = prototype_contrast(source, own, tau) + prototype_contrast(target, other, tau)
        across = matching_entropy(source, other, tau) + matching_entropy(target, own, tau)
        logits = network.classify(embedding, tau)
        spread = information_loss(logits[m : m + n]) + information_loss(logits[m + n :])
        # There are no prototypes before the first step's carry.
        started = (batch.carry["step"] > 0).to(embedding.dtype)
        return (
            cross_entropy(logits[:m], batch.y)
            + started * (self.inside_weight * inside + self.across_weight * across)
            + self.information_weight * spread
        )

    def embed(
        self, network: CosineClassifier, view: View, support: Support, *, target: bool
    ) -> Embedded:
        """Embeddings and the scores at the method's temperature."""
        embedding = network.embed(view)
        return Embedded(embedding, network.classify(embedding, self.temperature))


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
