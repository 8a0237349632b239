"""Joint adaptation network: kernel means of embedding and predicted emotion together match.

Reference: Long et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017: JMMD,
the objective of JAN, and the weight that rises as 2 / (1 + exp(-gamma p)) - 1 with gamma = 10.
The kernels are those of the authors' code (thuml/Xlearn): five for the embedding, bandwidths 1/4
to 4 times the mean squared distance within the batch, and one for the softmax, bandwidth 1.68.

Departures: the shared backbone, optimiser and budget instead of a pre-trained network; the adapted
layers are the embedding and the softmax; JMMD is the unbiased estimate from all pairs of a batch
instead of the linear-time one; it compares the target with the whole source, labelled or not, while
the emotions are learned from the few labelled utterances; JAN-A, the paper's variant with an
adversary, is left out. The weight (1 in the paper) was chosen on the suite `wide`
(results/selection/defaults.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.nn.backbone import sigmoid_ramp
from clser_bench.nn.losses import five_kernels, mean_distance, squared_distances
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("jan", version=1)
class Jan(Trained):
    """Cross-entropy of emotions plus JMMD of embedding and class probabilities."""

    control = {"jmmd_weight": 0.0}

    jmmd_weight: float = hyper(
        0.01, low=0.0, high=100.0, grid=(0.01, 0.1, 1.0), about="factor of JMMD after the ramp"
    )
    ramp: float = hyper(10.0, low=0.1, high=100.0, log=True, about="gamma of the paper's ramp")
    bandwidth: float = hyper(
        1.68, low=0.01, high=100.0, log=True, about="of the softmax's kernel, squared distance"
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        source, target = network.embed(batch.source), network.embed(batch.target)
        p, q = network.head(source).softmax(dim=-1), network.head(target).softmax(dim=-1)
        weight = self.jmmd_weight * sigmoid_ramp(self.ramp, batch.progress, dtype=emotion.dtype)
        return emotion + weight * joint_mmd(source, target, p, q, self.bandwidth)


def joint_mmd(
    source: Float[Tensor, "n e"],
    target: Float[Tensor, "m e"],
    source_classes: Float[Tensor, "n c"],
    target_classes: Float[Tensor, "m c"],
    bandwidth: Tensor | float,
) -> Float[Tensor, ""]:
    """JMMD^2: the kernel of a pair is that of the embeddings times that of the predictions.

    Reference: Long et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017,
    JMMD; kernels as in the authors' code: five for the embedding, one for the predictions.

    Args:
        source: embeddings.
        target: embeddings of the other side.
        source_classes: class probabilities of the source's rows.
        target_classes: of the target's.
        bandwidth: of the predictions' kernel exp(-|p - q|^2 / b).
    """
    kernel = five_kernels(torch.cat([source, target]))
    squared = squared_distances(torch.cat([source_classes, target_classes]))
    return mean_distance(kernel * torch.exp(-squared / bandwidth), len(source))
