"""The summaries of a problem by their part, in double precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clser_bench.errors import MethodError
from clser_bench.problem import Problem

LARGEST = 1e6
"""Beyond this, squares and exponentials lose their digits; z-scores do not exceed 5."""


class Sides(NamedTuple):
    """What a shallow adaptation works on.

    Attributes:
        known: labelled source [m, f].
        y: their classes [m].
        source: the whole source, labelled or not [n, f], in the order of the table.
        target: the rows to adapt to [a, f].
        scored: the rows to score [s, f].
        classes: c.
    """

    known: Float[np.ndarray, "m f"]
    y: Int[np.ndarray, " m"]
    source: Float[np.ndarray, "n f"]
    target: Float[np.ndarray, "a f"]
    scored: Float[np.ndarray, "s f"]
    classes: int


def sides_of(problem: Problem) -> Sides:
    """Gather the summaries of a problem.

    Args:
        problem: of equal feature sizes on both sides.

    Raises:
        MethodError: values are too large for second moments.
    """
    everything = np.sort(np.concatenate([problem.labelled.rows, problem.unlabelled]))
    sides = Sides(
        problem.source.summary[problem.labelled.rows].astype(np.float64),
        problem.labelled.y,
        problem.source.summary[everything].astype(np.float64),
        problem.target.summary[problem.adapt].astype(np.float64),
        problem.target.summary[problem.scored].astype(np.float64),
        len(problem.classes),
    )
    largest = max(float(np.abs(part).max(initial=0)) for part in (sides.source, sides.target))
    if largest > LARGEST:
        raise MethodError(
            f"summaries reach {largest:.3g}, more than {LARGEST:g}; normalise them "
            "(--normalise corpus or speaker)"
        )
    return sides
