"""The objectives of stored results; apart from their names, for it imports scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from clser_bench.hashing import generator
from clser_bench.problem import Problem
from clser_bench.scoring import criteria
from clser_bench.store.records import Record


def of_target(name: str, record: Record) -> float:
    """What a criterion says of one trial by its scores of the target; larger is better.

    Args:
        name: `mutual-information`, `entropy` or `neighbourhood-density`.
        record: an ok one.
    """
    p = criteria.probabilities(record.scores)
    functions: Mapping[str, Callable[[np.ndarray], float]] = {
        "mutual-information": criteria.mutual_information,
        "entropy": criteria.negative_entropy,
        "neighbourhood-density": criteria.soft_neighbourhood_density,
    }
    return functions[name](p)


def of_candidates(records: Sequence[Record]) -> np.ndarray:
    """Agreement of each of some points with all of them together, on one pair and draw [p].

    Args:
        records: ok ones, of the same utterances.
    """
    p = np.stack([criteria.probabilities(record.scores) for record in records])
    return np.asarray(criteria.ensemble_agreement(p))


def of_source(name: str, record: Record, weights: np.ndarray) -> float:
    """What source utterances that were kept back say of one trial; larger is better.

    Args:
        name: `source-risk`, `source-accuracy` or `embedded-validation`.
        record: an ok one in the setting `held-out`.
        weights: of `importance`, used by the last.
    """
    p = criteria.probabilities(record.scores)
    if name == "source-accuracy":
        return criteria.source_accuracy(p, record.y)
    if name == "source-risk":
        return criteria.source_risk(p, record.y)
    return criteria.deep_embedded_validation(criteria.cross_entropies(p, record.y), weights)


def importance(problem: Problem, *, seed: int) -> np.ndarray:
    """How much likelier the kept-back utterances are in the target than in the source [m].

    By the summaries, the same for every point of every method: the store holds scores, not the
    embeddings that You et al. (2019) take.

    Args:
        problem: in the setting `held-out`.
        seed: number of the draw.
    """
    source = np.setdiff1d(
        np.concatenate([problem.labelled.rows, problem.unlabelled]),
        problem.scored - (len(problem.target) - len(problem.source)),
    )
    return np.asarray(
        criteria.importance_weights(
            np.asarray(problem.source.summary[source], np.float64),
            np.asarray(problem.target.summary[problem.scored], np.float64),
            np.asarray(problem.target.summary[problem.adapt], np.float64),
            rng=generator("importance", seed),
        )
    )
