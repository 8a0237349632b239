"""Semantic-emotional resonance embedding: few labels, a chain through unlabelled speech.

Reference: SERE, arXiv 2604.07417 (ICME 2026): instantaneous resonance field (IRF) and
triple-resonance interaction chain (TRIC). Only the abstract could be had; the equations are this
project's reading, numbered in docs/sere.md and written out in their order in
clser_bench/nn/resonance.py.

Departures: equations reconstructed from the abstract; resonance is a shrunken discriminant in
principal axes of both languages, where the instants give what is no emotion (they vary within an
utterance) in place of highlights, which cost 4 to 12 points on the selection suite; they enter
where an instant has as many values as there are axes (encoders: acoustic functionals sum up their
descriptors already); the chain runs from labelled
to unlabelled source to target in closed form, and a label-free check falls back to the average of
its links; classes are balanced; the trained part is linear and starts from the chain, which is
its fixed teacher.
"""

from __future__ import annotations

import functools
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from clser_bench.nn import resonance
from clser_bench.plugin import Fitted, MethodError, Part, Prior, Problem, Table, hyper, register
from clser_bench.shallow.sides import LARGEST, present_scores

SEGMENTS = 8
"""Equal spans of an utterance whose spread is no emotion."""
BLOCK = 512
"""Utterances whose instants are in memory at once."""
PAIRS = 4
"""Pairs of tables whose embeddings a process keeps: the draws of a pair follow one another."""


