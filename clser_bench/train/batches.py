"""The batch of a step for k trials: rows, features, noisy views, noise, state."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clser_bench.hashing import generator
from clser_bench.problem import Problem, Rows, Table
from clser_bench.train.contract import Batch, Part, Shape, State, Trained, View


@dataclass(frozen=True, eq=False)
class Draws:
    """The rows of every step of one trial."""

    labelled: Rows  # int64 [steps, m], positions in the problem's labelled rows, class by class
    source: Rows  # int64 [steps, b], rows of the source table
    target: Rows  # int64 [steps, b], positions in the problem's `adapt` rows
    offsets: Rows  # int64 [steps, 4], where in the noise bank a step's numbers start


def per_class(problem: Problem, wanted: int) -> int:
    """Labelled utterances per class in a batch: what is wanted, or the smallest class."""
    counts = np.bincount(problem.labelled.y, minlength=len(problem.classes))
    return max(1, min(wanted, int(counts[counts > 0].min(initial=wanted))))


def draws(method: Trained, problem: Problem, seed: int, *, bank: int) -> Draws:
    """Draw the rows of all steps; each part has a generator of its own."""
    m = per_class(problem, method.labelled_batch)
    parts = []
    for label in range(len(problem.classes)):
        members = np.flatnonzero(problem.labelled.y == label)
        if len(members):
            rng = generator(seed, "labelled", label)
            parts.append(members[batches(rng, len(members), size=m, steps=method.steps)])
    everything = np.sort(np.concatenate([problem.labelled.rows, problem.unlabelled]))
    source = batches(
        generator(seed, "source"), len(everything), size=method.source_batch, steps=method.steps
    )
    target = batches(
        generator(seed, "target"), len(problem.adapt), size=method.target_batch, steps=method.steps
    )
    offsets = generator(seed, "noise").integers(0, bank, size=(method.steps, STREAMS))
    return Draws(np.concatenate(parts, axis=1), everything[source], target, offsets)


def batches(rng: np.random.Generator, n: int, *, size: int, steps: int) -> Rows:
    """Batches int64 [steps, size] from reshuffled passes over n rows.

    A batch never holds a row twice while n is at least the batch size (the rest of a pass is
    left out); a smaller n fills batches from consecutive passes.
    """
    if n >= size:
        each = n // size
        passes = [rng.permutation(n)[: each * size] for _ in range(-(-steps // each))]
    else:
        passes = [rng.permutation(n) for _ in range(-(-steps * size // n))]
    return np.concatenate(passes)[: steps * size].reshape(steps, size).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Bank:
    """A table as float32 tensors."""

    instants: Tensor  # [n, t, d]
    values: Tensor  # [n, d + f], the mean over instants beside the summary


@functools.lru_cache(maxsize=32)
def bank_of(table: Table, device: str = "cpu") -> Bank:
    """Wrap a table; it is pooled, and copied to a device, once per process.

    `device`: where the tensors shall lie; on the CPU the instants share the table's memory.
    """
    if device != "cpu":
        host = bank_of(table)
        return Bank(host.instants.to(device), host.values.to(device))
    pooled = np.asarray(table.instants).mean(axis=1, dtype=np.float64).astype(np.float32)
    values = np.concatenate([pooled, np.asarray(table.summary)], axis=1, dtype=np.float32)
    return Bank(_shared(table.instants), torch.from_numpy(values))


def gather(
    tables: Sequence[Table],
    rows: Sequence[Rows],
    *,
    instants: bool,
    dtype: torch.dtype,
    device: str = "cpu",
) -> View:
    """Stack the given rows of each trial's table.

    Neighbouring trials that share a table are gathered in one call; a view with [k, b, t, d] and
    [k, b, d + f].
    """
    stored = [table.stored_rows(own) for table, own in zip(tables, rows, strict=True)]
    first = bank_of(stored[0][0], device)
    k, b = len(stored), len(rows[0])
    t = first.instants.shape[1] if instants else 0
    moments = first.instants.new_empty((k, b, t, first.instants.shape[2]))
    values = first.values.new_empty((k, b, first.values.shape[1]))
    start = 0
    while start < k:
        table, stop = stored[start][0], start
        while stop < k and stored[stop][0] is table:
            stop += 1
        bank = bank_of(table, device)
        index = torch.from_numpy(np.concatenate([own for _, own in stored[start:stop]])).to(device)
        if t:
            torch.index_select(bank.instants, 0, index, out=moments[start:stop].flatten(0, 1))
        torch.index_select(bank.values, 0, index, out=values[start:stop].flatten(0, 1))
        start = stop
    return View(moments.to(dtype), values.to(dtype))


def rows_view(
    table: Table, rows: Rows, *, instants: bool, dtype: torch.dtype, device: str = "cpu"
) -> View:
    """Some rows of one table, without the trial axis."""
    view = gather([table], [rows], instants=instants, dtype=dtype, device=device)
    return View(*(part[0] for part in view))


def no_rows(view: View) -> View:
    """The same view with no utterances, for parts that a phase does not see."""
    return View(*(part[:, :0] for part in view))


def _shared(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        # Tables are read-only and stay so: nothing here writes into them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


NOISE_BANK = 1 << 20
STREAMS = 4  # of noise, of a step: weak views, strong views, the method's own, input dropout
WEAK_NOISE = 0.1
STRONG_NOISE = 0.5
ERASED_SHARE = 0.25


@functools.lru_cache(maxsize=2)
def noise_bank(device: str = "cpu") -> Tensor:
    """Float32 [2 * NOISE_BANK] standard normal numbers, the second half like the first.

    Every trial reads from an offset of its own, so its noise does not depend on its pack.
    """
    if device != "cpu":
        return noise_bank().to(device)
    half = generator("noise bank").standard_normal(NOISE_BANK, dtype=np.float32)
    return torch.from_numpy(np.concatenate([half, half]))


@functools.lru_cache(maxsize=4)
def dropout_bank(rate: float, device: str = "cpu") -> Tensor:
    """Dropout masks made of the noise bank: 0 for a share of its numbers, 1 / (1 - rate) else.

    `rate`: the share, 0 to below 1.
    """
    kept = noise_bank(device) > (NormalDist().inv_cdf(rate) if rate else -math.inf)
    return kept.to(torch.float32) / (1 - rate)


@dataclass(eq=False)
class Feeder:
    """Makes the batches of k trials of one pack."""

    methods: Sequence[Trained]  # k methods that differ in real hyper-parameters only
    problems: Sequence[Problem]  # k problems of one shape
    seeds: Sequence[int]  # k seeds
    dtype: torch.dtype = torch.float32  # of the features
    device: str = "cpu"  # where batches lie
    # what `update_pseudo_labels` last returned for each trial, [n, ...] per name
    states: list[State] = field(default_factory=list)
    method: Trained = field(init=False)
    _draws: list[Draws] = field(init=False)

    def __post_init__(self) -> None:
        self.method = self.methods[0]
        self._draws = [
            draws(self.method, problem, seed, bank=NOISE_BANK)
            for problem, seed in zip(self.problems, self.seeds, strict=True)
        ]

    def batch(self, step: int, carry: State) -> Batch:
        """The stacked batch [k, ...] of a step."""
        labelled = [draw.labelled[step] for draw in self._draws]
        source = [draw.source[step] for draw in self._draws]
        at = [draw.target[step] for draw in self._draws]
        # Unused parts are not gathered: a batch costs as much as a small network.
        if "source" not in self.method.uses:
            source = [rows[:0] for rows in source]
        if "target" not in self.method.uses:
            at = [rows[:0] for rows in at]
        adapt = [p.adapt[i] for p, i in zip(self.problems, at, strict=True)]
        target = self._gather([problem.target for problem in self.problems], adapt)
        weak = strong = no_rows(target)
        if self.method.views:
            size = sum(part[0].numel() for part in target)
            weak = _noisy(target, self._noise(step, 0, size), level=WEAK_NOISE, erase=False)
            strong = _noisy(target, self._noise(step, 1, size), level=STRONG_NOISE, erase=True)
        # Both parts of the source in one call.
        pairs = zip(self.problems, labelled, source, strict=True)
        rows = [np.concatenate([p.labelled.rows[i], others]) for p, i, others in pairs]
        both = self._gather([problem.source for problem in self.problems], rows)
        m = len(labelled[0])
        known = View(*(part[:, :m] for part in both))
        rest = View(*(part[:, m:] for part in both))
        self._drop(step, (known, rest, target))
        y = [p.labelled.y[i] for p, i in zip(self.problems, labelled, strict=True)]
        return Batch(
            labelled=known,
            y=torch.from_numpy(np.stack(y)).to(self.device),
            source=rest,
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
        bank = noise_bank(self.device)
        starts = [int(draw.offsets[step, stream]) for draw in self._draws]
        return torch.stack([_numbers(bank, start, size) for start in starts]).to(self.dtype)

    def _drop(self, step: int, views: Sequence[View]) -> None:
        """Input dropout, in place: on summaries and pooled instants, not on the instants."""
        rates = [method.input_dropout for method in self.methods]
        if not any(rates):
            return
        size = sum(view.values[0].numel() for view in views)
        banks = [dropout_bank(rate, self.device) for rate in rates]
        starts = [int(draw.offsets[step, 3]) for draw in self._draws]
        masks = torch.stack([_numbers(*at, size) for at in zip(banks, starts, strict=True)])
        start = 0
        for part in (part for view in views for part in (view.pooled, view.summary)):
            size = part[0].numel()
            part.mul_(masks[:, start : start + size].view(part.shape))
            start += size


def part_of(batch: Batch, uses: Sequence[Part]) -> Batch:
    """The batch without the parts that a phase does not use."""
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
    """One trial of a stacked batch."""
    one: Batch = filled(batch, (leaf[index] for leaf in leaves_of(batch)))
    return one


def leaves_of(tree: Any) -> Iterator[Tensor]:
    """The tensors of nested dicts, lists and (named) tuples, in order; other values are none."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict | list | tuple):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves_of(branch)


