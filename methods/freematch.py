"""FreeMatch: consistency on the target with thresholds that follow the network's own confidence.

Reference: Wang et al., FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning, ICLR
2023: the self-adaptive thresholds of equations 5 to 7, the loss of equation 8 and the
self-adaptive fairness of equations 9 to 11, its weight 0.01 as in the authors' code.

Departures: the shared backbone, optimiser and budget instead of the paper's; noise on the features
instead of augmentation of images (as `fixmatch`); the momentum of the averages is 0.9 instead of
0.999, for there are 200 steps and not a million; they start at 1 / c, as in the paper.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.losses import thresholded_loss
from clser_bench.plugin import (
    Batch,
    SharedClassifier,
    State,
    Trained,
    cross_entropy,
    hyper,
    register,
)

SMALLEST = 1e-12


@register("freematch", version=1)
class FreeMatch(Trained):
    """Pseudo-labels of weak views above thresholds of their classes."""

    uses = ("labelled", "target")
    views = True
    control = {"unlabelled_weight": 0.0, "fairness_weight": 0.0}
    keeps = "both self-adaptive thresholds and the fairness term"

    unlabelled_weight: float = hyper(
        0.03, low=0.0, high=100.0, grid=(0.03, 0.1, 0.3, 1.0), about="factor of the target's loss"
    )
    fairness_weight: float = hyper(
        0.01, low=0.0, high=10.0, grid=(0.0, 0.01, 0.1), about="factor of the fairness term"
    )
    momentum: float = hyper(0.9, low=0.0, high=0.9999, about="of the moving averages")

    def initial_carry(self, network: SharedClassifier) -> State:
        even = torch.full_like(network.head.bias, 1 / len(network.head.bias))
        return Thresholds(even[0], even, even)._asdict()

    def update_carry(self, network: SharedClassifier, batch: Batch) -> State:
        kept = Thresholds(**batch.carry)
        return kept.moved(network(batch.weak), self.momentum)._asdict()

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        weak, strong = network(batch.weak), network(batch.strong)
        kept = Thresholds(**batch.carry)
        threshold = kept.of(weak)
        sure = (weak.detach().softmax(dim=-1).max(dim=-1).values >= threshold).to(weak.dtype)
        taught = thresholded_loss(weak, strong, threshold)
        fair = fairness_loss(strong, sure, kept)
        emotion = cross_entropy(network(batch.labelled), batch.y)
        return emotion + self.unlabelled_weight * taught + self.fairness_weight * fair


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
