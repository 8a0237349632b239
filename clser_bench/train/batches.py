"""The batch of a step for k trials: parts, noisy views, noise, state."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clser_bench.hashing import generator
from clser_bench.problem import Problem, Rows, Table
from clser_bench.train.contract import Batch, Part, Shape, State, Trained, View
from clser_bench.train.gather import gather, no_rows
from clser_bench.train.sampling import Draws, draws

NOISE_BANK = 1 << 20
WEAK_NOISE = 0.1
STRONG_NOISE = 0.5
ERASED_SHARE = 0.25


@functools.lru_cache(maxsize=2)
def noise_bank(device: str = "cpu") -> Tensor:
    """Float32 [2 * NOISE_BANK] standard normal numbers, the second half like the first.

    Every trial reads from an offset of its own, so its noise does not depend on its pack.

    Args:
        device: where they shall lie.
    """
    if device != "cpu":
        return noise_bank().to(device)
    half = generator("noise bank").standard_normal(NOISE_BANK, dtype=np.float32)
    return torch.from_numpy(np.concatenate([half, half]))


@dataclass(eq=False)
class Feeder:
    """Makes the batches of k trials of one pack.

    Attributes:
        method: the template; batch sizes and needs are read from it.
        problems: k problems of one shape.
        seeds: k seeds.
        dtype: of the features.
        device: where batches lie.
        states: what `update_pseudo_labels` last returned for each trial, [n, ...] per name.
    """

    method: Trained
    problems: Sequence[Problem]
    seeds: Sequence[int]
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    states: list[State] = field(default_factory=list)
    _draws: list[Draws] = field(init=False)
    _labels: list[Rows] = field(init=False)
    _used: frozenset[Part] = field(init=False)

    def __post_init__(self) -> None:
        self._draws = [
            draws(self.method, problem, seed, bank=NOISE_BANK)
            for problem, seed in zip(self.problems, self.seeds, strict=True)
        ]
        self._labels = [np.array(p.labelled.y) for p in self.problems]
        self._used = frozenset(self.method.uses)

    def batch(self, step: int, carry: State) -> Batch:
        """The stacked batch [k, ...] of a step.

        Args:
            step: 0 to `steps` - 1.
            carry: of the k trials.
        """
        sources = [problem.source for problem in self.problems]
        targets = [problem.target for problem in self.problems]
        labelled = [draw.labelled[step] for draw in self._draws]
        source = [draw.source[step] for draw in self._draws]
        at = [draw.target[step] for draw in self._draws]
        # Unused parts are not gathered: a batch costs as much as a small network.
        if "source" not in self._used:
            source = [rows[:0] for rows in source]
        if "target" not in self._used:
            at = [rows[:0] for rows in at]
        rows = [p.labelled.rows[i] for p, i in zip(self.problems, labelled, strict=True)]
        target = self._gather(targets, [p.adapt[i] for p, i in zip(self.problems, at, strict=True)])
        weak, strong = self._views(target, step)
        return Batch(
            labelled=self._gather(sources, rows),
            y=torch.from_numpy(
                np.stack([y[i] for y, i in zip(self._labels, labelled, strict=True)])
            ).to(self.device),
            source=self._gather(sources, source),
            target=target,
            weak=weak,
            strong=strong,
            state=self._state(at),
            noise=self._noise(step, 2, self.method.noise_size(Shape.of(self.problems[0]))),
            progress=step / self.method.steps,
            carry=carry,
        )

    def _gather(self, tables: Sequence[Table], rows: Sequence[Rows]) -> View:
        return gather(
            tables,
            rows,
            instants=self.method.inputs_instants,
            dtype=self.dtype,
            device=self.device,
        )

    def _state(self, at: Sequence[Rows]) -> State:
        if not self.states:
            return {}
        index = [torch.from_numpy(i) for i in at]
        return {
            name: torch.stack(
                [state[name][i] for state, i in zip(self.states, index, strict=True)]
            ).to(self.device)
            for name in self.states[0]
        }

    def _noise(self, step: int, stream: int, size: int) -> Tensor:
        offsets = [int(draw.offsets[step, stream]) for draw in self._draws]
        bank = noise_bank(self.device)
        repeats = -(-size // NOISE_BANK)
        parts = [
            bank[o : o + NOISE_BANK].repeat(repeats)[:size] if repeats > 1 else bank[o : o + size]
            for o in offsets
        ]
        return torch.stack(parts).to(self.dtype)

    def _views(self, target: View, step: int) -> tuple[View, View]:
        if not self.method.views:
            return no_rows(target), no_rows(target)
        return (
            _noisy(target, self._noise(step, 0, _size(target)), level=WEAK_NOISE, erase=False),
            _noisy(target, self._noise(step, 1, _size(target)), level=STRONG_NOISE, erase=True),
        )


def part_of(batch: Batch, uses: Sequence[Part]) -> Batch:
    """The batch without the parts that a phase does not use.

    Args:
        batch: stacked, [k, ...].
        uses: the parts to keep.
    """
    if "labelled" not in uses:
        batch = batch._replace(labelled=no_rows(batch.labelled), y=batch.y[:, :0])
    if "source" not in uses:
        batch = batch._replace(source=no_rows(batch.source))
    if "target" not in uses:
        empty = {name: value[:, :0] for name, value in batch.state.items()}
        batch = batch._replace(
            target=no_rows(batch.target),
            weak=no_rows(batch.weak),
            strong=no_rows(batch.strong),
            state=empty,
        )
    return batch


def trial_of(batch: Batch, index: int) -> Batch:
    """One trial of a stacked batch.

    Args:
        batch: [k, ...].
        index: which.
    """
    views: dict[str, Any] = {
        name: View(*(part[index] for part in getattr(batch, name)))
        for name in ("labelled", "source", "target", "weak", "strong")
    }
    state = {name: value[index] for name, value in batch.state.items()}
    carry = {name: value[index] for name, value in batch.carry.items()}
    return batch._replace(
        y=batch.y[index], state=state, noise=batch.noise[index], carry=carry, **views
    )


def _size(view: View) -> int:
    return sum(part[0].numel() for part in view)


def _noisy(view: View, noise: Tensor, *, level: float, erase: bool) -> View:
    """Gaussian noise in z-score units; `erase` also zeroes a share of instants and values."""
    parts = []
    start = 0
    for part in view:
        size = part[0].numel()
        bit = noise[:, start : start + size].reshape(part.shape)
        start += size
        changed = part + level * bit
        if erase and size:
            # A whole instant, or a single value of a summary, goes by the size of its own noise.
            mark = bit[..., :1] if part.dim() == 4 else bit
            changed = changed * (mark.abs() > _ERASE_BELOW)
        parts.append(changed)
    instants, pooled, summary = parts
    return View(instants, instants.mean(dim=2) if instants.shape[2] else pooled, summary)


_ERASE_BELOW = NormalDist().inv_cdf(0.5 + ERASED_SHARE / 2)
"""|z| below which that share of standard normal numbers lies."""
