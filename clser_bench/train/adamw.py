"""AdamW over stacked parameters, with a learning rate and a weight decay per trial."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


class StackedAdamW:
    """The state of one part of the network for k trials; equal to `torch.optim.AdamW` per trial.

    Reference: Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2.

    Args:
        flat: [k, p], the part's parameters, updated in place.
        learning_rate: [k].
        weight_decay: [k].
    """

    def __init__(
        self,
        flat: Float[Tensor, "k p"],
        learning_rate: Float[Tensor, " k"],
        weight_decay: Float[Tensor, " k"],
    ) -> None:
        self.flat = flat
        self.learning_rate = learning_rate[:, None]
        self.weight_decay = weight_decay[:, None]
        self.reset()

    def reset(self) -> None:
        """Forget the moments and the step count."""
        self.first = torch.zeros_like(self.flat)
        self.second = torch.zeros_like(self.flat)
        self.count = 0

    @torch.no_grad()
    def step(self, gradient: Float[Tensor, "k p"], scale: float) -> None:
        """One update.

        Args:
            gradient: [k, p].
            scale: factor of the learning rate at this step.
        """
        self.count += 1
        beta1, beta2 = BETAS
        rate = self.learning_rate * scale
        self.first.lerp_(gradient, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        spread = self.second.sqrt().div_(math.sqrt(1 - beta2**self.count)).add_(EPS)
        self.flat.mul_(1 - rate * self.weight_decay)
        self.flat.sub_((self.first / spread).mul_(rate / (1 - beta1**self.count)))


def rate_scale(decay: str, progress: float) -> float:
    """Factor of the learning rate: 1, or the cosine from 1 to 0.

    Args:
        decay: `none` or `cosine`.
        progress: share of training done.
    """
    return 1.0 if decay == "none" else 0.5 * (1 + math.cos(math.pi * progress))
