"""The common part of transductive few-shot classifiers: rows at unit length, distances, masses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clser_bench.problem import Problem
from clser_bench.shallow.sides import Front, one_hot, present_scores, sides_of, unit_rows

FLOOR = 1e-12
CHANGE = 1e-6  # iterations stop where no entry of a prototype changes by more


class Episode(NamedTuple):
    """A problem as the few-shot literature has it, in rows at unit length."""

    known: Float[np.ndarray, "m f"]  # labelled rows, the support set [m, f]
    y: Int[np.ndarray, " m"]  # their classes, without gaps [m]
    target: Float[np.ndarray, "n f"]  # rows to adapt to, the query set [n, f]
    scored: Float[np.ndarray, "s f"]  # rows to score [s, f]
    present: Int[np.ndarray, " p"]  # the problem's classes that have labelled rows [p]
    classes: int  # c

    @property
    def label(self) -> Float[np.ndarray, "m p"]:
        """One-hot classes of the labelled rows."""
        return one_hot(self.y, len(self.present))

    @property
    def means(self) -> Float[np.ndarray, "p f"]:
        """Mean of each class's labelled rows: the prototypes without a target."""
        return np.asarray(self.label.T @ self.known / self.label.sum(axis=0)[:, None])

    def pooled(
        self, assigned: Float[np.ndarray, "n p"], mass: float
    ) -> tuple[Float[np.ndarray, "p f"], Float[np.ndarray, " p"]]:
        """Sums of labelled and target rows by class, and the weights in them.

        The papers have 75 query rows beside 5 or 25 labelled ones, a corpus has a thousand: with a
        weight of one each, a prototype would forget its labelled rows at once.

        Args:
            mass: of all target rows, in that of all labelled rows.
        """
        each = mass * len(self.known) / len(self.target)
        sums = self.label.T @ self.known + each * assigned.T @ self.target
        return sums, self.label.sum(axis=0) + each * assigned.sum(axis=0)

    def scores(self, found: Float[np.ndarray, "s p"]) -> Float[np.ndarray, "s c"]:
        """Scores of all classes from those of the present ones."""
        return present_scores(found, self.present, self.classes)


def episode(problem: Problem, *, front: Front) -> Episode:
    """The rows of a problem behind a front (`sides_of`), at unit length."""
    sides = sides_of(problem, front=front)
    present, y = np.unique(sides.y, return_inverse=True)
    rows = map(unit_rows, (sides.known, sides.target, sides.scored))
    known, target, scored = rows
    return Episode(known, y, target, scored, present, sides.classes)


def squared_distances(
    x: Float[np.ndarray, "n f"], prototypes: Float[np.ndarray, "c f"]
) -> Float[np.ndarray, "n c"]:
    """Squared Euclidean distances of rows to prototypes."""
    square = (x**2).sum(axis=1)[:, None] - 2 * x @ prototypes.T + (prototypes**2).sum(axis=1)
    return np.asarray(np.maximum(square, 0.0))


def tim_logits(
    x: Float[np.ndarray, "n f"], prototypes: Float[np.ndarray, "c f"], temperature: float
) -> Float[np.ndarray, "n c"]:
    """-temperature / 2 · |x - w_k|^2 (Boudiaf et al., NeurIPS 2020, TIM, equation 2)."""
    return -temperature / 2 * squared_distances(x, prototypes)
