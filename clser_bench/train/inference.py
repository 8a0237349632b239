"""Looking at a whole side of one trial: final scores, and what `update_pseudo_labels` is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clser_bench.hashing import generator
from clser_bench.problem import Problem, Rows
from clser_bench.train.batches import rows_view
from clser_bench.train.contract import Embedded, Snapshot, State, Support, Trained, View

CHUNK = 1024


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
