"""Breakdowns as flat rows of CSV and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from clser_bench.report.breakdown import Breakdown, Part
from clser_bench.report.rows import Row, rounded


def rows(breakdown: Breakdown) -> Iterator[Row]:
    """The figures of a breakdown, one row each, in order of method and pair.

    `figure` is `recall`, `share`, `uar`, `gap`, `rho` or `rho_within`; `pair` is `mean` over all.

    Args:
        breakdown: the figures.
    """
    rules = dataclasses.asdict(breakdown.table.rules)
    rules["shots"] = int(rules["shots"]) if rules["shots"].isdecimal() else rules["shots"]
    for part in breakdown.parts:
        first = {
            **rules,
            "by": breakdown.by,
            "method": part.method,
            "kind": part.kind,
            "pair": str(part.pair or "mean"),
            "status": part.status,
            "reason": part.reason,
        }
        for row in _figures(breakdown.by, part):
            yield first | row


def _figures(by: str, part: Part) -> Iterator[Row]:
    figure = {"emotion": "recall", "confusion": "share"}.get(by, "uar")
    for value in part.values:
        yield _row(figure, value.group, value.mean, value.std, n=value.n) | {
            "predicted": value.predicted or None,
            "count": value.count,
            "classes": value.classes,
        }
    for gap in part.gaps:
        yield _row("gap", f"{gap.high} − {gap.low}", gap.mean, gap.std, n=gap.n) | {
            "low": rounded(gap.interval.low if gap.interval else None),
            "high": rounded(gap.interval.high if gap.interval else None),
            "shuffled": rounded(gap.shuffled),
        }
    for found in part.correlations:
        name = "rho_within" if found.within else "rho"
        yield _row(name, None, found.rho, None, n=None) | {
            "count": found.n,
            "low": rounded(found.low),
            "high": rounded(found.high),
        }
    if part.status != "ok":
        yield _row(figure, None, None, None, n=None)


def _row(
    figure: str, group: str | None, mean: float | None, std: float | None, *, n: int | None
) -> Row:
    row: Row = {"figure": figure, "group": group, "predicted": None, "n": n}
    row |= {"mean": rounded(mean), "std": rounded(std), "count": None, "classes": None}
    return row | {"low": None, "high": None, "shuffled": None}
