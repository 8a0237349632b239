"""The backbone that all trained methods share, gradient reversal and rising weights, for vmap."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clser_bench.nn.losses import cosine_logits

HIDDEN = 128


class Dense(nn.Module):
    """A linear layer whose weight is [inputs, outputs], as its gradient comes out of the product.

    `nn.Linear` keeps the transpose, so that a pack would copy the gradient of its largest weights
    at every step.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        """X W + b; in place, as is the ReLU, for a pack's rows leave the caches."""
        return (x @ self.weight).add_(self.bias)


class Backbone(nn.Module):
    """Pooled instants and summary into two hidden layers of 128; no normalisation.

    Layer normalisation removes the length of an embedding, which carries confidence and arousal,
    and costs a pack time; input dropout and the L2 penalty of the engine regularise instead.
    """

    def __init__(self, d: int, f: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(Dense(d + f, HIDDEN), nn.ReLU(inplace=True)),
            *(Dense(HIDDEN, HIDDEN), nn.ReLU(inplace=True)),
        )

    def forward(self, values: Float[Tensor, "b i"]) -> Float[Tensor, "b 128"]:
        """Embeddings of b utterances, of pooled instants and summary side by side."""
        embedding: Tensor = self.layers(values)
        return embedding


class SharedClassifier(nn.Module):
    """The backbone with a linear head."""

    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__()
        self.backbone = Backbone(d, f)
        self.head = nn.Linear(HIDDEN, c)

    def embed(self, view: object) -> Float[Tensor, "b 128"]:
        """Embeddings of a view (anything with `values`)."""
        embedding: Tensor = self.backbone(view.values)  # type: ignore[attr-defined]
        return embedding

    def forward(self, view: object) -> Float[Tensor, "b c"]:
        """Class scores of a view."""
        scores: Tensor = self.head(self.embed(view))
        return scores


class CosineClassifier(SharedClassifier):
    """The shared backbone with a prototype per class; the method divides by its temperature."""

    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__(d, f, c)
        self.head = nn.Linear(HIDDEN, c, bias=False)
        nn.init.xavier_normal_(self.head.weight)

    def classify(
        self, embedding: Float[Tensor, "b e"], temperature: Tensor | float
    ) -> Float[Tensor, "b c"]:
        """Class scores of embeddings: prototypes · unit embedding / temperature."""
        return cosine_logits(embedding, self.head.weight, temperature)


def reverse_gradient(x: Tensor, weight: Tensor | float) -> Tensor:
    """The identity, whose gradient is multiplied by `-weight`.

    Reference: Ganin & Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015,
    equations 7 and 8.
    """
    return (1 + weight) * x.detach() - weight * x


def sigmoid_ramp(
    gamma: Tensor | float, progress: float, *, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """2 / (1 + exp(-gamma p)) - 1: zero at the start, near one in the end.

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016),
    section 5.2.2.
    """
    return 2 / (1 + torch.exp(-torch.as_tensor(gamma, dtype=dtype) * progress)) - 1
