"""Choose default hyper-parameters on the suite `wide`, from the grids that the methods declare.

    python tools/choose_defaults.py --corpora DIR --features minimal,hf:FOLDER:layer=3 --shots 5,all

Every point of every method's grid runs on the same draws, under every feature set, normalisation
and number of shots asked for. The rule (docs/protocol.md): the default stays unless another
is better by more than its standard error, over draws and all conditions together; of several, the
best is taken. Trials go to one results file; the same command goes on after an interruption.

Written into `--out`, for the methods asked for: `defaults.md` (a table a method), `defaults.csv`
(all numbers) and `chosen.toml` (what changes, for `clser-bench run --params`).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clser_bench.cli.output import Bars, complain
from clser_bench.errors import ClserError
from clser_bench.problem import Trial, Value
from clser_bench.protocol import DEFAULT_FEATURES, Condition, Normalisation, parse_shots
from clser_bench.run.execute import run_configurations
from clser_bench.run.request import Request
from clser_bench.store.sqlite import Store

NORMALISATIONS: tuple[Normalisation, ...] = ("corpus", "speaker")
ALL = "all"
"""Name of the mean over conditions."""

Draws = dict[str, np.ndarray]
"""Condition to the suite's mean UAR of each draw [seeds]; conditions with a hole are absent."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a method's grid.

    Attributes:
        parameters: those that the grid varies.
        draws: its results.
    """

    parameters: Mapping[str, Value]
    draws: Draws


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A point under a condition, against the default on the same draws."""

    uar: float
    difference: float
    error: float


def points_of(trials: Iterable[Trial], uars: Mapping[str, float]) -> dict[str, list[Point]]:
    """Results by method, the default first.

    Args:
        trials: of all plans.
        uars: of those that have a result, by id.
    """
    found: dict[str, dict[tuple[tuple[str, Value], ...], dict[str, list[Trial]]]] = {}
    for trial in trials:
        rules = trial.condition
        condition = f"{rules.features} {rules.normalisation} {trial.shots}"
        point = found.setdefault(trial.method, {}).setdefault(trial.parameters, {})
        point.setdefault(condition, []).append(trial)
    made = {}
    for method, by_parameters in found.items():
        varied = [
            name
            for name in dict(next(iter(by_parameters)))
            if len({dict(parameters)[name] for parameters in by_parameters}) > 1
        ]
        made[method] = [
            Point(
                parameters={name: dict(parameters)[name] for name in varied},
                draws={
                    condition: values
                    for condition, members in conditions.items()
                    if (values := draw_means(members, uars)) is not None
                },
            )
            for parameters, conditions in by_parameters.items()
        ]
    return made


def draw_means(trials: Sequence[Trial], uars: Mapping[str, float]) -> np.ndarray | None:
    """The mean UAR over pairs of each draw [seeds]; None where a trial has no result."""
    by_seed: dict[int, list[float]] = {}
    for trial in trials:
        if trial.id not in uars:
            return None
        by_seed.setdefault(trial.seed, []).append(uars[trial.id])
    return np.array([np.mean(by_seed[seed]) for seed in sorted(by_seed)])


def together(draws: Draws, conditions: Sequence[str]) -> np.ndarray | None:
    """The mean over conditions of each draw; None where one is absent.

    A condition with a single draw (all labels, a deterministic method) counts for every draw.
    """
    if not conditions or not set(conditions) <= set(draws):
        return None
    chosen = [draws[name] for name in conditions]
    size = max(map(len, chosen))
    return np.asarray(np.mean([np.broadcast_to(values, size) for values in chosen], axis=0))


def compare(mine: np.ndarray | None, default: np.ndarray | None) -> Cell | None:
    """The mean, and the paired difference to the default with its standard error."""
    if mine is None or default is None:
        return None
    gap = mine - default
    error = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else float("inf")
    return Cell(uar=float(mine.mean()), difference=float(gap.mean()), error=error)


def cells_of(points: Sequence[Point]) -> list[dict[str, Cell | None]]:
    """The cells of a method's table: conditions, then all together, a row a point.

    A condition in which the default has a hole is left out for the whole method.
    """
    default = points[0].draws
    names = list(default)
    whole = together(default, names)
    return [
        {name: compare(point.draws.get(name), default[name]) for name in names}
        | {ALL: compare(together(point.draws, names), whole)}
        for point in points
    ]


def choice(rows: Sequence[Mapping[str, Cell | None]]) -> int:
    """The point that the rule takes: the default one, 0, unless another is better by its error."""
    chosen, gain = 0, 0.0
    for number, row in enumerate(rows[1:], start=1):
        cell = row[ALL]
        if cell is not None and cell.difference > max(cell.error, gain):
            chosen, gain = number, cell.difference
    return chosen


