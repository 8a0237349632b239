"""Starts of a network that need no labels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def principal_axes(x: Float[Tensor, "n p"], count: int) -> Float[Tensor, "e p"]:
    """Directions of largest variance, as orthonormal rows.

    The first `count` principal axes keep distances as well as any linear map to that many
    values can (Eckart & Young 1936), so classes that lie apart stay apart.

    Args:
        x: observations; centred here.
        count: e; where it exceeds p, the remaining rows are zero.
    """
    centred = (x - x.mean(dim=0)).to(torch.float64)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    axes = vectors.flip(-1)[:, :count].T
    # The sign of an eigenvector is arbitrary: its largest component is made positive.
    largest = axes.abs().argmax(dim=-1, keepdim=True)
    axes = (axes * axes.gather(-1, largest).sign()).to(x.dtype)
    return torch.nn.functional.pad(axes, (0, 0, 0, count - len(axes)))
