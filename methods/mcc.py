"""Minimum class confusion: predictions of the target in which classes are not mistaken.

Reference: Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020:
probability rescaling, class correlation with uncertainty reweighting, category normalisation, and
their sum with the cross-entropy. The reweighting by constants is that of the
authors' code (thuml/Transfer-Learning-Library); temperature 2.5 and weight 1 are the paper's.

Departures: the shared backbone, optimiser and budget instead of a pre-trained network with a
bottleneck; emotions are learned from the few labelled source utterances, and the unlabelled
source is not used. The weight and the learning rate were chosen on the suite `dev`
(results/selection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from clser_bench.hyperparameters import hyper
from clser_bench.nn.backbone import SharedClassifier
from clser_bench.nn.uncertainty import class_confusion
from clser_bench.problem import Value
from clser_bench.registry import register
from clser_bench.train.contract import Batch, Phase, State, Trained


@register("mcc", version=1)
@dataclass(frozen=True, kw_only=True)
class Mcc(Trained):
    """Cross-entropy of emotions plus the class confusion of the target."""

    grid: ClassVar[Mapping[str, tuple[Value, ...]]] = {
        "learning_rate": (3e-4, 1e-3, 3e-3),
        "confusion_weight": (0.1, 0.3, 1.0, 3.0),
    }

    learning_rate: float = hyper(3e-4, low=1e-6, high=1.0, log=True, about="AdamW, at the start")
    confusion_weight: float = hyper(3.0, low=0.0, high=100.0, about="factor of the confusion")
    temperature: float = hyper(
        2.5, low=0.1, high=100.0, log=True, about="divides class scores before the softmax"
    )

    def phases(self) -> tuple[Phase, ...]:
        """One step, without the unlabelled source."""
        return (Phase(sees=("labelled", "target")),)

    def loss(
        self, network: SharedClassifier, batch: Batch, carry: State, progress: float
    ) -> Tensor:
        """Cross-entropy of the labelled batch plus the target's class confusion."""
        emotion = functional.cross_entropy(network(batch.labelled), batch.y)
        confusion = class_confusion(network(batch.target), self.temperature)
        return emotion + self.confusion_weight * confusion
