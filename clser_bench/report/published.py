"""Numbers from papers in the papers' layout, above ours, with what differs on the same line.

They are tables of their own and never rows of a leaderboard: results under other rules cannot be
ranked with ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clser_bench.errors import SpecError
from clser_bench.files import read_toml
from clser_bench.protocol import Pair
from clser_bench.report.formats import MISSING, Row, TextTable, rounded, signed
from clser_bench.report.model import Leaderboard, Line

MEAN = "mean"
_CONDITIONS = ("measure", "shots", "features", "corpora", "draws")
_HERE = (
    "here: in brackets ours less theirs; a mean is over the pairs of the paper's mean, or, without "
    f"a difference, over all of our table where these are unknown; {MISSING}: not in our table"
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedNumber(_Part):
    """One number of a paper.

    Attributes:
        method: as it is called here.
        pair: such as `B→C`, or `mean`.
        pairs: of a mean, the pairs that it is over; empty where they are unknown.
        value: percent.
    """

    method: str
    pair: str = MEAN
    pairs: tuple[str, ...] = ()
    value: float = Field(ge=0, le=100)


class Published(_Part):
    """The results of a paper.

    Attributes:
        title: of the paper.
        source: where the numbers are.
        measure: `UAR`, or `WAR` or `accuracy`, which are compared with our weighted recall.
        shots: labelled utterances per class, a number or `all`.
        features: of the paper, in a few words.
        corpora: their codes.
        draws: how often it was repeated.
        heard: codes of the corpora whose labels its encoder was trained with.
        differs: how its protocol differs from ours otherwise.
        numbers: its numbers.
    """

    title: str
    source: str
    measure: Literal["UAR", "WAR", "accuracy"]
    shots: str
    features: str
    corpora: str
    draws: str
    heard: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    numbers: tuple[PublishedNumber, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """Measure, shots, features, corpora, draws, as columns of a table."""
        return (self.measure, self.shots, self.features, self.corpora, self.draws)

    @property
    def remark(self) -> str:
        """What else differs, in one line."""
        seen = f"encoder trained with emotion labels of {', '.join(self.heard)}"
        return "; ".join([*([seen] if self.heard else []), *self.differs])


def read_published(path: Path) -> tuple[Published, ...]:
    """Read published numbers.

    Args:
        path: a TOML file, or a folder of them; `results/published` is an example.

    Raises:
        SpecError: a file cannot be read or has another form, or there is none.
    """
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    if not files:
        raise SpecError(
            f"{path}: no TOML file of published numbers; `papers` stands for those that are shipped"
        )
    return tuple(map(_read, files))


def _read(path: Path) -> Published:
    try:
        return Published.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(f"{path}: {place}: {first['msg']}") from error


def published_tables(
    tables: Sequence[Leaderboard], papers: Sequence[Published]
) -> tuple[TextTable, ...]:
    """A table for each paper and each leaderboard with its number of shots.

    Raises:
        SpecError: no leaderboard has a number of shots that a paper has.
    """
    made = []
    for paper in papers:
        own = [table for table in tables if table.condition.texts()["shots"] == paper.shots]
        if own:
            made.append(_table(paper, own))
    if tables and not made:
        shots = ", ".join(sorted({paper.shots for paper in papers}))
        raise SpecError(
            f"published numbers are with {shots} shots, and no table here is; choose other --shots"
        )
    return tuple(made)


def published_rows(tables: Sequence[Leaderboard], papers: Sequence[Published]) -> Iterator[Row]:
    """Published numbers beside ours as flat rows."""
    for paper in papers:
        for table in tables:
            if table.condition.texts()["shots"] != paper.shots:
                continue
            for number in paper.numbers:
                line = table.line(number.method)
                own = dict(zip(_CONDITIONS, _conditions(table, paper.measure), strict=True))
                yield {
                    "published": paper.title,
                    "method": number.method,
                    "pair": number.pair,
                    "pairs": " ".join(number.pairs),
                    "value": number.value,
                    **dict(zip(_CONDITIONS, paper.conditions, strict=True)),
                    "differs": paper.remark,
                    "ours": rounded(_ours(line, table, number, paper.measure)),
                    **{f"ours_{name}": text for name, text in own.items()},
                }


def _table(paper: Published, tables: Sequence[Leaderboard]) -> TextTable:
    """The paper's methods down and its pairs across, each with ours in the rows below it."""
    named = [Pair.parse(number.pair) for number in paper.numbers if number.pair != MEAN]
    known = [pair for table in tables for pair in table.pairs]
    pairs = list(dict.fromkeys([*named, *known]))
    rows = []
    for method in dict.fromkeys(number.method for number in paper.numbers):
        numbers = {n.pair: n for n in paper.numbers if n.method == method}
        cells = [
            f"{numbers[k].value:.2f}" if k in numbers else "" for k in (MEAN, *map(str, pairs))
        ]
        rows.append((method, "paper", cells[0], *paper.conditions, *cells[1:], paper.remark))
        rows += [_own_row(method, numbers, pairs, table, paper.measure) for table in tables]
    return TextTable(
        title=f"Published: {paper.title}",
        header=(
            paper.source,
            _HERE,
        ),
        names=("method", "from", MEAN, *_CONDITIONS, *map(str, pairs), "differs"),
        summary=2 + len(_CONDITIONS),
        cells=tuple(rows),
    )


def _own_row(
    method: str,
    numbers: dict[str, PublishedNumber],
    pairs: Sequence[Pair],
    table: Leaderboard,
    measure: str,
) -> tuple[str, ...]:
    line = table.line(method)
    cells = []
    for pair in (MEAN, *map(str, pairs)):
        number = numbers.get(pair)
        if pair == MEAN and not number:
            cells.append("")
            continue
        asked = number or PublishedNumber(method=method, pair=pair, value=0)
        ours = _ours(line, table, asked, measure)
        if ours is None:
            cells.append(MISSING if number else "")
        else:
            known = number and (pair != MEAN or number.pairs)
            apart = f" ({signed(ours - number.value)})" if number and known else ""
            cells.append(f"{ours:.1f}{apart}")
    shown = line.title if line else f"{method}: not in our table"
    rules = table.condition
    remark = f"normalisation {rules.normalisation}; {rules.setting}; prior {rules.prior}"
    return (shown, "here", cells[0], *_conditions(table, measure), *cells[1:], remark)


def _conditions(table: Leaderboard, measure: str) -> tuple[str, ...]:
    rules = table.condition
    codes = dict.fromkeys(code for pair in table.pairs for code in (pair.source, pair.target))
    own = "UAR" if measure == "UAR" else "WAR"
    return own, str(rules.shots), rules.features, " ".join(codes), str(table.seeds)


def _ours(
    line: Line | None, table: Leaderboard, number: PublishedNumber, measure: str
) -> float | None:
    if line is None:
        return None
    cells = {str(pair): cell for pair, cell in zip(table.pairs, line.cells, strict=True)}
    if number.pair == MEAN and not number.pairs:
        return line.mean.mean if measure == "UAR" else line.mean.war
    names = number.pairs if number.pair == MEAN else (number.pair,)
    found = [cells[name] for name in names if name in cells]
    values = [cell.mean if measure == "UAR" else cell.war for cell in found]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(names) else None
