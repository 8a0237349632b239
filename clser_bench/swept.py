"""What came of a sweep, before it is written in any format."""

from __future__ import annotations

from dataclasses import dataclass

from clser_bench.hyperparameters import Dimension
from clser_bench.problem import Value


@dataclass(frozen=True, kw_only=True)
class SweptPoint:
    """One point of hyper-parameters and what the objective says of it.

    Attributes:
        number: of the point; 0 is the shipped one.
        values: of the dimensions, in their order.
        draws: the objective of each draw, its mean over the pairs; larger is better. A point that
            was given up early has fewer; a point with a hole in a draw has none for that draw and
            those after it.
        uars: the mean UAR over pairs of each draw, percent; empty where labels of these pairs
            are not to be looked at.
        reason: why there is no objective; empty where there is.
    """

    number: int
    values: tuple[Value, ...]
    draws: tuple[float, ...]
    uars: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A sweep of one method.

    Attributes:
        method: its name.
        dimensions: what was varied.
        objective: name of the objective.
        unit: of its values: `points of UAR`, `nats`, `share`.
        oracle: whether labels of the targets decided; then the best point is no result.
        suite: name of the suite.
        pairs: how many ordered pairs.
        features: name of the feature set.
        normalisation: whose statistics the z-scores use.
        shots: labelled utterances per class.
        seeds: draws of a point that was run to the end.
        search: how points were taken: `grid`, `random`, `sobol`, `optuna`, with ` + halving`.
        points: all of them, the shipped one first.
        best: number of the best point among those that were run to the end.
        command: what makes it again.
        synthetic: whether a corpus is synthetic.
    """

    method: str
    dimensions: tuple[Dimension, ...]
    objective: str
    unit: str
    oracle: bool
    suite: str
    pairs: int
    features: str
    normalisation: str
    shots: str
    seeds: int
    search: str
    points: tuple[SweptPoint, ...]
    best: int
    command: str
    synthetic: bool = False
