"""Joint distribution adaptation: components whose means agree, overall and emotion by emotion.

Reference: Long et al., Transfer Feature Learning with Joint Distribution Adaptation, ICCV 2013:
the objective with marginal and conditional discrepancy, refined with pseudo-labels for ten
rounds (algorithm 1), with a linear kernel (the primal form).

Departures: the whole source enters the marginal mean and the variance, only its labelled rows the
conditional means; the first pseudo-labels come from components with the marginal term alone; rows
are not brought to unit length and the discrepancy matrix is not divided by its norm, as public
copies of the authors' code do, so that lambda has another scale; components have unit length, as in
skada, not unit variance; the classifier is the benchmark's logistic regression instead of nearest
neighbour. lambda was chosen on the suite `wide` (results/selection/defaults.md).
"""

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import STRENGTH, logistic_scores
from clser_bench.shallow.sides import covariance, mean_gaps, sides_of, transfer_components


@register("jda", version=2)
class Jda(Fitted):
    """JDA with a linear kernel on summaries."""

    deterministic = True
    front = "axes"
    dimension: int = hyper(100, low=1, high=10_000, grid=(20, 40, 100), about="components, at most")
    regularisation: float = hyper(
        100.0,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(10.0, 30.0, 100.0, 1000.0),
        about="lambda of the paper",
    )
    strength: float = hyper(STRENGTH, low=1e-6, high=1e6, log=True, about="C of the classifier")
    rounds: int = hyper(10, low=0, high=1000, about="times that pseudo-labels are made, at most")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        scatter = covariance(np.concatenate([sides.source, sides.target]))
        mean = sides.source.mean(axis=0)
        label: np.ndarray | None = None
        for turn in range(self.rounds + 1):
            components = transfer_components(
                mean_gaps(mean, sides.target, sides.known, sides.y, label),
                scatter,
                dimension=self.dimension,
                regularisation=self.regularisation,
            )
            rows = sides.target if turn < self.rounds else sides.scored
            scores = logistic_scores(
                sides.known @ components,
                sides.y,
                rows @ components,
                classes=sides.classes,
                strength=self.strength,
            )
            label = scores.argmax(axis=1)
        return scores
