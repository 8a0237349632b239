"""Transfer component analysis: few directions that keep variance while the means agree.

Reference: Pan, Tsang, Kwok & Yang, Domain Adaptation via Transfer Component Analysis, IEEE
Transactions on Neural Networks 22 (2011): the unsupervised form, with a linear kernel.

Departures: the primal form for the linear kernel, an f x f problem instead of one in the number of
utterances, where the regulariser is on the map itself; the whole source enters the means and the
variance; components have unit length, as in skada; the classifier is the benchmark's logistic
regression. mu was chosen on the suite `wide` (results/selection/defaults.md).
"""

import numpy as np

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.classifiers import STRENGTH, logistic_scores
from clser_bench.shallow.sides import covariance, mean_gaps, sides_of, transfer_components


@register("tca", version=2)
class Tca(Fitted):
    """TCA with a linear kernel on summaries."""

    deterministic = True
    front = "axes"
    dimension: int = hyper(100, low=1, high=10_000, grid=(20, 40, 100), about="components, at most")
    regularisation: float = hyper(
        100.0,
        low=1e-6,
        high=1e6,
        log=True,
        grid=(0.1, 10.0, 100.0, 1000.0),
        about="mu of the paper",
    )
    strength: float = hyper(STRENGTH, low=1e-6, high=1e6, log=True, about="C of the classifier")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        gaps = mean_gaps(sides.source.mean(axis=0), sides.target, sides.known, sides.y, None)
        components = transfer_components(
            gaps,
            covariance(np.concatenate([sides.source, sides.target])),
            dimension=self.dimension,
            regularisation=self.regularisation,
        )
        return logistic_scores(
            sides.known @ components,
            sides.y,
            sides.scored @ components,
            classes=sides.classes,
            strength=self.strength,
        )
