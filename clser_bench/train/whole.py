"""Looking at a whole side of one trial: final scores, and what `refresh` is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.hashing import generator
from clser_bench.problem import Problem, Rows, Table
from clser_bench.train.contract import Described, State, Trained, View
from clser_bench.train.gather import rows_view

CHUNK = 1024

Call = Callable[..., Any]
"""`call(function, *arguments)` runs `function(network, *arguments)` with a trial's parameters."""


@torch.no_grad()
def score_rows(
    method: Trained,
    call: Call,
    problem: Problem,
    *,
    carry: State,
    seed: int,
    dtype: torch.dtype,
    device: str = "cpu",
) -> Float[Tensor, "n c"]:
    """Scores of the problem's scored rows.

    Args:
        method: with the trial's own hyper-parameters.
        call: runs a function of the trial's network.
        problem: the problem.
        carry: the trial's.
        seed: of the trial.
        dtype: of the features.
        device: where the network lies.

    Returns:
        Scores on the CPU.
    """
    side = _Side(method, call, problem, carry=carry, dtype=dtype, device=device)
    if type(method).read_out is Trained.read_out:
        return side.describe(problem.scored, target=True, embeddings=False).scores
    scored = side.describe(problem.scored, target=True)
    same = np.array_equal(problem.scored, problem.adapt)
    labelled = side.describe(problem.labelled.rows, target=False)
    target = scored if same else side.describe(problem.adapt, target=True)
    return method.read_out(labelled, side.y, target, scored, generator(seed, "read out"))


@torch.no_grad()
def refreshed(
    method: Trained,
    call: Call,
    problem: Problem,
    *,
    carry: State,
    step: int,
    seed: int,
    dtype: torch.dtype,
    device: str = "cpu",
) -> State:
    """Call the method's `refresh` for one trial.

    Args:
        method: with the trial's own hyper-parameters.
        call: runs a function of the trial's network.
        problem: the problem.
        carry: the trial's.
        step: the step before which this happens.
        seed: of the trial.
        dtype: of the features.
        device: where the network lies; a method's `refresh` is given tensors on the CPU.

    Returns:
        Tensors on the CPU, whose first axis runs over `problem.adapt`.
    """
    side = _Side(method, call, problem, carry=carry, dtype=dtype, device=device)
    labelled = side.describe(problem.labelled.rows, target=False)
    target = side.describe(problem.adapt, target=True)
    rng = generator(seed, "refresh", step)
    return method.refresh(labelled, side.y, target, step / method.steps, rng)


@torch.no_grad()
def embeddings(
    method: Trained, call: Call, problem: Problem, *, carry: State, dtype: torch.dtype
) -> tuple[Float[Tensor, "m e"], Float[Tensor, "n e"]]:
    """Embeddings of the whole source and of the rows to adapt to, for pictures.

    Args:
        method: with the trial's own hyper-parameters.
        call: runs a function of the trial's network.
        problem: the problem.
        carry: the trial's.
        dtype: of the features.

    Returns:
        Of the source by row, labelled or not, and of the target.
    """
    side = _Side(method, call, problem, carry=carry, dtype=dtype, device="cpu")
    rows = np.sort(np.concatenate([problem.labelled.rows, problem.unlabelled]))
    source = side.describe(rows, target=False).embedding
    return method.shown(source), method.shown(side.describe(problem.adapt, target=True).embedding)


class _Side:
    """Describes rows of one trial, in chunks; what it gives lies on the CPU."""

    def __init__(
        self,
        method: Trained,
        call: Call,
        problem: Problem,
        *,
        carry: State,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.method, self.call, self.problem, self.carry = method, call, problem, carry
        self.dtype, self.device = dtype, device
        self.y = torch.from_numpy(np.array(problem.labelled.y))
        self.known = self.y.to(device)
        self.labelled = self._view(problem.source, problem.labelled.rows)

    def _view(self, table: Table, rows: Rows) -> View:
        return rows_view(
            table,
            rows,
            instants=self.method.inputs_instants,
            dtype=self.dtype,
            device=self.device,
        )

    def describe(self, rows: Rows, *, target: bool, embeddings: bool = True) -> Described:
        """Embeddings, of no size where nobody asks for them, and scores."""
        table = self.problem.target if target else self.problem.source
        describe = partial(self.method.describe, target=target)
        chunks = []
        for i in range(0, len(rows), CHUNK):
            view = self._view(table, rows[i : i + CHUNK])
            found = self.call(describe, self.labelled, self.known, view, self.carry)
            if not embeddings:
                found = found._replace(embedding=found.scores.new_zeros(len(found.scores), 0))
            chunks.append(found)
        return Described(*(torch.cat(parts).cpu() for parts in zip(*chunks, strict=True)))
