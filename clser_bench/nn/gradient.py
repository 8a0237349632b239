"""Gradient reversal without an autograd.Function, so that it works under vmap."""

from __future__ import annotations

from torch import Tensor


def reverse_gradient(x: Tensor, weight: Tensor | float) -> Tensor:
    """The identity, whose gradient is multiplied by `-weight`.

    Reference: Ganin & Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015,
    equations 7 and 8.

    Args:
        x: any shape.
        weight: strength, a number or a 0-d tensor.
    """
    return (1 + weight) * x.detach() - weight * x
