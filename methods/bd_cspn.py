"""Prototypes rectified by a shift between the sides and by the target rows that are nearest.

Reference: Liu, Song & Qin, Prototype Rectification for Few-Shot Learning, ECCV 2020 (BD-CSPN):
cross-class bias diminished by the shift of the query set, intra-class bias by the mean of
pseudo-labelled rows weighted by softmax(10 cosine), cosine to the rectified prototypes as answer.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front,
centred and brought to unit length; all nearest target rows of a class enter its prototype, as in
public code, not the Z most confident. The target's rows in a prototype weigh `mass` together where
the labelled ones weigh 1: the paper has 75 unlabelled rows, a corpus has a thousand.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.few_shot import rectified_prototypes
from clser_bench.shallow.sides import present_scores, sides_of, unit_rows


@register("bd-cspn", version=1)
class BdCspn(Fitted):
    """Cosines to rectified prototypes."""

    uses = ("labelled", "source", "target")
    deterministic = True
    front = "axes"

    scale: float = hyper(10.0, low=0.0, high=1e4, about="epsilon, factor of the cosines")
    mass: float = hyper(
        1.0,
        low=0.0,
        high=1e4,
        grid=(0.1, 0.3, 1.0, 3.0),
        about="of the target rows, in labelled rows",
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Rectify, return scaled cosines [n, c]."""
        sides = sides_of(problem, front=self.front)
        present, y = np.unique(sides.y, return_inverse=True)
        prototypes, shift = rectified_prototypes(
            unit_rows(sides.known), y, unit_rows(sides.target), scale=self.scale, mass=self.mass
        )
        cosine = unit_rows(unit_rows(sides.scored) + shift) @ unit_rows(prototypes).T
        return present_scores(self.scale * cosine, present, sides.classes)
