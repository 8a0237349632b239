"""Tables by something else than pairs: groups of pairs, or one rule that several tables vary."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from clser_bench.errors import SpecError
from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.report.layout import HOLE, Layout, lay_out

GROUPED = ("family", "source", "target")
ACROSS = ("shots", "features")
BY = (*GROUPED, *ACROSS)
"""What a leaderboard can be ordered by."""


def by_pairs(table: LeaderboardTable, groups: Sequence[str], *, what: str) -> Layout:
    """A table with a column for each group of pairs, the mean of the group's cells.

    Args:
        table: as `tables.leaderboard` made it.
        groups: of each pair of the table.
        what: by what they are grouped, for the header.
    """
    names = tuple(dict.fromkeys(groups))
    sizes = [groups.count(name) for name in names]
    usual = lay_out(table)
    cells = [
        (row[0], _mean(line), *(_group(line, groups, name) for name in names))
        for row, line in zip(_own(usual, table), table.lines, strict=True)
    ]
    about = f"by {what}: mean UAR over the pairs of a group; in brackets how many pairs"
    return dataclasses.replace(
        usual,
        title=f"{table.title}, by {what}",
        header=(*usual.header[:2], about),
        names=("method", "mean", *(f"{n} ({k})" for n, k in zip(names, sizes, strict=True))),
        first_pair=2,
        cells=tuple(cells),
        aside=tuple(line.kind == "oracle" for line in table.lines),
        below=(),
    )


def across(tables: Sequence[LeaderboardTable], what: str) -> tuple[Layout, ...]:
    """One table for those that differ in one rule only, with a column for each of its values.

    Args:
        tables: as `tables.leaderboard` made them, in their order.
        what: `shots` or `features`.

    Returns:
        A table with a mean and its interval for each method and value; a method that a table
        lacks has a hole.
    """
    made: dict[tuple[str, ...], list[LeaderboardTable]] = {}
    for table in tables:
        rules = {k: v for k, v in dataclasses.asdict(table.rules).items() if k != what}
        made.setdefault(tuple(map(str, rules.values())), []).append(table)
    return tuple(_joined(group, what) for group in made.values())


def _joined(tables: Sequence[LeaderboardTable], what: str) -> Layout:
    usual = lay_out(tables[0])
    shown: dict[str, Line] = {}
    for table in tables:
        for line in table.lines:
            shown.setdefault(line.method, line)
    lines = [{line.method: line for line in table.lines} for table in tables]
    values = [str(getattr(table.rules, what)) for table in tables]
    header = " · ".join(
        part
        for line in usual.header[:2]
        for part in line.split(" · ")
        if not part.startswith((f"{what} ", "seeds "))
    )
    draws = ", ".join(f"{v}: {t.seeds}" for v, t in zip(values, tables, strict=True))
    return dataclasses.replace(
        usual,
        title=f"{tables[0].rules.suite}, by {what}",
        header=(header, f"mean UAR over the pairs with its 95 % interval; draws: {draws}"),
        names=("method", *values),
        first_pair=1,
        cells=tuple(
            (_named(line), *(_mean(of[method]) if method in of else HOLE for of in lines))
            for method, line in shown.items()
        ),
        aside=tuple(line.kind == "oracle" for line in shown.values()),
        below=tuple(f"{line.method}: {line.note}" for line in shown.values() if line.note),
        footnotes=(),
    )


def _own(layout: Layout, table: LeaderboardTable) -> tuple[tuple[str, ...], ...]:
    """The rows of the table's lines, without the chance level that is put before them."""
    return layout.cells[len(layout.cells) - len(table.lines) :]


def _named(line: Line) -> str:
    return line.method if line.kind == "ranked" else f"{line.method} ({line.kind})"


def _mean(line: Line) -> str:
    if line.mean.mean is None:
        return HOLE
    text = f"{line.mean.mean:.1f}"
    if line.interval is None or line.interval.low is None or line.interval.high is None:
        return text
    return f"{text} [{line.interval.low:.1f}, {line.interval.high:.1f}]"


def _group(line: Line, groups: Sequence[str], name: str) -> str:
    found = [cell.mean for cell, group in zip(line.cells, groups, strict=True) if group == name]
    values = [value for value in found if value is not None]
    return f"{np.mean(values):.1f}" if len(values) == len(found) else HOLE


def groups_of(table: LeaderboardTable, what: str, families: Mapping[str, str]) -> tuple[str, ...]:
    """The group of each pair of a table.

    Args:
        table: the table.
        what: `family`, `source` or `target`.
        families: corpus code to language family; a code that it lacks is a family of its own.

    Raises:
        SpecError: it is none of these.
    """
    if what not in GROUPED:
        raise SpecError(f"pairs cannot be grouped by '{what}'; choose of {', '.join(GROUPED)}")
    if what == "family":
        ends = [
            (families.get(p.source, p.source), families.get(p.target, p.target))
            for p in table.pairs
        ]
        return tuple(f"{source}→{target}" for source, target in ends)
    return tuple(
        f"{pair.source}→" if what == "source" else f"→{pair.target}" for pair in table.pairs
    )
