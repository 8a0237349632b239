"""Semantic-emotional resonance embedding: few labels, a chain through unlabelled speech.

Reference: SERE, arXiv 2604.07417 (ICME 2026): instantaneous resonance field (IRF) and
triple-resonance interaction chain (TRIC). Only the abstract could be had; the equations are this
project's reading, numbered in docs/sere.md and written out in clser_bench/nn/irf.py (1 to 8) and
clser_bench/nn/tric.py (9).

Departures: equations reconstructed from the abstract; resonance is a shrunken discriminant in
principal axes of both languages, where the instants give what is no emotion (they vary within an
utterance) and the views of the trained part, in place of highlights; the chain runs from labelled
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

from clser_bench.nn import irf, tric
from clser_bench.plugin import Fitted, MethodError, Part, Prior, Problem, Table, hyper, register
from clser_bench.shallow.sides import LARGEST, present_scores

SEGMENTS = 8
"""Equal spans of an utterance whose weights the views of equation 9 draw."""
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
        "sere-no-check": {"check": False},
        "sere-no-balance": {"balance_steps": 0},
        "sere-no-instants": {"instants": False},
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
    dynamic: float = hyper(0.5, low=0.0, high=10.0, about="weight of the mean instants")
    instants: bool = hyper(True, about="use the instants; else the summary alone")
    instant_mix: float = hyper(0.5, low=0.0, high=1.0, about="b, instants' share of the metric")
    use_source: bool = hyper(True, about="use the unlabelled source")
    source_mass: float = hyper(3.0, low=0.0, high=100.0, about="rho_s against the labels")
    target_mass: float = hyper(1.0, low=0.0, high=100.0, about="rho_t against the source link")
    check: bool = hyper(True, about="check the target link")
    agreement: float = hyper(0.65, low=-1.0, high=1.0, about="kappa above which it is taken")
    balance_steps: int = hyper(15, low=0, high=1000, about="Sinkhorn rounds over the classes")
    steps: int = hyper(80, low=0, high=100_000, about="training steps; 0 trains nothing")
    learning_rate: float = hyper(3e-3, low=1e-6, high=1.0, log=True, about="of Adam, at the start")
    dropout: float = hyper(0.3, low=0.0, high=0.95, about="in the views of the trained part")
    heterogeneous: bool = hyper(True, about="a map of the target of its own")
    teacher: bool = hyper(True, about="the chain is the teacher; else the model itself")
    prototype_weight: float = hyper(1.0, low=0.0, high=100.0, about="lambda_p")
    dual_weight: float = hyper(0.3, low=0.0, high=100.0, about="lambda_d")
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
        everything = np.sort(np.concatenate([problem.labelled.rows, problem.unlabelled]))
        space = _space(
            problem.source,
            problem.target,
            (everything.tobytes(), problem.adapt.tobytes()),
            whole_source=self.use_source,
            instants=self.instants,
            size=self.size,
            dynamic=self.dynamic,
        )
        source, known = space.source, np.searchsorted(everything, problem.labelled.rows)
        if not self.use_source:
            source, known = source.at(torch.from_numpy(known)), np.arange(len(known))
        labels = torch.zeros(len(source.z), len(present), dtype=torch.float64)
        labels[known, y] = 1
        others = np.setdiff1d(problem.scored, problem.adapt)
        rows = space.target.z
        if len(others):
            extra = _embedded(problem.target, others, space.axes, instants=self.instants)
            rows = torch.cat([rows, extra.z])
        scores = self._answer(source, space, labels, rows, rng=rng)
        order = np.concatenate([problem.adapt[space.order], others])
        place = np.empty(order.max() + 1, np.int64)
        place[order] = np.arange(len(order))
        found = scores.numpy()[place[problem.scored]]
        return present_scores(found, present, len(problem.classes))

    def _answer(
        self,
        source: Embedding,
        space: Space,
        labels: Tensor,
        rows: Tensor,
        *,
        rng: np.random.Generator,
    ) -> Tensor:
        """Equations 2 to 9."""
        adapt = len(space.target.z)
        chains = [
            irf.chain(
                source.z,
                labels,
                rows,
                adapt,
                within=space.axes.within,
                shrinkage=shrinkage,
                mix=self.instant_mix,
                source_mass=self.source_mass,
                target_mass=self.target_mass,
                threshold=self.agreement if self.check else None,
                steps=self.balance_steps,
            )
            for shrinkage in irf.SHRINKAGES
        ]
        steps = self.balance_steps
        frozen = irf.averaged([one.answer for one in chains], adapt, steps=steps)
        if not self.steps or not self.trained_share:
            return frozen
        taught = irf.averaged([one.source for one in chains], len(labels), steps=steps)
        known = labels.sum(dim=1) > 0
        middle = chains[len(chains) // 2]
        trained = tric.train(
            tric.Side(source.z, source.segments, torch.where(known[:, None], labels, taught.exp())),
            tric.Side(space.target.z, space.target.segments, frozen[:adapt].exp()),
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
            dual_weight=self.dual_weight,
            specific=self.heterogeneous,
            teacher=self.teacher,
        )
        shares = (1 - self.trained_share, self.trained_share)
        return irf.averaged([frozen, trained], adapt, weights=shares, steps=steps)


class Embedding(NamedTuple):
    """Some utterances in the axes of a pair.

    Attributes:
        z: [n, e].
        segments: deviations of the segments from the utterance's mean [n, s, e]; s is 0 without
            instants.
    """

    z: Tensor
    segments: Tensor

    def at(self, rows: Tensor) -> Embedding:
        """Some of them."""
        return Embedding(self.z[rows], self.segments[rows])


class Space(NamedTuple):
    """What all draws and shots of a pair share.

    Attributes:
        axes: of the pair.
        source: every row of the source.
        target: the rows to adapt to, in an order that is their own and not the table's.
        order: places of these in `Problem.adapt`.
    """

    axes: irf.Axes
    source: Embedding
    target: Embedding
    order: np.ndarray


@functools.lru_cache(maxsize=PAIRS)
def _space(
    source: Table,
    target: Table,
    rows: tuple[bytes, bytes],
    *,
    whole_source: bool,
    instants: bool,
    size: int,
    dynamic: float,
) -> Space:
    # Tables are equal only to themselves, and a process opens a table once.
    members, adapt = (np.frombuffer(part, np.int64) for part in rows)
    order = np.lexsort(target.summary[adapt].T)
    sides = [(target, adapt[order]), *([(source, members)] if whole_source else [])]
    parts = [_moments(*side, instants=instants) for side in sides]
    axes = irf.principal_embedding(
        [part[0] for part in parts],
        [part[1] for part in parts],
        [part[2] for part in parts],
        size=size,
        dynamic=dynamic,
    )
    return Space(
        axes,
        _embedded(source, members, axes, instants=instants),
        _embedded(target, adapt[order], axes, instants=instants),
        order,
    )


def _moments(table: Table, rows: np.ndarray, *, instants: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Summaries, mean instants and the covariance of segments around these, in float64."""
    summary = np.asarray(table.summary[rows], np.float64)
    largest = float(np.abs(summary).max(initial=0))
    if not largest <= LARGEST:
        raise MethodError(
            f"summaries reach {largest:.3g}, more than {LARGEST:g}; normalise them "
            "(--normalise corpus or speaker)"
        )
    d = table.instants.shape[2] if instants else 0
    means, covariance = np.zeros((len(rows), d)), np.zeros((d, d))
    for start in range(0, len(rows) if instants else 0, BLOCK):
        mean, deviation = _segments(table, rows[start : start + BLOCK])
        means[start : start + BLOCK] = mean
        flat = deviation.reshape(-1, d)
        covariance += flat.T @ flat / (len(rows) * deviation.shape[1])
    return torch.from_numpy(summary), torch.from_numpy(means), torch.from_numpy(covariance)


