"""Batch nuclear-norm maximisation: predictions of the target that are certain and diverse.

Reference: Cui et al., Towards Discriminability and Diversity: Batch Nuclear-norm Maximization
under Label Insufficient Situations, CVPR 2020: the nuclear norm of the batch's predictions
divided by the batch's size, subtracted from the cross-entropy with the factor lambda = 1.

Departures: the shared backbone, optimiser and budget instead of a pre-trained network; emotions
are learned from the few labelled source utterances, and the unlabelled source is not used. The
norm is largest for classes of equal size, hence the declared prior. The authors' code
(cuishuhao/BNM) takes the mean of the singular values, so it divides by the smaller of batch size
and number of classes: close to the batch size for its 36 rows and 31 or 65 classes, but its term
would be about 13 times ours for 64 rows and 5 classes, which is more than the grid reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from clser_bench.hyperparameters import hyper
from clser_bench.nn.backbone import SharedClassifier
from clser_bench.nn.uncertainty import batch_nuclear_norm
from clser_bench.problem import Value
from clser_bench.registry import register
from clser_bench.train.contract import Batch, Phase, Prior, State, Trained


@register("bnm", version=1)
@dataclass(frozen=True, kw_only=True)
class Bnm(Trained):
    """Cross-entropy of emotions minus the nuclear norm of the target's predictions."""

    grid: ClassVar[Mapping[str, tuple[Value, ...]]] = {
        "learning_rate": (3e-4, 1e-3, 3e-3),
        "norm_weight": (0.1, 0.3, 1.0, 3.0),
    }

    norm_weight: float = hyper(
        1.0, low=0.0, high=100.0, about="lambda, factor of the nuclear norm per utterance"
    )

    @property
    def assumes_prior(self) -> Prior:
        """Uniform: among certain predictions the norm prefers classes of equal size."""
        return "uniform"

    def phases(self) -> tuple[Phase, ...]:
        """One step, without the unlabelled source."""
        return (Phase(sees=("labelled", "target")),)

    def loss(
        self, network: SharedClassifier, batch: Batch, carry: State, progress: float
    ) -> Tensor:
        """Cross-entropy of the labelled batch minus the target's nuclear norm."""
        emotion = functional.cross_entropy(network(batch.labelled), batch.y)
        return emotion - self.norm_weight * batch_nuclear_norm(network(batch.target))
