"""A leaderboard as flat rows: CSV and JSON, byte-identical for identical results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from clser_bench.report.board import Cell, LeaderboardTable, Line
from clser_bench.report.crossed_statistics import Interval
from clser_bench.report.points import point_of

DIGITS = 4

Row = dict[str, Any]


def rows(table: LeaderboardTable) -> Iterator[Row]:
    """The cells of a table, one row each, every method's mean after its pairs.

    Rows of the mean carry `interval_low` and `interval_high` where the table has intervals,
    `reference` and `verdict` where it has a reference, and `difference`, `difference_low`,
    `difference_high`, `difference_p` where it has a baseline. Rows of pairs carry `point` where
    that was asked for.

    Args:
        table: the table.
    """
    for line in table.lines:
        for pair, cell in zip(table.pairs, line.cells, strict=True):
            point = {"point": point_of(line, pair)} if table.point else {}
            yield _row(table, line, str(pair), cell) | point
        row = _row(table, line, "mean", line.mean)
        if table.resamples:
            row |= {f"interval_{name}": value for name, value in _ends(line.interval).items()}
        if table.reference:
            row |= {"reference": table.reference, "verdict": line.verdict or None}
        if table.baseline:
            row |= _difference(line)
        yield row


def as_json(tables: Iterable[LeaderboardTable]) -> str:
    """All rows of all tables as one JSON list."""
    return json_of(row for table in tables for row in rows(table))


def as_csv(tables: Iterable[LeaderboardTable]) -> str:
    """All rows of all tables as CSV with one header; what is null stays empty."""
    return csv_of(row for table in tables for row in rows(table))


def json_of(rows: Iterable[Row]) -> str:
    """Rows as one JSON list.

    Args:
        rows: name to value; no NaN.
    """
    return json.dumps(list(rows), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_of(rows: Iterable[Row]) -> str:
    """Rows as CSV with one header of all names; what is null or lacks a name stays empty.

    Args:
        rows: name to value.
    """
    found = list(rows)
    names = list(dict.fromkeys(name for row in found for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def rounded(value: float | None) -> float | None:
    """A figure, rounded so that the last bits of a sum never show; no negative zero.

    Args:
        value: the figure; None stays None.
    """
    return None if value is None else round(value, DIGITS) + 0.0


def _row(table: LeaderboardTable, line: Line, pair: str, cell: Cell) -> Row:
    rules = table.rules
    row: Row = {
        "suite": rules.suite,
        "features": rules.features,
        "normalisation": rules.normalisation,
        "setting": rules.setting,
        "prior": rules.prior,
        "selection": rules.selection,
        "shots": int(rules.shots) if rules.shots.isdecimal() else rules.shots,
        "method": line.method,
        "kind": line.kind,
        "pair": pair,
        "n": cell.n,
        "uar_mean": rounded(cell.mean),
        "uar_std": rounded(cell.std),
        "status": cell.status,
        "reason": cell.reason,
    }
    if table.time:
        row["seconds"] = rounded(cell.seconds)
    if table.energy:
        row["energy"] = rounded(cell.energy)
    return row


def _difference(line: Line) -> Row:
    found = line.difference
    interval = found.interval if found else None
    row: Row = {"difference": rounded(interval.estimate if interval else None)}
    row |= {f"difference_{name}": value for name, value in _ends(interval).items()}
    return row | {"difference_p": rounded(found.p if found else None)}


def _ends(interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {"low": None, "high": None}
    return {"low": rounded(interval.low), "high": rounded(interval.high)}
