"""Deep adaptation network: kernel means of both languages match in two layers.

Reference: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015:
the objective with a multi-kernel MMD for every adapted layer, each with the same weight lambda.
The five Gaussian kernels, their bandwidths (1/4 to 4 times the mean squared distance within the
batch), their equal weights and lambda = 1 are those of the authors' code (thuml/Xlearn).

Departures: the shared backbone, optimiser and budget instead of a pre-trained AlexNet; the adapted
layers are the embedding and the class scores (fc7 and fc8 in the authors' code; the paper adapts
fc6 too); the kernels are added with equal weights, as in the authors' code, instead of weights
found by a quadratic programme; MMD is the unbiased estimate from all pairs of a batch instead of
the linear-time one; it compares the target with the whole source, labelled or not, while the
emotions are learned from the few labelled utterances. The weight (1 in the authors' code) was
chosen on the suite `wide` (results/selection/defaults.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.nn.losses import five_kernels, mean_distance
from clser_bench.plugin import Batch, SharedClassifier, Trained, cross_entropy, hyper, register


@register("dan", version=1)
class Dan(Trained):
    """Cross-entropy of emotions plus MK-MMD of the embedding and of the class scores."""

    control = {"mmd_weight": 0.0}

    mmd_weight: float = hyper(
        0.01, low=0.0, high=100.0, grid=(0.01, 0.1, 1.0), about="lambda, of each MMD"
    )

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        source, target = network.embed(batch.source), network.embed(batch.target)
        mmd = multi_kernel_mmd(source, target)
        mmd = mmd + multi_kernel_mmd(network.head(source), network.head(target))
        return emotion + self.mmd_weight * mmd


def multi_kernel_mmd(
    source: Float[Tensor, "n e"], target: Float[Tensor, "m e"]
) -> Float[Tensor, ""]:
    """MK-MMD^2 with five Gaussian kernels of equal weight.

    Reference: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML
    2015, MK-MMD; kernels and bandwidths as in the authors' code.

    Args:
        source: embeddings.
        target: embeddings of the other side.
    """
    return mean_distance(five_kernels(torch.cat([source, target])), len(source))
