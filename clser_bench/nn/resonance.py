"""The Instantaneous Resonance Field (IRF) and the Triple-Resonance Interaction Chain (TRIC).

Reference: SERE, arXiv 2604.07417; equations reconstructed from its abstract, numbered as in
docs/sere.md.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.balance import balance, balancing_offsets

SINKHORN_STEPS = 5
READ_OUT_STEPS = 50
FLOOR = 1e-8
MASKED = -1e9
"""Stands for minus infinity where a row could otherwise hold nothing else."""


def cosine(a: Float[Tensor, "... n e"], b: Float[Tensor, "m e"]) -> Float[Tensor, "... n m"]:
    """Cosine of every row of a with every row of b."""
    return functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).transpose(-1, -2)


def prototypes(u: Float[Tensor, "m e"], y: Float[Tensor, "m c"]) -> Float[Tensor, "c e"]:
    """Normalised mean embedding of each class (step 2).

    Args:
        u: labelled embeddings.
        y: one-hot labels; a class without rows gets the zero vector.
    """
    return functional.normalize(y.transpose(0, 1) @ u, dim=-1)


def highlight(
    h: Float[Tensor, "n t d"],
    w: Float[Tensor, "e d"],
    c: Float[Tensor, "k e"],
    temperature: Tensor | float,
) -> Float[Tensor, "n t"]:
    """Weights of the instants: those that resonate with any class stand out (step 3).

    With z[i, t] = W h[i, t] and r[i, t, k] = cos(z[i, t], c[k]),
    a[i, t] = softmax over t of logsumexp_k(r[i, t, k] / tau_h): the smooth maximum
    tau_h · logsumexp_k(r / tau_h), in units of tau_h. A large temperature gives equal weights.

    The cosine is taken as h · (W^T c) / |W h|, so that z, the largest tensor of the method, is
    needed for its norm alone.

    Args:
        h: instants.
        w: the emotional map.
        c: prototypes of unit length (or zero, for a class without rows).
        temperature: tau_h.
    """
    length = torch.linalg.vector_norm(h @ w.transpose(0, 1), dim=-1, keepdim=True)
    r = (h @ (c @ w).transpose(0, 1)) / length.clamp_min(FLOOR)
    return torch.logsumexp(r / temperature, dim=-1).softmax(dim=-1)


def with_differences(h: Float[Tensor, "n t d"]) -> Float[Tensor, "n t 2*d"]:
    """Instants and their first differences (zero at the first instant), step 1."""
    change = functional.pad(h[..., 1:, :] - h[..., :-1, :], (0, 0, 1, 0))
    return torch.cat([h, change], dim=-1)


def neighbours(
    u: Float[Tensor, "n e"], *, count: int, temperature: Tensor | float
) -> Float[Tensor, "n n"]:
    """The resonance matrix R: softmax of cosine / tau over the nearest neighbours (step 4).

    Args:
        u: embeddings; no gradient flows through R.
        count: number of neighbours, at most n - 1; an utterance is not its own neighbour.
        temperature: tau.

    Returns:
        Rows sum to one; a lone utterance has a row of zeros.
    """
    u = u.detach()
    similarity = cosine(u, u)
    eye = torch.eye(len(u), dtype=u.dtype, device=u.device)
    similarity = similarity - 2 * len(u) * eye
    count = min(count, len(u) - 1)
    if count < 1:
        return torch.zeros_like(similarity)
    least = similarity.topk(count, dim=-1).values[..., -1:]
    return torch.where(similarity >= least, similarity / temperature, MASKED).softmax(dim=-1)


def organise(
    p: Float[Tensor, "n c"],
    resonance: Float[Tensor, "n n"],
    prior: Float[Tensor, " c"],
    *,
    steps: int,
    coupling: Tensor | float,
    sharpness: Tensor | float,
) -> Float[Tensor, "n c"]:
    """Self-organisation of unlabelled utterances into the classes (step 4).

    q <- (1 - kappa) p + kappa R q, `steps` times from q = p; then q is balanced over the classes
    toward the prior and sharpened, q^s / sum q^s. No gradient flows through q.

    Args:
        p: class probabilities by the prototypes.
        resonance: R.
        prior: class shares to balance toward.
        steps: rounds of coupling.
        coupling: kappa, 0 to 1.
        sharpness: s, 1 for none.
    """
    p = p.detach()
    q = p
    for _ in range(steps):
        q = (1 - coupling) * p + coupling * (resonance @ q)
    q = balance(torch.log(q + FLOOR), prior, steps=SINKHORN_STEPS)
    return torch.softmax(sharpness * torch.log(q + FLOOR), dim=-1)


def estimated_prior(p: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
    """Mean class probabilities, drawn half-way to uniform so that no class dies out."""
    mean = p.detach().mean(dim=0)
    return 0.5 * mean / mean.sum() + 0.5 / p.shape[-1]


def prototype_resonance(
    logits: Float[Tensor, "n c"], q: Float[Tensor, "n c"], weight: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """L_proto: weighted cross-entropy of the prototypes' probabilities to q (step 5).

    Args:
        logits: cos(u, c) / tau.
        q: assignments.
        weight: confidence of each row, not negative.
    """
    entropy = -(q * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
    return (weight * entropy).sum() / (weight.sum() + FLOOR)


def dual_resonance(
    u: Float[Tensor, "n e"],
    q: Float[Tensor, "n c"],
    weight: Float[Tensor, " n"],
    temperature: Tensor | float,
) -> Float[Tensor, ""]:
    """L_dual: instances attract as much as their assignments agree (step 5).

    Cross-entropy from the normalised agreement q[i]·q[m], m ≠ i, to the softmax over m ≠ i of
    cos(u[i], u[m]) / tau, averaged over i with the weights.

    Args:
        u: embeddings, labelled and unlabelled together.
        q: assignments; one-hot labels for labelled rows.
        weight: confidence of each row; 1 for labelled ones.
        temperature: tau.
    """
    others = 1 - torch.eye(len(u), dtype=u.dtype, device=u.device)
    agreement = (q @ q.transpose(0, 1)) * others * weight
    agreement = agreement / (agreement.sum(dim=-1, keepdim=True) + FLOOR)
    logits = cosine(u, u) / temperature + MASKED * (1 - others)
    attraction = torch.log_softmax(logits, dim=-1) * others
    loss = -(agreement * attraction).sum(dim=-1)
    return (weight * loss).sum() / (weight.sum() + FLOOR)


class Field(NamedTuple):
    """Unlabelled utterances after they have organised themselves.

    Attributes:
        prototypes: of the last round [k, e], unit length.
        offsets: of the classes' logits, which balance them [k].
        assignments: q [n, k].
    """

    prototypes: Tensor
    offsets: Tensor
    assignments: Tensor


def self_organise(
    u: Float[Tensor, "n e"],
    c: Float[Tensor, "k e"],
    *,
    rounds: int,
    pull: float,
    temperature: float,
    prior: Float[Tensor, " k"] | None,
    resonance: Float[Tensor, "n n"],
    steps: int,
    coupling: float,
    sharpness: float,
) -> Field:
    """Rounds in which prototypes organise the field and the field pulls prototypes (step 4).

    Each round organises the utterances around the prototypes (`organise`) and then moves the
    prototypes toward the field: c <- normalise((1 - rho) c + rho normalise(q^T u)). The first round
    starts from the labelled prototypes. This is the soft, balanced assignment of transductive
    few-shot learning (Hu et al., Leveraging the feature distribution in transfer-based few-shot
    learning, ICANN 2021, algorithm 1) on the resonance field.

    Args:
        u: unlabelled embeddings of unit length.
        c: prototypes of the labelled utterances.
        rounds: how often the prototypes move; 0 organises once and leaves them.
        pull: rho, the field's share in the prototypes.
        temperature: tau.
        prior: class shares to balance toward; None estimates them in each round.
        resonance: R between the utterances.
        steps: as in `organise`.
        coupling: likewise.
        sharpness: likewise.
    """
    for turn in range(rounds + 1):
        logits = cosine(u, c) / temperature
        p = logits.softmax(dim=-1)
        shares = estimated_prior(p) if prior is None else prior
        q = organise(p, resonance, shares, steps=steps, coupling=coupling, sharpness=sharpness)
        if turn < rounds:
            field = functional.normalize(q.transpose(0, 1) @ u, dim=-1)
            c = functional.normalize((1 - pull) * c + pull * field, dim=-1)
    return Field(c, balancing_offsets(logits, shares, steps=READ_OUT_STEPS), q)
