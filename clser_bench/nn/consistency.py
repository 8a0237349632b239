"""Losses of semi-supervised learning: pseudo-labels, consistency between views, their ramps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def linear_ramp(
    progress: float, start: Tensor | float, length: Tensor | float, *, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """Zero until `start`, one after `start + length`, a straight line between.

    Reference: Lee, Pseudo-Label, ICML workshop 2013: alpha(t) / alpha_f, with T1 = start and
    T2 = start + length.

    Args:
        progress: share of training done.
        start: share of training at which it begins to rise.
        length: share of training that it rises for, positive.
        dtype: of the result.
    """
    return torch.as_tensor((progress - start) / length, dtype=dtype).clamp(0, 1)


def gaussian_ramp(
    progress: float, length: Tensor | float, *, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """exp(-5 (1 - t)^2) with t = min(progress / length, 1): from 0.007 to 1.

    Reference: Tarvainen & Valpola, Mean teachers are better role models, NIPS 2017 (appendix on
    training), after Laine & Aila, Temporal ensembling, ICLR 2017; both call it sigmoid-shaped.

    Args:
        progress: share of training done.
        length: share of training that it rises for, positive.
        dtype: of the result.
    """
    t = torch.as_tensor(progress / length, dtype=dtype).clamp(0, 1)
    return torch.exp(-5 * (1 - t).square())


def pseudo_label_loss(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """Cross-entropy of each row to its own likeliest class: mean of -max_k log p[i, k].

    Reference: Lee, Pseudo-Label, ICML workshop 2013: the second sum of the overall loss.

    Args:
        logits: class scores; the gradient does not see how the class was chosen.
    """
    return -torch.log_softmax(logits, dim=-1).max(dim=-1).values.mean()


def thresholded_loss(
    weak: Float[Tensor, "n c"], strong: Float[Tensor, "n c"], threshold: Tensor | float
) -> Float[Tensor, ""]:
    """Cross-entropy of strong views to the confident pseudo-labels of weak ones.

    mean over all i of 1(max_k q[i, k] >= threshold) · H(argmax_k q[i, k], p[i]), where q are the
    probabilities of the weak view and p those of the strong one. Rows below the threshold count
    in the mean.

    Reference: Sohn et al., FixMatch, NeurIPS 2020: the unsupervised loss, equation 4.

    Args:
        weak: class scores of the weak views; no gradient flows through them.
        strong: class scores of the strong views, row by row the same utterances.
        threshold: tau, 0 to 1.
    """
    confidence, label = weak.detach().softmax(dim=-1).max(dim=-1)
    each = functional.cross_entropy(strong, label, reduction="none")
    return (each * (confidence >= threshold).to(each.dtype)).mean()


def squared_consistency(
    student: Float[Tensor, "n c"], teacher: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """Mean squared difference of class probabilities, over rows and classes.

    Reference: Tarvainen & Valpola, Mean teachers are better role models, NIPS 2017: the
    consistency cost of section 2, averaged over classes as in the authors' code.

    Args:
        student: class scores.
        teacher: class scores of the same utterances; no gradient flows through them.
    """
    told = teacher.detach().softmax(dim=-1)
    return (student.softmax(dim=-1) - told).square().mean()
