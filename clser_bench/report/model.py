"""The parts of a leaderboard: cells, lines, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clser_bench.protocol import Condition, Pair
from clser_bench.report.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Some draws of a method on a pair, or on all pairs."""

    n: int  # draws that the mean is over; of a missing cell, the draws that are there
    mean: float | None  # UAR in percent; None where missing
    std: float | None  # sample standard deviation over draws; None where missing and for one draw
    status: str = "ok"  # `ok`, `failed` or `not_applicable`
    reason: str = ""  # of a missing cell, in one line
    war: float | None = None  # mean weighted recall (accuracy) in percent; None where missing
    seconds: float | None = None  # mean time per trial; None where no trial is ok
    energy: float | None = None  # mean joules per trial that was measured; None where none was


def holes(pairs: Sequence[Pair], cells: Sequence[Cell]) -> tuple[str, str] | None:
    """Status and reason of a mean over pairs some of which are missing; None where none is."""
    gone = [(pair, cell) for pair, cell in zip(pairs, cells, strict=True) if cell.mean is None]
    if not gone:
        return None
    failed = any(cell.status == "failed" for _, cell in gone)
    named = ", ".join(str(pair) for pair, _ in gone[:3])
    return "failed" if failed else "not_applicable", (
        f"no result for {len(gone)} of {len(pairs)} pairs: {named}{', …' if len(gone) > 3 else ''}"
    )


@dataclass(frozen=True, kw_only=True)
class Line:
    """A method of a table."""

    method: str  # its name, the key of commands
    title: str  # its name in tables
    role: str  # `ranked`, `bound`, `reference` or `submitted`
    # of `labelled`, `source`, `target`, `unlabelled`, `speakers` and `prior` (or `estimated
    # prior`), those that it uses: labelled and unlabelled source, unlabelled target, added corpora,
    # speaker identities of the target, an assumption on its class prior
    uses: tuple[str, ...]
    assumes_prior: str  # `none`, `uniform` or `estimated`
    note: str
    cells: tuple[Cell, ...]  # one per pair of the table
    mean: Cell
    interval: Interval | None = None  # pointwise, of the mean
    ranks: tuple[int, int] | None = None  # simultaneous interval of its rank; None unless ranked
    # to the reference of the table: simultaneous for ranked methods, pointwise and without p value
    # for others
    difference: Interval | None = None
    # pair to hyper-parameters as text; only where asked for
    configurations: tuple[tuple[Pair, str], ...] = ()

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not separable` from the reference; empty if not compared."""
        return self.difference.verdict if self.difference else ""

    @property
    def shown(self) -> str:
        """Its title, with the role unless it is ranked."""
        return self.title if self.role == "ranked" else f"{self.title} ({self.role})"


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """One table: methods down, pairs across."""

    condition: Condition
    pairs: tuple[Pair, ...]
    classes: tuple[int, ...]  # number of classes of each pair; 0 where no method was planned
    lines: tuple[Line, ...]
    synthetic: bool  # a corpus is synthetic speech
    every: tuple[Line, ...] = ()  # rows of all methods of the condition, shown or not
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    budget: str = ""  # of trained methods, in a line; empty where there is none
    reference: str = ""  # the method that differences are to; empty for none
    family: int = 0  # number of ranked methods that are compared with the reference, shown or not
    ranked: int = 0  # number of ranked methods with a result on every pair, shown or not
    # least detectable differences to the reference in the family: their least, median and largest;
    # None without intervals
    detectable: tuple[float, float, float] | None = None
    exposed: tuple[str, ...] = ()  # code of each corpus whose labels the encoder was trained with
    extras: tuple[str, ...] = ()
    # `exploratory`, or `confirmed` with the card that froze its methods beforehand
    standing: str = "exploratory"

    @property
    def seeds(self) -> int:
        """The largest number of draws in any row."""
        return max((line.mean.n for line in self.lines), default=0)

    @property
    def title(self) -> str:
        """Suite, shots and setting; says so where the speech is synthetic."""
        return f"{self.condition.title}{' (synthetic speech)' if self.synthetic else ''}"

    def line(self, method: str) -> Line | None:
        """The row of a method; None where the table has none."""
        return next((line for line in self.lines if line.method == method), None)
