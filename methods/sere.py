"""Semantic-emotional resonance embedding: unlabelled speech organises itself around few labels.

Reference: SERE, arXiv 2604.07417 (ICME 2026): instantaneous resonance field (IRF) and
triple-resonance interaction chain (TRIC). Only the abstract could be had; the equations are this
project's reading, numbered in docs/sere.md and written out in clser_bench/nn/resonance.py.

Departures: equations reconstructed from the abstract; the language-specific maps are a shared
map plus a specific part that starts at zero and is decayed (a separate map for the target gets
no signal); the instants' highlights are found with prototypes of the plainly averaged labelled
embeddings, which breaks the circle between weights and prototypes; the target is organised as a
whole every few steps (`irf_scope=target`) or within the batch; in each organisation of the whole,
labelled and unlabelled instances resonate first, by entropic transport between their summaries,
then prototypes and field follow each other for a few rounds; assignments are balanced toward the
class prior; the maps start from the half-whitened principal axes of the unlabelled features; the
answer is read from the organised field (balanced, pulled prototypes), not from the labelled
prototypes alone.
"""

import functools
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from clser_bench.nn import resonance as irf
from clser_bench.nn.alignment import principal_axes
from clser_bench.nn.resonator import Resonator
from clser_bench.plugin import (
    Batch,
    Embedded,
    Prior,
    Problem,
    Shape,
    Snapshot,
    State,
    Support,
    Table,
    Trained,
    View,
    cross_entropy,
    hyper,
    register,
    rows_view,
)
from clser_bench.shallow.transport import transported_classes


class Anchor(NamedTuple):
    """The emotion-semantic structure that the labelled utterances span.

    Attributes:
        classes: one-hot labels [m, c].
        rough: prototypes of plainly averaged embeddings [c, e], for the highlights.
        embedding: u of the labelled utterances [m, e].
        prototypes: c of step 2 [c, e].
    """

    classes: Tensor
    rough: Tensor
    embedding: Tensor
    prototypes: Tensor


