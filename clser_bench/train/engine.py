"""The packed engine: k trials of one method trained at once.

Every trial keeps its own parameters, optimiser state, hyper-parameters, rows and noise; the
losses are computed under `vmap` and summed, so the gradient of each trial's parameters is that
of its own loss, and a trial that diverges leaves the others alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from clser_bench.problem import Problem
from clser_bench.train.batches import Feeder, initial_seed, part_of
from clser_bench.train.contract import Batch, Phase, Shape, State, Trained, bind, check_phases
from clser_bench.train.inference import Call, refreshed, score_rows

BETAS = (0.9, 0.999)
EPS = 1e-8


class StackedAdamW:
    """The state of one part of the network for k trials; equal to `torch.optim.AdamW` per trial.

    It is `torch.optim.AdamW` itself, fused, over views of the stacked parameters: neighbouring
    trials with the same values are one view, so that a pack of equal ones is one pass over its
    memory. Written out as operations on whole tensors it took a fifth of a small network's time.

    Reference: Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2.

    Args:
        flat: [k, p], the part's parameters, updated in place.
        learning_rates: of each trial.
        weight_decays: of each trial.
    """

    def __init__(
        self,
        flat: Float[Tensor, "k p"],
        learning_rates: Sequence[float],
        weight_decays: Sequence[float],
    ) -> None:
        values = list(zip(learning_rates, weight_decays, strict=True))
        self._spans: list[slice] = []
        groups = []
        for (rate, decay), members in itertools.groupby(range(len(values)), values.__getitem__):
            rows = list(members)
            self._spans.append(slice(rows[0], rows[-1] + 1))
            view = flat.detach()[self._spans[-1]]
            groups.append({"params": [view], "lr": rate, "weight_decay": decay, "rate": rate})
        self._optimiser = torch.optim.AdamW(groups, betas=BETAS, eps=EPS, fused=True)

    def reset(self) -> None:
        """Forget the moments and the step count."""
        self._optimiser.state.clear()

    @torch.no_grad()
    def step(self, gradient: Float[Tensor, "k p"], scale: float) -> None:
        """One update.

        Args:
            gradient: [k, p].
            scale: factor of the learning rate at this step.
        """
        for group, span in zip(self._optimiser.param_groups, self._spans, strict=True):
            group["lr"] = group["rate"] * scale
            group["params"][0].grad = gradient[span]
        self._optimiser.step()


def rate_scale(decay: str, progress: float) -> float:
    """Factor of the learning rate: 1, or the cosine from 1 to 0.

    Args:
        decay: `none` or `cosine`.
        progress: share of training done.
    """
    return 1.0 if decay == "none" else 0.5 * (1 + math.cos(math.pi * progress))


def new_network(method: Trained, problem: Problem, *, seed: int, dtype: torch.dtype) -> nn.Module:
    """Build a trial's network from its own seed; the global random state is left as it was.

    Args:
        method: builds it.
        problem: gives the sizes, and the features that a method may start from.
        seed: of the trial.
        dtype: of the parameters; drawn in float32 whatever it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed(seed))
        network = method.network(Shape.of(problem))
        with torch.no_grad():
            method.start(network, problem)
        return network.to(dtype)


class Caller(nn.Module):
    """Calls any function of a network under `functional_call`, so that parts can be used freely."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(network, *arguments)` with the parameters that are in force."""
        return function(self.network, *arguments)


class Stack:
    """The networks of k trials.

    Parameters are kept flat, [k, p] for each part (top-level child module or parameter): the
    optimiser then works on one tensor a part instead of many.

    Args:
        networks: k networks of the same structure.
        device: where the stacked parameters shall lie.
    """

    def __init__(self, networks: Sequence[nn.Module], *, device: str = "cpu") -> None:
        self.caller = Caller(networks[0])
        self.k = len(networks)
        self._layout: dict[str, list[tuple[str, torch.Size]]] = {}
        self.flat: dict[str, Tensor] = {}
        for name, value in networks[0].named_parameters():
            self._layout.setdefault(name.partition(".")[0], []).append((name, value.shape))
        values = [dict(network.named_parameters()) for network in networks]
        for part, names in self._layout.items():
            rows = [torch.cat([v[name].detach().reshape(-1) for name, _ in names]) for v in values]
            self.flat[part] = torch.stack(rows).to(device)
        buffers = [dict(network.named_buffers()) for network in networks]
        self.buffers = {
            name: torch.stack([b[name] for b in buffers]).to(device) for name in buffers[0]
        }

    def parameters(self) -> dict[str, Tensor]:
        """Views [k, ...] into the flat tensors, by the names that `functional_call` wants."""
        views = {f"network.{name}": value for name, value in self.buffers.items()}
        for part, names in self._layout.items():
            sizes = [shape.numel() for _, shape in names]
            for (name, shape), piece in zip(
                names, torch.split(self.flat[part], sizes, dim=1), strict=True
            ):
                views[f"network.{name}"] = piece.reshape(self.k, *shape)
        return views

    def call(
        self, function: Callable[..., Any], parameters: dict[str, Tensor], *arguments: Any
    ) -> Any:
        """Call `function(network, *arguments)` with one trial's parameters."""
        return functional_call(self.caller, parameters, (function, *arguments))

    def one(self, index: int) -> dict[str, Tensor]:
        """One trial's parameters, detached.

        Args:
            index: which.
        """
        return {name: value[index].detach() for name, value in self.parameters().items()}


def stack_states(states: Sequence[State]) -> State:
    """Stack k carries name by name."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


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
