"""Label propagation: labels spread over a graph of nearest neighbours across both languages.

Reference: Zhou et al., Learning with Local and Global Consistency, NIPS 2003 (volume 16, 2004):
the iteration F <- alpha S F + (1 - alpha) Y with S = D^(-1/2) W D^(-1/2), as in scikit-learn's
LabelSpreading.

Departures: W joins each utterance with its nearest neighbours (weight one, made symmetric) instead
of all by a Gaussian, whose width says little in some hundred dimensions and which costs a dense
matrix; rows of F are normalised to sum to one; utterances that were not in the graph get the mean
of their nearest neighbours' rows (scikit-learn's way; the paper has none). alpha (0.99 in the
paper), the number of neighbours and that the rest of the source is not in the graph were chosen on
the suite `wide` (results/selection/defaults.md); rows are behind the front `within`
(results/selection/README.md has the gain of both).
"""

import functools
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading

from clser_bench.plugin import Fitted, Problem, hyper, register
from clser_bench.shallow.sides import places, sides_of, unit_rows

ITERATIONS = 10_000
TOLERANCE = 1e-6


@register("label-propagation", version=4)
class LabelPropagation(Fitted):
    """scikit-learn's LabelSpreading on summaries of the labelled source and the target."""

    deterministic = True
    front = "within"
    alpha: float = hyper(
        0.2, low=0.01, high=0.99, grid=(0.2, 0.5, 0.9), about="the neighbours' share"
    )
    neighbours: int = hyper(
        100,
        low=1,
        high=10_000,
        grid=(20, 100),
        about="of an utterance, at most a fifth of the graph",
    )
    unlabelled_source: bool = hyper(
        False, grid=(False, True), about="whether the rest of the source is in the graph"
    )

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        sides = sides_of(problem, front=self.front)
        y, size = sides.y, len(sides.y) + len(sides.target)
        parts = [sides.known, sides.target]
        if self.unlabelled_source:
            parts.append(sides.source[sides.unlabelled])
        x = unit_rows(np.concatenate(parts))
        # In a graph of all with all every row would end alike.
        count = max(1, min(self.neighbours, len(x) // 5))
        model = LabelSpreading(
            kernel=functools.partial(neighbour_graph, count=count),
            alpha=self.alpha,
            max_iter=ITERATIONS,
            tol=TOLERANCE,
        )
        model.fit(x, np.concatenate([y, np.full(len(x) - len(y), -1)]))
        shares = model.label_distributions_[len(y) : size][places(problem)]
        if (new := places(problem) < 0).any():
            # Where no label has reached any neighbour, scikit-learn divides zero by zero.
            with np.errstate(invalid="ignore"):
                shares[new] = np.nan_to_num(model.predict_proba(unit_rows(sides.scored[new])))
        scores = np.zeros((len(shares), sides.classes))
        scores[:, model.classes_] = shares / np.bincount(y)[model.classes_]
        return scores


def neighbour_graph(a: np.ndarray, b: np.ndarray, *, count: int) -> Any:
    """Which rows of `a` are near which of `b`: a sparse matrix [len(a), len(b)] of zeros and ones.

    Args:
        a: the observations of the graph.
        b: the same object, for the symmetric graph in which either is a neighbour of the other
            and none of itself; or new observations, each with its nearest rows of `a`.
        count: neighbours of an observation, at most as many as there are.
    """
    if a is not b:
        search = NearestNeighbors(n_neighbors=min(count, len(a))).fit(a)
        return search.kneighbors_graph(b).T
    search = NearestNeighbors(n_neighbors=min(count, len(a) - 1)).fit(a)
    links = search.kneighbors_graph()
    return links.maximum(links.T)
