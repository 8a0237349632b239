"""The packed engine: k trials of one method trained at once.

Every trial keeps its own parameters, optimiser state, hyper-parameters, rows and noise; the
losses are computed under `vmap` and summed, so the gradient of each trial's parameters is that
of its own loss, and a trial that diverges leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import vmap

from clser_bench.problem import Problem
from clser_bench.train.adamw import StackedAdamW, rate_scale
from clser_bench.train.batches import Feeder, part_of
from clser_bench.train.contract import Batch, Phase, State, Trained, bind, check_phases
from clser_bench.train.stack import Stack, new_network, stack_states
from clser_bench.train.whole import Call, refreshed, score_rows


@dataclass(frozen=True, eq=False)
class Result:
    """What training one trial gave.

    Attributes:
        scores: [n, c] of the scored rows, in the dtype of training; empty where it failed.
        failure: why it failed; empty where it did not.
    """

    scores: npt.NDArray[np.floating]
    failure: str = ""


def train_pack(
    methods: Sequence[Trained],
    problems: Sequence[Problem],
    seeds: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> list[Result]:
    """Train k trials together and score each one's rows.

    Args:
        methods: k methods that differ in real hyper-parameters only.
        problems: k problems of one shape.
        seeds: k seeds.
        dtype: float32, or float64 for comparisons.
        device: where the networks are trained; features are copied there once per process.

    Returns:
        One result a trial, in order.
    """
    pack = _Pack(methods, problems, seeds, dtype, device)
    for step in range(methods[0].steps):
        pack.step(step)
    return pack.results()


_TRIALS = Batch(*(0 for _ in Batch._fields))._replace(progress=None)  # type: ignore[arg-type]
"""The axis of trials in each field of a stacked batch; progress is the same for all."""


class _Pack:
    def __init__(
        self,
        methods: Sequence[Trained],
        problems: Sequence[Problem],
        seeds: Sequence[int],
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.methods, self.problems, self.seeds, self.dtype = methods, problems, seeds, dtype
        self.device = device
        self.method = methods[0]
        networks = [
            new_network(m, p, seed=s, dtype=dtype)
            for m, p, s in zip(methods, problems, seeds, strict=True)
        ]
        self.phases = check_phases(self.method, networks[0])
        self.stack = Stack(networks, device=device)
        self.real = {
            name: torch.tensor([getattr(m, name) for m in methods], dtype=dtype, device=device)
            for name in self.method.real()
        }
        self.optimisers = {
            part: StackedAdamW(
                flat, [m.learning_rate for m in methods], [m.weight_decay for m in methods]
            )
            for part, flat in self.stack.flat.items()
        }
        self.feeder = Feeder(self.method, problems, seeds, dtype, device)
        carries = [m.initial_carry(network) for m, network in zip(methods, networks, strict=True)]
        self.carry = {
            name: value.detach().clone().to(device) for name, value in stack_states(carries).items()
        }
        self.bad_step = torch.full((len(seeds),), -1, device=device)

    def step(self, step: int) -> None:
        every = self.method.refresh_every
        if every and step % every == 0:
            self.feeder.states = [self._refresh(i, step) for i in range(len(self.seeds))]
        batch = self.feeder.batch(step, self.carry)
        for phase in self.phases:
            if phase.active(step, self.method.steps):
                self._run(phase, part_of(batch, phase.uses), step)
        if self.carry:
            self.carry = self._update_carry(batch)

    def _run(self, phase: Phase, batch: Batch, step: int) -> None:
        parts = phase.trains or tuple(self.stack.flat)
        if phase.reset_optimiser and step == phase.first(self.method.steps):
            for part in parts:
                self.optimisers[part].reset()
        scale = rate_scale(self.method.decay, batch.progress)
        for _ in range(phase.repeat):
            trained = [self.stack.flat[part].requires_grad_() for part in parts]
            losses = self._losses(phase.loss, batch)
            gradients = torch.autograd.grad(losses.sum(), trained, materialize_grads=True)
            for flat in trained:
                flat.requires_grad_(False)
            self._watch(losses, step)
            for part, gradient in zip(parts, gradients, strict=True):
                self.optimisers[part].step(gradient, scale)

    def _losses(self, name: str, batch: Batch) -> Tensor:
        losses: Tensor = self._each(name, batch)
        return losses

    def _each(self, name: str, batch: Batch) -> Any:
        """A function of the method `(network, batch)`, for every trial."""

        def one(parameters: dict[str, Tensor], real: State, batch: Batch) -> Any:
            function = getattr(bind(self.method, real), name)
            return self.stack.call(function, parameters, batch)

        return vmap(one, in_dims=(0, 0, _TRIALS))(self.stack.parameters(), self.real, batch)

    @torch.no_grad()
    def _update_carry(self, batch: Batch) -> State:
        carry: State = self._each("update_carry", batch)
        return carry

    def _watch(self, losses: Tensor, step: int) -> None:
        bad = ~torch.isfinite(losses.detach())
        self.bad_step = torch.where(bad & (self.bad_step < 0), step, self.bad_step)

    def _call(self, index: int) -> Call:
        return partial(self._call_one, self.stack.one(index))

    def _call_one(self, parameters: dict[str, Tensor], function: Any, *arguments: Any) -> Any:
        return self.stack.call(function, parameters, *arguments)

    def _carry_of(self, index: int) -> State:
        return {name: value[index] for name, value in self.carry.items()}

    def _refresh(self, index: int, step: int) -> State:
        return refreshed(
            self.methods[index],
            self._call(index),
            self.problems[index],
            carry=self._carry_of(index),
            step=step,
            seed=self.seeds[index],
            dtype=self.dtype,
            device=self.device,
        )

    def results(self) -> list[Result]:
        return [self._result(index) for index in range(len(self.seeds))]

    def _result(self, index: int) -> Result:
        if self.bad_step[index] >= 0:
            return failed(f"the loss was not finite at step {int(self.bad_step[index])}")
        problem = self.problems[index]
        scores = score_rows(
            self.methods[index],
            self._call(index),
            problem,
            carry=self._carry_of(index),
            seed=self.seeds[index],
            dtype=self.dtype,
            device=self.device,
        )
        return finished(scores)


def finished(scores: Tensor) -> Result:
    """A result from scores, or a failure where they are not finite."""
    if not bool(torch.isfinite(scores).all()):
        return failed("the scores are not finite")
    return Result(scores.numpy())


def failed(reason: str) -> Result:
    """A failure with its reason."""
    return Result(torch.zeros((0, 0)).numpy(), reason)
