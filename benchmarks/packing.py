"""Trials per second: packs of several sizes, the plain loop, one Ray Tune trial per run.

    python benchmarks/packing.py            # minutes; --quick for a tenth of the steps
    python benchmarks/packing.py --device cuda --packs 16,256,1024,4096

Problems have the sizes of a six-class pair with eGeMAPS (32 instants of 25 values, summaries of
88, 500 and 1000 utterances, 5 shots), made of random numbers: the time does not depend on the
values. First everything runs on one core, so that the ratios compare ways of working and not
numbers of cores; the share is that of the rate at which this core multiplies batches of matrices
of the shared backbone's shapes (158 x 128 by 128 x 128, 40 at a time). Then all cores: the loop
with torch's own threads, against packs in one process a core. Loop and packs take turns, so that a
machine that slows down slows both; the median of three rounds counts. The last line is one JSON
object {method: {...}}.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

os.environ.update(
    OMP_NUM_THREADS="1",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_USAGE_STATS_ENABLED="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
)

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from clser_bench import registry
from clser_bench.files import cores
from clser_bench.hashing import generator
from clser_bench.problem import Labelled, Problem, Table
from clser_bench.train.contract import Trained
from clser_bench.train.engine import train_pack
from clser_bench.train.execute import keep_freed_memory
from clser_bench.train.loop import train_one

METHODS = ("dann", "dann@1024")
WIDTHS = {"113": (25, 88), "1024": (512, 512)}
"""Values of an instant and of a summary, by their sum: the inputs of the shared backbone."""
PACKS = "1,16,40,256"
BEST = 40
"""Trials of a pack on a CPU (`run.plan.TRAINED_LIMIT`)."""

TRIALS = 240
ROUNDS = 3
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


def problem(number: int, width: str = "113") -> Problem:
    """A random problem of a six-class pair's size."""
    d, f = WIDTHS[width]
    rng = generator("benchmark", number)

    def table(side: str, n: int) -> Table:
        instants = rng.standard_normal((n, 32, d), dtype=np.float32)
        return Table(f"{side} {number}", instants, rng.standard_normal((n, f), dtype=np.float32))

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


def matmul_rate() -> float:
    """Operations per second of batched matrix products of the backbone's shapes."""
    a, b = torch.randn(BEST, 158, 128), torch.randn(BEST, 128, 128)
    torch.bmm(a, b)
    started = time.perf_counter()
    for _ in range(200):
        torch.bmm(a, b)
    return 200 * 2 * BEST * 158 * 128 * 128 / (time.perf_counter() - started)


def operations(method: Trained, one: Problem) -> float:
    """Operations of the matrix products of one trial: all steps, and the scores once."""

    def counted(steps: int) -> float:
        short = registry.create(method.registered_name, {"steps": steps})
        with FlopCounterMode(display=False) as counter:
            train_pack([short] * 2, [one] * 2, [0, 1])
        return float(counter.get_total_flops()) / 2

    few, more = counted(2), counted(3)
    return few + (more - few) * (method.steps - 2)


def pack_of(method: Trained, problems: list[Problem], size: int, device: str = "cpu") -> None:
    """Train a pack."""
    chosen = [problems[i] for i in sorted(i % 4 for i in range(size))]
    train_pack([method] * size, chosen, list(range(size)), device=device)


def packs(name: str, width: str, steps: int, count: int) -> int:
    """Train packs in this process, one core; how many trials."""
    torch.set_num_threads(1)
    keep_freed_memory()
    method, problems = (
        registry.create(name, {"steps": steps}),
        [problem(i, width) for i in range(4)],
    )
    for _ in range(count):
        pack_of(method, problems, BEST)
    return count * BEST


def one_core(
    method: Trained, problems: list[Problem], sizes: list[int], device: str
) -> dict[str, float]:
    """Rates of one core (or one GPU)."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        loop = rate(lambda: [train_one(method, problems[i % 4], i) for i in range(4)], 4)
        found.setdefault("loop", []).append(loop)
        for size in sizes:
            value = rate(partial(pack_of, method, problems, size, device), size)
            found.setdefault(f"pack_{size}", []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def all_cores(name: str, width: str, steps: int, problems: list[Problem]) -> dict[str, float]:
    """The loop with torch's own threads, and packs in one process a core."""
    method, many = registry.create(name, {"steps": steps}), cores()
    each = -(-TRIALS // BEST // many)
    found: dict[str, list[float]] = {"loop": [], "packs": []}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(many, mp_context=context) as pool:
        list(
            pool.map(packs, [name] * many, [width] * many, [2] * many, [1] * many)
        )  # started, and warm
        for _ in range(ROUNDS):
            torch.set_num_threads(many)
            found["loop"].append(
                rate(lambda: [train_one(method, problems[i % 4], i) for i in range(8)], 8)
            )
            torch.set_num_threads(1)
            started = time.perf_counter()
            done = sum(
                pool.map(packs, [name] * many, [width] * many, [steps] * many, [each] * many)
            )
            found["packs"].append(done / (time.perf_counter() - started))
    return {what: statistics.median(values) for what, values in found.items()}


def measure(name: str, *, share: float, sizes: list[int], device: str) -> dict[str, float]:
    """All rates of a method, of its width where `name` is such as `dann@1024`."""
    label, (name, _, width) = name, name.partition("@")
    width = width or "113"
    steps = max(2, round(registry.create(name).steps * share))
    method = registry.create(name, {"steps": steps})
    problems = [problem(number, width) for number in range(4)]
    pack_of(method, problems, 2, device)
    print(f"{label}: {steps} steps a trial, one core")
    rates = one_core(method, problems, sizes, device)
    rates["ray_per_trial"] = ray_rate(method, problems[0], 6)
    peak, work = matmul_rate(), operations(method, problems[0])
    print(f"  plain loop          {rates['loop']:8.3f} trials/s")
    print(f"  one Ray Tune trial  {rates['ray_per_trial']:8.3f} trials/s")
    for size in sizes:
        found = rates[f"pack_{size}"]
        rates[f"share_of_matmul_{size}"] = found * work / peak
        versus = f"{found / rates['loop']:.2f} x loop, {found / rates['ray_per_trial']:.1f} x Ray"
        of_peak = f"{100 * found * work / peak:.0f} % of {peak / 1e9:.0f} GFLOP/s"
        print(f"  pack of {size:<4}        {found:8.3f} trials/s   {versus}, {of_peak}", flush=True)
    if device == "cpu":
        both = all_cores(name, width, steps, problems)
        rates["all_cores_loop"], rates["all_cores_packs"] = both["loop"], both["packs"]
        each = f"loop {both['loop']:.3f}, packs {both['packs']:.3f} trials/s"
        print(f"  {cores()} cores: {each}, {both['packs'] / both['loop']:.2f} x loop", flush=True)
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    parser.add_argument("--packs", default=PACKS, help="sizes, comma-separated")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sizes = [int(size) for size in arguments.packs.split(",")]
    share = 0.1 if arguments.quick else 1.0
    found = {
        name: measure(name, share=share, sizes=sizes, device=arguments.device)
        for name in arguments.methods.split(",")
    }
    print(json.dumps({n: {k: round(v, 4) for k, v in r.items()} for n, r in found.items()}))


if __name__ == "__main__":
    main()
