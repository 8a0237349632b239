"""The one-trial loop: plain PyTorch, the oracle that a pack must equal.

Also the way of methods that cannot be packed.
"""

from __future__ import annotations

import torch
from torch import nn

from clser_bench.errors import MethodError
from clser_bench.problem import Problem
from clser_bench.train.batches import Feeder, part_of, trial_of
from clser_bench.train.contract import Batch, Phase, State, Trained, check_phases
from clser_bench.train.engine import (
    BETAS,
    EPS,
    Reader,
    Result,
    failed,
    finished,
    new_network,
    rate_scale,
)


def train_one(
    method: Trained, problem: Problem, seed: int, *, dtype: torch.dtype = torch.float32
) -> Result:
    """Train one trial and score its rows; `dtype`: float32, or float64 for comparisons."""
    loop = _Loop(method, problem, seed, dtype)
    reason = loop.run()
    return failed(reason) if reason else finished(loop.reader.scores())


Embeddings = tuple[torch.Tensor, torch.Tensor]  # embeddings of source and target


def embed(method: Trained, problem: Problem, seed: int) -> tuple[Embeddings, Embeddings]:
    """Embeddings of a trial before and after its training.

    Of each the whole source, by row, and the rows to adapt to; MethodError where the loss was not
    finite.
    """
    loop = _Loop(method, problem, seed, torch.float32)
    before = loop.reader.embeddings()
    if reason := loop.run():
        raise MethodError(reason)
    return before, loop.reader.embeddings()


class _Loop:
    def __init__(self, method: Trained, problem: Problem, seed: int, dtype: torch.dtype) -> None:
        self.method, self.problem, self.seed, self.dtype = method, problem, seed, dtype
        self.network = new_network(method, problem, seed=seed, dtype=dtype)
        self.phases = check_phases(method, self.network)
        self.parts: dict[str, list[nn.Parameter]] = {}
        for name, value in self.network.named_parameters():
            self.parts.setdefault(name.partition(".")[0], []).append(value)
        self.optimisers = {part: self._optimiser(part) for part in self.parts}
        self.feeder = Feeder([method], [problem], [seed], dtype)
        self.carry: State = {
            k: v.detach().clone() for k, v in method.initial_carry(self.network).items()
        }

    def _optimiser(self, part: str) -> torch.optim.Adam:
        return torch.optim.Adam(
            self.parts[part],
            lr=self.method.learning_rate,
            weight_decay=self.method.weight_decay,
            betas=BETAS,
            eps=EPS,
        )

    def run(self) -> str:
        """Train; the reason of a failure, or an empty string."""
        return next(filter(None, map(self._step, range(self.method.steps))), "")

    def _step(self, step: int) -> str:
        every = self.method.refresh_every
        if every and step % every == 0:
            self.feeder.states = [self.reader.pseudo_labels(step)]
        carry = {name: value.unsqueeze(0) for name, value in self.carry.items()}
        stacked = self.feeder.batch(step, carry)
        for phase in self.phases:
            if phase.active(step, self.method.steps):
                batch = trial_of(part_of(stacked, phase.uses), 0)
                if not self._run(phase, batch, step):
                    return f"the loss was not finite at step {step}"
        if self.carry:
            with torch.no_grad():
                self.carry = self.method.update_carry(self.network, trial_of(stacked, 0))
        return ""

    def _run(self, phase: Phase, batch: Batch, step: int) -> bool:
        """Descend on one batch; whether the loss was finite."""
        parts = phase.trains or tuple(self.parts)
        if phase.reset_optimiser and step == phase.first(self.method.steps):
            self.optimisers.update({part: self._optimiser(part) for part in parts})
        for name, values in self.parts.items():
            for value in values:
                value.requires_grad_(name in parts)
        for _ in range(phase.repeat):
            loss = getattr(self.method, phase.loss)(self.network, batch)
            if not bool(torch.isfinite(loss)):
                return False
            rate = self.method.learning_rate * rate_scale(self.method.decay, batch.progress)
            for part in parts:
                # A part that the loss does not reach takes its step too, with gradient zero.
                for value in self.parts[part]:
                    value.grad = torch.zeros_like(value)
                for group in self.optimisers[part].param_groups:
                    group["lr"] = rate
                    group["weight_decay"] = self.method.weight_decay if phase.penalised else 0.0
            loss.backward()
            for part in parts:
                self.optimisers[part].step()
        return True

    @property
    def reader(self) -> Reader:
        """The network as it is now."""
        return Reader(
            method=self.method,
            call=lambda function, *arguments: function(self.network, *arguments),
            problem=self.problem,
            carry=self.carry,
            seed=self.seed,
            dtype=self.dtype,
        )
