"""Weights that rise while a network trains."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def sigmoid_ramp(
    gamma: Tensor | float, progress: float, *, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """2 / (1 + exp(-gamma p)) - 1: zero at the start, near one in the end.

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016),
    section 5.2.2.

    Args:
        gamma: steepness, positive.
        progress: p, share of training done.
        dtype: of the result.
    """
    return 2 / (1 + torch.exp(-torch.as_tensor(gamma, dtype=dtype) * progress)) - 1