def _embedded(table: Table, rows: np.ndarray, axes: irf.Axes, *, instants: bool) -> Embedding:
    """Rows in the axes, block by block."""
    vectors, centre = axes.vectors.numpy(), axes.mean.numpy()
    f = table.summary.shape[1]
    count = min(SEGMENTS, table.instants.shape[1]) if instants else 0
    z = np.empty((len(rows), vectors.shape[1]))
    segments = np.empty((len(rows), count, vectors.shape[1]), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        z[part] = (table.summary[rows[part]] - centre[:f]) @ vectors[:f]
        if instants:
            mean, deviation = _segments(table, rows[part])
            z[part] += (mean - centre[f:]) @ vectors[f:]
            segments[part] = deviation @ vectors[f:].astype(np.float32)
    return Embedding(torch.from_numpy(z), torch.from_numpy(segments))


def _segments(table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean instant [n, d] and deviations of the segments' means from it [n, s, d]."""
    instants = table.instants[rows]
    mean = instants.mean(axis=1, dtype=np.float64)
    count = min(SEGMENTS, instants.shape[1])
    edges = np.linspace(0, instants.shape[1], count + 1).astype(int)[:-1]
    lengths = np.diff(np.append(edges, instants.shape[1]))
    sums = np.add.reduceat(instants, edges, axis=1)
    return mean, sums / lengths[:, None].astype(np.float32) - mean[:, None].astype(np.float32)
