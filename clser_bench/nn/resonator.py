"""The network of SERE: maps of instants and summaries, shared by both languages and apart."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from clser_bench.nn import resonance as irf


class LanguageMap(nn.Module):
    """A linear map shared by both languages, plus a part of each that starts at zero."""

    def __init__(self, inputs: int, outputs: int, *, specific: bool) -> None:
        super().__init__()
        self.shared = nn.Linear(inputs, outputs)
        sides = 2 if specific else 0
        self.specific = nn.Parameter(torch.zeros(sides, outputs, inputs))

    def weight(self, *, target: bool) -> Tensor:
        """W_lang [outputs, inputs] of a language."""
        if not self.specific.shape[0]:
            return self.shared.weight
        return self.shared.weight + self.specific[int(target)]


class Resonator(nn.Module):
    """The maps of step 1 (docs/sere.md), and the temperatures where they are learned.

    Args:
        d: values of an instant.
        f: values of a summary.
        c: classes.
        embedding: e, size of the embedding.
        specific: whether each language has a part of its own.
        adaptive: whether the temperatures are learned, one set a language.
    """

    def __init__(
        self, *, d: int, f: int, c: int, embedding: int, specific: bool, adaptive: bool
    ) -> None:
        super().__init__()
        self.classes = c
        self.emotional = LanguageMap(2 * d, embedding, specific=specific)
        self.semantic = LanguageMap(f, embedding, specific=specific)
        self.log_temperature = nn.Parameter(torch.zeros(2 if adaptive else 0, 2))

    def embed(
        self,
        instants: Float[Tensor, "b t d"],
        summary: Float[Tensor, "b f"],
        rough: Float[Tensor, "c e"] | None,
        *,
        temperature: Tensor | float,
        gain: Tensor | float,
        target: bool,
    ) -> Float[Tensor, "b e"]:
        """Embeddings u of step 3, of unit length.

        Args:
            instants: without differences.
            summary: of the same utterances.
            rough: prototypes that highlight instants; plain averaging where None.
            temperature: tau_h.
            gain: factor inside tanh.
            target: which language.
        """
        w = self.emotional.weight(target=target)
        h = irf.with_differences(instants)
        if rough is None:
            mean = h.mean(dim=-2)
        else:
            a = irf.highlight(h, w, rough, temperature * self.factor(1, target=target))
            mean = (a.unsqueeze(-2) @ h).squeeze(-2)
        # sum_t a W h = W sum_t a h
        emotional = functional.linear(mean, w, self.emotional.shared.bias)
        semantic = functional.linear(
            summary, self.semantic.weight(target=target), self.semantic.shared.bias
        )
        return functional.normalize(torch.tanh(gain * (semantic + emotional)), dim=-1)

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self.log_temperature.dtype

    def specific_size(self) -> Tensor:
        """Sum of squares of the language-specific parts."""
        return self.emotional.specific.square().sum() + self.semantic.specific.square().sum()

    def factor(self, which: int, *, target: bool) -> Tensor | float:
        """Learned factor of tau (0) or tau_h (1) for a language; 1 where not learned."""
        if not self.log_temperature.shape[0]:
            return 1.0
        return self.log_temperature[int(target), which].exp()