@register(
    "sere",
    version=4,
    ablations={
        "sere-frozen": {"steps": 0},
        "sere-no-source": {"use_source": False},
        "sere-no-target": {"target_mass": 0.0},
        "sere-no-chain": {"chained": False},
        "sere-no-check": {"check": False},
        "sere-no-balance": {"balance_steps": 0},
        "sere-no-instants": {"instants": False},
        "sere-no-highlights": {"instant_mix": 0.0},
        "sere-no-prototype": {"prototype_weight": 0.0},
        "sere-no-dual": {"dual_weight": 0.0},
        "sere-isomorphic": {"heterogeneous": False},
        "sere-no-teacher": {"teacher": False},
    },
)
class Sere(Fitted):
    """SERE, with its ablations as presets."""

    inputs_instants = True
    title = "sere (reading 4)"
    note = "SERE: equations reconstructed from the abstract (arXiv 2604.07417)"

    spaces: ClassVar[dict[str, dict[str, str]]] = {
        "irf": {"dynamic": "0:2", "instant_mix": "0:0.95"},
        "chain": {
            "source_mass": "log:0.3:10",
            "target_mass": "log:0.1:10",
            "agreement": "0.3:0.9",
        },
        "tric": {
            "learning_rate": "log:3e-4:3e-2",
            "dropout": "0:0.7",
            "prototype_weight": "log:0.03:10",
            "dual_weight": "log:0.03:10",
            "trained_share": "0:1",
        },
    }

    size: int = hyper(128, low=2, high=4096, about="principal axes e, at most")
    dynamic: float = hyper(1.0, low=0.0, high=10.0, about="weight of the mean instants")
    instants: bool = hyper(True, about="use the instants; else the summary alone")
    least_values: int = hyper(128, low=1, high=65536, about="of an instant, for it to be used")
    instant_mix: float = hyper(0.5, low=0.0, high=1.0, about="b, instants' share of the metric")
    use_source: bool = hyper(True, about="use the unlabelled source")
    source_mass: float = hyper(3.0, low=0.0, high=100.0, about="rho_s against the labels")
    target_mass: float = hyper(1.0, low=0.0, high=100.0, about="rho_t against the source link")
    chained: bool = hyper(True, about="the source link first; else both links at once")
    check: bool = hyper(True, about="check the target link")
    agreement: float = hyper(0.65, low=-1.0, high=1.0, about="kappa above which it is taken")
    balance_steps: int = hyper(15, low=0, high=1000, about="Sinkhorn rounds over the classes")
    steps: int = hyper(80, low=0, high=100_000, about="training steps; 0 trains nothing")
    learning_rate: float = hyper(3e-3, low=1e-6, high=1.0, log=True, about="of Adam, at the start")
    dropout: float = hyper(0.5, low=0.0, high=0.95, about="in the views of the trained part")
    heterogeneous: bool = hyper(True, about="a map of the target of its own")
    teacher: bool = hyper(True, about="the chain is the teacher; else the model itself")
    prototype_weight: float = hyper(1.0, low=0.0, high=100.0, about="lambda_p")
    target_weight: float = hyper(3.0, low=0.0, high=100.0, about="of target speech in the losses")
    dual_weight: float = hyper(1.0, low=0.0, high=100.0, about="lambda_d")
    trained_share: float = hyper(1.0, low=0.0, high=1.0, about="of the trained part in the answer")

    @property
    def uses(self) -> tuple[Part, ...]:
        """All parts, but for the ablation without the unlabelled source."""
        return ("labelled", "source", "target") if self.use_source else ("labelled", "target")

    @property
    def assumes_prior(self) -> Prior:
        """Uniform, unless nothing is balanced."""
        return "uniform" if self.balance_steps else "none"

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        present, y = np.unique(problem.labelled.y, return_inverse=True)
        if len(present) < 2:
            return np.zeros((len(problem.scored), len(problem.classes)))
        own = np.setdiff1d(problem.unlabelled, problem.added)
        own = np.sort(np.concatenate([problem.labelled.rows, own]))
        space = _space(
            problem.source,
            problem.target,
            (own.tobytes(), problem.added.tobytes(), problem.adapt.tobytes()),
            whole_source=self.use_source,
            instants=self._uses_instants(problem),
            size=self.size,
            dynamic=self.dynamic,
        )
        source, known = space.source, np.searchsorted(own, problem.labelled.rows)
        if not self.use_source:
            source, known = source[torch.from_numpy(known)], np.arange(len(known))
        labels = torch.zeros(len(source), len(present), dtype=torch.float64)
        labels[known, y] = 1
        others = np.setdiff1d(problem.scored, problem.adapt)
        rows = space.target
        if len(others):
            use = self._uses_instants(problem)
            extra = _moments(problem.target, others, instants=use)
            rows = torch.cat([rows, extra.project(space.axes)])
        scores = self._answer(source, space, labels, rows, rng=rng)
        order = np.concatenate([problem.adapt[space.order], others])
        place = np.empty(order.max() + 1, np.int64)
        place[order] = np.arange(len(order))
        found = scores.numpy()[place[problem.scored]]
        return present_scores(found, present, len(problem.classes))

    def _uses_instants(self, problem: Problem) -> bool:
        return self.instants and problem.source.sizes[1] >= self.least_values

    def _answer(
        self,
        source: Tensor,
        space: Space,
        labels: Tensor,
        rows: Tensor,
        *,
        rng: np.random.Generator,
    ) -> Tensor:
        """Equations 2 to 9."""
        adapt = len(space.target)
        chains = [
            resonance.chain(
                source,
                labels,
                rows,
                adapt,
                within=space.axes.within,
                shrinkage=shrinkage,
                mix=self.instant_mix,
                source_mass=self.source_mass,
                target_mass=self.target_mass,
                threshold=self.agreement if self.check else None,
                chained=self.chained,
                steps=self.balance_steps,
                added=space.added,
            )
            for shrinkage in resonance.SHRINKAGES
        ]
        steps = self.balance_steps
        frozen = resonance.averaged([one.answer for one in chains], adapt, steps=steps)
        if not self.steps or not self.trained_share:
            return frozen
        taught = resonance.averaged([one.source for one in chains], len(labels), steps=steps)
        known = labels.sum(dim=1) > 0
        middle = chains[len(chains) // 2]
        trained = resonance.train(
            resonance.Side(source, torch.where(known[:, None], labels, taught.exp())),
            resonance.Side(space.target, frozen[:adapt].exp()),
            rows,
            labelled=torch.nonzero(known).squeeze(1),
            unlabelled=torch.nonzero(~known).squeeze(1),
            prototypes=middle.prototypes,
            metric=middle.covariance,
            generator=torch.Generator().manual_seed(int(rng.integers(2**63))),
            steps=self.steps,
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            prototype_weight=self.prototype_weight,
            target_weight=self.target_weight,
            dual_weight=self.dual_weight,
            specific=self.heterogeneous,
            teacher=self.teacher,
        )
        shares = (1 - self.trained_share, self.trained_share)
        return resonance.averaged([frozen, trained], adapt, weights=shares, steps=steps)


class Space(NamedTuple):
    """What all draws and shots of a pair share.

    Attributes:
        axes: of the pair.
        source: every row of the source [n, e].
        added: rows of added corpora, which have no say in the axes [m, e].
        target: the rows to adapt to, in an order that is their own and not the table's.
        order: places of these in `Problem.adapt`.
    """

    axes: resonance.Axes
    source: Tensor
    added: Tensor
    target: Tensor
    order: np.ndarray


@functools.lru_cache(maxsize=PAIRS)
def _space(
    source: Table,
    target: Table,
    rows: tuple[bytes, bytes, bytes],
    *,
    whole_source: bool,
    instants: bool,
    size: int,
    dynamic: float,
) -> Space:
    # Tables are equal only to themselves, and a process opens a table once.
    members, added, adapt = (np.frombuffer(part, np.int64) for part in rows)
    order = np.lexsort(target.summary[adapt].T)
    ours = _moments(target, adapt[order], instants=instants)
    theirs = _moments(source, members, instants=instants)
    sides = [ours, theirs] if whole_source else [ours]
    axes = resonance.principal_embedding(
        [side.summary for side in sides],
        [side.means for side in sides],
        [side.spread for side in sides],
        size=size,
        dynamic=dynamic,
    )
    more = _moments(source, added, instants=instants)
    return Space(axes, theirs.project(axes), more.project(axes), ours.project(axes), order)


class Moments(NamedTuple):
    """What equation 1 takes of some utterances, in float64.

    Attributes:
        summary: [n, f].
        means: of their instants [n, d]; d is 0 where these are not used.
        spread: covariance of segments around their utterance's mean [d, d].
    """

    summary: Tensor
    means: Tensor
    spread: Tensor

    def project(self, axes: resonance.Axes) -> Tensor:
        """Embeddings [n, e]."""
        return (torch.cat([self.summary, self.means], dim=1) - axes.mean) @ axes.vectors


def _moments(table: Table, rows: np.ndarray, *, instants: bool) -> Moments:
    summary = np.asarray(table.summary[rows], np.float64)
    largest = float(np.abs(summary).max(initial=0))
    if not largest <= LARGEST:
        raise MethodError(
            f"summaries reach {largest:.3g}, more than {LARGEST:g}; normalise them "
            "(--normalise corpus or speaker)"
        )
    d = table.sizes[1] if instants else 0
    stored, at = table.stored_rows(rows)
    means, spread = np.zeros((len(rows), d)), np.zeros((d, d))
    for start in range(0, len(rows) if instants else 0, BLOCK):
        segments = _segments(stored.instants[at[start : start + BLOCK]])
        mean = segments.mean(axis=1)
        means[start : start + BLOCK] = mean
        flat = (segments - mean[:, None]).reshape(-1, d)
        spread += flat.T @ flat / (len(rows) * segments.shape[1])
    return Moments(*(torch.from_numpy(part) for part in (summary, means, spread)))


def _segments(instants: np.ndarray) -> np.ndarray:
    """Means over equal spans of an utterance, float32 [n, s, d]; instants too many are left out."""
    count = min(SEGMENTS, instants.shape[1])
    length = instants.shape[1] // count
    spans = instants[:, : count * length].reshape(len(instants), count, length, -1)
    found: np.ndarray = spans.mean(axis=2)
    return found
