"""The shared backbone trained on the labelled source alone; the control of every trained method.

Reference: cross-entropy, no adaptation.

Departures: none.
"""

from torch import Tensor

from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("source-only", version=1)
class SourceOnly(Trained):
    """Cross-entropy on the labelled source."""

    uses = ("labelled",)

    weight_decay: float = hyper(
        0.03,
        low=0.0,
        high=10.0,
        grid=(0.003, 0.01, 0.03, 0.1),
        about="L2 penalty, in the gradient",
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        return cross_entropy(network(batch.labelled), batch.y)
