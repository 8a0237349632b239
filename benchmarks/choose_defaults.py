"""Compare hyper-parameter points of a method on the `dev` suite, paired on the same draws.

    python benchmarks/choose_defaults.py sere --corpora DIR [--seeds 10] [--shots 5]

The points are read from results/selection/METHOD.toml: `base` (what all share) and `points`
(what each changes; the first changes nothing). Every point is run under `corpus` and `speaker`
normalisation; each is compared with the first by the difference of the suite's mean UAR, draw by
draw, with its standard error. The rule (docs/protocol.md): keep the first unless another is
better by more than its error. Records go to a file of their own; run again to go on.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from clser_bench.run.config import RunConfig, as_settings
from clser_bench.run.main import run
from clser_bench.spec import Normalisation, Protocol, parse_shots
from clser_bench.store.database import Store

FOLDER = Path(__file__).parents[1] / "results" / "selection"
NORMALISATIONS: tuple[Normalisation, ...] = ("corpus", "speaker")


def draws(config: RunConfig) -> np.ndarray:
    """Run one point; the mean UAR over the suite's pairs of each draw [seeds]."""
    run(config)
    with Store(config.results) as store:
        records = list(store.records(store.planned_ids(store.runs()[-1].id)))
    by_seed: dict[int, list[float]] = {}
    for record in records:
        if record.metrics is None:
            raise SystemExit(f"a trial of {config.results} failed: {record.reason}")
        by_seed.setdefault(record.trial.seed, []).append(record.metrics.uar)
    return np.array([np.mean(by_seed[seed]) for seed in sorted(by_seed)])


def configs(arguments: argparse.Namespace, point: dict[str, Any], file: Path) -> list[RunConfig]:
    """One request per normalisation."""
    return [
        RunConfig(
            suite="dev",
            corpora=arguments.corpora,
            methods=(arguments.method,),
            shots=(parse_shots(arguments.shots),),
            seeds=arguments.seeds,
            protocol=Protocol(features=arguments.features, normalisation=normalisation),
            settings=as_settings({arguments.method: point}) if point else (),
            results=file,
        )
        for normalisation in NORMALISATIONS
    ]


def main() -> None:
    """Run all points and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("method")
    parser.add_argument("--corpora", type=Path, default=os.environ.get("CLSER_CORPORA"))
    parser.add_argument("--features", default="acoustic")
    parser.add_argument("--shots", default="5")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--records", type=Path, default=Path("selection-records"))
    arguments = parser.parse_args()
    plan = tomllib.loads((FOLDER / f"{arguments.method}.toml").read_text(encoding="utf-8"))
    arguments.records.mkdir(parents=True, exist_ok=True)
    print(f"dev, {arguments.features}, {arguments.shots} shots, {arguments.seeds} draws: mean UAR,")
    print("difference to the first point with its standard error over draws\n")
    print(f"| point | {' | '.join(NORMALISATIONS)} |\n|---|---|---|")
    rows, first = [], None
    for number, change in enumerate(plan["points"]):
        file = arguments.records / f"{arguments.method}-{number}.sqlite"
        made = configs(arguments, {**plan["base"], **change}, file)
        found = [draws(config) for config in made]
        first = first or found
        cells = [compare(mine, base) for mine, base in zip(found, first, strict=True)]
        what = ", ".join(f"{key}={value}" for key, value in change.items()) or "base"
        print(f"| {what} | {' | '.join(text for text, _ in cells)} |", flush=True)
        values = zip(NORMALISATIONS, (value for _, value in cells), strict=True)
        rows.append({"point": what, **dict(values)})
    print(json.dumps(rows))


def compare(mine: np.ndarray, base: np.ndarray) -> tuple[str, dict[str, float]]:
    """Mean, and the paired difference to the base with its standard error."""
    gap = mine - base
    error = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else 0.0
    values = {"uar": float(mine.mean()), "difference": float(gap.mean()), "error": error}
    text = f"{values['uar']:.2f} ({values['difference']:+.2f} ± {error:.2f})"
    return text, {key: round(value, 3) for key, value in values.items()}


if __name__ == "__main__":
    main()
