"""Leaderboards: what users ask for, and how it is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.aggregate import aggregate, with_points
from clser_bench.report.board import LeaderboardTable
from clser_bench.report.crossed_statistics import RESAMPLES
from clser_bench.report.evidence import weigh
from clser_bench.report.latex import latex_tables
from clser_bench.report.layout import Layout, lay_out, transpose
from clser_bench.report.rows import as_csv, as_json
from clser_bench.report.text import markdown, terminal
from clser_bench.store.sqlite import Store

FORMATS = ("table", "md", "latex", "csv", "json")
EXTRAS = ("time", "energy", "point")
WIDTH = 120


def leaderboard(
    store: Store,
    *,
    wanted: Mapping[str, str] | None = None,
    methods: Collection[str] | None = None,
    with_: Collection[str] = (),
    intervals: bool = True,
    against: str | None = None,
    resamples: int = RESAMPLES,
) -> tuple[LeaderboardTable, ...]:
    """Make the tables of a store: one per set of rules, those asked for.

    Args:
        store: the results.
        wanted: values that a condition must have, as `Condition.matches` takes them.
        methods: only these methods.
        with_: extras: `time` for seconds per trial, `energy` for joules per trial where they were
            measured, `point` for the hyper-parameters of each pair.
        intervals: add intervals and ranks; reads predictions, not only metrics.
        against: add paired differences to this method.
        resamples: number of bootstrap resamples.

    Returns:
        The tables in a fixed order; none where nothing was planned.

    Raises:
        SpecError: an extra is unknown, or no table has a method to compare with.
        StoreError: the database is damaged.
    """
    for name in with_:
        if name not in EXTRAS:
            raise SpecError(f"there is no extra '{name}'{did_you_mean(name, EXTRAS)}")
    tables = aggregate(store, wanted=wanted, methods=methods)
    known = {line.method for table in tables for line in table.lines}
    if against is not None and tables and against not in known:
        raise SpecError(f"there are no results of '{against}'{did_you_mean(against, known)}")
    if intervals or against is not None:
        tables = tuple(
            weigh(store, table, resamples=resamples, against=against or "") for table in tables
        )
    if "point" in with_:
        tables = with_points(store, tables)
    time, energy = "time" in with_, "energy" in with_
    return tuple(dataclasses.replace(table, time=time, energy=energy) for table in tables)


def render(
    tables: Sequence[LeaderboardTable],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
    color: bool = False,
    transposed: bool = False,
) -> str:
    """Write tables as text.

    Args:
        tables: as `leaderboard` made them.
        format: `table` for a terminal or a pipe, `md`, `latex`, `csv` or `json`.
        width: columns of the terminal, for `table`; a wider table is parted in blocks of
            columns, and nothing is cut off. 120 where None.
        color: grey oracle rows by escape codes, for `table`.
        transposed: pairs down and methods across, in formats that are tables.

    Returns:
        Text that ends in a line break.

    Raises:
        SpecError: there is no such format.
    """
    if format == "csv":
        return as_csv(tables)
    if format == "json":
        return as_json(tables)
    if format not in FORMATS:
        raise SpecError(f"there is no format '{format}'{did_you_mean(format, FORMATS)}")
    layouts = [lay_out(table) for table in tables]
    return render_layouts(layouts, format, width=width, color=color, transposed=transposed)


def render_layouts(
    layouts: Sequence[Layout],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
    color: bool = False,
    transposed: bool = False,
) -> str:
    """Write laid-out tables as text; arguments as of `render`, but for csv and json.

    Raises:
        SpecError: the format is none of `table`, `md` and `latex`.
    """
    allowed = ("table", "md", "latex")
    if format not in allowed:
        raise SpecError(f"such a table cannot be '{format}'{did_you_mean(format, allowed)}")
    if not layouts:
        return "No results to show.\n"
    shown = [transpose(layout) for layout in layouts] if transposed else list(layouts)
    if format == "latex":
        return latex_tables(shown)
    if format == "md":
        return "\n".join(markdown(layout) for layout in shown)
    return "\n".join(terminal(layout, width=width or WIDTH, color=color) for layout in shown)
