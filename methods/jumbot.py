"""Joint transport of features and labels between batches, whose masses need not be kept.

Reference: Fatras, Sejourne, Flamary & Courty, Unbalanced Minibatch Optimal Transport; Applications
to Domain Adaptation, ICML 2021 (JUMBOT): the cost eta_1 |g(x_s) - g(x_t)|^2 + eta_2 CE(y_s,
f(x_t)) and the loss of equation 8; epsilon = 0.1, tau = 1 and eta_1 = eta_2 = 0.1 of the authors'
code for digits.

Departures: the shared backbone, optimiser and budget; only the labelled source utterances are
transported, in batches even over the classes; the plan takes 30 Sinkhorn steps; the squared
distance is divided by the embedding's size, so that eta_1 means the same for any.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from clser_bench.plugin import (
    HIDDEN,
    Batch,
    SharedClassifier,
    Trained,
    cross_entropy,
    hyper,
    join,
    register,
)


@register("jumbot", version=1)
class Jumbot(Trained):
    """Unbalanced transport of labelled utterances to the target's."""

    uses = ("labelled", "target")
    assumes_prior = "uniform"
    control = {"transport_weight": 0.0}
    keeps = "the joint cost and the unbalanced plan of each batch"

    feature_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 1.0), about="eta_1, of the embeddings' distance"
    )
    label_weight: float = hyper(
        0.1, low=0.0, high=100.0, grid=(0.1, 0.3), about="eta_2, of the cross-entropy"
    )
    transport_weight: float = hyper(
        0.3, low=0.0, high=100.0, grid=(0.1, 0.3, 1.0), about="of the whole transport"
    )
    entropy: float = hyper(0.1, low=1e-4, high=100.0, log=True, about="epsilon of the plan")
    marginals: float = hyper(1.0, low=1e-4, high=1e4, log=True, about="tau, how well masses keep")
    iterations: int = hyper(30, low=1, high=10_000, about="Sinkhorn steps")

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        embedding = network.embed(join(batch.labelled, batch.target))
        known, target = embedding[: len(batch.y)], embedding[len(batch.y) :]
        log_p = network.head(target).log_softmax(dim=-1)
        label = functional.one_hot(batch.y, log_p.shape[-1]).to(log_p.dtype)
        square = known.square().sum(-1, keepdim=True) + target.square().sum(-1)
        distance = (square - 2 * known @ target.T) / HIDDEN
        cost = self.feature_weight * distance - self.label_weight * label @ log_p.T
        plan = unbalanced_plan(
            cost, entropy=self.entropy, marginals=self.marginals, iterations=self.iterations
        )
        emotion = cross_entropy(network.head(known), batch.y)
        total: Tensor = emotion + self.transport_weight * (plan * cost).sum()
        return total


def unbalanced_plan(
    cost: Float[Tensor, "m n"],
    *,
    entropy: Tensor | float,
    marginals: Tensor | float,
    iterations: int,
) -> Float[Tensor, "m n"]:
    """The plan G of least <G, C> + entropy · KL(G | ab') + marginals · (KL(G1 | a) + KL(G'1 | b)).

    a and b are uniform. Generalised Sinkhorn steps on the logarithms of the scalings:
    f <- r (log a - log sum_j exp(g_j - C_ij / entropy)), r = marginals / (marginals + entropy),
    likewise g. No gradient flows.

    Reference: Chizat et al., Scaling Algorithms for Unbalanced Optimal Transport Problems,
    Mathematics of Computation 2018, algorithm 1; `ot.unbalanced.sinkhorn_unbalanced` of POT.

    Args:
        cost: C.
        entropy: positive.
        marginals: positive; the larger, the better the masses are kept.
        iterations: steps.
    """
    m, n = cost.shape
    logit = -cost.detach() / entropy
    log_a, log_b = (-torch.log(torch.tensor(float(size), dtype=cost.dtype)) for size in (m, n))
    # With the reference measure ab' the kernel is ab' exp(-C / entropy).
    logit = logit + log_a + log_b
    power = marginals / (marginals + entropy)
    f, g = torch.zeros_like(logit[:, 0]), torch.zeros_like(logit[0])
    for _ in range(iterations):
        f = power * (log_a - torch.logsumexp(logit + g, dim=1))
        g = power * (log_b - torch.logsumexp(logit + f.unsqueeze(-1), dim=0))
    return torch.exp(logit + f.unsqueeze(-1) + g)
