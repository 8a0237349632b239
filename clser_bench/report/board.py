"""What a leaderboard holds, before it is written in any format."""

from __future__ import annotations

from dataclasses import dataclass

from clser_bench.protocol import Pair
from clser_bench.report.crossed_statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What all rows of one table share.

    Attributes:
        suite: its name; with `:fixed4` where only four classes are used.
        features: name of the feature set.
        normalisation: whose statistics the z-scores use.
        setting: `transductive` or `inductive`.
        prior: of the target.
        selection: how hyper-parameters were chosen.
        shots: labelled utterances per class; a number or `all`.
    """

    suite: str
    features: str
    normalisation: str
    setting: str
    prior: str
    selection: str
    shots: str

    def order(self) -> tuple[str | int, ...]:
        """Sorting key: shots by number, `all` last."""
        shots = int(self.shots) if self.shots.isdecimal() else 1 << 62
        rules = (self.suite, self.features, self.normalisation, self.setting, self.prior)
        return (*rules, self.selection, shots)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Some draws of a method on a pair, or on all pairs.

    Attributes:
        n: draws that the mean is taken over; of a hole, the draws that are there.
        mean: UAR in percent; None for a hole.
        std: sample standard deviation over draws; None for a hole and for one draw.
        status: `ok`, `failed` or `not_applicable`.
        reason: of a hole, in one line.
        seconds: mean time per trial; None where no trial is ok.
        energy: mean joules per trial that was measured; None where none was.
    """

    n: int
    mean: float | None
    std: float | None
    status: str = "ok"
    reason: str = ""
    seconds: float | None = None
    energy: float | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A method's advantage over the reference of the table.

    Attributes:
        interval: in points of UAR.
        p: p value corrected over the ranked methods of the table; None outside that family.
    """

    interval: Interval
    p: float | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A method of a table.

    Attributes:
        method: its name.
        kind: `ranked`, `bound` or `oracle`.
        assumes_prior: what it assumes of the target's class prior.
        note: footnote; may be empty.
        slice: number of its slice in the store.
        cells: one per pair of the table.
        mean: over the pairs.
        interval: of the mean.
        rank: 1 + number of methods that are significantly better; None unless ranked.
        difference: to the reference.
        verdict: `better`, `worse` or `not separable` beside the reference; empty where the line is
            not compared.
        points: pair to hyper-parameters as text; only where asked for.
    """

    method: str
    kind: str
    assumes_prior: str
    note: str
    slice: int
    cells: tuple[Cell, ...]
    mean: Cell
    interval: Interval | None = None
    rank: int | None = None
    difference: Difference | None = None
    verdict: str = ""
    points: tuple[tuple[Pair, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LeaderboardTable:
    """One table: methods down, pairs across.

    Attributes:
        rules: what its rows share.
        pairs: its columns.
        classes: number of classes of each pair; 0 where no method was planned.
        lines: its rows, in order.
        protocol_version: of the rules.
        synthetic: a corpus is synthetic speech.
        remarks: footnotes about the whole table.
        budget: what trained methods are given, in a line; empty where there is none.
        reference: the method that verdicts compare with; empty for none.
        baseline: the reference, where differences to it are shown.
        resamples: of the intervals; 0 where there are none.
        time: show the time per trial.
        energy: show the joules per trial.
        point: show the hyper-parameters of each pair.
    """

    rules: Rules
    pairs: tuple[Pair, ...]
    classes: tuple[int, ...]
    lines: tuple[Line, ...]
    protocol_version: int
    synthetic: bool
    remarks: tuple[str, ...] = ()
    budget: str = ""
    reference: str = ""
    baseline: str = ""
    resamples: int = 0
    time: bool = False
    energy: bool = False
    point: bool = False

    @property
    def seeds(self) -> int:
        """The largest number of draws in any row."""
        return max((line.mean.n for line in self.lines), default=0)

    @property
    def title(self) -> str:
        """Suite, shots and setting; says so where the speech is synthetic."""
        shots = "1 shot" if self.rules.shots == "1" else f"{self.rules.shots} shots"
        title = f"{self.rules.suite}, {shots}, {self.rules.setting}"
        return f"{title} (synthetic speech)" if self.synthetic else title
