"""What a sweep takes for better: criteria without target labels, the suite `dev`, or the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import Shots
from clser_bench.splits import LEAST_SHOTS

Looks = Literal["target", "candidates", "source", "labels"]

DEFAULT = "agreement"
"""The best of those without labels on the suite `dev` (results/selection/criteria-dev.md); none is
better there than the shipped point."""

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
