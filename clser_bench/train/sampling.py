"""Which rows each step of a trial sees: drawn once, from the trial's own generators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clser_bench.hashing import generator, seed_of
from clser_bench.problem import Problem, Rows
from clser_bench.train.contract import Trained


@dataclass(frozen=True, eq=False)
class Draws:
    """The rows of every step of one trial.

    Attributes:
        labelled: int64 [steps, m], positions in the problem's labelled rows, class by class.
        source: int64 [steps, b], rows of the source table.
        target: int64 [steps, b], positions in the problem's `adapt` rows.
        offsets: int64 [steps, 3], where in the noise bank a step's numbers start.
    """

    labelled: Rows
    source: Rows
    target: Rows
    offsets: Rows


def per_class(problem: Problem, wanted: int) -> int:
    """Labelled utterances per class in a batch: what is wanted, or the smallest class."""
    counts = np.bincount(problem.labelled.y, minlength=len(problem.classes))
    return max(1, min(wanted, int(counts[counts > 0].min(initial=wanted))))


def draws(method: Trained, problem: Problem, seed: int, *, bank: int) -> Draws:
    """Draw the rows of all steps.

    Args:
        method: its step count and batch sizes are used.
        problem: the problem.
        seed: of the trial; each part has a generator of its own.
        bank: size of the noise bank.
    """
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
    offsets = generator(seed, "noise").integers(0, bank, size=(method.steps, 3))
    return Draws(np.concatenate(parts, axis=1), everything[source], target, offsets)


def batches(rng: np.random.Generator, n: int, *, size: int, steps: int) -> Rows:
    """Batches from reshuffled passes over n rows.

    A batch never holds a row twice while n is at least the batch size (the rest of a pass is
    left out); a smaller n fills batches from consecutive passes.

    Args:
        rng: generator.
        n: number of rows, at least 1.
        size: rows of a batch.
        steps: number of batches.

    Returns:
        int64 [steps, size], values 0 to n - 1.
    """
    if n >= size:
        each = n // size
        passes = [rng.permutation(n)[: each * size] for _ in range(-(-steps // each))]
    else:
        passes = [rng.permutation(n) for _ in range(-(-steps * size // n))]
    return np.concatenate(passes)[: steps * size].reshape(steps, size).astype(np.int64)


def initial_seed(seed: int) -> int:
    """The seed of a trial's parameters."""
    return seed_of(seed, "parameters")
