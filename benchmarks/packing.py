"""Trials per second of one core: packs of several sizes, the plain loop, one Ray trial per run.

    python benchmarks/packing.py            # minutes; --quick for a tenth of the steps

Problems have the sizes of a six-class pair with eGeMAPS (32 instants of 25 values, summaries of
88, 500 and 1000 utterances, 5 shots), made of random numbers: the time does not depend on the
values. Everything runs on one core, so that the ratios compare ways of working and not numbers
of cores. The last line is one JSON object {method: {loop, ray_per_trial, pack_1, ...}} in trials
per second.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.update(
    OMP_NUM_THREADS="1",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_USAGE_STATS_ENABLED="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
)

import numpy as np
import torch

from clser_bench import registry
from clser_bench.seeding import generator
from clser_bench.train.contract import Trained
from clser_bench.train.loop import train_one
from clser_bench.train.pack import train_pack
from clser_bench.trial import Labelled, Problem, Table

METHODS = ("dann", "sere")
PACKS = (1, 16, 64, 256)
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


def problem(number: int) -> Problem:
    """A random problem of a six-class pair's size."""
    rng = generator("benchmark", number)

    def table(side: str, n: int) -> Table:
        instants = rng.standard_normal((n, 32, 25), dtype=np.float32)
        return Table(f"{side} {number}", instants, rng.standard_normal((n, 88), dtype=np.float32))

    return Problem(
        classes=CLASSES,
        source=table("source", 500),
        target=table("target", 1000),
        labelled=Labelled(np.arange(30), np.arange(30) % 6),
        unlabelled=np.arange(30, 500),
        adapt=np.arange(1000),
        scored=np.arange(1000),
    )


def rate(work: Callable[[], Any], trials: int) -> float:
    """Trials per second of a piece of work."""
    started = time.perf_counter()
    work()
    return trials / (time.perf_counter() - started)


def ray_rate(method: Trained, one: Problem, trials: int) -> float:
    """Trials per second with one Ray Tune trial per training, start-up of Ray left out."""
    import ray
    from ray import tune

    def train(setting: dict[str, int], one: Problem) -> None:
        torch.set_num_threads(1)
        result = train_one(method, one, setting["seed"])
        tune.report({"mean": float(result.scores.mean())})

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_parameters(train, one=one),
            param_space={"seed": tune.grid_search(list(range(trials)))},
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        found = rate(tuner.fit, trials)
    ray.shutdown()
    return found


def measure(name: str, *, share: float) -> dict[str, float]:
    """All rates of a method."""
    steps = max(2, round(registry.create(name).steps * share))
    method = registry.create(name, {"steps": steps})
    problems = [problem(number) for number in range(4)]
    train_one(method, problems[0], 0)
    print(f"{name}: {steps} steps a trial, one core")
    rates = {"loop": rate(lambda: [train_one(method, problems[i % 4], i) for i in range(8)], 8)}
    print(f"  plain loop          {rates['loop']:8.3f} trials/s")
    rates["ray_per_trial"] = ray_rate(method, problems[0], 6)
    print(f"  one Ray Tune trial  {rates['ray_per_trial']:8.3f} trials/s")
    for size in PACKS:
        chosen = sorted(i % 4 for i in range(size))
        jobs = ([method] * size, [problems[i] for i in chosen], list(range(size)))
        found = rate(lambda jobs=jobs: train_pack(*jobs), size)
        rates[f"pack_{size}"] = found
        versus = f"{found / rates['loop']:.2f} x loop, {found / rates['ray_per_trial']:.1f} x Ray"
        print(f"  pack of {size:<4}        {found:8.3f} trials/s   {versus}", flush=True)
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    share = 0.1 if arguments.quick else 1.0
    found = {name: measure(name, share=share) for name in arguments.methods.split(",")}
    print(json.dumps({n: {k: round(v, 4) for k, v in r.items()} for n, r in found.items()}))


if __name__ == "__main__":
    main()
