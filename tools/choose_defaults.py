"""Compare hyper-parameter points of a method on the `dev` suite, paired on the same draws.

    python tools/choose_defaults.py sere results/selection/sere-1.toml --corpora DIR

The file holds `base` (what all points share) and `points` (what each sets); each point is
compared with the first one, under every feature set, normalisation and number of shots asked for:
the difference of the suite's mean UAR, draw by draw, with its standard error. The rule
(docs/protocol.md): keep the first unless another is better by more than its error. Records go
to files of their own; run again to go on. The last line is one JSON object.
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

NORMALISATIONS: tuple[Normalisation, ...] = ("corpus", "speaker")


def draws(config: RunConfig) -> dict[str, np.ndarray]:
    """Run one point; for each number of shots the suite's mean UAR of each draw [seeds]."""
    run(config)
    with Store(config.results) as store:
        records = list(store.records())
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        rules = record.trial.protocol
        wanted = (config.protocol.features, config.protocol.normalisation)
        if (rules.features, rules.normalisation) != wanted:
            continue
        if record.metrics is None:
            raise SystemExit(f"a trial of {config.results} failed: {record.reason}")
        by_seed = found.setdefault(str(record.trial.shots), {})
        by_seed.setdefault(record.trial.seed, []).append(record.metrics.uar)
    return {
        shots: np.array([np.mean(by_seed[seed]) for seed in sorted(by_seed)])
        for shots, by_seed in found.items()
    }


def measured(arguments: argparse.Namespace, point: dict[str, Any], file: Path) -> dict[str, Any]:
    """The draws of one point under every condition."""
    found: dict[str, Any] = {}
    for features in arguments.features.split(","):
        for normalisation in NORMALISATIONS:
            config = RunConfig(
                suite="dev",
                corpora=arguments.corpora,
                methods=(arguments.method,),
                shots=tuple(parse_shots(text) for text in arguments.shots.split(",")),
                seeds=arguments.seeds,
                protocol=Protocol(features=features, normalisation=normalisation),
                settings=as_settings({arguments.method: point}) if point else (),
                results=file,
            )
            for shots, values in sorted(draws(config).items()):
                found[f"{features} {normalisation} {shots}"] = values
    found["all"] = np.mean(list(found.values()), axis=0)
    return found


def compare(mine: np.ndarray, base: np.ndarray) -> dict[str, float]:
    """Mean, and the paired difference to the base with its standard error."""
    gap = mine - base
    error = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else 0.0
    values = {"uar": float(mine.mean()), "difference": float(gap.mean()), "error": error}
    return {key: round(value, 3) for key, value in values.items()}


def text(cell: dict[str, float]) -> str:
    """A cell of the table."""
    return f"{cell['uar']:.2f} ({cell['difference']:+.2f} ± {cell['error']:.2f})"


def main() -> None:
    """Run all points and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("method")
    parser.add_argument("points", type=Path)
    parser.add_argument("--corpora", type=Path, default=os.environ.get("CLSER_CORPORA"))
    parser.add_argument("--features", default="acoustic", help="comma-separated")
    parser.add_argument("--shots", default="5", help="comma-separated")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--records", type=Path, default=Path("selection-records"))
    arguments = parser.parse_args()
    plan = tomllib.loads(arguments.points.read_text(encoding="utf-8"))
    arguments.records.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    for number, change in enumerate(plan["points"]):
        file = arguments.records / f"{arguments.points.stem}-{number}.sqlite"
        found = measured(arguments, {**plan.get("base", {}), **change}, file)
        if not first:
            first = found
            print(f"| point | {' | '.join(found)} |\n|---{'|---' * len(found)}|")
        cells = {name: compare(values, first[name]) for name, values in found.items()}
        what = ", ".join(f"{key}={value}" for key, value in change.items()) or "base"
        print(f"| {what} | {' | '.join(map(text, cells.values()))} |", flush=True)
        rows.append({"point": what, **cells})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
