"""Looking at a whole side of one trial: final scores, and what `update_pseudo_labels` is given."""

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
from clser_bench.train.batches import rows_view
from clser_bench.train.contract import Embedded, Snapshot, State, Support, Trained, View

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
    if type(method).predict is Trained.predict:
        return side.embed(problem.scored, target=True, embeddings=False).scores
    scored = side.embed(problem.scored, target=True)
    same = np.array_equal(problem.scored, problem.adapt)
    labelled = side.embed(problem.labelled.rows, target=False)
    target = scored if same else side.embed(problem.adapt, target=True)
    rng = generator(seed, "read out")
    return method.predict(scored, Snapshot(labelled, side.support.y.cpu(), target, 1.0, rng))


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
    """Call the method's `update_pseudo_labels` for one trial.

    Args:
        method: with the trial's own hyper-parameters.
        call: runs a function of the trial's network.
        problem: the problem.
        carry: the trial's.
        step: the step before which this happens.
        seed: of the trial.
        dtype: of the features.
        device: where the network lies; `update_pseudo_labels` is given tensors on the CPU.

    Returns:
        Tensors on the CPU, whose first axis runs over `problem.adapt`.
    """
    side = _Side(method, call, problem, carry=carry, dtype=dtype, device=device)
    labelled = side.embed(problem.labelled.rows, target=False)
    target = side.embed(problem.adapt, target=True)
    rng = generator(seed, "refresh", step)
    return method.update_pseudo_labels(
        Snapshot(labelled, side.support.y.cpu(), target, step / method.steps, rng)
    )


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
    source = side.embed(rows, target=False).embedding
    target = side.embed(problem.adapt, target=True).embedding
    return method.plot_embedding(source), method.plot_embedding(target)


class _Side:
    """Embeds rows of one trial, in chunks, and returns them on the CPU."""

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
        self.method, self.call, self.problem = method, call, problem
        self.dtype, self.device = dtype, device
        y = torch.from_numpy(np.array(problem.labelled.y)).to(device)
        self.support = Support(self._view(problem.source, problem.labelled.rows), y, carry)

    def _view(self, table: Table, rows: Rows) -> View:
        return rows_view(
            table,
            rows,
            instants=self.method.inputs_instants,
            dtype=self.dtype,
            device=self.device,
        )

    def embed(self, rows: Rows, *, target: bool, embeddings: bool = True) -> Embedded:
        """Embeddings, of no size where nobody asks for them, and scores."""
        table = self.problem.target if target else self.problem.source
        embed = partial(self.method.embed, target=target)
        chunks = []
        for i in range(0, len(rows), CHUNK):
            view = self._view(table, rows[i : i + CHUNK])
            found = self.call(embed, view, self.support)
            if not embeddings:
                found = found._replace(embedding=found.scores.new_zeros(len(found.scores), 0))
            chunks.append(found)
        return Embedded(*(torch.cat(parts).cpu() for parts in zip(*chunks, strict=True)))
