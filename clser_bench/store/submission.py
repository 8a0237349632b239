"""Results of another laboratory as one value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clser_bench.errors import StoreError
from clser_bench.problem import AnswerKey, Floats, Trial
from clser_bench.store.heading import Heading
from clser_bench.store.records import Metrics

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal, or turns the direction of what is read."""

_REMEDY = "nothing was imported; ask for the file again, as `clser-bench export` writes it"

Guesses = npt.NDArray[np.uint8]
Measure = Callable[[Guesses, AnswerKey], Metrics]
"""How well predicted classes [n] fit their answers; scoring's own measure."""


class Entry(NamedTuple):
    """A trial of a file and what came of it; status is None where it was planned, not run."""

    trial: Trial
    parts: tuple[int, ...]
    status: str | None = None
    reason: str = ""
    seconds: float = 0.0
    pack: str = ""
    metrics: Metrics | None = None
    answers: str = ""
    predictions: Guesses = np.zeros(0, np.uint8)
    scores: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A file that was found to be sound."""

    path: Path
    heading: Heading
    answers: Mapping[str, AnswerKey]
    entries: tuple[Entry, ...]


class FaultyError(StoreError):
    """A file cannot be imported; names the file, the place, the value and the remedy."""

    def __init__(self, path: Path, where: str, what: str) -> None:
        super().__init__(f"{path}: {where}: {what}; {_REMEDY}")
