"""FixMatch: confident classes of lightly noised target views, taught to strongly noised ones.

Reference: Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and
Confidence, NeurIPS 2020: equations 3 and 4 (supervised and unsupervised loss), algorithm 1.

Departures: the shared backbone, optimiser and budget instead of the paper's; no augmentation of
images but noise on the features (weak: Gaussian, deviation 0.1 in z-score units; strong: 0.5,
and a quarter of the values set to zero); labelled utterances are not noised; the utterances
without labels are the target's, another corpus than the labelled ones, and as many a step as
the budget allows instead of seven times the labelled ones; the scores are the network's own, not
those of a moving average. The threshold 0.95 and the weight 1 are the paper's, the
learning rate was chosen on the suite `dev` (results/selection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from clser_bench.hyperparameters import hyper
from clser_bench.nn.backbone import SharedClassifier
from clser_bench.nn.consistency import thresholded_loss
from clser_bench.problem import Value
from clser_bench.registry import register
from clser_bench.train.contract import Batch, Phase, State, Trained


@register("fixmatch", version=1)
@dataclass(frozen=True, kw_only=True)
class FixMatch(Trained):
    """Pseudo-labels of weak views above a threshold, cross-entropy on strong views."""

    views: ClassVar[bool] = True
    grid: ClassVar[Mapping[str, tuple[Value, ...]]] = {
        "learning_rate": (3e-4, 1e-3, 3e-3),
        "threshold": (0.5, 0.7, 0.85, 0.95),
    }

    learning_rate: float = hyper(3e-4, low=1e-6, high=1.0, log=True, about="AdamW, at the start")
    threshold: float = hyper(0.95, low=0.0, high=1.0, about="tau, least probability of a label")
    unlabelled_weight: float = hyper(
        1.0, low=0.0, high=100.0, about="lambda_u, factor of the target's loss"
    )

    def phases(self) -> tuple[Phase, ...]:
        """One, without the unlabelled source."""
        return (Phase(sees=("labelled", "target")),)

    def loss(
        self, network: SharedClassifier, batch: Batch, carry: State, progress: float
    ) -> Tensor:
        """Cross-entropy of the labelled batch plus that of the strong views."""
        emotion = functional.cross_entropy(network(batch.labelled), batch.y)
        weak, strong = network(batch.weak), network(batch.strong)
        return emotion + self.unlabelled_weight * thresholded_loss(weak, strong, self.threshold)
