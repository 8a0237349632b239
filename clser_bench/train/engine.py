"""The packed engine: k trials of one method trained at once.

Every trial keeps its own parameters, optimiser state, hyper-parameters, rows and noise; the
losses are computed under `vmap` and summed, so the gradient of each trial's parameters is that
of its own loss, and a trial that diverges leaves the others alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import vmap

from clser_bench.hashing import generator, seed_of
from clser_bench.problem import Problem, Rows
from clser_bench.train.batches import Feeder, filled, leaves_of, part_of, rows_view
from clser_bench.train.contract import (
    Batch,
    Embedded,
    Phase,
    Shape,
    Snapshot,
    State,
    Support,
    Trained,
    View,
    bind,
    check_phases,
)

BETAS = (0.9, 0.999)
EPS = 1e-8
CHUNK = 1024  # rows that a network reads at once where it reads a whole side


class StackedAdam:
    """Adam for the parameters of k trials; equal to `torch.optim.Adam` per trial.

    It is `torch.optim.Adam` itself, fused, over views of the stacked parameters: neighbouring
    trials with the same values are one view, so that a pack of equal ones is one pass over its
    memory. The weight decay is an L2 penalty: it enters the gradient.

    Reference: Kingma & Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, algorithm 1.

    The values, [k, ...] each, are updated in place.
    """

    def __init__(
        self,
        values: Sequence[Tensor],
        learning_rates: Sequence[float],
        weight_decays: Sequence[float],
    ) -> None:
        settings = list(zip(learning_rates, weight_decays, strict=True))
        self._spans: list[slice] = []
        groups = []
        for (rate, decay), members in itertools.groupby(range(len(settings)), settings.__getitem__):
            rows = list(members)
            span = slice(rows[0], rows[-1] + 1)
            self._spans.append(span)
            views = [value.detach()[span] for value in values]
            groups.append({"params": views, "lr": rate, "rate": rate, "penalty": decay})
        self._optimiser = torch.optim.Adam(groups, betas=BETAS, eps=EPS, fused=True)

    def reset(self, which: Collection[int]) -> None:
        """Forget the moments and the step counts of some parameters, by their places."""
        for group in self._optimiser.param_groups:
            for place in which:
                self._optimiser.state.pop(group["params"][place], None)

    @torch.no_grad()
    def step(
        self, gradients: Mapping[int, Tensor], scale: float, *, penalised: bool = True
    ) -> None:
        """One update.

        `gradients`: [k, ...] by the place of a parameter; the others stay, and their counts.
        """
        for group, span in zip(self._optimiser.param_groups, self._spans, strict=True):
            group["lr"] = group["rate"] * scale
            group["weight_decay"] = group["penalty"] if penalised else 0.0
            for place, gradient in gradients.items():
                # The fused step reads memory in the order of the parameters.
                group["params"][place].grad = gradient[span].contiguous()
        self._optimiser.step()
        self._optimiser.zero_grad()


def rate_scale(decay: str, progress: float) -> float:
    """Factor of the learning rate: 1, or the cosine from 1 to 0."""
    return 1.0 if decay == "none" else 0.5 * (1 + math.cos(math.pi * progress))


def new_network(method: Trained, problem: Problem, *, seed: int, dtype: torch.dtype) -> nn.Module:
    """Build a trial's network from its own seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` also queues a seed for GPUs, with a traceback, for a millisecond.
        torch.default_generator.manual_seed(seed_of(seed, "parameters"))
        network = method.network(Shape.of(problem))
        with torch.no_grad():
            method.start(network, problem)
        return network.to(dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reader:
    """One trial's network as it is now, which reads rows in chunks and returns them on the CPU."""

    method: Trained  # with the trial's own hyper-parameters
    call: Callable[..., Any]  # `call(function, *arguments)` runs `function(network, *arguments)`
    problem: Problem  # the problem
    carry: State  # the trial's
    seed: int  # of the trial
    dtype: torch.dtype  # of the features
    device: str = "cpu"  # where the network lies; methods are given tensors on the CPU

    @torch.no_grad()
    def scores(self) -> Float[Tensor, "n c"]:
        """Scores of the problem's scored rows."""
        problem = self.problem
        if type(self.method).predict is Trained.predict:
            return self._embedded(problem.scored, target=True, embeddings=False).scores
        scored = self._embedded(problem.scored, target=True)
        same = np.array_equal(problem.scored, problem.adapt)
        snapshot = self._snapshot(1.0, ("read out",), scored if same else None)
        return self.method.predict(scored, snapshot)

    @torch.no_grad()
    def pseudo_labels(self, step: int) -> State:
        """The values of `update_pseudo_labels` before a step; row i belongs to row `adapt[i]`."""
        return self.method.update_pseudo_labels(
            self._snapshot(step / self.method.steps, ("refresh", step), None)
        )

    @torch.no_grad()
    def embeddings(self) -> tuple[Float[Tensor, "m e"], Float[Tensor, "n e"]]:
        """Of the whole source by row, labelled or not, and of the target, for pictures."""
        rows = np.sort(np.concatenate([self.problem.labelled.rows, self.problem.unlabelled]))
        sides = (rows, False), (self.problem.adapt, True)
        source, target = (self._embedded(part, target=side).embedding for part, side in sides)
        return self.method.plot_embedding(source), self.method.plot_embedding(target)

    def _snapshot(
        self, progress: float, purpose: tuple[str | int, ...], target: Embedded | None
    ) -> Snapshot:
        labelled = self._embedded(self.problem.labelled.rows, target=False)
        target = target or self._embedded(self.problem.adapt, target=True)
        rng = generator(self.seed, *purpose)
        return Snapshot(labelled, self._support.y.cpu(), target, progress, rng)

    @cached_property
    def _support(self) -> Support:
        labelled = self.problem.labelled
        y = torch.from_numpy(np.array(labelled.y)).to(self.device)
        return Support(self._view(labelled.rows, target=False), y, self.carry)

    def _view(self, rows: Rows, *, target: bool) -> View:
        return rows_view(
            self.problem.target if target else self.problem.source,
            rows,
            instants=self.method.inputs_instants,
            dtype=self.dtype,
            device=self.device,
        )

    def _embedded(self, rows: Rows, *, target: bool, embeddings: bool = True) -> Embedded:
        """Embeddings, of no size where nobody asks for them, and scores."""
        embed: Callable[..., Embedded] = partial(self.method.embed, target=target)
        if not embeddings and type(self.method).embed is Trained.embed:
            # The default runs the backbone for the embeddings and again for the scores.
            embed = _scores_alone
        chunks = []
        for i in range(0, len(rows), CHUNK):
            view = self._view(rows[i : i + CHUNK], target=target)
            found = self.call(embed, view, self._support)
            if not embeddings:
                found = found._replace(embedding=found.scores.new_zeros(len(found.scores), 0))
            chunks.append(found)
        return Embedded(*(torch.cat(parts).cpu() for parts in zip(*chunks, strict=True)))


def _scores_alone(network: Callable[[View], Tensor], view: View, _: Support) -> Embedded:
    scores = network(view)
    return Embedded(scores, scores)


class Stack:
    """The networks of k trials: each parameter and buffer stacked, [k, ...].

    `parts` has the places of the parameters of each part (top-level child module or parameter).
    """

    def __init__(self, networks: Sequence[nn.Module], *, device: str = "cpu") -> None:
        self.k = len(networks)
        self._network = networks[0]
        parameters = [dict(network.named_parameters()) for network in networks]
        buffers = [dict(network.named_buffers()) for network in networks]
        self.values = _stacked(parameters, device)
        self.buffers = _stacked(buffers, device)
        self.parts: dict[str, list[int]] = {}
        for place, name in enumerate(self.values):
            self.parts.setdefault(name.partition(".")[0], []).append(place)
        places = {id(value): i for i, value in enumerate((parameters[0] | buffers[0]).values())}
        self._slots = [
            (owner, name, places[id(value)])
            for module in self._network.modules()
            for owner in (module._parameters, module._buffers)  # noqa: SLF001
            for name, value in owner.items()
            if value is not None
        ]

    def tensors(self) -> list[Tensor]:
        """Parameters and buffers [k, ...], in the order that `call` wants."""
        return [*self.values.values(), *self.buffers.values()]

    def call(self, function: Callable[..., Any], tensors: Sequence[Tensor], *arguments: Any) -> Any:
        """Call `function(network, *arguments)` with one trial's parameters and buffers.

        `torch.func.functional_call` does the same, for a tenth of a small pack's step.
        """
        before = [owner[name] for owner, name, _ in self._slots]
        try:
            for owner, name, place in self._slots:
                owner[name] = tensors[place]  # type: ignore[assignment]
            return function(self._network, *arguments)
        finally:
            for (owner, name, _), value in zip(self._slots, before, strict=True):
                owner[name] = value  # type: ignore[assignment]

    def one(self, index: int) -> list[Tensor]:
        """One trial's parameters and buffers, detached."""
        return [value[index].detach() for value in self.tensors()]


def _stacked(states: Sequence[dict[str, Any]], device: str) -> dict[str, Tensor]:
    return {
        name: torch.stack([state[name].detach() for state in states]).to(device)
        for name in states[0]
    }


def stack_states(states: Sequence[State]) -> State:
    """Stack k carries name by name."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


@dataclass(frozen=True, eq=False)
class Result:
    """What training one trial gave."""

    # [n, c] of the scored rows, in the dtype of training; empty where it failed
    scores: npt.NDArray[Any]
    failure: str = ""  # why it failed; empty where it did not


def train_pack(
    methods: Sequence[Trained],
    problems: Sequence[Problem],
    seeds: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> list[Result]:
    """Train k trials together and score each one's rows.

    The methods differ in real hyper-parameters only; features are copied to the device once.
    """
    pack = _Pack(methods, problems, seeds, dtype, device)
    for step in range(methods[0].steps):
        pack.step(step)
    return pack.results()


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
        trials = zip(methods, problems, seeds, strict=True)
        networks = [new_network(m, p, seed=s, dtype=dtype) for m, p, s in trials]
        self.phases = check_phases(self.method, networks[0])
        self.stack = Stack(networks, device=device)
        self.real = {
            name: torch.tensor([getattr(m, name) for m in methods], dtype=dtype, device=device)
            for name in self.method.real()
        }
        self.optimiser = StackedAdam(
            list(self.stack.values.values()),
            [m.learning_rate for m in methods],
            [m.weight_decay for m in methods],
        )
        self.feeder = Feeder(methods, problems, seeds, dtype, device)
        carries = [m.initial_carry(network) for m, network in zip(methods, networks, strict=True)]
        self.carry = {
            name: value.detach().clone().to(device) for name, value in stack_states(carries).items()
        }
        self.bad_step = torch.full((len(seeds),), -1, device=device)

    def step(self, step: int) -> None:
        every = self.method.refresh_every
        if every and step % every == 0:
            self.feeder.states = [self._refresh(i, step) for i in range(self.stack.k)]
        batch = self.feeder.batch(step, self.carry)
        for phase in self.phases:
            if phase.active(step, self.method.steps):
                self._run(phase, part_of(batch, phase.uses), step)
        if self.carry:
            with torch.no_grad():
                self.carry = self._each("update_carry", batch)

    def _run(self, phase: Phase, batch: Batch, step: int) -> None:
        parts = phase.trains or tuple(self.stack.parts)
        places = [place for part in parts for place in self.stack.parts[part]]
        if phase.reset_optimiser and step == phase.first(self.method.steps):
            self.optimiser.reset(places)
        scale = rate_scale(self.method.decay, batch.progress)
        values = list(self.stack.values.values())
        trained = [values[place] for place in places]
        for _ in range(phase.repeat):
            for value in trained:
                value.requires_grad_()
            losses = self._each(phase.loss, batch)
            found = torch.autograd.grad(losses.sum(), trained, materialize_grads=True)
            for value in trained:
                value.requires_grad_(False)
            bad = ~torch.isfinite(losses.detach())
            self.bad_step = torch.where(bad & (self.bad_step < 0), step, self.bad_step)
            gradients = dict(zip(places, found, strict=True))
            self.optimiser.step(gradients, scale, penalised=phase.penalised)

    def _each(self, name: str, batch: Batch) -> Any:
        """A function of the method `(network, batch)`, for every trial."""
        trees = (self.stack.tensors(), self.real, batch)

        def one(*leaves: Tensor) -> Any:
            tensors, real, own = filled(trees, iter(leaves))
            return self.stack.call(getattr(bind(self.method, real), name), tensors, own)

        # vmap takes trees too; flat arguments cost a small pack a tenth less.
        return vmap(one)(*leaves_of(trees))

    def _reader(self, index: int) -> Reader:
        tensors = self.stack.one(index)
        return Reader(
            method=self.methods[index],
            call=lambda function, *arguments: self.stack.call(function, tensors, *arguments),
            problem=self.problems[index],
            carry={name: value[index] for name, value in self.carry.items()},
            seed=self.seeds[index],
            dtype=self.dtype,
            device=self.device,
        )

    def _refresh(self, index: int, step: int) -> State:
        return self._reader(index).pseudo_labels(step)

    def results(self) -> list[Result]:
        return [
            failed(f"the loss was not finite at step {bad}")
            if bad >= 0
            else finished(self._reader(index).scores())
            for index, bad in enumerate(self.bad_step.tolist())
        ]


def finished(scores: Tensor) -> Result:
    """A result from scores, or a failure where they are not finite."""
    if not bool(torch.isfinite(scores).all()):
        return failed("the scores are not finite")
    return Result(scores.numpy())


def failed(reason: str) -> Result:
    """A failure with its reason."""
    return Result(torch.zeros((0, 0)).numpy(), reason)
