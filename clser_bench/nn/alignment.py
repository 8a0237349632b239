"""Starts of a network that need no labels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FLOOR = 1e-6
"""Variances below this share of the largest are raised to it before a division."""


def principal_axes(
    x: Float[Tensor, "n p"], count: int, *, whitening: float = 0.0
) -> Float[Tensor, "e p"]:
    """Directions of largest variance, as orthogonal rows.

    The first `count` principal axes keep distances as well as any linear map to that many
    values can (Eckart & Young 1936), so classes that lie apart stay apart.

    Args:
        x: observations; centred here.
        count: e; where it exceeds p, the remaining rows are zero.
        whitening: power w; an axis of variance v is scaled by v^(-w/2): 0 leaves the variances as
            they are (rows of unit length), 1 makes them all one.
    """
    centred = (x - x.mean(dim=0)).to(torch.float64)
    values, vectors = _largest(centred)
    axes = vectors.flip(-1)[:, :count].T
    variances = values.flip(-1)[:count, None]
    # The sign of an eigenvector is arbitrary: its largest component is made positive.
    largest = axes.abs().argmax(dim=-1, keepdim=True)
    axes = axes * axes.gather(-1, largest).sign()
    if whitening:
        # A side without any variance keeps its zeros: nothing is blown up.
        floor = torch.where(variances[0] > 0, FLOOR * variances[0], 1.0)
        axes = axes * variances.clamp_min(floor).pow(-whitening / 2)
    return torch.nn.functional.pad(axes.to(x.dtype), (0, 0, 0, count - len(axes)))


def _largest(
    centred: Float[Tensor, "n p"],
) -> tuple[Float[Tensor, " q"], Float[Tensor, "p q"]]:
    """Eigenvalues and eigenvectors of the covariance, ascending; q is p, or n where that is less.

    With fewer observations than values the covariance has at most n directions, and the products
    of observations give them: thousands of values would otherwise cost minutes.
    """
    n, p = centred.shape
    if p <= n:
        values, vectors = torch.linalg.eigh(centred.T @ centred / n)
        return values, vectors
    values, left = torch.linalg.eigh(centred @ centred.T / n)
    scale = (n * values.clamp_min(0)).sqrt()
    # A direction without variance has no left vector to come from: it is left out as zeros.
    whole = scale > FLOOR * scale[-1].clamp_min(FLOOR)
    return values, torch.where(whole, centred.T @ left / scale.clamp_min(FLOOR), 0.0)
