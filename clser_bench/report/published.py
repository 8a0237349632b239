"""Numbers from papers beside ours, with how the protocols differ.

They are remarks below a table and never rows of it: what was measured under other rules cannot be
ranked with what was measured here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clser_bench.errors import SpecError
from clser_bench.files import read_toml
from clser_bench.report.board import LeaderboardTable

MEAN = "mean"


class PublishedNumber(BaseModel):
    """One number of a paper.

    Attributes:
        method: as it is called here.
        pair: such as `B→C`, or `mean` over all pairs.
        value: percent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    pair: str = MEAN
    value: float = Field(ge=0, le=100)


class Published(BaseModel):
    """What a paper reports.

    Attributes:
        title: of the paper.
        source: where the numbers stand.
        measure: `UAR`; others are not compared.
        shots: labelled utterances per class, a number or `all`.
        differs: how its protocol differs from ours, a line each.
        numbers: its numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    measure: str
    shots: str
    differs: tuple[str, ...]
    numbers: tuple[PublishedNumber, ...]


def read_published(path: Path) -> Published:
    """Read a file of published numbers.

    Args:
        path: TOML; `results/published/sere.toml` is an example.

    Raises:
        SpecError: it cannot be read, or is not of that form.
    """
    try:
        return Published.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(f"{path}: {place}: {first['msg']}") from error


def beside(
    tables: Sequence[LeaderboardTable], published: Published
) -> tuple[LeaderboardTable, ...]:
    """Add published numbers to the tables with the same number of shots.

    Args:
        tables: as `tables.leaderboard` made them.
        published: what a paper reports.

    Raises:
        SpecError: no table has a number that could stand beside it.
    """
    made = tuple(
        dataclasses.replace(table, remarks=(*table.remarks, *_remarks(table, published)))
        if table.rules.shots == published.shots and published.measure == "UAR"
        else table
        for table in tables
    )
    if tables and all(one is other for one, other in zip(made, tables, strict=True)):
        raise SpecError(
            f"{published.title}: its numbers are {published.measure} with {published.shots} shots, "
            "and no table here is; choose another file or other --shots"
        )
    return made


def _remarks(table: LeaderboardTable, published: Published) -> list[str]:
    texts = []
    for number in published.numbers:
        ours = _ours(table, number)
        here = (
            "not in this table" if ours is None else f"here {ours:.2f} ({ours - number.value:+.2f})"
        )
        what = "mean" if number.pair == MEAN else number.pair
        texts.append(f"published: {number.method}, {what}: {number.value:.2f}; {here}")
    texts.append(f"published in {published.title} ({published.source}), under another protocol:")
    return [*texts, *(f"it differs: {text}" for text in published.differs)]


def _ours(table: LeaderboardTable, number: PublishedNumber) -> float | None:
    for line in table.lines:
        if line.method == number.method:
            if number.pair == MEAN:
                return line.mean.mean
            cells = {str(pair): cell for pair, cell in zip(table.pairs, line.cells, strict=True)}
            return cells[number.pair].mean if number.pair in cells else None
    return None
