"""Heads on the shared backbone that several methods have."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from clser_bench.nn.backbone import HIDDEN, SharedClassifier
from clser_bench.nn.information import cosine_logits


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


def two_layers(c: int) -> nn.Sequential:
    """A head of one hidden layer on the shared embedding.

    Args:
        c: classes.
    """
    return nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, c))
