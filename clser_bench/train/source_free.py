"""The course that source-free methods share: a source model, then its features on the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from clser_bench.registry import hyper
from clser_bench.train.contract import Batch, Part, Phase, Trained


@dataclass(frozen=True, kw_only=True)
class SourceFree(Trained):
    """Trained on the labelled source alone, then adapted to the target without the source.

    In the second part the head stays as the source left it and only the backbone is trained, on
    `target_loss`; its optimiser starts anew. Row-indexed states come from `update_pseudo_labels`.
    """

    uses: ClassVar[tuple[Part, ...]] = ("labelled", "target")

    source_percent: int = hyper(50, low=1, high=99, about="of the steps, on the source alone")
    update_every: int = hyper(20, low=1, high=100_000, about="steps between two target snapshots")

    @property
    def refresh_every(self) -> int:
        """Steps between two snapshots of the target."""
        return self.update_every

    def phases(self) -> tuple[Phase, ...]:
        """First the source without the target, then the target without the source."""
        change = self.source_percent / 100
        return (
            Phase(loss="source_loss", stop=change, uses=("labelled",)),
            Phase(
                loss="target_loss",
                trains=("backbone",),
                start=change,
                reset_optimiser=True,
                uses=("target",),
            ),
        )

    def source_loss(self, network: Any, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy of the labelled batch."""
        return cross_entropy(network(batch.labelled), batch.y)

    def target_loss(self, network: Any, batch: Batch) -> Float[Tensor, ""]:
        """The loss of the second part, on `batch.target` and `batch.state`."""
        raise NotImplementedError
