"""The Triple-Resonance Interaction Chain (TRIC): the trained part of SERE, equation 9.

Reference: SERE, arXiv 2604.07417; equations reconstructed from its abstract, numbered as in
docs/sere.md.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.irf import FLOOR, confidence

MASKED = -1e9


class Side(NamedTuple):
    """Utterances of one language."""

    z: Float[Tensor, "n e"]  # embeddings [n, e]
    q: Float[Tensor, "n c"]  # the teacher's probabilities [n, c]


def dual_resonance(
    u: Float[Tensor, "n e"],
    q: Float[Tensor, "n c"],
    weight: Float[Tensor, " n"],
    temperature: float,
) -> Tensor:
    """Cross-entropy from normalised q[i]·q[j] to softmax_j of cos(u[i], u[j]) / tau, j ≠ i."""
    self_pair = torch.eye(len(u), dtype=torch.bool)
    unit = functional.normalize(u, dim=-1)
    likeness = (unit @ unit.T / temperature).masked_fill(self_pair, MASKED)
    wanted = (q @ q.T).masked_fill(self_pair, 0.0)
    wanted = wanted / wanted.sum(dim=1, keepdim=True).clamp_min(FLOOR)
    return -(weight[:, None] * wanted * torch.log_softmax(likeness, dim=1)).sum()


def train(
    source: Side,
    target: Side,
    rows: Float[Tensor, "r e"],
    *,
    labelled: Int[Tensor, " m"],
    unlabelled: Int[Tensor, " u"],
    prototypes: Float[Tensor, "c e"],
    metric: Float[Tensor, "e e"],
    generator: torch.Generator,
    steps: int,
    learning_rate: float,
    dropout: float,
    batch: int = 64,
    prototype_weight: float = 1.0,
    target_weight: float = 3.0,
    dual_weight: float = 1.0,
    temperature: float = 0.2,
    decay: float = 1e-3,
    specific: bool = True,
    teacher: bool = True,
) -> Float[Tensor, "r c"]:
    """Equation 9: log-probabilities of the rows by trained maps and prototypes.

    The start is the chain's last link: in x = L^T z with L L^T the inverse metric, the maps are
    the identity and the prototypes those of the chain.

    Args:
        source: with the labels of the labelled utterances in q.
        target: the rows to adapt to.
        rows: of the target, to be scored.
        labelled: rows of the source.
        unlabelled: rows of the source, labels withheld; may be empty.
        prototypes: of the chain.
        metric: of the chain.
        generator: of batches and views.
        steps: of Adam; the learning rate falls to zero in a line.
        learning_rate: at the first step.
        dropout: share of an embedding's values set to zero in the strong view of a batch.
        batch: utterances of each of the three parts.
        prototype_weight: of the cross-entropy of unlabelled utterances to q.
        target_weight: of a target utterance in both losses, where a source utterance has 1.
        dual_weight: of `dual_resonance`.
        temperature: tau of `dual_resonance`.
        decay: L2 toward the start.
        specific: a map of the target of its own, beside the shared one.
        teacher: q is the given one; else the model's own answer at each step.
    """
    size = len(metric)
    factor = torch.linalg.cholesky(torch.linalg.inv(metric.double())).to(torch.float32)
    first = prototypes.to(torch.float32) @ factor
    sides = [Side(side.z.float() @ factor, side.q.float()) for side in (source, target)]
    places = rows.float() @ factor
    distance = sides[1].z @ first.T - 0.5 * (first**2).sum(dim=1)
    # Logits of standard deviation 2 at the start, so that no class is certain before training.
    softness = ((distance - distance.mean(dim=1, keepdim=True)).std() / 2).clamp_min(FLOOR)
    shared, own = torch.zeros(size, size), torch.zeros(size, size)
    centres, offsets = first.clone(), torch.zeros(len(first))
    parameters = [centres, offsets, shared, *([own] if specific else [])]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)

    def embed(x: Tensor, *, of_target: bool) -> Tensor:
        return x + x @ (shared + own if of_target else shared)

    def logits(x: Tensor) -> Tensor:
        scores: Tensor = (x @ centres.T - 0.5 * (centres**2).sum(dim=1)) / softness + offsets
        return scores

    every = torch.arange(len(target.z))
    parts = [(sides[0], labelled, False), (sides[1], every, True)]
    if len(unlabelled):
        parts.insert(1, (sides[0], unlabelled, False))
    for step in range(steps):
        embedded, wanted, weights = [], [], []
        for side, pool, of_target in parts:
            chosen = pool[torch.randint(len(pool), (batch,), generator=generator)]
            keep = torch.rand(batch, size, generator=generator) >= dropout
            view = side.z[chosen] * keep / (1 - dropout)
            embedded.append(embed(view, of_target=of_target))
            q, known = side.q[chosen], pool is labelled
            if not known and not teacher:
                q = logits(embedded[-1]).detach().softmax(dim=-1)
            wanted.append(q)
            share = (target_weight if of_target else 1.0) / batch
            weights.append(share * (torch.ones(batch) if known else confidence(q)))
        u, q, weight = torch.cat(embedded), torch.cat(wanted), torch.cat(weights)
        losses = -(q * torch.log_softmax(logits(u), dim=-1)).sum(dim=1) * weight
        loss = losses[:batch].sum() + prototype_weight * losses[batch:].sum()
        if dual_weight:
            loss = loss + dual_weight * dual_resonance(u, q, weight, temperature)
        moved = ((centres - first) ** 2).sum() + size * ((shared**2).sum() + (own**2).sum())
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        optimiser.zero_grad()
        (loss + decay * moved).backward()
        optimiser.step()
    with torch.no_grad():
        scores: Tensor = torch.log_softmax(logits(embed(places, of_target=True)), dim=-1).double()
    return scores
