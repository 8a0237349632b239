"""What the engine hands a trained method, and how a method states its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from clser_bench.problem import Problem

Part = Literal["labelled", "source", "target"]
State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes that a network is built for.

    Attributes:
        c: classes.
        t: instants of an utterance.
        d: values of an instant of the source.
        f: values of a summary of the source.
        d_target: values of an instant of the target; equal to `d` unless encoders differ.
        f_target: values of a summary of the target.
    """

    c: int
    t: int
    d: int
    f: int
    d_target: int
    f_target: int

    @classmethod
    def of(cls, problem: Problem) -> Shape:
        """The sizes of a problem."""
        _, t, d = problem.source.instants.shape
        return cls(
            c=len(problem.classes),
            t=t,
            d=d,
            f=problem.source.summary.shape[1],
            d_target=problem.target.instants.shape[2],
            f_target=problem.target.summary.shape[1],
        )

    @property
    def equal(self) -> bool:
        """Whether source and target have the same sizes."""
        return (self.d, self.f) == (self.d_target, self.f_target)


class View(NamedTuple):
    """Features of some utterances of one side.

    Attributes:
        instants: [b, t, d]; t is 0 unless the method asks for instants.
        pooled: [b, d], the mean over instants.
        summary: [b, f].
    """

    instants: Tensor
    pooled: Tensor
    summary: Tensor


def join(*views: View) -> View:
    """Views of one trial as one, so that a network is called once for all of them."""
    return View(*map(torch.cat, zip(*views, strict=True)))


class Batch(NamedTuple):
    """The data of one step of one trial. Parts that a phase does not use have no rows.

    `update_carry` is given the parts that the method uses.

    Attributes:
        labelled: class-balanced labelled source utterances.
        y: [m], their classes.
        source: source utterances, labels withheld.
        target: target utterances.
        weak: the same with a little noise; no rows unless the method asks for views.
        strong: the same with much noise and erased spans; likewise.
        state: what `update_pseudo_labels` returned, at the rows of `target`.
        noise: [s] standard normal numbers, s as `noise_size` asked.
        progress: share of training done, 0 to below 1.
        carry: what `initial_carry` and `update_carry` returned.
    """

    labelled: View
    y: Tensor
    source: View
    target: View
    weak: View
    strong: View
    state: State
    noise: Tensor
    progress: float = 0.0
    carry: State = {}  # noqa: RUF012 (never written to)


class Support(NamedTuple):
    """The labelled utterances of a trial, which an embedding may depend on, and the carry.

    Attributes:
        view: every labelled utterance.
        y: [m], their classes.
        carry: as in a batch.
    """

    view: View
    y: Tensor
    carry: State


class Embedded(NamedTuple):
    """Embeddings and scores of some utterances.

    Attributes:
        embedding: [n, e].
        scores: [n, c], larger is likelier.
    """

    embedding: Tensor
    scores: Tensor


class Snapshot(NamedTuple):
    """All labelled and all target utterances as the network embeds them at one step.

    Attributes:
        labelled: every labelled row.
        y: [m], their classes.
        target: every row to adapt to.
        progress: share of training done; 1 at the end.
        rng: the trial's own generator.
    """

    labelled: Embedded
    y: Tensor
    target: Embedded
    progress: float
    rng: np.random.Generator


@dataclass(frozen=True)
class Phase:
    """One optimiser step that is repeated over a stretch of training.

    Attributes:
        loss: name of the method's function `(network, batch) -> scalar`.
        trains: the network's top-level parts (child modules or parameters) that are stepped;
            empty for all. Each part has its own step counter.
        repeat: how many times in a row on the same batch.
        start: share of training at which it begins.
        stop: share of training at which it ends.
        reset_optimiser: forget the moments of its parts when it begins.
        uses: the parts of the batch that it is given; empty for all that the method uses.
    """

    loss: str = "loss"
    trains: tuple[str, ...] = ()
    repeat: int = 1
    start: float = 0.0
    stop: float = 1.0
    reset_optimiser: bool = False
    uses: tuple[Part, ...] = ()

    def active(self, step: int, steps: int) -> bool:
        """Whether it runs at a step."""
        return self.first(steps) <= step < round(self.stop * steps)

    def first(self, steps: int) -> int:
        """The step at which it begins."""
        return round(self.start * steps)
