"""AdaMatch: consistency on the target with aligned class shares and a relative threshold.

Reference: Berthelot, Roelofs, Sohn, Carlini & Kurakin, AdaMatch: A Unified Approach to
Semi-Supervised Learning and Domain Adaptation, ICLR 2022: distribution alignment (section 3.2),
relative confidence threshold (section 3.3, tau = 0.9), loss and its warm-up (equations 2 to 4,
mu = 1/2 - cos(min(pi, 2 pi t)) / 2).

Departures: the shared backbone, optimiser and budget instead of the paper's; no augmentation of
images but noise on the features (weak: Gaussian, deviation 0.1 in z-score units; strong: 0.5,
and a quarter of the values set to zero), none on labelled utterances; no random interpolation of
logits, which is about the statistics of batch normalisation; shares are those of the batch, not
moving averages. The labelled batch is even over the classes, so the target's answers are too.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.nn.losses import mean_confidence, thresholded_loss
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register

SMALLEST = 1e-12


@register("adamatch", version=1)
class AdaMatch(Trained):
    """Aligned pseudo-labels of weak views above a threshold, cross-entropy on strong views."""

    uses = ("labelled", "target")
    assumes_prior = "uniform"
    views = True
    control = {"unlabelled_weight": 0.0}
    keeps = "distribution alignment, relative threshold and warm-up; not the logit interpolation"

    threshold: float = hyper(
        0.9, low=0.0, high=2.0, grid=(0.5, 0.7, 0.9), about="tau, of the mean confidence"
    )
    unlabelled_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 0.3, 1.0), about="factor of the target's loss"
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        known = network(batch.labelled)
        weak = aligned_logits(network(batch.weak), known)
        threshold = self.threshold * mean_confidence(known)
        taught = thresholded_loss(weak, network(batch.strong), threshold)
        ramp = warm_up(batch.progress, dtype=known.dtype)
        return cross_entropy(known, batch.y) + self.unlabelled_weight * ramp * taught


def warm_up(progress: Tensor | float, *, dtype: torch.dtype) -> Tensor:
    """From 0 to 1 over the first half of training along a cosine.

    Args:
        progress: share of training done.
        dtype: of the result.
    """
    angle = torch.as_tensor(2 * math.pi * progress, dtype=dtype).clamp(max=math.pi)
    return (1 - torch.cos(angle)) / 2


def aligned_logits(
    target: Float[Tensor, "n c"], labelled: Float[Tensor, "m c"]
) -> Float[Tensor, "n c"]:
    """Log-probabilities of target rows whose shares follow those of the labelled rows.

    log q_ik + log mean_j p_jk - log mean_i q_ik, normalised; no gradient flows.

    Reference: Berthelot et al., AdaMatch, ICLR 2022, section 3.2 (distribution alignment).

    Args:
        target: class scores of the weak views.
        labelled: class scores of the labelled batch.
    """
    log_q = target.detach().log_softmax(dim=-1)
    wanted = labelled.detach().softmax(dim=-1).mean(dim=0)
    return (log_q + (wanted / log_q.exp().mean(dim=0).clamp_min(SMALLEST)).log()).log_softmax(-1)
