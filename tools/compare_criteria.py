"""Measure how well criteria without target labels choose hyper-parameters.

    python tools/compare_criteria.py --suite bcro --corpora DIR --methods all --shots 5,10

Every point of every method's grid runs on every pair and draw; where a number of shots allows it,
once more with a fifth of the labels held out. For a pair, a point's quality is its mean UAR over
the draws. On each draw each criterion ranks the points, as it would for a user who has that draw:

* rank correlation: Spearman's, of the criterion with the qualities (0 where it ranks nothing);
* regret: quality of the best point minus that of the criterion's choice, in points of UAR.

Both are averaged over draws, then over pairs; the deviation is over pairs. For comparison: the
shipped point, a point at random, and `other-pairs` (the best point on the pairs of other corpora).

Written into `--out`: `NAME.md` (a table a number of shots) and `NAME.csv` (all numbers). Trials go
to one results file; the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from clser_bench.cli.output import Bars, complain
from clser_bench.errors import ClserError
from clser_bench.problem import Trial
from clser_bench.protocol import DEFAULT_FEATURES, Condition, Pair, Shots, parse_shots
from clser_bench.run.execute import run_configurations
from clser_bench.run.plan import Plan
from clser_bench.run.request import Request
from clser_bench.run.selection import OBJECTIVES, OTHER_PAIRS, Place, cells, others
from clser_bench.splits import LEAST_SHOTS
from clser_bench.store.sqlite import Store

CRITERIA = tuple(item for item in OBJECTIVES.values() if item.requires != "labels")
SHIPPED, RANDOM, OTHERS = "shipped point", "random point", OTHER_PAIRS
COLUMNS = (*(item.name for item in CRITERIA), OTHERS, SHIPPED, RANDOM)

Points = list[list[Trial]]
"""The trials of each point, the shipped one first."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How a criterion does on the pairs of a suite.

    Attributes:
        correlation: of each pair; empty where it ranks nothing by design.
        regret: of each pair, in points of UAR.
    """

    correlation: tuple[float, ...]
    regret: tuple[float, ...]


def judge(values: np.ndarray, quality: np.ndarray) -> tuple[float, float]:
    """Mean rank correlation and regret over the draws of one pair.

    Args:
        values: the criterion [points, draws]; larger is better.
        quality: [points].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant column has no rank correlation
        found = [float(spearmanr(column, quality).statistic) for column in values.T]
    chosen = quality[np.argmax(values, axis=0)]  # ties go to the earlier point
    return float(np.mean(np.nan_to_num(found))), float(np.mean(quality.max() - chosen))


def judged(
    values: Mapping[str, Sequence[Mapping[Place, float]]],
    uars: Sequence[Mapping[Place, float]],
    pairs: Sequence[Pair],
    draws: int,
) -> dict[str, Judged]:
    """Judge every criterion for one method and number of shots.

    Args:
        values: criterion to one mapping a point.
        uars: one mapping a point.
        pairs: those on which every point has a result.
        draws: how many.
    """
    places = [[(pair, seed) for seed in range(draws)] for pair in pairs]
    quality = np.array([[np.mean([point[p] for p in row]) for row in places] for point in uars])
    made = {}
    for name, points in values.items():
        rows = [
            judge(np.array([[point[p] for p in row] for point in points]), quality[:, number])
            for number, row in enumerate(places)
        ]
        made[name] = Judged(
            correlation=tuple(r for r, _ in rows), regret=tuple(regret for _, regret in rows)
        )
    best = quality.max(axis=0)
    made[SHIPPED] = Judged(correlation=(), regret=tuple((best - quality[0]).tolist()))
    made[RANDOM] = Judged(correlation=(), regret=tuple((best - quality.mean(axis=0)).tolist()))
    elsewhere = [[pairs.index(o) for o in others(pair, pairs)] for pair in pairs]
    if all(elsewhere):
        means = np.stack([quality[:, columns].mean(axis=1) for columns in elsewhere], axis=1)
        rows = [judge(means[:, [n]], quality[:, n]) for n in range(len(pairs))]
        made[OTHERS] = Judged(
            correlation=tuple(r for r, _ in rows), regret=tuple(regret for _, regret in rows)
        )
    return made


def by_method(plan: Plan, shots: Shots) -> dict[str, Points]:
    """The trials of a plan with one number of shots, by method and point."""
    found: dict[str, dict[object, list[Trial]]] = {}
    for trial in plan.trials:
        if trial.shots == shots:
            found.setdefault(trial.method, {}).setdefault(trial.parameters, []).append(trial)
    return {method: list(points.values()) for method, points in found.items()}


def compare(
    plain: Plan, held: Plan | None, shots: Shots, store: Store
) -> dict[str, dict[str, Judged]]:
    """Judge every criterion for every method with one number of shots.

    Args:
        plain: points under the usual setting.
        held: the same with labels held out; None where there are too few.
        shots: the number.
        store: the results.
    """
    kept = {} if held is None else by_method(held, shots)
    made = {}
    for method, points in by_method(plain, shots).items():
        uars = cells(OBJECTIVES["oracle"], points, store=store, folds=plain.prepared.folds)
        values = {
            item.name: cells(item, points, store=store, folds=plain.prepared.folds)
            for item in CRITERIA
            if item.requires != "source"
        }
        if held is not None:
            for item in CRITERIA:
                if item.requires == "source":
                    values[item.name] = cells(
                        item, kept[method], store=store, folds=held.prepared.folds
                    )
        draws = 1 + max(trial.seed for trial in points[0])
        everything = [*uars, *(point for per_point in values.values() for point in per_point)]
        pairs = [
            pair
            for pair in plain.prepared.table
            if all((pair, seed) in point for point in everything for seed in range(draws))
        ]
        if pairs:
            made[method] = judged(values, uars, pairs, draws)
        complain(f"{method}, {shots} shots: {len(pairs)} of {len(plain.prepared.table)} pairs")
    return made


