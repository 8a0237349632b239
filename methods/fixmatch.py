"""FixMatch: confident classes of lightly noised target views, taught to strongly noised ones.

Reference: Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and
Confidence, NeurIPS 2020: equations 3 and 4 (supervised and unsupervised loss), algorithm 1.

Departures: the shared backbone, optimiser and budget instead of the paper's; no augmentation of
images but noise on the features (weak: Gaussian, deviation 0.1 in z-score units; strong: 0.5,
and a quarter of the values set to zero); labelled utterances are not noised; the utterances
without labels are the target's, another corpus than the labelled ones, and as many a step as
the budget allows instead of seven times the labelled ones; the scores are the network's own, not
those of a moving average. The threshold is relative, tau times the mean confidence on the labelled
batch (AdaMatch, section 3.3): an absolute 0.95 is reached by no utterance of another language.
"""

from torch import Tensor

from clser_bench.nn.losses import mean_confidence, thresholded_loss
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("fixmatch", version=2)
class FixMatch(Trained):
    """Pseudo-labels of weak views above a threshold, cross-entropy on strong views."""

    control = {"unlabelled_weight": 0.0}
    uses = ("labelled", "target")
    views = True
    threshold: float = hyper(
        0.95, low=0.0, high=2.0, grid=(0.7, 0.95), about="tau, of the mean confidence"
    )
    unlabelled_weight: float = hyper(
        0.1,
        low=0.0,
        high=100.0,
        grid=(0.03, 0.1, 0.3),
        about="lambda_u, of the target's loss",
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        known = network(batch.labelled)
        threshold = self.threshold * mean_confidence(known)
        taught = thresholded_loss(network(batch.weak), network(batch.strong), threshold)
        return cross_entropy(known, batch.y) + self.unlabelled_weight * taught
