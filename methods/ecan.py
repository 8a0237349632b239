"""A source model whose features of the target are contrasted by neighbours and by classes.

Reference: Zhao, Wang, Lu, Li, Schuller, Zong & Zheng, Emotion-Aware Contrastive Adaptation
Network for Source-free Cross-corpus Speech Emotion Recognition, ICASSP 2024 (arXiv 2401.12925).
A model trained on the labelled source is adapted without it to L = L_div + lambda L_ncl
+ beta L_scl: nearest neighbour contrastive learning with a bank of the features of all target
utterances, supervised contrastive learning with pseudo-labels from a bank of their scores, and a
term for balanced predictions.

Departures: the paper's abstract and published summaries of it were at hand, not its equations:
the sum of the three terms, their purposes and the two banks are stated there, the formula of
each term is reconstructed from the literature that its name points to (clser_bench.nn.contrastive:
InfoNCE with the neighbours as positives, Khosla et al.'s loss, the negative entropy of the mean
prediction). Reconstructed likewise: the pseudo-label of an utterance is the likeliest class by
the mean score of itself and its neighbours; the head stays as the source left it, only features
are adapted. Lambda and beta were chosen on the suite `dev`
(results/selection), the temperature and the number of neighbours here. The
banks are renewed every `update_every` steps instead of at each; utterances to keep away from are
the bank's entries of the batch, not all of the bank. The shared backbone, optimiser, budget and
its schedule; the source model sees the labelled utterances only.
"""

import torch
from torch import Tensor

from clser_bench.nn.contrastive import (
    concentration,
    neighbour_contrast,
    neighbourhood,
    supervised_contrast,
)
from clser_bench.plugin import (
    Batch,
    SharedClassifier,
    Snapshot,
    SourceFree,
    State,
    hyper,
    register,
)


@register("ecan", version=2)
class Ecan(SourceFree):
    """Emotion-aware contrastive adaptation network."""

    control = {"source_percent": 99}
    assumes_prior = "uniform"
    keeps = "the sum of three losses and the two banks; each formula is a reconstruction"
    note = "ECAN: terms reconstructed from summaries of the paper (arXiv 2401.12925)"
    neighbour_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 1.0), about="lambda, factor of L_ncl"
    )
    class_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 1.0), about="beta, factor of L_scl"
    )
    temperature: float = hyper(0.1, low=1e-3, high=10.0, log=True, about="tau of both contrasts")
    neighbours: int = hyper(5, low=1, high=1000, about="nearest target utterances")

    def target_loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        """L_div + lambda L_ncl + beta L_scl."""
        u = network.embed(batch.target)
        state = batch.state
        # A row is not kept away from itself (where a batch holds it twice) nor from a neighbour.
        close = (state["near_row"].unsqueeze(-1) == state["row"]).any(dim=-2)
        apart = ~(close | (state["row"].unsqueeze(-1) == state["row"]))
        local = neighbour_contrast(
            u, state["near"], state["feature"], apart.to(u.dtype), self.temperature
        )
        between = supervised_contrast(u, state["label"], self.temperature)
        spread = concentration(network.head(u))
        return spread + self.neighbour_weight * local + self.class_weight * between

    def update_pseudo_labels(self, snapshot: Snapshot) -> State:
        """The bank's features of each row and its neighbours, and pseudo-labels from the scores."""
        target = snapshot.target
        near = neighbourhood(target.embedding, target.scores, count=self.neighbours)
        return {
            "row": torch.arange(len(near.label)),
            "feature": target.embedding,
            "near_row": near.rows,
            "near": target.embedding[near.rows],
            "label": near.label,
        }
