"""A source model whose target features are drawn to their neighbours and apart from all others.

Reference: Yang, Wang, Wang, Jui & van de Weijer, Attracting and Dispersing: A Simple Approach for
Source-free Domain Adaptation, NeurIPS 2022 (AaD): equation 5 with the decay
(1 + 10 t)^(-beta) of its second term, five neighbours, as in the authors' code.

Departures: the shared backbone, optimiser, budget and schedule; the source model sees the labelled
utterances only; the banks of features and scores are renewed every `update_every` steps instead of
at each; the head stays as the source left it, in the authors' code it is trained on.
"""

from jaxtyping import Float
from torch import Tensor

from clser_bench.nn.losses import neighbourhood
from clser_bench.plugin import Batch, SharedClassifier, Snapshot, SourceFree, State, hyper, register


@register("aad", version=1)
class Aad(SourceFree):
    """Attracting and dispersing."""

    control = {"source_percent": 99}
    keeps = "both terms and the decay of the second; the head is not trained on the target"

    dispersion: float = hyper(
        1.0, low=0.0, high=100.0, grid=(0.3, 1.0, 3.0), about="lambda, at the start"
    )
    decay_power: float = hyper(0.0, low=0.0, high=20.0, grid=(0.0, 5.0), about="beta")
    attraction_weight: float = hyper(1.0, low=0.0, high=100.0, about="factor of the whole loss")
    neighbours: int = hyper(5, low=1, high=1000, about="nearest target utterances")

    def target_loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        """Equation 5; the decay runs over all of training."""
        p = network(batch.target).softmax(dim=-1)
        decay = (1 + 10 * batch.progress) ** (-self.decay_power)
        return self.attraction_weight * attraction(p, batch.state["near"], self.dispersion * decay)

    def update_pseudo_labels(self, snapshot: Snapshot) -> State:
        """The probabilities kept of each row's neighbours."""
        embedding, scores = snapshot.target
        near = neighbourhood(embedding, scores, count=self.neighbours)
        return {"near": scores.softmax(dim=-1)[near.rows]}


def attraction(
    p: Float[Tensor, "b c"], near: Float[Tensor, "b k c"], dispersion: Tensor | float
) -> Float[Tensor, ""]:
    """-mean_i sum_k p_i·p_ik + dispersion · mean_i sum_{j != i} p_i·p_j.

    Reference: Yang et al., Attracting and Dispersing: A Simple Approach for Source-free Domain
    Adaptation, NeurIPS 2022 (AaD), equation 5.

    Args:
        p: class probabilities of a batch.
        near: those kept of each row's neighbours, without gradient.
        dispersion: lambda.
    """
    drawn = (near @ p.unsqueeze(-1)).sum(dim=(-2, -1)).mean()
    # In the second term the other rows of a pair are constants, as in the authors' code.
    inner = p @ p.detach().T
    apart = (inner.sum(dim=-1) - inner.diagonal()).mean()
    return dispersion * apart - drawn