@register(
    "sere",
    version=3,
    ablations={
        "sere-isomorphic": {"heterogeneous": False},
        "sere-no-prototype": {"prototype_weight": 0.0},
        "sere-no-dual": {"dual_weight": 0.0},
        "sere-no-irf": {"field": False},
        "sere-adaptive": {"adaptive": True},
    },
)
class Sere(Trained):
    """SERE, with its ablations as presets."""

    uses = ("labelled", "target")
    inputs_instants = True
    note = "SERE: equations reconstructed from the abstract (arXiv 2604.07417)"

    spaces: ClassVar[dict[str, dict[str, str]]] = {
        "irf": {
            "irf_temperature": "0.03:0.3",
            "irf_highlight": "0.03:1",
            "irf_steps": "0:4",
            "irf_coupling": "0:0.9",
            "irf_neighbours": "log:3:40",
            "irf_sharpness": "0.5:4",
            "irf_start_share": "0.05:1",
            "irf_instances": "0:1",
            "irf_transport": "0.01:0.3",
            "irf_rounds": "0:5",
            "irf_pull": "0:0.8",
        },
        "tric": {
            "prototype_weight": "log:0.03:10",
            "dual_weight": "log:0.03:10",
            "ramp_start": "0:0.8",
            "ramp_length": "0.05:1",
            "language_decay": "log:0.01:100",
        },
    }

    learning_rate: float = hyper(
        3e-4, low=1e-6, high=1.0, log=True, grid=(1e-4, 3e-4, 1e-3), about="of Adam, at the start"
    )
    weight_decay: float = 0.0
    input_dropout: float = 0.0
    steps: int = hyper(50, low=1, high=100_000, about="optimiser steps (batches)")
    target_batch: int = hyper(96, low=2, high=65536, about="target utterances")
    embedding: int = hyper(64, low=2, high=4096, about="size of the embedding")
    principal_start: bool = hyper(True, about="start from principal axes")
    whitening: float = hyper(
        0.5, low=0.0, high=1.0, grid=(0.25, 0.5), about="power w of the axes' variances"
    )
    dynamic: float = hyper(0.3, low=0.0, high=10.0, about="weight of the instants at the start")
    gain: float = hyper(0.1, low=1e-3, high=10.0, log=True, about="factor inside tanh")
    heterogeneous: bool = hyper(True, about="a map of each language")
    adaptive: bool = hyper(False, about="learn the temperatures")
    field: bool = hyper(True, about="IRF; else mean pooling and q = p")
    language_decay: float = hyper(1.0, low=0.0, high=1e4, about="L2 of the language-specific maps")
    irf_temperature: float = hyper(0.1, low=1e-3, high=10.0, log=True, about="tau")
    irf_highlight: float = hyper(0.1, low=1e-3, high=10.0, log=True, about="tau_h")
    irf_steps: int = hyper(2, low=0, high=100, about="rounds of coupling")
    irf_coupling: float = hyper(0.3, low=0.0, high=1.0, about="kappa")
    irf_neighbours: int = hyper(10, low=1, high=10_000, about="n")
    irf_sharpness: float = hyper(1.0, low=0.1, high=10.0, log=True, about="power of q")
    averaged: bool = hyper(False, about="average prototypes over steps")
    irf_momentum: float = hyper(0.9, low=0.0, high=0.999, about="of that average")
    irf_scope: str = hyper("target", choices=("batch", "target"), about="what is organised")
    irf_every: int = hyper(25, low=1, high=100_000, about="steps between organising the target")
    irf_start_share: float = hyper(0.2, low=0.01, high=1.0, about="most confident share at first")
    irf_instances: float = hyper(
        0.5,
        low=0.0,
        high=1.0,
        grid=(0.0, 0.5),
        about="omega, share of met instances in the first prototypes",
    )
    irf_transport: float = hyper(
        0.03, low=1e-3, high=1e3, log=True, about="entropy of the instances' resonance"
    )
    irf_rounds: int = hyper(2, low=0, high=100, about="rounds of prototypes and field")
    irf_pull: float = hyper(0.3, low=0.0, high=1.0, about="rho, the field's share in them")
    prior: str = hyper("uniform", choices=("uniform", "estimated"), about="class shares of q")
    prototype_weight: float = hyper(1.0, low=0.0, high=100.0, about="lambda_p")
    dual_weight: float = hyper(1.0, low=0.0, high=100.0, about="lambda_d")
    ramp_start: float = hyper(
        0.2, low=0.0, high=1.0, about="share of training before L_proto, L_dual"
    )
    ramp_length: float = hyper(0.33, low=1e-3, high=1.0, about="share of training to full weight")

    @property
    def assumes_prior(self) -> Prior:
        """As the balancing of q does; without the field nothing is balanced."""
        if not self.field:
            return "none"
        return "uniform" if self.prior == "uniform" else "estimated"

    @property
    def refresh_every(self) -> int:
        """The whole target is organised where the scope says so."""
        return self.irf_every if self.irf_scope == "target" and self.field else 0

    def network(self, shape: Shape) -> nn.Module:
        """The resonator."""
        return Resonator(
            d=shape.d,
            f=shape.f,
            c=shape.c,
            embedding=self.embedding,
            specific=self.heterogeneous,
            adaptive=self.adaptive,
        )

    def start(self, network: Resonator, problem: Problem) -> None:
        """Start from the principal axes of both languages' summaries and mean instants.

        Random maps to so few values blur the little that k utterances per class tell. Variances
        are evened out in part: whole, they let the noise of the small axes speak; not at all,
        loudness and arousal drown the rest.
        """
        if not self.principal_start:
            return
        source = np.sort(np.concatenate([problem.labelled.rows, problem.unlabelled]))
        principal, mean, f = _principal(
            problem.source,
            problem.target,
            (source.tobytes(), problem.adapt.tobytes()),
            size=self.embedding,
            dynamic=self.dynamic,
            whitening=self.whitening,
        )
        # A random rotation spreads the variance over all values, so that tanh treats them alike.
        rotation = nn.init.orthogonal_(torch.empty(self.embedding, self.embedding))
        axes = rotation @ principal
        d = principal.shape[1] - f
        network.semantic.shared.weight.copy_(axes[:, :f])
        network.emotional.shared.weight.zero_()[:, :d].copy_(self.dynamic * axes[:, f:])
        network.semantic.shared.bias.copy_(-axes @ mean)
        network.emotional.shared.bias.zero_()

    def initial_carry(self, network: Resonator) -> State:
        """The prototypes' moving average, where asked for."""
        if not self.averaged:
            return {}
        return {"c": torch.zeros(network.classes, self.embedding, dtype=network.dtype)}

    def update_carry(self, network: Resonator, batch: Batch) -> State:
        """Move the average toward the batch's prototypes."""
        c = self._anchor(network, batch.labelled, batch.y, {}).prototypes
        return {"c": self.irf_momentum * batch.carry["c"] + (1 - self.irf_momentum) * c}

    def loss(self, network: Resonator, batch: Batch) -> Tensor:
        """L_sup + ramp (lambda_p L_proto + lambda_d L_dual) of step 5."""
        anchor = self._anchor(network, batch.labelled, batch.y, batch.carry)
        tau = self.irf_temperature * network.factor(0, target=False)
        supervised = cross_entropy(irf.cosine(anchor.embedding, anchor.prototypes) / tau, batch.y)
        v = self._embed(network, batch.target, anchor.rough, target=True)
        logits = irf.cosine(v, anchor.prototypes)
        logits = logits / (self.irf_temperature * network.factor(0, target=True))
        q, w = self._assignments(v, logits, batch.state)
        proto = irf.prototype_resonance(logits, q, w)
        u = torch.cat([anchor.embedding, v])
        weight = torch.cat([torch.ones_like(anchor.classes[:, 0]), w])
        known = torch.cat([anchor.classes, q])
        dual = irf.dual_resonance(u, known, weight, self.irf_temperature)
        risen = (batch.progress - self.ramp_start) / self.ramp_length
        ramp = torch.as_tensor(risen, dtype=proto.dtype).clamp(0, 1)
        triple = supervised + ramp * (self.prototype_weight * proto + self.dual_weight * dual)
        return triple + self.language_decay * network.specific_size()

    def update_pseudo_labels(self, snapshot: Snapshot) -> State:
        """Organise the whole target; the least confident rows of each class wait."""
        q = self._field(snapshot).assignments
        confidence, label = q.max(dim=-1)
        share = self.irf_start_share + (1 - self.irf_start_share) * snapshot.progress
        weight = torch.zeros_like(confidence)
        for k in range(q.shape[-1]):
            members = torch.nonzero(label == k).squeeze(-1)
            order = confidence[members].argsort(descending=True, stable=True)
            chosen = members[order[: max(1, round(share * len(members)))]]
            weight[chosen] = confidence[chosen]
        return {"q": q, "w": weight}

    def predict(self, scored: Embedded, snapshot: Snapshot) -> Tensor:
        """Balanced resonance with the prototypes that the organised target has pulled."""
        if not self.field:
            return scored.scores
        field = self._field(snapshot)
        u, _ = self._parted(scored)
        return irf.cosine(u, field.prototypes) / self.irf_temperature + field.offsets

    def plot_embedding(self, embedding: Tensor) -> Tensor:
        """u, without the summaries that `embed` joins to it."""
        return embedding[:, : self.embedding]

    def _parted(self, described: Embedded) -> tuple[Tensor, Tensor]:
        """Embeddings u [n, e] and summaries [n, f], as `embed` joined them."""
        embedding = described.embedding
        return embedding[:, : self.embedding], embedding[:, self.embedding :]

    def _field(self, snapshot: Snapshot) -> irf.Field:
        """Step 4: instances resonate first, then prototypes and field follow each other."""
        y, k = snapshot.y, snapshot.target.scores.shape[-1]
        u, summary = self._parted(snapshot.target)
        known, known_summary = self._parted(snapshot.labelled)
        uniform = torch.full((k,), 1 / k, dtype=u.dtype)
        c = irf.prototypes(known, functional.one_hot(y, k).to(u.dtype))
        estimated = self.prior == "estimated"
        shares = irf.estimated_prior((irf.cosine(u, c) / self.irf_temperature).softmax(dim=-1))
        brought = transported_classes(
            known_summary.numpy().astype(np.float64),
            y.numpy(),
            summary.numpy().astype(np.float64),
            (shares if estimated else uniform).numpy().astype(np.float64),
            entropy=self.irf_transport,
        )
        met = functional.normalize(torch.from_numpy(brought).to(u.dtype).T @ u, dim=-1)
        return irf.self_organise(
            u,
            functional.normalize((1 - self.irf_instances) * c + self.irf_instances * met, dim=-1),
            rounds=self.irf_rounds,
            pull=self.irf_pull,
            temperature=self.irf_temperature,
            prior=None if estimated else uniform,
            resonance=irf.neighbours(
                u, count=self.irf_neighbours, temperature=self.irf_temperature
            ),
            steps=self.irf_steps,
            coupling=self.irf_coupling,
            sharpness=self.irf_sharpness,
        )

    def embed(self, network: Resonator, view: View, support: Support, *, target: bool) -> Embedded:
        """Embeddings u joined with the summaries, and cos(u, c) with the labelled prototypes."""
        anchor = self._anchor(network, *support)
        u = self._embed(network, view, anchor.rough, target=target)
        return Embedded(torch.cat([u, view.summary], dim=-1), irf.cosine(u, anchor.prototypes))

    def _anchor(self, network: Resonator, labelled: View, y: Tensor, carry: State) -> Anchor:
        classes = functional.one_hot(y, network.classes).to(labelled.summary.dtype)
        rough = irf.prototypes(self._embed(network, labelled, None, target=False), classes)
        u = self._embed(network, labelled, rough, target=False)
        c = irf.prototypes(u, classes)
        if carry:
            c = functional.normalize(
                self.irf_momentum * carry["c"] + (1 - self.irf_momentum) * c, dim=-1
            )
        return Anchor(classes, rough, u, c)

    def _embed(
        self, network: Resonator, view: View, rough: Tensor | None, *, target: bool
    ) -> Tensor:
        return network.embed(
            view.instants,
            view.summary,
            rough if self.field else None,
            temperature=self.irf_highlight,
            gain=self.gain,
            target=target,
        )

    def _assignments(self, v: Tensor, logits: Tensor, state: State) -> tuple[Tensor, Tensor]:
        if state:
            return state["q"], state["w"]
        q = self._organised(v, logits) if self.field else logits.detach().softmax(dim=-1)
        return q, q.max(dim=-1).values

    def _organised(self, u: Tensor, logits: Tensor) -> Tensor:
        p = logits.softmax(dim=-1)
        shares = (
            irf.estimated_prior(p)
            if self.prior == "estimated"
            else torch.full_like(p[0], 1 / p.shape[-1])
        )
        return irf.organise(
            p,
            irf.neighbours(u, count=self.irf_neighbours, temperature=self.irf_temperature),
            shares,
            steps=self.irf_steps,
            coupling=self.irf_coupling,
            sharpness=self.irf_sharpness,
        )


@functools.lru_cache(maxsize=16)
def _principal(
    source: Table,
    target: Table,
    rows: tuple[bytes, bytes],
    *,
    size: int,
    dynamic: float,
    whitening: float,
) -> tuple[Tensor, Tensor, int]:
    """Principal axes [e, f + d] of both sides together, their mean, and f.

    The same for every draw and number of shots of a pair, so it is kept: with thousands of values
    it takes seconds.
    """
    sides = [
        rows_view(table, np.frombuffer(members, np.int64), instants=False, dtype=torch.float32)
        for table, members in zip((source, target), rows, strict=True)
    ]
    together = torch.cat(
        [torch.cat([side.summary, dynamic * side.pooled], dim=-1) for side in sides]
    )
    f = sides[0].summary.shape[1]
    return principal_axes(together, size, whitening=whitening), together.mean(dim=0), f
