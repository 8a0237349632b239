"""Instances told apart within a language and matched across languages.

Reference: Kim, Saito, Oh, Plummer, Sclaroff & Saenko, Cross-domain Self-supervised Learning for
Domain Adaptation with Few Source Labels, arXiv 2003.08264 (CDS): in-domain instance discrimination
(equations 1 to 3) and cross-domain matching by least entropy of similarity (equations 4 to 6).

Departures: one stage together with the cross-entropy of the labelled utterances, where the paper
trains without labels first; the shared backbone, optimiser and budget; an instance's key is its
embedding in the same batch, without gradient, and its query that of its features with Gaussian
noise, where the paper keeps a memory bank of all embeddings; both sides of a batch instead of the
banks are told apart and matched.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from clser_bench.nn.losses import matching_entropy
from clser_bench.plugin import (
    Batch,
    Shape,
    SharedClassifier,
    Trained,
    View,
    cross_entropy,
    hyper,
    join,
    register,
)


@register("cds", version=1)
class Cds(Trained):
    """Cross-domain self-supervision."""

    control = {"instance_weight": 0.0, "matching_weight": 0.0}
    keeps = "both self-supervised losses, in one stage with the labels and within a batch"

    instance_weight: float = hyper(
        0.01, low=0.0, high=100.0, grid=(0.01, 0.03, 0.1), about="factor of the discrimination"
    )
    matching_weight: float = hyper(
        0.003, low=0.0, high=100.0, grid=(0.003, 0.01, 0.03), about="factor of the matching"
    )
    temperature: float = hyper(0.1, low=1e-3, high=10.0, log=True, about="tau of both terms")
    deviation: float = hyper(0.3, low=0.0, high=10.0, about="of the noise, in z-score units")

    def noise_size(self, shape: Shape) -> int:
        return (self.source_batch + self.target_batch) * (shape.d + shape.f)

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        n = len(batch.source.summary)
        both = join(batch.source, batch.target)
        u, keys = network.embed(self._noised(both, batch.noise)), network.embed(both)
        tau = self.temperature
        own = instance_contrast(u[:n], keys[:n].detach(), tau)
        own = own + instance_contrast(u[n:], keys[n:].detach(), tau)
        across = matching_entropy(u[:n], keys[n:].detach(), tau)
        across = across + matching_entropy(u[n:], keys[:n].detach(), tau)
        emotion = cross_entropy(network(batch.labelled), batch.y)
        return emotion + self.instance_weight * own + self.matching_weight * across

    def _noised(self, view: View, noise: Tensor) -> View:
        (n, d), f = view.pooled.shape, view.summary.shape[1]
        pooled = self.deviation * noise[: n * d].reshape(n, d)
        summary = self.deviation * noise[n * d : n * (d + f)].reshape(n, f)
        return View(view.instants, view.values + torch.cat([pooled, summary], dim=1))


def instance_contrast(
    u: Float[Tensor, "b e"], keys: Float[Tensor, "b e"], temperature: Tensor | float
) -> Float[Tensor, ""]:
    """Each row shall be nearest to its own key: -mean_i log softmax_j(u_i·k_j / tau)[i].

    Reference: Kim et al., Cross-domain Self-supervised Learning for Domain Adaptation with Few
    Source Labels, arXiv 2003.08264 (CDS), equations 1 and 2 (in-domain instance discrimination).

    Args:
        u: embeddings.
        keys: of the same utterances, another time.
        temperature: tau, positive.
    """
    similarity = functional.normalize(u, dim=-1) @ functional.normalize(keys, dim=-1).T
    return -(similarity / temperature).log_softmax(dim=-1).diagonal().mean()
