"""What Ray costs: the same packs in one worker process and through Ray Tune, one core each.

    python benchmarks/ray_share.py          # some two minutes; --quick for fewer packs

Packs of 40 trainings of `dann` on random problems of a six-class pair's size. Ray's start-up (the
import, the first worker, the first pack's way there) is told apart: the clock of both ways starts
when the first pack is done. The last line is one JSON object with seconds and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import packing
import torch

from clser_bench import registry
from clser_bench.problem import Job
from clser_bench.run.execute import Results, by_ray, in_turn
from clser_bench.run.plan import Pack
from clser_bench.run.request import Request

METHOD = "dann"


def packs(count: int) -> list[Pack]:
    """So many packs of one method on four problems."""
    problems = [
        replace(one, source=one.source.in_order(0), target=one.target.in_order(0))
        for one in map(packing.problem, range(4))
    ]
    parameters = registry.create(METHOD).parameters()
    made = []
    for number in range(count):
        jobs = tuple(
            Job(
                id=f"{number}-{i}",
                method=METHOD,
                parameters=parameters,
                problem=problems[4 * i // packing.BEST],
                seed=100 * number + i,
            )
            for i in range(packing.BEST)
        )
        made.append(Pack(name=str(number), jobs=jobs, weight=1.0))
    return made


def timed(results: Results) -> tuple[float, float]:
    """Seconds to the first pack, and from there to the last."""
    started = time.perf_counter()
    moments = [time.perf_counter() for _ in results]
    return moments[0] - started, moments[-1] - moments[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three packs instead of six")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = packs(3 if arguments.quick else 6)
    request = Request(workers=1)
    here = timed(in_turn(work, request.means))
    there = timed(by_ray(work, request))
    again = timed(in_turn(work, request.means))
    mean = (here[1] + again[1]) / 2
    print(f"{len(work)} packs of {packing.BEST} x {METHOD}, one core")
    print(f"  in one worker    {here[1]:7.2f} s and, after Ray, {again[1]:7.2f} s")
    print(f"  through Ray      {there[1]:7.2f} s   {there[1] / mean:.3f} x")
    print(f"  start-up of Ray  {there[0] - here[0]:7.2f} s more to the first pack")
    print(
        json.dumps(
            {
                "local_s": round(mean, 3),
                "ray_s": round(there[1], 3),
                "ratio": round(there[1] / mean, 4),
                "startup_s": round(there[0] - here[0], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
