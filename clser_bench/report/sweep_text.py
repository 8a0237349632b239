"""A sweep in words for the terminal, as Markdown, CSV, JSON, and as hyper-parameters for `run`."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from clser_bench.errors import SpecError
from clser_bench.hyperparameters import Dimension
from clser_bench.problem import Value
from clser_bench.report import formats
from clser_bench.report.formats import DIGITS, MISSING, TextTable, one_line
from clser_bench.report.importance import importances
from clser_bench.report.sweep_choice import Measured, finished, measured, weigh
from clser_bench.report.sweep_words import (
    amount,
    findings,
    header,
    name,
    shown,
    warned,
    warnings,
)
from clser_bench.sweeps import Configuration, SweepResult

UNSEEN = "not looked at by the choice"

_BARE = re.compile(r"[A-Za-z0-9_-]+")

Row = dict[str, Any]


def summary(swept: SweepResult) -> str:
    """Say in a few lines what came of a sweep.

    Args:
        swept: the sweep.
    """
    return "\n".join([*findings(swept), *warned(swept)]) + "\n"


def lay_out(swept: SweepResult) -> TextTable:
    """Lay a sweep out as a table of all points, the highest objective first.

    Points that were given up early, and those with a hole, come after those that were run to the
    end: a mean over fewer draws is not comparable.

    Args:
        swept: the sweep.

    Returns:
        The table in plain text; below it the findings, and reasons as footnotes.
    """
    uars = has_uars(swept)
    unit = one_line(f"{swept.objective} ({swept.unit})")
    uar = "UAR (%)" if swept.oracle else f"UAR (%), {UNSEEN}"
    whole = {point.number for point in finished(swept)}
    rows, aside, notes = [], [], list[str]()
    for point in ordered(swept):
        mark = ""
        if point.reason:
            notes += [] if point.reason in notes else [point.reason]
            mark = f" [{notes.index(point.reason) + 1}]"
        found = measured(point.draws) if point.draws else None
        cells = [f"{point.number}{name(swept, point)}{mark}"]
        cells += [MISSING, MISSING, "0"] if found is None else _measured(swept, found)
        if uars:
            cells.append(f"{measured(point.uars).mean:.1f}" if point.uars else MISSING)
        rows.append((*cells, *map(shown, point.values)))
        aside.append(point.number not in whole)
    names = ["point", f"mean {unit}", "sd", "n", *([uar] if uars else [])]
    return TextTable(
        title=one_line(f"Sweep of {swept.method}"),
        header=tuple(map(one_line, (*header(swept), *warned(swept)))),
        names=(*names, *(one_line(item.name) for item in swept.dimensions)),
        summary=len(names) - 1,
        cells=tuple(rows),
        aside=tuple(aside),
        below=findings(swept),
        footnotes=tuple(map(one_line, notes)),
    )


def markdown(swept: SweepResult) -> str:
    """Write a sweep as Markdown: how it was made, all points, what was found.

    Args:
        swept: the sweep.
    """
    return formats.markdown(lay_out(swept))


def as_csv(swept: SweepResult) -> str:
    """Write all points as CSV, a row each in the order of their numbers.

    Hyper-parameters are in columns `parameter.NAME`, draws in `draw_0`, `draw_1`, …

    Args:
        swept: the sweep.
    """
    names = [f"parameter.{item.name}" for item in swept.dimensions]
    most = max((len(point.draws) for point in swept.configurations), default=0)
    draws = [f"draw_{number}" for number in range(most)]
    rows = [
        {
            **{key: value for key, value in _point(swept, point).items() if not _nested(value)},
            **dict(zip(names, map(_plain, point.values), strict=True)),
            **dict(zip(draws, map(_rounded, point.draws), strict=False)),
        }
        for point in swept.configurations
    ]
    stream = io.StringIO()
    columns = dict.fromkeys([*(key for row in rows for key in row), *draws])
    writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(swept: SweepResult) -> str:
    """Write a sweep as one JSON object: how it was made, points, the best one, importances.

    Args:
        swept: the sweep.
    """
    chosen = weigh(swept)
    taken = ("dimensions", "configurations")
    about = {
        field.name: getattr(swept, field.name)
        for field in dataclasses.fields(swept)
        if field.name not in taken
    }
    made: Row = {
        **about,
        "warnings": list(warnings(swept)),
        "objective_of_best": _fields(chosen.objective),
        "gain_over_shipped": _fields(chosen.gain),
        "choice_on_other_draws": _fields(chosen.unflattered),
        "missing": chosen.reason,
        "importances": [_fields(item) for item in importances(swept)],
        "dimensions": [_dimension(item) for item in swept.dimensions],
        "points": [_point(swept, point) for point in swept.configurations],
    }
    return json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def params_toml(swept: SweepResult, *, fixed: Iterable[tuple[str, Value]] = ()) -> str:
    """Write the best point as a file for `clser-bench run --params FILE`.

    Args:
        swept: the sweep.
        fixed: hyper-parameters that the sweep held at another value than the shipped one.

    Raises:
        SpecError: no point was run to the end.
    """
    chosen = weigh(swept)
    if chosen.best is None:
        raise SpecError(f"sweep of {swept.method}: {chosen.reason}; there is no best point")
    points = len(swept.configurations)
    header_lines = [
        f"Best of {points} points of {swept.method}: number {chosen.best.number}.",
        *header(swept),
        *warned(swept),
    ]
    names = [item.name for item in swept.dimensions]
    values = {**dict(fixed), **dict(zip(names, chosen.best.values, strict=True))}
    lines = [f"# {one_line(line)}" for line in header_lines]
    lines += ["", f"[{_key(swept.method)}]"]
    lines += [f"{_key(key)} = {_toml(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def ordered(swept: SweepResult) -> list[Configuration]:
    """The points: run to the end, given up early, without an objective; the highest first."""
    return sorted(
        swept.configurations,
        key=lambda p: (
            len(p.draws) < swept.seeds,
            not p.draws,
            -measured(p.draws).mean if p.draws else 0.0,
            p.number,
        ),
    )


def has_uars(swept: SweepResult) -> bool:
    """Whether points have UARs that say something else than the objective."""
    return any(point.uars and point.uars != point.draws for point in swept.configurations)


def _measured(swept: SweepResult, found: Measured) -> list[str]:
    spread = MISSING if found.std is None else amount(swept, found.std)
    return [amount(swept, found.mean), spread, str(found.n)]


def _point(swept: SweepResult, point: Configuration) -> Row:
    found = measured(point.draws) if point.draws else None
    names = [item.name for item in swept.dimensions]
    return {
        "number": point.number,
        "shipped": point.number == 0,
        "best": point.number == swept.best and bool(point.draws),
        "finished": len(point.draws) >= max(1, swept.seeds),
        "n": len(point.draws),
        "mean": _rounded(found.mean) if found else None,
        "std": _rounded(found.std) if found else None,
        "uar_mean": _rounded(measured(point.uars).mean) if point.uars else None,
        "reason": point.reason,
        "values": dict(zip(names, map(_plain, point.values), strict=True)),
        "draws": list(map(_rounded, point.draws)),
    }


def _nested(value: object) -> bool:
    return isinstance(value, dict | list)


def _fields(value: Any) -> Row | None:
    """A dataclass of plain values as JSON."""
    if value is None:
        return None
    made = dataclasses.asdict(value)
    return {k: _rounded(item) if isinstance(item, float) else item for k, item in made.items()}


def _dimension(value: Dimension) -> Row:
    return {**dataclasses.asdict(value), "choices": list(map(_plain, value.choices))}


def _plain(value: Value) -> Value:
    """A value that JSON has; it has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(value: float | None) -> float | None:
    """To the digits of the tables, and two more for objectives that are shares or nats."""
    return None if value is None or not math.isfinite(value) else round(value, DIGITS + 2) + 0.0


def _key(value: str) -> str:
    return value if _BARE.fullmatch(value) else _toml(value)


def _toml(value: Value) -> str:
    """A value as TOML 1.0 writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # as in JSON, but delete must be escaped and other characters may stand as they are
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(float(value)) if isinstance(value, float) else str(int(value))
