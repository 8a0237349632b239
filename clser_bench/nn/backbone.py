"""The backbone that all trained methods share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

HIDDEN = 128


class Backbone(nn.Module):
    """Pooled instants and summary into two hidden layers of 128 with LayerNorm.

    Args:
        d: values of an instant.
        f: values of a summary.
    """

    def __init__(self, d: int, f: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d + f, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )

    def forward(
        self, pooled: Float[Tensor, "b d"], summary: Float[Tensor, "b f"]
    ) -> Float[Tensor, "b 128"]:
        """Embeddings of b utterances."""
        embedding: Tensor = self.layers(torch.cat([pooled, summary], dim=-1))
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
        """Embeddings of a view (anything with `pooled` and `summary`)."""
        embedding: Tensor = self.backbone(view.pooled, view.summary)  # type: ignore[attr-defined]
        return embedding

    def forward(self, view: object) -> Float[Tensor, "b c"]:
        """Class scores of a view."""
        scores: Tensor = self.head(self.embed(view))
        return scores
