"""Joint distribution optimal transport: labels are transported along with what is predicted.

Reference: Courty, Flamary, Habrard & Rakotomamonjy, Joint Distribution Optimal Transportation for
Domain Adaptation, NIPS 2017: the cost alpha · d(x, x') + loss(y, f(x')) and the block coordinate
descent over plan and classifier; exact transport.

Departures: only the labelled source rows are transported, and every emotion has the same mass, so
that the target is assumed to have uniform class shares; the loss is cross-entropy and f the
benchmark's logistic regression on target rows with their transported soft labels (a linear
classifier; the paper has kernels, networks and the hinge loss); the first plan follows the
distances alone, as in skada's `solve_jdot_classification`; few rounds. alpha (1 / max d in the
paper) and C were chosen on the suite `wide` (results/selection/defaults.md).
"""

import numpy as np
import ot
from jaxtyping import Float, Int

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import logistic_scores
from clser_bench.shallow.sides import Sides, balanced_masses, scaled_distances, sides_of

PIVOTS = 10_000_000
"""Most steps of the network simplex; a thousand rows need some ten thousand."""
LEAST = 1e-6
"""Shares of a label below this are left out of the fit."""


@register("jdot", version=2)
class Jdot(Fitted):
    """JDOT with logistic regression on summaries."""

    assumes_prior = "uniform"
    deterministic = True
    front = "axes"
    alpha: float = hyper(
        10.0,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(1.0, 10.0, 100.0),
        about="weight of distances, the largest being one",
    )
    strength: float = hyper(
        0.05, low=1e-6, high=1e6, log=True, grid=(0.01, 0.05, 0.2), about="C of the classifier"
    )
    rounds: int = hyper(5, low=1, high=1000, about="alternations of plan and classifier, at most")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        rows = np.concatenate([sides.target, sides.scored])
        cost = self.alpha * scaled_distances(sides.known, sides.target)
        # Nothing is predicted yet: the first plan follows the distances alone.
        scores = np.zeros((len(rows), sides.classes))
        before: np.ndarray | None = None
        for _ in range(self.rounds):
            labels = transported_labels(cost, scores[: len(sides.target)], sides.y)
            if before is not None and np.abs(labels - before).max() < LEAST:
                break
            before = labels
            scores = self._refitted(sides, labels, rows)
        return np.asarray(scores[len(sides.target) :])

    def _refitted(
        self, sides: Sides, labels: Float[np.ndarray, "a c"], rows: Float[np.ndarray, "r f"]
    ) -> np.ndarray:
        """Scores of `rows` by a classifier of the target rows with soft labels."""
        row, label = np.nonzero(labels > LEAST)
        return logistic_scores(
            sides.target[row],
            label,
            rows,
            classes=sides.classes,
            strength=self.strength,
            weights=labels[row, label],
        )


def transported_labels(
    distance: Float[np.ndarray, "m a"],
    scores: Float[np.ndarray, "a c"],
    y: Int[np.ndarray, " m"],
) -> Float[np.ndarray, "a c"]:
    """Soft labels that the optimal plan brings to the target rows; each sums to one.

    Args:
        distance: alpha times the distances of labelled and target rows.
        scores: log-probabilities of the target rows.
        y: classes of the labelled rows.
    """
    rows = distance.shape[1]
    plan = ot.emd(
        balanced_masses(y), np.full(rows, 1 / rows), distance - scores.T[y], numItermax=PIVOTS
    )
    labels = plan.T @ np.eye(scores.shape[1])[y]
    return np.asarray(labels / labels.sum(axis=1, keepdims=True))
