"""Mean teacher: a student agrees on noised target utterances with an average of itself over time.

Reference: Tarvainen & Valpola, Mean teachers are better role models: Weight-averaged consistency
targets improve semi-supervised deep learning results, NIPS 2017: section 2 (consistency cost,
exponential moving average of the weights), appendix for the ramp exp(-5 (1 - t)^2); the true
average until the exponential one has steps enough, and the average over classes, from the
authors' code.

Departures: the shared backbone, optimiser and budget instead of the paper's; noise on features
instead of images, and no dropout: the student sees the strongly noised view (Gaussian, deviation
0.5 in z-score units, a quarter of the values zero), the teacher the weakly noised one (0.1),
where the paper noises both alike; labelled utterances are not noised and have no consistency
cost; the utterances without labels are the target's. Both costs are means over their own
utterances, where the authors divide both by the whole batch: their weights 100 with all labels
and 1 with one labelled image in a hundred are then both 100. alpha = 0.99 is theirs during the
ramp; their 0.999 afterwards is too slow for so few steps. The ramp's share of training is theirs
too (40,000 of 150,000 or 180,000 steps). The weight was chosen on the suite `wide`
(results/selection/README.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from clser_bench.plugin import (
    Batch,
    Embedded,
    SharedClassifier,
    State,
    Support,
    Trained,
    View,
    cross_entropy,
    hyper,
    register,
)

STEP = "step"
"""The entry of the carry that counts; the others are the teacher's parameters."""


@register("mean-teacher", version=2)
class MeanTeacher(Trained):
    """Squared difference of the student's and the teacher's probabilities; the teacher scores."""

    control = {"consistency_weight": 0.0}
    uses = ("labelled", "target")
    views = True
    consistency_weight: float = hyper(
        1.0, low=0.0, high=1e4, grid=(0.3, 1.0, 10.0, 100.0), about="after the ramp"
    )
    ramp_length: float = hyper(0.25, low=1e-3, high=1.0, about="of the ramp, share of training")
    averaging: float = hyper(0.99, low=0.0, high=0.9999, about="alpha of the teacher's average")

    def initial_carry(self, network: SharedClassifier) -> State:
        """The teacher, which starts as the student, and the count of steps."""
        teacher = {name: value.clone() for name, value in network.named_parameters()}
        return {STEP: torch.zeros((), dtype=network.head.weight.dtype), **teacher}

    def update_carry(self, network: SharedClassifier, batch: Batch) -> State:
        """Move the teacher toward the student: plain average at first, then the moving one."""
        step = batch.carry[STEP] + 1
        keep = torch.clamp(1 - 1 / (step + 1), max=self.averaging)
        teacher = {
            name: keep * batch.carry[name] + (1 - keep) * value
            for name, value in network.named_parameters()
        }
        return {STEP: step, **teacher}

    def loss(self, network: SharedClassifier, batch: Batch) -> Tensor:
        emotion = cross_entropy(network(batch.labelled), batch.y)
        taught = functional_call(network, _teacher(batch.carry), (batch.weak,))
        ramp = gaussian_ramp(batch.progress, self.ramp_length, dtype=emotion.dtype)
        cost = squared_consistency(network(batch.strong), taught)
        return emotion + self.consistency_weight * ramp * cost

    def embed(
        self, network: SharedClassifier, view: View, support: Support, *, target: bool
    ) -> Embedded:
        """Embeddings and scores of the teacher."""
        teacher = _teacher(support.carry)
        part = "backbone."
        backbone = {k.removeprefix(part): v for k, v in teacher.items() if k.startswith(part)}
        embedding = functional_call(network.backbone, backbone, (view.values,))
        scores = functional.linear(embedding, teacher["head.weight"], teacher["head.bias"])
        return Embedded(embedding, scores)


def _teacher(carry: State) -> State:
    return {name: value for name, value in carry.items() if name != STEP}


def gaussian_ramp(
    progress: float, length: Tensor | float, *, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """exp(-5 (1 - t)^2) with t = min(progress / length, 1): from 0.007 to 1.

    Reference: Tarvainen & Valpola, Mean teachers are better role models, NIPS 2017 (appendix on
    training), after Laine & Aila, Temporal ensembling, ICLR 2017; both call it sigmoid-shaped.

    Args:
        progress: share of training done.
        length: share of training that it rises for, positive.
        dtype: of the result.
    """
    t = torch.as_tensor(progress / length, dtype=dtype).clamp(0, 1)
    return torch.exp(-5 * (1 - t).square())


def squared_consistency(
    student: Float[Tensor, "n c"], teacher: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """Mean squared difference of class probabilities, over rows and classes.

    Reference: Tarvainen & Valpola, Mean teachers are better role models, NIPS 2017: the
    consistency cost of section 2, averaged over classes as in the authors' code.

    Args:
        student: class scores.
        teacher: class scores of the same utterances; no gradient flows through them.
    """
    target = teacher.detach().softmax(dim=-1)
    return (student.softmax(dim=-1) - target).square().mean()
