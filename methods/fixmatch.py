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

from torch import Tensor

from clser_bench.nn.consistency import thresholded_loss
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("fixmatch", version=1)
class FixMatch(Trained):
    """Pseudo-labels of weak views above a threshold, cross-entropy on strong views."""

    control = {"unlabelled_weight": 0.0}
    uses = ("labelled", "target")
    views = True
    learning_rate: float = 3e-4
    threshold: float = hyper(
        0.95, low=0.0, high=1.0, grid=(0.5, 0.7, 0.85, 0.95), about="tau, least probability"
    )
    unlabelled_weight: float = hyper(
        1.0, low=0.0, high=100.0, about="lambda_u, factor of the target's loss"
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        weak, strong = network(batch.weak), network(batch.strong)
        return emotion + self.unlabelled_weight * thresholded_loss(weak, strong, self.threshold)
