"""Prototypes and balanced assignments of the target in turn.

Reference: Hu, Gripon & Pateux, Leveraging the Feature Distribution in Transfer-Based Few-Shot
Learning, ICANN 2021 (PT-MAP): algorithm 1 with equations 4 to 6, lambda = 10, alpha = 0.2 and 20
rounds of the authors' code.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front,
centred and brought to unit length; no power transform, which is for features that are not negative;
a scored row gets the assignment that the last prototypes and balance give it alone. The target's
rows in a prototype weigh `mass` together where the labelled ones weigh 1: the paper has 75
unlabelled rows, a corpus has a thousand.
"""

from __future__ import annotations

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.few_shot import squared_distances, transported_prototypes
from clser_bench.shallow.sides import present_scores, sides_of, unit_rows


@register("pt-map", version=1)
class PtMap(Fitted):
    """Sinkhorn assignments and means."""

    uses = ("labelled", "source", "target")
    assumes_prior = "uniform"
    deterministic = True
    front = "axes"

    scale: float = hyper(
        10.0,
        low=0.01,
        high=1e4,
        log=True,
        grid=(3.0, 10.0, 30.0),
        about="lambda, factor of distances",
    )
    rate: float = hyper(0.2, low=0.0, high=1.0, about="alpha, step toward the new means")
    rounds: int = hyper(20, low=0, high=10_000, about="of assignments and means")
    mass: float = hyper(
        0.1,
        low=0.0,
        high=1e4,
        grid=(0.03, 0.1, 0.3, 1.0),
        about="of the target rows, in labelled rows",
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Assign and average, return logits [n, c]."""
        sides = sides_of(problem, front=self.front)
        present, y = np.unique(sides.y, return_inverse=True)
        prototypes, offset = transported_prototypes(
            unit_rows(sides.known),
            y,
            unit_rows(sides.target),
            scale=self.scale,
            rate=self.rate,
            mass=self.mass,
            rounds=self.rounds,
        )
        distance = squared_distances(unit_rows(sides.scored), prototypes)
        return present_scores(offset - self.scale * distance, present, sides.classes)
