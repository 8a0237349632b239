"""Class balancing of assignments."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def balance(
    log_p: Float[Tensor, "n c"], prior: Float[Tensor, " c"], *, steps: int
) -> Float[Tensor, "n c"]:
    """Rescale assignments so that the classes' shares approach a prior, by Sinkhorn steps.

    Reference: Cuturi, Sinkhorn Distances, NIPS 2013, algorithm 1; rows have mass 1/n, columns
    the prior's. The last half-step is over rows, so each row sums to one exactly.

    Args:
        log_p: logarithms of assignments (any offset per row).
        prior: positive, sums to one.
        steps: number of column-and-row rounds; 0 only normalises rows.

    Returns:
        Probabilities [n, c].
    """
    log_q = torch.log_softmax(log_p, dim=-1)
    for _ in range(steps):
        share = torch.logsumexp(log_q, dim=0, keepdim=True)
        log_q = torch.log_softmax(log_q - share + torch.log(prior), dim=-1)
    return log_q.exp()
