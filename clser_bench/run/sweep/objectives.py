"""What a sweep takes for better: criteria without target labels, the suite `dev`, or the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clser_bench.data.held_out import LEAST_SHOTS
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.scoring import criteria
from clser_bench.seeding import generator
from clser_bench.spec import Shots
from clser_bench.store.records import Record
from clser_bench.trial import Problem

Looks = Literal["target", "candidates", "source", "labels"]

DEFAULT = "mutual-information"
DEV, ORACLE = "dev", "oracle"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A way to say which of several points is better.

    Attributes:
        name: what users write.
        looks: at what: scores of the `target`; those of all `candidates` on the same draw;
            labelled `source` utterances that are kept back; or `labels` of the targets.
        unit: of its values.
        about: one line.
    """

    name: str
    looks: Looks
    unit: str
    about: str


_ALL = (
    Objective(
        name="mutual-information",
        looks="target",
        unit="nats",
        about="certain answers, classes evenly used",
    ),
    Objective(name="entropy", looks="target", unit="nats", about="certain answers"),
    Objective(
        name="neighbourhood-density",
        looks="target",
        unit="nats",
        about="answers that lie close together",
    ),
    Objective(
        name="agreement",
        looks="candidates",
        unit="share",
        about="answers as of all points together",
    ),
    Objective(
        name="source-risk",
        looks="source",
        unit="nats",
        about="likelihood of source labels kept back",
    ),
    Objective(
        name="source-accuracy",
        looks="source",
        unit="share",
        about="UAR on source labels kept back",
    ),
    Objective(
        name="embedded-validation",
        looks="source",
        unit="nats",
        about="source risk, weighted toward the target",
    ),
    Objective(name=DEV, looks="labels", unit="points of UAR", about="UAR on the suite dev"),
    Objective(
        name=ORACLE,
        looks="labels",
        unit="points of UAR",
        about="UAR on the suite itself: an upper bound, not a result",
    ),
)

OBJECTIVES: Mapping[str, Objective] = {item.name: item for item in _ALL}


def objective(name: str) -> Objective:
    """An objective by name.

    Raises:
        SpecError: it is unknown.
    """
    if name not in OBJECTIVES:
        raise SpecError(f"objective '{name}' is unknown{did_you_mean(name, OBJECTIVES)}")
    return OBJECTIVES[name]


def refuse_few(chosen: Objective, shots: Shots) -> None:
    """Refuse an objective that keeps labels back where there are too few.

    Raises:
        SpecError: fewer than ten shots.
    """
    if chosen.looks == "source" and shots != "all" and shots < LEAST_SHOTS:
        raise SpecError(
            f"objective '{chosen.name}' is not applicable below {LEAST_SHOTS} shots, got {shots}: "
            "a class would be judged by one utterance; take more shots or another objective"
        )


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
