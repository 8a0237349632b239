"""Class balancing of assignments."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def balancing_offsets(
    log_p: Float[Tensor, "n c"], prior: Float[Tensor, " c"], *, steps: int
) -> Float[Tensor, " c"]:
    """What to add to each class's log-assignments so that their shares approach a prior.

    Reference: Cuturi, Sinkhorn Distances, NIPS 2013, algorithm 1; rows have mass 1/n, columns
    the prior's.

    Args:
        log_p: logarithms of assignments (any offset per row).
        prior: positive, sums to one.
        steps: number of column-and-row rounds.
    """
    offsets = torch.zeros_like(prior)
    for _ in range(steps):
        log_q = torch.log_softmax(log_p + offsets, dim=-1)
        offsets = offsets - torch.logsumexp(log_q, dim=0) + torch.log(prior)
    return offsets


def balance(
    log_p: Float[Tensor, "n c"], prior: Float[Tensor, " c"], *, steps: int
) -> Float[Tensor, "n c"]:
    """Rescale assignments so that the classes' shares approach a prior, by Sinkhorn steps.

    The last half-step is over rows, so each row sums to one exactly.

    Args:
        log_p: logarithms of assignments (any offset per row).
        prior: positive, sums to one.
        steps: number of column-and-row rounds; 0 only normalises rows.

    Returns:
        Probabilities [n, c].
    """
    return torch.softmax(log_p + balancing_offsets(log_p, prior, steps=steps), dim=-1)
