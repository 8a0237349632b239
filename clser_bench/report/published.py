"""Numbers from papers in the papers' layout, above ours, with what differs on the same line.

They are tables of their own and never rows of a leaderboard: results under other rules cannot be
ranked with ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from clser_bench.errors import SpecError
from clser_bench.files import read_toml, validated
from clser_bench.protocol import Pair
from clser_bench.report.formats import MISSING, Row, TextTable, rounded, signed
from clser_bench.report.table import Leaderboard

MEAN = "mean"
_CONDITIONS = ("measure", "shots", "features", "corpora", "draws")
_HERE = (
    "here: in brackets ours less theirs; a mean is over the pairs of the paper's mean, or, without "
    f"a difference, over all of our table where these are unknown; {MISSING}: not in our table"
)


class PublishedNumber(BaseModel, frozen=True, extra="forbid"):
    """One number of a paper."""

    method: str  # as it is called here
    pair: str = MEAN  # such as `B→C`, or `mean`
    # of a mean, the pairs that it is over; empty where they are unknown
    pairs: tuple[str, ...] = ()
    value: float = Field(ge=0, le=100)  # percent


class Published(BaseModel, frozen=True, extra="forbid"):
    """The results of a paper."""

    title: str
    source: str
    # `UAR`, or `WAR` or `accuracy`, which are compared with our weighted recall
    measure: Literal["UAR", "WAR", "accuracy"]
    shots: str  # labelled utterances per class, a number or `all`
    features: str
    corpora: str
    draws: str  # how often it was repeated
    heard: tuple[str, ...] = ()  # codes of the corpora whose labels its encoder was trained with
    differs: tuple[str, ...] = ()  # how its protocol differs from ours otherwise
    numbers: tuple[PublishedNumber, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """The columns `_CONDITIONS` of a table."""
        return tuple(getattr(self, name) for name in _CONDITIONS)

    @property
    def remark(self) -> str:
        """What else differs, in one line."""
        codes = ", ".join(self.heard)
        seen = [f"encoder trained with emotion labels of {codes}"] if codes else []
        return "; ".join([*seen, *self.differs])


def read_published(path: Path) -> tuple[Published, ...]:
    """Read a TOML file of published numbers, or a folder of them, such as `results/published`."""
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    if not files:
        none = "no TOML file of published numbers"
        raise SpecError(f"{path}: {none}; `papers` stands for those that are shipped")
    return tuple(validated(Published, read_toml(file), file) for file in files)


def published_tables(
    tables: Sequence[Leaderboard], papers: Sequence[Published]
) -> tuple[TextTable, ...]:
    """A table for each paper whose shots some leaderboard has; raises SpecError where none has."""
    own = [(p, [t for t in tables if str(t.condition.shots) == p.shots]) for p in papers]
    made = tuple(_table(paper, found) for paper, found in own if found)
    if tables and not made:
        shots = ", ".join(sorted({paper.shots for paper in papers}))
        raise SpecError(
            f"published numbers are with {shots} shots, and no table here is; choose other --shots"
        )
    return made


def published_rows(tables: Sequence[Leaderboard], papers: Sequence[Published]) -> Iterator[Row]:
    """Published numbers beside ours as flat rows."""
    for paper in papers:
        for table in (one for one in tables if str(one.condition.shots) == paper.shots):
            own = zip(_CONDITIONS, _conditions(table, paper.measure), strict=True)
            here = {f"ours_{name}": text for name, text in own}
            for number in paper.numbers:
                row: Row = {"published": paper.title, "method": number.method, "pair": number.pair}
                row |= {"pairs": " ".join(number.pairs), "value": number.value}
                row |= zip(_CONDITIONS, paper.conditions, strict=True)
                ours = rounded(_ours(table, number, paper.measure))
                yield row | {"differs": paper.remark, "ours": ours} | here


def _table(paper: Published, tables: Sequence[Leaderboard]) -> TextTable:
    """The paper's methods down and its pairs across, each with ours in the rows below it."""
    named = [number.pair for number in paper.numbers if number.pair != MEAN]
    known = [str(pair) for table in tables for pair in table.pairs]
    columns = [MEAN, *dict.fromkeys([*(str(Pair.parse(name)) for name in named), *known])]
    rows = []
    for method in dict.fromkeys(number.method for number in paper.numbers):
        numbers = {n.pair: n for n in paper.numbers if n.method == method}
        cells = [f"{numbers[name].value:.2f}" if name in numbers else "" for name in columns]
        rows.append((method, "paper", cells[0], *paper.conditions, *cells[1:], paper.remark))
        for table in tables:
            line, rules, own = table.line(method), table.condition, paper.measure
            cells = [_own_cell(table, method, name, numbers.get(name), own) for name in columns]
            shown = line.title if line else f"{method}: not in our table"
            here = (shown, "here", cells[0], *_conditions(table, own), *cells[1:])
            other = f"normalisation {rules.normalisation}; {rules.setting}; prior {rules.prior}"
            rows.append((*here, other))
    return TextTable(
        title=f"Published: {paper.title}",
        header=(paper.source, _HERE),
        names=("method", "from", MEAN, *_CONDITIONS, *columns[1:], "differs"),
        summary=2 + len(_CONDITIONS),
        cells=tuple(rows),
    )


def _own_cell(
    table: Leaderboard, method: str, pair: str, number: PublishedNumber | None, measure: str
) -> str:
    if pair == MEAN and not number:
        return ""
    asked = number or PublishedNumber(method=method, pair=pair, value=0)
    ours = _ours(table, asked, measure)
    if ours is None:
        return MISSING if number else ""
    compared = number and (pair != MEAN or number.pairs)
    return f"{ours:.1f}" + (f" ({signed(ours - asked.value)})" if compared else "")


def _conditions(table: Leaderboard, measure: str) -> tuple[str, ...]:
    rules = table.condition
    codes = dict.fromkeys(code for pair in table.pairs for code in (pair.source, pair.target))
    own = "UAR" if measure == "UAR" else "WAR"
    return own, str(rules.shots), rules.features, " ".join(codes), str(table.seeds)


def _ours(table: Leaderboard, number: PublishedNumber, measure: str) -> float | None:
    """Our number over the same pairs; None where one is missing."""
    line = table.line(number.method)
    if line is None:
        return None
    cells = {str(pair): cell for pair, cell in zip(table.pairs, line.cells, strict=True)}
    names = number.pairs if number.pair == MEAN else (number.pair,)
    found = [cells.get(name) for name in names] or [line.mean]
    values = [(cell.mean if measure == "UAR" else cell.war) if cell else None for cell in found]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