def filled(tree: Any, leaves: Iterator[Tensor]) -> Any:
    """The same tree with other tensors, taken in the order of `leaves_of`."""
    if isinstance(tree, Tensor):
        return next(leaves)
    if isinstance(tree, dict):
        return {name: filled(branch, leaves) for name, branch in tree.items()}
    if isinstance(tree, list | tuple):
        branches = [filled(branch, leaves) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return tree


def _numbers(bank: Tensor, start: int, size: int) -> Tensor:
    """Numbers of a bank from a place on; those of a whole bank again where more are wanted."""
    if size <= NOISE_BANK:
        return bank[start : start + size]
    return bank[start : start + NOISE_BANK].repeat(-(-size // NOISE_BANK))[:size]


def _noisy(view: View, noise: Tensor, *, level: float, erase: bool) -> View:
    """Gaussian noise in z-score units; `erase` also zeroes a share of instants and values."""
    parts = []
    start = 0
    for part in (view.instants, view.pooled, view.summary):
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
    if instants.shape[2]:
        pooled = instants.mean(dim=2)
    return View(instants, torch.cat([pooled, summary], dim=-1))


_ERASE_BELOW = NormalDist().inv_cdf(0.5 + ERASED_SHARE / 2)
"""|z| below which that share of standard normal numbers lies."""
