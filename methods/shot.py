"""A source model whose features are fitted to the target, without the source, below a fixed head.

Reference: Liang, Hu & Feng, Do We Really Need to Access the Source Data? Source Hypothesis Transfer
for Unsupervised Domain Adaptation, ICML 2020 (SHOT): source model with smoothed labels, information
maximisation and self-supervised pseudo-labels; the latter's details (1 appended to the features,
centroids renewed once, classes that nobody is given left out) and the factors 0.1 (smoothing), 1
(information) and 0.3 (pseudo-labels) as in the authors' code.

Departures: the shared backbone (no bottleneck with BatchNorm), a linear head without weight
normalisation, the shared optimiser, budget and schedule, which runs on through both stages. The
source model sees the few labelled utterances only and is not chosen on held-out source.
Pseudo-labels are renewed every `update_every` steps, not once an epoch; training starts from random
weights, as there is no pretrained network, so that the features learn as fast as everything else.
The pseudo-labels' factor was chosen on the suite `dev` (results/selection).
"""

from torch import Tensor

from clser_bench.nn.information import centroid_labels, information_loss, smoothed_cross_entropy
from clser_bench.plugin import (
    Batch,
    SharedClassifier,
    Snapshot,
    SourceFree,
    State,
    cross_entropy,
    hyper,
    register,
)


@register("shot", version=2)
class Shot(SourceFree):
    """Source hypothesis transfer."""

    control = {"source_percent": 99}
    assumes_prior = "uniform"

    pseudo_weight: float = hyper(
        0.1, low=0.0, high=10.0, grid=(0.0, 0.1, 0.3, 1.0), about="of pseudo-labels"
    )
    smoothing: float = hyper(0.1, low=0.0, high=0.9, about="of the source's labels")
    rounds: int = hyper(2, low=1, high=100, about="assignments to centroids")

    def source_loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        """Cross-entropy to the smoothed labels of the labelled batch."""
        return smoothed_cross_entropy(network(batch.labelled), batch.y, self.smoothing)

    def target_loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        """Information maximisation plus cross-entropy to the pseudo-labels."""
        logits = network(batch.target)
        pseudo = cross_entropy(logits, batch.state["label"])
        return information_loss(logits) + self.pseudo_weight * pseudo

    def update_pseudo_labels(self, snapshot: Snapshot) -> State:
        """Pseudo-labels by centroids of the whole target."""
        embedding, scores = snapshot.target
        return {"label": centroid_labels(embedding, scores, rounds=self.rounds)}
