"""Label propagation: labels spread over a graph of nearest neighbours across both languages.

Reference: Zhou et al., Learning with Local and Global Consistency, NIPS 2003 (volume 16, 2004):
the iteration F <- alpha S F + (1 - alpha) Y with S = D^(-1/2) W D^(-1/2), as in scikit-learn's
LabelSpreading.

Departures: W joins each utterance with its nearest neighbours (weight one, made symmetric)
instead of all by a Gaussian, whose width says little in some hundred dimensions and which costs
a dense matrix; rows of F are normalised to sum to one; utterances that were not in the graph get
the mean of their nearest neighbours' rows (scikit-learn's way; the paper has none). alpha (0.99 in
the paper) and that the rest of the source is in the graph were chosen on the suite `dev`
(results/selection).
"""

import functools
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading

from clser_bench.plugin import Fitted, Part, Problem, hyper, register

ITERATIONS = 10_000
TOLERANCE = 1e-6


@register("label-propagation", version=1)
class LabelPropagation(Fitted):
    """scikit-learn's LabelSpreading on summaries of the labelled source and the target."""

    deterministic = True
    alpha: float = hyper(
        0.9, low=0.01, high=0.99, grid=(0.2, 0.9, 0.99), about="the neighbours' share"
    )
    neighbours: int = hyper(
        7, low=1, high=10_000, grid=(7, 20), about="of an utterance in the graph"
    )
    unlabelled_source: bool = hyper(
        True,
        choices=(False, True),
        grid=(False, True),
        about="whether the rest of the source is in the graph",
    )

    @property
    def uses(self) -> tuple[Part, ...]:
        rest: tuple[Part, ...] = ("source",) if self.unlabelled_source else ()
        return ("labelled", *rest, "target")

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> np.ndarray:
        known, y = problem.source.summary[problem.labelled.rows], problem.labelled.y
        target = problem.target.summary[problem.adapt]
        parts = [known, target]
        if self.unlabelled_source:
            parts.append(problem.source.summary[problem.unlabelled])
        # In float32 the square of a large distance would overflow.
        x = np.concatenate(parts).astype(np.float64)
        model = LabelSpreading(
            kernel=functools.partial(neighbour_graph, count=self.neighbours),
            alpha=self.alpha,
            max_iter=ITERATIONS,
            tol=TOLERANCE,
        )
        model.fit(x, np.concatenate([y, np.full(len(x) - len(y), -1)]))
        scores = np.zeros((len(problem.scored), len(problem.classes)))
        found = model.label_distributions_[len(y) : len(y) + len(target)]
        scores[:, model.classes_] = self._of_scored(model, found, problem)
        return scores

    def _of_scored(self, model: Any, found: np.ndarray, problem: Problem) -> np.ndarray:
        # Positions among the rows that were adapted to; -1 for rows that were not.
        place = {row: position for position, row in enumerate(problem.adapt.tolist())}
        at = np.array([place.get(row, -1) for row in problem.scored.tolist()])
        shares: np.ndarray = found[at]
        if (new := at < 0).any():
            rows = problem.target.summary[problem.scored[new]].astype(np.float64)
            # Where no label has reached any neighbour, scikit-learn divides zero by zero.
            with np.errstate(invalid="ignore"):
                shares[new] = np.nan_to_num(model.predict_proba(rows))
        return shares


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
