"""Entropy minimisation: the classifier is to be sure of the target's emotions.

Reference: Grandvalet & Bengio, Semi-supervised Learning by Entropy Minimization, NIPS 2004: the
log-likelihood of the labelled utterances minus lambda times the entropy of the unlabelled ones.

Departures: the shared backbone, optimiser and budget; the unlabelled utterances are the target's,
of another language than the labelled ones; lambda does not rise during training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from clser_bench.hyperparameters import hyper
from clser_bench.nn.backbone import SharedClassifier
from clser_bench.nn.uncertainty import mean_entropy
from clser_bench.problem import Value
from clser_bench.registry import register
from clser_bench.train.contract import Batch, Phase, State, Trained


@register("entropy-min", version=1)
@dataclass(frozen=True, kw_only=True)
class EntropyMin(Trained):
    """Cross-entropy of emotions plus the entropy of the target's predictions."""

    grid: ClassVar[Mapping[str, tuple[Value, ...]]] = {
        "learning_rate": (3e-4, 1e-3, 3e-3),
        "entropy_weight": (0.01, 0.1, 0.3, 1.0),
    }

    entropy_weight: float = hyper(0.1, low=0.0, high=100.0, about="lambda, factor of the entropy")

    def phases(self) -> tuple[Phase, ...]:
        """One; the rest of the source is not used."""
        return (Phase(sees=("labelled", "target")),)

    def loss(
        self, network: SharedClassifier, batch: Batch, carry: State, progress: float
    ) -> Tensor:
        """Cross-entropy of the labelled batch plus lambda times the target's mean entropy."""
        emotion = functional.cross_entropy(network(batch.labelled), batch.y)
        return emotion + self.entropy_weight * mean_entropy(network(batch.target))
