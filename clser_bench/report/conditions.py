"""What a target was when it was scored: clean, or corrupted in some way and to some degree."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_WRITTEN = re.compile(r"(.+), target ([a-z]+):(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The levels of a kind of corruption.

    Attributes:
        unit: what a level is, for the axis of a figure.
        clean: the level that would leave speech as it is; infinity where higher ones are milder.
    """

    unit: str = "level"
    clean: float = math.inf

    def place(self, level: float) -> float:
        """Orders levels along an axis, `clean` among them."""
        return -level if math.isinf(self.clean) else level

    def severity(self, level: float) -> float:
        """Orders levels from mild to severe."""
        return -level if math.isinf(self.clean) else abs(level - self.clean)


Scales = Mapping[str, Scale]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the target was: corrupted in some way, or clean.

    Attributes:
        kind: of corruption; empty for clean speech.
        level: in the unit of the kind.
    """

    kind: str = ""
    level: float = 0.0

    @property
    def name(self) -> str:
        """As it is written on the command line, `noise:10`; or `clean`."""
        return f"{self.kind}:{repr(self.level).removesuffix('.0')}" if self.kind else "clean"


CLEAN = Condition()


def read_features(name: str) -> tuple[str, Condition]:
    """Part the name of features, as records have it, from the condition of the target.

    Args:
        name: `minimal`, or `minimal, target noise:10`.
    """
    found = _WRITTEN.fullmatch(name)
    if found is None:
        return name, CLEAN
    return found[1], Condition(kind=found[2], level=float(found[3]))


def with_condition(name: str, condition: Condition) -> str:
    """Name features under a condition as records have it, which `read_features` reads again.

    Args:
        name: of the features alone, `minimal`.
        condition: of the target.

    Returns:
        `minimal, target noise:10`; the name as it is for clean speech.
    """
    return f"{name}, target {condition.name}" if condition.kind else name
