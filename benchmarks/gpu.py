"""Packed training on a GPU: trials a minute, the share of its matrix rate, parity with the CPU.

    python benchmarks/gpu.py                              # minutes
    python benchmarks/gpu.py --device cpu --packs 4 --steps 4    # tries the script itself

The problems are those of `packing.py`, at both widths. The rate of the card is that of batched
products of the backbone's shapes, as many at a time as a pack has trials. Parity is the largest
difference of class scores (softmax) between the device and the CPU after the same training in
float32; the aim is 1e-4. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from packing import WIDTHS, operations, pack_of, problem

from clser_bench import registry
from clser_bench.train.contract import Trained
from clser_bench.train.engine import train_pack

ROUNDS = 3


def synchronised(device: str) -> float:
    """The time, when the device has finished what was asked of it."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(work: Callable[[], object], device: str) -> float:
    """The median of some rounds, after one that does not count."""
    work()
    taken = []
    for _ in range(ROUNDS):
        started = synchronised(device)
        work()
        taken.append(synchronised(device) - started)
    return statistics.median(taken)


def peak(size: int, width: int, device: str) -> float:
    """Operations per second of batched products of the shared backbone's first layer."""
    a = torch.randn(size, 158, width, device=device)
    b = torch.randn(size, width, 128, device=device)
    return (
        20
        * 2
        * size
        * 158
        * width
        * 128
        / seconds(lambda: [torch.bmm(a, b) for _ in range(20)], device)
    )


def parity(method: Trained, width: str, device: str) -> float:
    """The largest difference of class probabilities between the device and the CPU."""
    one = problem(0, width)
    found = [
        torch.as_tensor(train_pack([method] * 2, [one] * 2, [0, 1], device=place)[0].scores)
        for place in ("cpu", device)
    ]
    here, there = (scores.float().softmax(dim=-1).numpy() for scores in found)
    return float(np.abs(here - there).max())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--method", default="dann")
    parser.add_argument("--packs", default="64,256,1024", help="sizes, comma-separated")
    parser.add_argument("--steps", type=int, default=0, help="of a trial; 0 for the default")
    arguments = parser.parse_args()
    device = arguments.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("gpu.py: no GPU is at hand; --device cpu tries the script itself")
    settings = {"steps": arguments.steps} if arguments.steps else {}
    found: dict[str, float] = {}
    for width in WIDTHS:
        method = registry.create(arguments.method, settings)
        problems = [problem(number, width) for number in range(4)]
        work = operations(method, problems[0])
        found[f"parity@{width}"] = parity(method, width, device)
        for size in map(int, arguments.packs.split(",")):
            each = seconds(partial(pack_of, method, problems, size, device), device) / size
            share = work / each / peak(size, int(width), device)
            found[f"trials_per_minute@{width}/{size}"] = 60 / each
            found[f"share_of_matmul@{width}/{size}"] = share
            print(f"{width} inputs, packs of {size}: {60 / each:,.0f} trials a minute, {share:.0%}")
        print(f"{width} inputs: largest difference to the CPU {found[f'parity@{width}']:.1e}")
    print(json.dumps({name: round(value, 6) for name, value in found.items()}))


if __name__ == "__main__":
    main()
