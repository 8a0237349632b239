"""Methods on corrupted targets: means by corruption, and the loss against clean speech.

`run --corruption` stores clean speech and each corruption as tables of their own that differ in
`Condition.corruption`. The change against clean speech is paired on the same draws and speakers.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from clser_bench.protocol import CLEAN, Condition
from clser_bench.report import formats
from clser_bench.report.formats import MISSING, Footnotes, Row, TextTable, bracketed, ends, rounded
from clser_bench.report.intervals import Evidence, count
from clser_bench.report.render import condition_line, condition_row, name_text, value_text
from clser_bench.report.statistics import Counts, Interval
from clser_bench.report.table import Cell, Leaderboard, Line, leaderboard, rows_of
from clser_bench.store.sqlite import Store


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The levels of a kind of corruption."""

    unit: str = "level"  # of a level, for the axis of a figure
    # the level that would leave speech as it is; infinity where higher ones are milder
    clean: float = math.inf

    def place(self, level: float) -> float:
        """Orders levels along an axis, `clean` among them."""
        return -level if math.isinf(self.clean) else level

    def severity(self, level: float) -> float:
        """Orders levels from mild to severe."""
        return -level if math.isinf(self.clean) else abs(level - self.clean)


Scales = Mapping[str, Scale]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method under a corruption."""

    corruption: str  # `noise:10`, or `clean`
    cell: Cell  # mean UAR over the pairs
    interval: Interval | None = None
    # against clean speech, paired, in points of UAR; None for clean speech itself, and where the
    # two share no draw or have not the same pairs
    change: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Methods down, corruptions across."""

    table: Leaderboard  # of clean speech, or of the first corruption where there is none
    scales: Scales
    corruptions: tuple[str, ...]  # clean speech first, then kinds, from mild to severe
    # row of a method and its points, in the order of the table of clean speech
    curves: tuple[tuple[Line, tuple[Point, ...]], ...]
    remarks: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of corruption."""
        found = (kind_of(name)[0] for name in self.corruptions)
        return tuple(dict.fromkeys(kind for kind in found if kind))

    def scale(self, kind: str) -> Scale:
        """Of a kind; levels of one that this version does not know count down."""
        return self.scales.get(kind, Scale())


def kind_of(corruption: str) -> tuple[str, float]:
    """Kind and level of `noise:10`; of `clean`, an empty kind."""
    kind, _, level = corruption.partition(":")
    return (kind, float(level)) if level else ("", 0.0)


def robustness(
    frame: pd.DataFrame, store: Store, scales: Scales, *, methods: Collection[str] = ()
) -> tuple[Robustness, ...]:
    """Join the tables of a frame that differ in the corruption of the target only.

    Errors are those of `table.leaderboard`.
    """
    groups: dict[Condition, dict[str, Leaderboard]] = {}
    for table in leaderboard(frame, store, methods=methods, intervals=False):
        own = table.condition
        shared = own.replace(corruption="", protocol_version=0)
        groups.setdefault(shared, {})[own.corruption or CLEAN] = table
    return tuple(
        _joined(frame, store, tables, scales) for tables in groups.values() if set(tables) - {CLEAN}
    )


def _joined(
    frame: pd.DataFrame, store: Store, tables: Mapping[str, Leaderboard], scales: Scales
) -> Robustness:
    kinds = list(scales)

    def order(name: str) -> tuple[bool, int, str, float, float]:
        kind, level = kind_of(name)
        place = kinds.index(kind) if kind in kinds else len(kinds)
        severity = scales.get(kind, Scale()).severity(level)
        return kind != "", place, kind, round(severity, 9), level

    names = tuple(sorted({CLEAN, *tables}, key=order))
    first = next(tables[name] for name in names if name in tables)
    alike = [name for name in tables if _alike(tables[name], first)]
    groups = [alike, *([name] for name in tables if name not in alike)]
    intervals: dict[tuple[str, str], Interval] = {}  # of a mean, by corruption and method
    changes: dict[tuple[str, str], Interval] = {}
    for group in groups:  # every method under every corruption together, so changes are paired
        counts: dict[str, list[Counts]] = {}
        for name in group:
            whole = [line.method for line in tables[name].lines if line.mean.mean is not None]
            of_table = count(store, tables[name], rows_of(frame, tables[name]), whole)
            counts |= {f"{name}/{method}": found for method, found in of_table.items()}
        evidence = Evidence(counts, drawn=tables[group[0]].condition.drawn)
        keys = {key: key.partition("/")[::2] for key in counts}
        intervals |= {keys[key]: found for key, found in evidence.means().items()}
        pairs = [(key, f"{CLEAN}/{of[1]}") for key, of in keys.items() if of[0] != CLEAN]
        found = evidence.differences([pair for pair in pairs if pair[1] in counts])
        changes |= {keys[key]: change for (key, _), change in found.items()}
    missing = Cell(n=0, mean=None, std=None, status="failed", reason="not run")
    curves: dict[str, tuple[Line, tuple[Point, ...]]] = {}
    lines = (line for name in names if name in tables for line in tables[name].lines)
    for line in (line for line in lines if line.method not in curves):
        points = []
        for name in names:
            own = tables[name].line(line.method) if name in tables else None
            cell, place = own.mean if own else missing, (name, line.method)
            interval, change = intervals.get(place), changes.get(place)
            points.append(Point(corruption=name, cell=cell, interval=interval, change=change))
        curves[line.method] = line, tuple(points)
    return Robustness(
        table=dataclasses.replace(first, condition=first.condition.replace(corruption="")),
        scales=scales,
        corruptions=names,
        curves=tuple(curves.values()),
        remarks=tuple(_remarks(names, tables, first)),
    )


def _alike(table: Leaderboard, other: Leaderboard) -> bool:
    """Whether means are over the same: only then can they be compared."""
    versions = table.condition.protocol_version, other.condition.protocol_version
    return set(table.pairs) == set(other.pairs) and versions[0] == versions[1]


def _remarks(
    names: Sequence[str], tables: Mapping[str, Leaderboard], first: Leaderboard
) -> Iterator[str]:
    yield from first.remarks
    for name in (name for name in names if name in tables):
        table = tables[name]
        yield from (f"{name}: {text}" for text in table.remarks if text not in first.remarks)
        if not _alike(table, first):
            yield (
                f"{name} is over other pairs or of another protocol version ({len(table.pairs)} "
                f"pairs, version {table.condition.protocol_version}), so nothing is compared with "
                "it; run it again"
            )
    if CLEAN not in tables:
        yield "clean speech was not run, so there are no changes; run again with --corruption"


def flat_rows(found: Robustness) -> Iterator[Row]:
    """A table as flat rows, one a method and corruption."""
    for line, points in found.curves:
        for point in points:
            cell, (kind, level) = point.cell, kind_of(point.corruption)
            row: Row = condition_row(found.table.condition.replace(corruption=point.corruption))
            row |= {"synthetic": found.table.synthetic}
            row |= {name: getattr(line, name) for name in ("method", "title", "role")}
            unit = found.scale(kind).unit if kind else None
            row |= {"level": level if kind else None, "unit": unit}
            row |= {"n": cell.n, "uar_mean": rounded(cell.mean), "uar_std": rounded(cell.std)}
            change = point.change
            row |= ends("interval_", point.interval)
            row |= {"change": rounded(change.estimate if change else None)}
            row |= ends("change_", change) | {"change_p": rounded(change.p if change else None)}
            yield row | {"status": cell.status, "reason": cell.reason}


def text_tables(found: Robustness) -> tuple[TextTable]:
    """A table as text cells."""
    corrupted = [name for name in found.corruptions if name != CLEAN]
    notes = Footnotes()
    cells = []
    for line, points in found.curves:
        name = name_text(line, notes)
        for point in (one for one in points if one.cell.mean is None):
            reason = point.cell.reason or point.cell.status
            notes.mark(f"{line.title}, {point.corruption}: {reason}")
        changes = (
            formats.change(point.change) if point.change else MISSING
            for point in points
            if point.corruption != CLEAN
        )
        ends_of = [bracketed(point.interval, "{:.1f}".format) for point in points]
        means = (
            f"{point.cell.mean:.1f}{inside}" if inside else value_text(point.cell)
            for point, inside in zip(points, ends_of, strict=True)
        )
        cells.append((name, draws_of(points), *means, *changes))
    units = "; ".join(f"{kind}: {found.scale(kind).unit}" for kind in found.kinds)
    table = TextTable(
        title=f"{found.table.title}: corrupted target",
        header=(
            condition_line(found.table),
            *found.table.warnings,
            "The target is corrupted, the utterances to adapt to and to score alike, and has its "
            "own statistics; the source stays clean. " + units + ".",
            "Mean UAR in %, [95 % interval]; - clean: difference of the means, paired, pointwise.",
        ),
        names=("method", "n", CLEAN, *corrupted, *(f"{name} - clean" for name in corrupted)),
        cells=tuple(cells),
        aside=tuple(line.role == "reference" for line, _ in found.curves),
        below=found.remarks,
        footnotes=tuple(notes.texts),
    )
    return (table,)


render = functools.partial(formats.render, flat_rows, text_tables)


def draws_of(points: Sequence[Point]) -> str:
    """Number of draws: `5`, or `1–5` where corruptions differ."""
    counts = sorted({point.cell.n for point in points})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