def section(shots: Shots, found: Mapping[str, Mapping[str, Judged]]) -> str:
    """The Markdown tables of one number of shots."""
    names = [name for name in COLUMNS if any(name in item for item in found.values())]
    parts = [f"## {shots} shots\n"]
    for what in ("regret", "correlation"):
        shown = [n for n in names if what == "regret" or n not in (SHIPPED, RANDOM)]
        unit = ", points of UAR" if what == "regret" else ", Spearman"
        lines = [
            f"### {what.capitalize()}{unit}\n",
            f"| method | n | {' | '.join(shown)} |",
            f"|---|---{'|---' * len(shown)}|",
        ]
        rows = {
            method: [_values(item, name, what) for name in shown] for method, item in found.items()
        }
        for method, row in rows.items():
            n = len(next(iter(found[method].values())).regret)
            lines.append(f"| {method} | {n} | {' | '.join(map(_cell, row))} |")
        means = []
        for column in range(len(shown)):
            values = [np.mean(row[column]) for row in rows.values() if row[column]]
            means.append(f"{np.mean(values):.2f}" if values else "–")
        lines.append(f"| **mean of {len(rows)} methods** | | {' | '.join(means)} |")
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def _values(found: Mapping[str, Judged], name: str, what: str) -> tuple[float, ...]:
    if name not in found:
        return ()
    return found[name].regret if what == "regret" else found[name].correlation


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "n/a"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def as_csv(found: Mapping[Shots, Mapping[str, Mapping[str, Judged]]]) -> str:
    """All numbers, a line a method, criterion and number of shots."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["shots", "method", "criterion", "pairs", "correlation", "regret"])
    for shots, methods in found.items():
        for method, criteria in methods.items():
            for name, item in criteria.items():
                r = f"{np.mean(item.correlation):.4f}" if item.correlation else ""
                writer.writerow(
                    [shots, method, name, len(item.regret), r, f"{np.mean(item.regret):.4f}"]
                )
    return text.getvalue()


def configs(arguments: argparse.Namespace, shots: Sequence[Shots]) -> list[Request]:
    """The requests: the usual setting, and with enough shots the one that keeps labels back."""
    usual = Request(
        corpora=arguments.corpora,
        methods=tuple(arguments.methods.split(",")),
        shots=tuple(shots),
        seeds=arguments.seeds,
        condition=Condition(
            suite=arguments.suite,
            features=arguments.features,
            normalisation=arguments.normalise,
        ),
        results=arguments.records,
        workers=arguments.workers,
    )
    enough = tuple(k for k in shots if k == "all" or k >= LEAST_SHOTS)
    if not enough:
        return [usual]
    rules = dataclasses.replace(usual.condition, setting="held-out")
    return [usual, dataclasses.replace(usual, shots=enough, condition=rules)]


def write(arguments: argparse.Namespace, *, command: str) -> str:
    """Run what is missing, write both files, and return the Markdown."""
    shots = [parse_shots(text) for text in arguments.shots.split(",")]
    asked = configs(arguments, shots)
    with Bars() as bars:
        plans = run_configurations(asked, progress=bars, say=complain)
    with Store(asked[0].results) as store:
        found = {
            k: compare(
                plans[0], plans[1] if k in asked[-1].shots and len(plans) > 1 else None, k, store
            )
            for k in shots
        }
    rules = plans[0].condition
    head = (
        f"# Criteria without target labels on the suite `{rules.suite}`\n\n`{command}`\n\n"
        f"{rules.features} features, {rules.normalisation} normalisation, {arguments.seeds} draws, "
        f"at most 12 points a method.\nEach cell: mean over pairs ± sample deviation over pairs; "
        "`n` is the number of pairs. Regret: how much worse\nthe point that the criterion takes is "
        "than the best point, in points of UAR (less is better).\n`n/a`: not applicable (fewer "
        f"than {LEAST_SHOTS} shots leave nothing to keep back).\n"
    )
    text = "\n".join([head, *(section(k, methods) for k, methods in found.items())])
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = f"criteria-{rules.suite}"
    (arguments.out / f"{name}.md").write_text(text, encoding="utf-8")
    (arguments.out / f"{name}.csv").write_text(as_csv(found), encoding="utf-8")
    return text


def main() -> None:
    """Run, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", default="bcro")
    parser.add_argument("--methods", default="all", help="comma-separated, or all")
    parser.add_argument("--corpora", type=Path, default=os.environ.get("CLSER_CORPORA") or None)
    parser.add_argument("--features", default=DEFAULT_FEATURES)
    parser.add_argument("--normalise", default="speaker")
    parser.add_argument("--shots", default="5,10", help="comma-separated")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--records", type=Path, default=Path("selection-records/criteria.sqlite"))
    parser.add_argument("--out", type=Path, default=Path("results/selection"))
    arguments = parser.parse_args()
    command = " ".join(["python tools/compare_criteria.py", *sys.argv[1:]])
    try:
        print(write(arguments, command=command), end="")
    except ClserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
