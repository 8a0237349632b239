"""A leaderboard as text cells: columns, header lines, footnotes; alike in all text formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from clser_bench.report.board import Cell, Difference, LeaderboardTable, Line
from clser_bench.report.crossed_statistics import Interval
from clser_bench.report.evidence import SIGNIFICANT
from clser_bench.report.points import told

HOLE = "–"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table as text.

    Attributes:
        title: what it is.
        header: lines above it.
        names: column names; the first column holds the methods.
        first_pair: place of the first column that is a pair.
        cells: text by row and column.
        aside: rows that are no ranked methods of this table (oracles): shown greyed.
        below: lines below it.
        footnotes: lines below these, numbered from 1.
    """

    title: str
    header: tuple[str, ...]
    names: tuple[str, ...]
    first_pair: int
    cells: tuple[tuple[str, ...], ...]
    aside: tuple[bool, ...]
    below: tuple[str, ...]
    footnotes: tuple[str, ...]


def lay_out(table: LeaderboardTable) -> Layout:
    """Write a table as text cells.

    Args:
        table: the table.
    """
    notes = _Footnotes()
    rows = [_method(table, line, notes) for line in table.lines]
    aside = [line.kind == "oracle" for line in table.lines]
    if all(line.method != "chance" for line in table.lines):
        rows.insert(0, _chance(table))
        aside.insert(0, False)
    for remark in table.remarks:
        notes.number(remark)
    return Layout(
        title=table.title,
        header=tuple(_header(table)),
        names=_names(table),
        first_pair=len(_names(table)) - len(table.pairs),
        cells=tuple(rows),
        aside=tuple(aside),
        below=tuple(told(table)) if table.point else (),
        footnotes=tuple(notes.texts),
    )


def transpose(layout: Layout) -> Layout:
    """Turn a table: its columns down, pairs after the summaries, and its methods across.

    A method that was set aside is so no more: only its name still says `(oracle)`.

    Args:
        layout: the table as text cells, with methods down.

    Returns:
        The same cells, marks and lines, in a table that every text format can write.
    """
    names = ("", *(row[0] for row in layout.cells))
    places = range(1, len(layout.names))
    rows = ((layout.names[place], *(row[place] for row in layout.cells)) for place in places)
    return dataclasses.replace(
        layout, names=names, first_pair=1, cells=tuple(rows), aside=(False,) * len(places)
    )


def signed(value: float) -> str:
    """A difference to one digit, with its sign; zero has none.

    Args:
        value: in points.
    """
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


class _Footnotes:
    """Texts numbered in order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, text: str) -> int:
        """The number of a text, from 1."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def _header(table: LeaderboardTable) -> Iterator[str]:
    rules = table.rules
    yield (
        f"suite {rules.suite} · features {rules.features} · normalisation {rules.normalisation} · "
        f"setting {rules.setting} · prior {rules.prior}"
    )
    yield (
        f"selection {rules.selection} · shots {rules.shots} · seeds {table.seeds} · "
        f"protocol version {table.protocol_version}"
    )
    if table.budget:
        yield table.budget
    if table.synthetic:
        yield "The speech is synthetic: these numbers say nothing about real speech."
    yield "UAR: mean of per-class recalls, %. Cells: mean ± sample sd over n draws."
    if table.resamples:
        yield (
            "[low, high]: 95 % interval of the mean over pairs, crossed bootstrap of speakers and "
            f"draws ({table.resamples} resamples), conditional on these corpora."
        )
        yield "rank: 1 + number of ranked methods that are significantly better (paired, Holm)."
    if table.reference:
        yield (
            f"vs {table.reference}: better or worse where p < {SIGNIFICANT} (paired on the same "
            "resamples, Holm over the ranked methods), else not separable."
        )
    if table.baseline:
        yield (
            f"vs {table.baseline} [95 %]: difference of the means, paired on the same resamples; * "
            f"where p < {SIGNIFICANT} after Holm over the ranked methods."
        )


def _names(table: LeaderboardTable) -> tuple[str, ...]:
    names = ["method", "mean"]
    if table.resamples:
        names += ["95 %", "rank"]
    if table.reference:
        names += [f"vs {table.reference}"]
    names += ["n", "assumes_prior"]
    if table.baseline:
        names += [f"vs {table.baseline} [95 %]"]
    if table.time:
        names += ["s per trial"]
    if table.energy:
        names += ["J/trial"]
    return (*names, *map(str, table.pairs))


def _method(table: LeaderboardTable, line: Line, notes: _Footnotes) -> tuple[str, ...]:
    kind = "" if line.kind == "ranked" else f" ({line.kind})"
    mark = f" [{notes.number(f'{line.method}: {line.note}')}]" if line.note else ""
    cells = [f"{line.method}{kind}{mark}", _value(line.mean)]
    if table.resamples:
        cells += [_interval(line.interval), "" if line.rank is None else str(line.rank)]
    if table.reference:
        cells += [line.verdict]
    cells += [str(line.mean.n), line.assumes_prior]
    if table.baseline:
        cells += [_difference(line.difference)]
    if table.time:
        cells += [_cost(line.mean.seconds)]
    if table.energy:
        cells += [_cost(line.mean.energy)]
    for cell in line.cells:
        cells.append(_value(cell) if cell.mean is not None else _hole(line, cell, notes))
    return tuple(cells)


def _cost(value: float | None) -> str:
    return HOLE if value is None else f"{value:.2f}"


def _hole(line: Line, cell: Cell, notes: _Footnotes) -> str:
    kind = "not applicable: " if cell.status == "not_applicable" else ""
    return f"{HOLE} [{notes.number(f'{line.method}: {kind}{cell.reason}')}]"


def _chance(table: LeaderboardTable) -> tuple[str, ...]:
    levels = [100 / count for count in table.classes]
    mean = f"{sum(levels) / len(levels):.1f}"
    blanks = [""] * (len(_names(table)) - 2 - len(levels))
    return ("chance level", mean, *blanks, *(f"{level:.1f}" for level in levels))


def _value(cell: Cell) -> str:
    if cell.mean is None:
        return HOLE
    return f"{cell.mean:.1f}" if cell.std is None else f"{cell.mean:.1f} ± {cell.std:.1f}"


def _interval(interval: Interval | None) -> str:
    if interval is None or interval.low is None or interval.high is None:
        return HOLE
    return f"[{interval.low:.1f}, {interval.high:.1f}]"


def _difference(found: Difference | None) -> str:
    if found is None:
        return ""
    interval = found.interval
    text = signed(interval.estimate)
    if interval.low is not None and interval.high is not None:
        text += f" [{signed(interval.low)}, {signed(interval.high)}]"
    return text + ("*" if found.p is not None and found.p < SIGNIFICANT else "")
