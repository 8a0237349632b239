"""The most frequent class of the labelled source for every utterance; the bound of no features.

Reference: none; its UAR is 100 / c on any target that holds every class.

Departures: none. In a k-shot draw all classes are equally frequent: the first one is taken.
"""

import numpy as np

from clser_bench.plugin import Fitted, Problem, register


@register("majority", version=1)
class Majority(Fitted):
    """The same scores for every utterance."""

    uses = ("labelled",)
    deterministic = True
    role = "bound"
    unequal_sizes = True  # no feature is looked at

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        counts = np.bincount(problem.labelled.y, minlength=len(problem.classes))
        scores = np.zeros((len(problem.scored), len(problem.classes)))
        scores[:, counts.argmax()] = 1.0
        return scores
