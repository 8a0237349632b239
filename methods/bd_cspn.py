"""Prototypes rectified by a shift between the sides and by the target rows that are nearest.

Reference: Liu, Song & Qin, Prototype Rectification for Few-Shot Learning, ECCV 2020 (BD-CSPN):
cross-class bias diminished by the shift of the query set, intra-class bias by the mean of
pseudo-labelled rows weighted by softmax(10 cosine), cosine to the rectified prototypes as answer.

Departures: no network is trained, the rows are the benchmark's summaries behind the common front
`axes-within` (results/selection/README.md says why), brought to unit length; all nearest target
rows of a class enter its prototype, as in public code, not the Z most confident. The target's rows
in a prototype weigh `mass` together where the labelled ones weigh 1: the paper has 75 unlabelled
rows, a corpus has a thousand.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import FLOOR, Episode, episode
from clser_bench.shallow.sides import one_hot, unit_rows


@register("bd-cspn", version=2)
class BdCspn(Fitted):
    """Cosines to rectified prototypes."""

    uses = ("labelled", "source", "target")
    deterministic = True
    front = "axes-within"

    scale: float = hyper(10.0, low=0.0, high=1e4, about="epsilon, factor of the cosines")
    mass: float = hyper(
        1.0,
        low=0.0,
        high=1e4,
        grid=(0.1, 0.3, 1.0, 3.0),
        about="of the target rows, in labelled rows",
    )

    def rectified(self, rows: Episode) -> tuple[np.ndarray, np.ndarray]:
        """Prototypes [p, f], and the shift to be added to a target row [f]."""
        shift = rows.known.mean(axis=0) - rows.target.mean(axis=0)
        moved = rows._replace(target=rows.target + shift)
        shares = []
        for x in (moved.known, moved.target):
            cosine = unit_rows(x) @ unit_rows(rows.means).T
            nearest = one_hot(cosine.argmax(axis=1), len(rows.present))
            shares.append(softmax(self.scale * cosine, axis=1) * nearest)
        # A labelled row counts for the class that it is nearest to, as a target row does.
        weighted = shares[0].T @ rows.known
        each = self.mass * len(rows.known) / len(rows.target)
        weighted = weighted + each * shares[1].T @ moved.target
        total = (shares[0].sum(axis=0) + each * shares[1].sum(axis=0))[:, None]
        # A class that is nearest to nothing keeps its mean.
        return np.where(total > 0, weighted / np.maximum(total, FLOOR), rows.means), shift

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        """Rectify, return scaled cosines [n, c]."""
        rows = episode(problem, front=self.front)
        prototypes, shift = self.rectified(rows)
        return rows.scores(self.scale * unit_rows(rows.scored + shift) @ unit_rows(prototypes).T)
