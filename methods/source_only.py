"""The shared backbone trained on the labelled source alone; the control of every trained method.

Reference: cross-entropy, no adaptation.

Departures: none.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from clser_bench.nn.backbone import SharedClassifier
from clser_bench.registry import register
from clser_bench.train.contract import Batch, Phase, State, Trained


@register("source-only", version=1)
@dataclass(frozen=True, kw_only=True)
class SourceOnly(Trained):
    """Cross-entropy on the labelled source."""

    def phases(self) -> tuple[Phase, ...]:
        """One, on the labelled source."""
        return (Phase(sees=("labelled",)),)

    def loss(
        self, network: SharedClassifier, batch: Batch, carry: State, progress: float
    ) -> Tensor:
        """Cross-entropy of the labelled batch."""
        return functional.cross_entropy(network(batch.labelled), batch.y)
