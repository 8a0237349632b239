"""AdamW over stacked parameters, with a learning rate and a weight decay per trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


class StackedAdamW:
    """The state of one part of the network for k trials; equal to `torch.optim.AdamW` per trial.

    It is `torch.optim.AdamW` itself, fused, over views of the stacked parameters: neighbouring
    trials with the same values are one view, so that a pack of equal ones is one pass over its
    memory. Written out as operations on whole tensors it took a fifth of a small network's time.

    Reference: Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2.

    Args:
        flat: [k, p], the part's parameters, updated in place.
        learning_rates: of each trial.
        weight_decays: of each trial.
    """

    def __init__(
        self,
        flat: Float[Tensor, "k p"],
        learning_rates: Sequence[float],
        weight_decays: Sequence[float],
    ) -> None:
        values = list(zip(learning_rates, weight_decays, strict=True))
        self._spans: list[slice] = []
        groups = []
        for (rate, decay), members in itertools.groupby(range(len(values)), values.__getitem__):
            rows = list(members)
            self._spans.append(slice(rows[0], rows[-1] + 1))
            view = flat.detach()[self._spans[-1]]
            groups.append({"params": [view], "lr": rate, "weight_decay": decay, "rate": rate})
        self._optimiser = torch.optim.AdamW(groups, betas=BETAS, eps=EPS, fused=True)

    def reset(self) -> None:
        """Forget the moments and the step count."""
        self._optimiser.state.clear()

    @torch.no_grad()
    def step(self, gradient: Float[Tensor, "k p"], scale: float) -> None:
        """One update.

        Args:
            gradient: [k, p].
            scale: factor of the learning rate at this step.
        """
        for group, span in zip(self._optimiser.param_groups, self._spans, strict=True):
            group["lr"] = group["rate"] * scale
            group["params"][0].grad = gradient[span]
        self._optimiser.step()


def rate_scale(decay: str, progress: float) -> float:
    """Factor of the learning rate: 1, or the cosine from 1 to 0.

    Args:
        decay: `none` or `cosine`.
        progress: share of training done.
    """
    return 1.0 if decay == "none" else 0.5 * (1 + math.cos(math.pi * progress))
