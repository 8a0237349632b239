"""Prototypes and balanced assignments of the target in turn.

Reference: Hu, Gripon & Pateux, Leveraging the Feature Distribution in Transfer-Based Few-Shot
Learning, ICANN 2021 (PT-MAP): algorithm 1 with equations 4 to 6, lambda = 10, alpha = 0.2 and 20
rounds of the authors' code.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front
`axes-within` (results/selection/README.md says why), brought to unit length; no power transform,
which is for features that are not negative; a scored row gets the assignment that the last
prototypes and balance give it alone. The target's rows in a prototype weigh `mass` together where
the labelled ones weigh 1: the paper has 75 unlabelled rows, a corpus has a thousand.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import Episode, class_offsets, episode, squared_distances


@register("pt-map", version=2)
class PtMap(Fitted):
    """Sinkhorn assignments and means."""

    uses = ("labelled", "source", "target")
    assumes_prior = "uniform"
    deterministic = True
    front = "axes-within"

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

    def prototypes(self, rows: Episode) -> tuple[np.ndarray, np.ndarray]:
        """Prototypes [p, f], and what to add to -scale · squared distance before the softmax."""
        mu = rows.means
        for _ in range(self.rounds):
            logit = -self.scale * squared_distances(rows.target, mu)
            sums, mass = rows.pooled(softmax(logit + class_offsets(logit), axis=1), self.mass)
            mu = mu + self.rate * (sums / mass[:, None] - mu)
        return mu, class_offsets(-self.scale * squared_distances(rows.target, mu))

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Assign and average, return logits [n, c]."""
        rows = episode(problem, front=self.front)
        prototypes, offset = self.prototypes(rows)
        return rows.scores(offset - self.scale * squared_distances(rows.scored, prototypes))
