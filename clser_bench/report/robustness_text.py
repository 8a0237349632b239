"""Tables of corrupted targets as text: for terminals, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.crossed_statistics import Interval
from clser_bench.report.figure_parts import pairs_of
from clser_bench.report.latex import latex_tables
from clser_bench.report.layout import HOLE, Layout, signed
from clser_bench.report.robustness import Curve, Point, Robustness
from clser_bench.report.rows import Row, csv_of, json_of, rounded
from clser_bench.report.tables import FORMATS, WIDTH
from clser_bench.report.text import markdown, terminal


def render(
    found: Sequence[Robustness],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
) -> str:
    """Write tables as text.

    Args:
        found: as `robustness` made them.
        format: `table` for a terminal or a pipe, `md`, `latex`, `csv` or `json`.
        width: columns of the terminal, for `table`; 120 where None.

    Returns:
        Text that ends in a line break.

    Raises:
        SpecError: there is no such format.
    """
    if format not in FORMATS:
        raise SpecError(f"there is no format '{format}'{did_you_mean(format, FORMATS)}")
    flat = [row for item in found for row in rows(item)]
    if format == "json":
        return json_of(flat)
    if format == "csv":
        return csv_of(flat)
    if not found:
        return "No results to show.\n"
    layouts = [lay_out(item) for item in found]
    if format == "latex":
        return latex_tables(layouts)
    if format == "md":
        return "\n".join(markdown(layout) for layout in layouts)
    return "\n".join(terminal(layout, width=width or WIDTH, color=False) for layout in layouts)


def rows(found: Robustness) -> Iterator[Row]:
    """A table as flat rows, one a method and condition.

    Args:
        found: the table.
    """
    rules = dataclasses.asdict(found.table.rules)
    shots = rules.pop("shots")
    for curve in found.curves:
        for point in curve.points:
            condition, cell = point.condition, point.cell
            row: Row = {
                **rules,
                "shots": int(shots) if shots.isdecimal() else shots,
                "synthetic": found.table.synthetic,
                "method": curve.method,
                "kind": curve.kind,
                "condition": condition.name,
                "corruption": condition.kind or None,
                "level": condition.level if condition.kind else None,
                "unit": found.scale(condition.kind).unit if condition.kind else None,
                "n": cell.n,
                "uar_mean": rounded(cell.mean),
                "uar_std": rounded(cell.std),
            }
            row |= {f"interval_{end}": v for end, v in _ends(point.interval).items()}
            row["change"] = rounded(point.change.estimate) if point.change else None
            row |= {f"change_{end}": v for end, v in _ends(point.change).items()}
            row["change_p"] = rounded(point.change.p) if point.change else None
            yield row | {"status": cell.status, "reason": cell.reason}


def lay_out(found: Robustness) -> Layout:
    """Write a table as text cells.

    Args:
        found: the table.
    """
    worse = [item.name for item in found.conditions if item.kind]
    notes = dict.fromkeys(f"{curve.method}: {curve.note}" for curve in found.curves if curve.note)
    for curve in found.curves:
        for point in curve.points:
            if point.cell.mean is None:
                why = point.cell.reason or point.cell.status
                notes[f"{curve.method}, {point.condition.name}: {why}"] = None
    return Layout(
        title=f"{found.table.title}: corrupted target",
        header=tuple(_header(found)),
        names=("method", "n", "clean", *worse, *(f"{name} - clean" for name in worse)),
        first_pair=2,
        cells=tuple(_cells(curve) for curve in found.curves),
        aside=tuple(curve.kind == "oracle" for curve in found.curves),
        below=(),
        footnotes=(*notes, *found.remarks),
    )


def _header(found: Robustness) -> Iterator[str]:
    table, rules = found.table, found.table.rules
    yield (
        f"suite {rules.suite} · features {rules.features} · normalisation {rules.normalisation} · "
        f"setting {rules.setting} · prior {rules.prior}"
    )
    yield (
        f"selection {rules.selection} · shots {rules.shots} · "
        f"protocol version {table.protocol_version}"
    )
    if table.synthetic:
        yield "The speech is synthetic: these numbers say nothing about real speech."
    yield (
        "The target is corrupted, what is adapted to and what is scored alike, and has statistics "
        "of its own; the source stays clean."
    )
    units = [f"{kind}: {found.scale(kind).unit}" for kind in found.kinds]
    yield f"UAR: mean of per-class recalls, %, over {pairs_of(table)}. {'; '.join(units)}."
    chance = [100 / size for size in table.classes if size]
    yield f"Chance level: {sum(chance) / max(1, len(chance)):.1f}. n: draws."
    yield (
        "[low, high]: 95 % interval, crossed bootstrap of speakers and draws "
        f"({found.resamples} resamples), conditional on these corpora; else ± sample sd over draws."
    )
    yield (
        "Columns that end in - clean: difference of the means, paired on the same draws and "
        "resamples; below zero is a loss. Not corrected for their number."
    )


def _cells(curve: Curve) -> tuple[str, ...]:
    changes = [_change(point.change) for point in curve.points if point.condition.kind]
    return (curve.shown, curve.draws, *map(_mean, curve.points), *changes)


def _mean(point: Point) -> str:
    cell, interval = point.cell, point.interval
    if cell.mean is None:
        return HOLE
    if interval is not None and interval.low is not None and interval.high is not None:
        return f"{cell.mean:.1f} [{interval.low:.1f}, {interval.high:.1f}]"
    return f"{cell.mean:.1f}" if cell.std is None else f"{cell.mean:.1f} ± {cell.std:.1f}"


def _change(found: Interval | None) -> str:
    if found is None:
        return HOLE
    if found.low is None or found.high is None:
        return signed(found.estimate)
    return f"{signed(found.estimate)} [{signed(found.low)}, {signed(found.high)}]"


def _ends(interval: Interval | None) -> dict[str, float | None]:
    ends = (interval.low, interval.high) if interval else (None, None)
    return dict(zip(("low", "high"), map(rounded, ends), strict=True))
