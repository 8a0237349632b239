"""What is stored: metrics, records of trials, and what tables must know of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clser_bench.problem import Floats, Rows, Trial, Value
from clser_bench.protocol import Condition, Pair

STATUSES = ("ok", "failed", "not_applicable")
ROLES = ("ranked", "bound", "oracle")


def candidate(selection: str, point: int) -> str:
    """The selection under which the trials of one point are planned, before one is chosen.

    Args:
        selection: what chooses.
        point: number of the point, 0 for the shipped one.
    """
    return f"{selection}/{point}"


def predictions(scores: Floats) -> npt.NDArray[np.uint8]:
    """The predicted class of each utterance [n]: the largest score, ties to the lowest index.

    Args:
        scores: [n, c], without NaN.
    """
    return np.asarray(np.argmax(scores, axis=1), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How well the scored utterances of a trial were recognised.

    Attributes:
        uar: mean of the recalls of the classes that occur, percent.
        war: share of correct utterances, percent.
        macro_f1: mean F1 of the classes that occur, percent.
        recalls: recall of each class, percent; NaN for a class that does not occur.
        confusion: utterances by true class (rows) and predicted class.
    """

    uar: float
    war: float
    macro_f1: float
    recalls: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """A trial and what came of it.

    Attributes:
        trial: the trial. Its protocol's `selection` is not kept: it belongs to the plan.
        status: `ok`, `failed` or `not_applicable`.
        reason: why it is not ok, with the traceback where there is one.
        metrics: None unless ok.
        scores: float32 [n, c]; empty unless ok.
        y: int64 [n], true classes; empty unless ok.
        names: of the utterances.
        speakers: of the utterances.
        seconds: time spent; a packed trial's share of its pack.
        energy: joules of the processors, likewise; None where it was not measured.
        attempts: how often it was tried; counted by the store, so `put` ignores it.
        pack: name of the pack it ran in.
    """

    trial: Trial
    status: str
    reason: str = ""
    metrics: Metrics | None = None
    scores: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    y: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    names: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    seconds: float = 0.0
    energy: float | None = None
    attempts: int = 1
    pack: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status '{self.status}' of {self.trial.method}: one of {STATUSES}")
        if (self.status == "ok") != (self.metrics is not None):
            raise ValueError(f"{self.trial.method} {self.trial.pair}: metrics if and only if ok")
        sizes = {len(self.scores), len(self.y), len(self.names), len(self.speakers)}
        if self.status == "ok" and (len(sizes) > 1 or self.scores.ndim != 2):
            raise ValueError(
                f"{self.trial.method} {self.trial.pair}: scores {self.scores.shape}, y, names and "
                f"speakers must be of equal length, got {sorted(sizes)}"
            )


@dataclass(frozen=True, kw_only=True)
class MethodNote:
    """What a table says of a method, so that it need not import the method.

    Attributes:
        assumes_prior: `none`, `uniform` or `estimated`.
        role: `ranked`, `bound` (chance and the like) or `oracle` (uses target labels).
        note: a footnote, such as "equations reconstructed from the abstract"; may be empty.
    """

    assumes_prior: str = "none"
    role: str = "ranked"
    note: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role '{self.role}': one of {ROLES}")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A plan as stored: what one command asked for.

    Attributes:
        id: its number.
        suite: name of the suite.
        pairs: the suite's ordered pairs, in table order.
        config: the run's options, enough for `resume`.
        methods: what tables say of its methods, in the order asked for.
        trials: how many trials it asked for.
    """

    id: int
    suite: str
    pairs: tuple[Pair, ...]
    config: Mapping[str, Any]
    methods: Mapping[str, MethodNote]
    trials: int


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One method under one set of rules, as the latest plan that asked for it had it.

    Attributes:
        id: its number.
        run: the plan's number.
        condition: the rules.
        method: its name.
        note: what tables say of it.
    """

    id: int
    run: int
    condition: Condition
    method: str
    note: MethodNote

    @property
    def candidate(self) -> bool:
        """Whether it is a point that a selection chooses from; tables leave it out."""
        return "/" in self.condition.selection


class Planned(NamedTuple):
    """A planned trial and what is stored of it; status and metrics are None where nothing is."""

    slice: int
    pair: Pair
    classes: tuple[str, ...]
    seed: int
    tables: str
    synthetic: bool
    status: str | None
    reason: str
    uar: float | None
    seconds: float | None
    energy: float | None


class Pointed(NamedTuple):
    """Hyper-parameters with which a slice has a pair."""

    slice: int
    pair: Pair
    parameters: tuple[tuple[str, Value], ...]


class Predicted(NamedTuple):
    """Predicted classes of one ok trial: uint8 [n], and the hash of its answer key."""

    slice: int
    pair: Pair
    seed: int
    answers: str
    classes: npt.NDArray[np.uint8]


class Tally(NamedTuple):
    """How far the planned trials are."""

    planned: int
    ok: int
    failed: int
    not_applicable: int

    @property
    def missing(self) -> int:
        """Planned trials that nothing is stored of."""
        return self.planned - self.ok - self.failed - self.not_applicable
