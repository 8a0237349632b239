"""The backbone that all trained methods share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

HIDDEN = 128


class Dense(nn.Module):
    """A linear layer whose weight is [inputs, outputs], as its gradient comes out of the product.

    `nn.Linear` keeps the transpose, so that a pack would copy the gradient of its largest weights
    at every step.

    Args:
        inputs: values of a row.
        outputs: values of a row of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        """X W + b."""
        return x @ self.weight + self.bias


class Backbone(nn.Module):
    """Pooled instants and summary into two hidden layers of 128; no normalisation.

    Layer normalisation removes the length of an embedding, which carries confidence and arousal,
    and costs a pack time; input dropout and the L2 penalty of the engine regularise instead.

    Args:
        d: values of an instant.
        f: values of a summary.
    """

    def __init__(self, d: int, f: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Dense(d + f, HIDDEN), nn.ReLU(), Dense(HIDDEN, HIDDEN), nn.ReLU()
        )

    def forward(self, values: Float[Tensor, "b i"]) -> Float[Tensor, "b 128"]:
        """Embeddings of b utterances, of pooled instants and summary side by side."""
        embedding: Tensor = self.layers(values)
        return embedding


class SharedClassifier(nn.Module):
    """The backbone with a linear head.

    Args:
        d: values of an instant.
        f: values of a summary.
        c: classes.
    """

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