def assigned(parameters: Mapping[str, Value]) -> str:
    """Parameters as they are written in a table."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def section(method: str, points: Sequence[Point]) -> str:
    """A method's Markdown section."""
    rows = cells_of(points)
    names = list(rows[0])
    lines = [f"## {method}", "", f"| point | {' | '.join(names)} |", f"|---{'|---' * len(names)}|"]
    for number, (point, row) in enumerate(zip(points, rows, strict=True)):
        mark = " (default)" if number == 0 else ""
        texts = [
            "–" if cell is None else f"{cell.uar:.2f} ({cell.difference:+.2f} ± {cell.error:.2f})"
            for cell in row.values()
        ]
        lines.append(f"| {assigned(point.parameters)}{mark} | {' | '.join(texts)} |")
    chosen = choice(rows)
    stays = "The default stays" if chosen == 0 else "Chosen"
    return "\n".join([*lines, "", f"{stays}: {assigned(points[chosen].parameters)}.", ""])


def as_csv(found: Mapping[str, Sequence[Point]]) -> str:
    """All numbers of all methods."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["method", "point", "parameters", "condition", "uar", "difference", "error", "chosen"]
    )
    for method, points in found.items():
        rows = cells_of(points)
        chosen = choice(rows)
        for number, (point, row) in enumerate(zip(points, rows, strict=True)):
            for name, cell in row.items():
                numbers = ("", "", "") if cell is None else (cell.uar, cell.difference, cell.error)
                texts = [value if value == "" else f"{value:.4f}" for value in numbers]
                what = [method, number, assigned(point.parameters), name]
                writer.writerow([*what, *texts, int(number == chosen)])
    return text.getvalue()


def as_toml(found: Mapping[str, Sequence[Point]]) -> str:
    """What changes, a table a method."""
    parts = []
    for method, points in found.items():
        chosen = choice(cells_of(points))
        if chosen == 0:
            parts.append(f"# {method}: the default stays\n")
            continue
        changed = {
            name: value
            for name, value in points[chosen].parameters.items()
            if value != points[0].parameters[name]
        }
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in changed.items()]
        parts.append("".join([f"[{method}]\n", *lines]))
    return "\n".join(parts)


def configs(arguments: argparse.Namespace) -> list[Request]:
    """A request for each feature set and normalisation."""
    return [
        Request(
            corpora=arguments.corpora,
            methods=tuple(arguments.methods.split(",")),
            shots=tuple(parse_shots(text) for text in arguments.shots.split(",")),
            seeds=arguments.seeds,
            condition=Condition(
                suite=arguments.suite, features=features, normalisation=normalisation
            ),
            results=arguments.records,
            workers=arguments.workers,
        )
        for features in arguments.features.split(",")
        for normalisation in NORMALISATIONS
    ]


def write(asked: Sequence[Request], folder: Path, *, command: str) -> str:
    """Run what is missing, write the three files, and return the last one's text."""
    with Bars() as bars:
        plans = run_configurations(asked, progress=bars, say=complain)
    trials = [trial for plan in plans for trial in plan.trials]
    with Store(asked[0].results) as store:
        uars = store.uars([trial.id for trial in trials])
    complain(f"{len(uars)} of {len(trials)} trials have a result")
    found = points_of(trials, uars)
    head = (
        f"# Points of the methods' grids on the suite `{plans[0].condition.suite}`\n\n"
        f"`{command}`\n\nUAR in percent, mean over the suite's pairs and {asked[0].seeds} draws; "
        "in brackets the difference to the default\npoint, paired on the same draws, with its "
        f"standard error. `{ALL}`: all conditions together.\n"
    )
    chosen = as_toml(found)
    folder.mkdir(parents=True, exist_ok=True)
    sections = [section(method, points) for method, points in found.items()]
    for name, text in (
        ("defaults.md", "\n".join([head, *sections])),
        ("defaults.csv", as_csv(found)),
        ("chosen.toml", chosen),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    return chosen


def main() -> None:
    """Run, write and print what changes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", default="all", help="comma-separated, or all")
    parser.add_argument("--suite", default="wide", help="never one whose tables are published")
    parser.add_argument("--corpora", type=Path, default=os.environ.get("CLSER_CORPORA") or None)
    parser.add_argument("--features", default=DEFAULT_FEATURES, help="comma-separated")
    parser.add_argument("--shots", default="5", help="comma-separated")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--records", type=Path, default=Path("selection-records/defaults.sqlite"))
    parser.add_argument("--out", type=Path, default=Path("results/selection"))
    arguments = parser.parse_args()
    command = " ".join(["python tools/choose_defaults.py", *sys.argv[1:]])
    try:
        print(write(configs(arguments), arguments.out, command=command), end="")
    except ClserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
