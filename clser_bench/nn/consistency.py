"""Losses of semi-supervised learning: pseudo-labels, consistency between views, their ramps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SMALLEST = 1e-12


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

    mean over all i of 1(max_k q[i, k] >= tau_i) · H(argmax_k q[i, k], p[i]), where q are the
    probabilities of the weak view and p those of the strong one. Rows below the threshold count
    in the mean.

    Reference: Sohn et al., FixMatch, NeurIPS 2020: the unsupervised loss, equation 4.

    Args:
        weak: class scores of the weak views; no gradient flows through them.
        strong: class scores of the strong views, row by row the same utterances.
        threshold: tau, 0 to 1; one for all rows, or a row's own [n].
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
    target = teacher.detach().softmax(dim=-1)
    return (student.softmax(dim=-1) - target).square().mean()


def mean_confidence(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """The mean over rows of the largest probability, without gradient.

    Reference: Berthelot et al., AdaMatch, ICLR 2022, section 3.3: tau times this value on the
    labelled batch is the relative confidence threshold.

    Args:
        logits: class scores.
    """
    return logits.detach().softmax(dim=-1).max(dim=-1).values.mean()


def aligned_logits(
    target: Float[Tensor, "n c"], labelled: Float[Tensor, "m c"]
) -> Float[Tensor, "n c"]:
    """Log-probabilities of target rows whose shares follow those of the labelled rows.

    log q_ik + log mean_j p_jk - log mean_i q_ik, normalised; no gradient flows.

    Reference: Berthelot et al., AdaMatch, ICLR 2022, section 3.2 (distribution alignment).

    Args:
        target: class scores of the weak views.
        labelled: class scores of the labelled batch.
    """
    log_q = target.detach().log_softmax(dim=-1)
    wanted = labelled.detach().softmax(dim=-1).mean(dim=0)
    return (log_q + (wanted / log_q.exp().mean(dim=0).clamp_min(SMALLEST)).log()).log_softmax(-1)


class Thresholds(NamedTuple):
    """What FreeMatch keeps of the target's answers, as moving averages.

    Attributes:
        overall: mean confidence [].
        share: mean probability of each class [c].
        taken: share of the rows whose likeliest class it is [c].
    """

    overall: Float[Tensor, ""]
    share: Float[Tensor, " c"]
    taken: Float[Tensor, " c"]

    def moved(self, weak: Float[Tensor, "n c"], keep: Tensor | float) -> Thresholds:
        """The averages after a batch (equations 5 and 6 of the paper).

        Args:
            weak: class scores of weak views; no gradient flows through them.
            keep: momentum, 0 to 1.
        """
        p = weak.detach().softmax(dim=-1)
        taken = functional.one_hot(p.argmax(dim=-1), p.shape[-1]).to(p.dtype).mean(dim=0)
        now = Thresholds(p.max(dim=-1).values.mean(), p.mean(dim=0), taken)
        return Thresholds(
            *(keep * old + (1 - keep) * new for old, new in zip(self, now, strict=True))
        )

    def of(self, weak: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
        """Each row's threshold: share_k / max share · overall, k its likeliest class (equation 7).

        Args:
            weak: class scores of weak views.
        """
        local = self.share / self.share.max().clamp_min(SMALLEST)
        return self.overall * local[weak.detach().argmax(dim=-1)]


def fairness_loss(
    strong: Float[Tensor, "n c"], sure: Float[Tensor, " n"], kept: Thresholds
) -> Float[Tensor, ""]:
    """sum_k a_k log b_k: the answers of sure strong views shall spread as those kept do.

    a is proportional to share / count of what is kept, b to the same of the sure rows' strong
    views; a class without a count has no part, and nothing is lost where no row is sure.

    Reference: Wang et al., FreeMatch, ICLR 2023, equations 10 and 11 (self-adaptive fairness).

    Args:
        strong: class scores of strong views.
        sure: 1 for the rows above their threshold, else 0.
        kept: the moving averages.
    """
    p = strong.softmax(dim=-1)
    total = sure.sum().clamp_min(1)
    share = (sure.unsqueeze(-1) * p).sum(dim=0) / total
    member = functional.one_hot(p.detach().argmax(dim=-1), p.shape[-1]).to(p.dtype)
    count = (sure.unsqueeze(-1) * member).sum(dim=0) / total
    a, b = _spread(kept.share, kept.taken), _spread(share, count)
    return (a.detach() * b.clamp_min(SMALLEST).log()).sum() * (sure.sum() > 0)


def _spread(share: Float[Tensor, " c"], count: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    ratio = torch.where(count > 0, share / torch.where(count > 0, count, 1), 0)
    return ratio / ratio.sum().clamp_min(SMALLEST)
