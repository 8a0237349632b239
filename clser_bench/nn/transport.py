"""Transport between the rows of a batch whose masses need not be kept."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def unbalanced_plan(
    cost: Float[Tensor, "m n"],
    *,
    entropy: Tensor | float,
    marginals: Tensor | float,
    iterations: int,
) -> Float[Tensor, "m n"]:
    """The plan G of least <G, C> + entropy · KL(G | ab') + marginals · (KL(G1 | a) + KL(G'1 | b)).

    a and b are uniform. Generalised Sinkhorn steps on the logarithms of the scalings:
    f <- r (log a - log sum_j exp(g_j - C_ij / entropy)), r = marginals / (marginals + entropy),
    likewise g. No gradient flows.

    Reference: Chizat et al., Scaling Algorithms for Unbalanced Optimal Transport Problems,
    Mathematics of Computation 2018, algorithm 1; `ot.unbalanced.sinkhorn_unbalanced` of POT.

    Args:
        cost: C.
        entropy: positive.
        marginals: positive; the larger, the better the masses are kept.
        iterations: steps.
    """
    m, n = cost.shape
    logit = -cost.detach() / entropy
    log_a, log_b = (-torch.log(torch.tensor(float(size), dtype=cost.dtype)) for size in (m, n))
    # With the reference measure ab' the kernel is ab' exp(-C / entropy).
    logit = logit + log_a + log_b
    power = marginals / (marginals + entropy)
    f, g = torch.zeros_like(logit[:, 0]), torch.zeros_like(logit[0])
    for _ in range(iterations):
        f = power * (log_a - torch.logsumexp(logit + g, dim=1))
        g = power * (log_b - torch.logsumexp(logit + f.unsqueeze(-1), dim=0))
    return torch.exp(logit + f.unsqueeze(-1) + g)
