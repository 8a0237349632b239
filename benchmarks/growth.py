"""How the engine's time and memory grow with pairs, seeds, utterances and feature size.

    python benchmarks/growth.py [--plot growth.png]      # minutes; --quick for a tenth of the steps

Four subjects: planning (folds and packs of a run; nothing is trained), `logistic` (fitted), `dann`
(a small network) and `sere` (which organises the whole target, with matrices of n x n). One factor
grows at a time; the others stay at 1 pair, 5 seeds, 500 utterances a corpus and 88 values of a
summary. Features are random numbers in memory-mapped tables (2 GB in the temporary folder).

Each run is a process of its own on one core, three of them a line, of which the median in time is
shown. Memory is the peak above that of the same process after its imports and one tiny run, and how
much of it is private (Linux): the rest are mapped pages of tables, which workers share and the
system takes back. What passes the budget of a line is ended and said to be over it. The last
line is one JSON object. The figures are for comparing lines of one run, not machines.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from growth_cases import (
    BETWEEN,
    FACTORS,
    MIB,
    PLANNING,
    STEPS,
    SUBJECTS,
    Case,
    Folds,
    Found,
    work,
)
from growth_plot import plot
from growth_text import as_json, as_text, machine

from clser_bench import registry
from clser_bench.run.plan import Plan


class Stages:
    """Seconds spent in some functions, less those spent in others of them that they call."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._nested = 0.0

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Put a clock around a function of a module or a class."""
        function = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            before, self._nested = self._nested, 0.0
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                whole = time.perf_counter() - started
                self.spent[stage] = self.spent.get(stage, 0.0) + whole - self._nested
                self._nested = before + whole

        setattr(owner, name, timed)


class Watch(threading.Thread):
    """Looks at the memory of this process, which it ends where time or memory are spent."""

    def __init__(self, connection: Connection, *, seconds: float, memory: float) -> None:
        super().__init__(daemon=True)
        self._connection, self._seconds, self._memory = connection, seconds, memory
        self._before = peak(), private()
        self._begun = time.perf_counter()
        self._most = self._before[1]
        self._over = threading.Event()

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._over.wait(0.004):
            self._most = max(self._most, private())
            found = self.found()
            if found.seconds > self._seconds:
                self._end(found, f"over budget: {self._seconds:.0f} s")
            elif found.private > self._memory:
                self._end(found, f"over budget: {self._memory / 1024:.1f} GiB")

    def found(self) -> Found:
        """What was taken until now."""
        seconds = time.perf_counter() - self._begun
        most = peak() - self._before[0]
        return Found(seconds=seconds, peak=most, private=self._most - self._before[1])

    def stop(self) -> Found:
        """What was taken in all."""
        found = self.found()
        self._over.set()
        self.join()
        return found

    def _end(self, found: Found, note: str) -> None:
        self._connection.send(dataclasses.replace(found, note=note))
        os._exit(0)


def peak() -> float:
    """The largest resident memory of this process so far, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def private() -> float:
    """Resident memory of this process that no file backs, in MiB; the peak where unknown."""
    try:
        _, resident, shared = Path("/proc/self/statm").read_text("ascii").split()[:3]
    except OSError:
        return peak()
    return (int(resident) - int(shared)) * resource.getpagesize() / MIB


def measure(
    case: Case, cache: Path, connection: Connection, *, seconds: float, memory: float
) -> None:
    """Run a case in this process, which has run nothing else, and send what it took."""
    tiny = dataclasses.replace(case, steps=2, pairs=1, seeds=2, rows=60, size=88)
    work(tiny, Folds(tiny, cache))
    folds = Folds(case, cache)
    stages = watched()
    watch = Watch(connection, seconds=seconds, memory=memory)
    watch.start()
    note = work(case, folds)
    found = watch.stop()
    rest = found.seconds - sum(stages.spent.values())
    name = "steps" if case.subject in ("dann", "sere") else "rest"
    largest = sorted({**stages.spent, name: rest}.items(), key=lambda one: -one[1])
    connection.send(dataclasses.replace(found, note=note, stages=tuple(largest)))


def watched() -> Stages:
    """Clocks around the stages of a run."""
    from clser_bench.train import batches, engine, loop

    stages = Stages()
    for module in (loop, engine):
        stages.watch(module, "new_network", "start")
    stages.watch(engine.Reader, "pseudo_labels", "refresh")
    stages.watch(engine.Reader, "scores", "scoring")
    stages.watch(batches, "bank_of", "pooling")
    logistic = importlib.import_module(registry.entry("logistic").module)
    stages.watch(logistic, "logistic_scores", "fit and scores")
    stages.watch(Plan, "packs", "planning")
    stages.watch(batches, "draws", "draws")
    return stages


class Bench:
    """Runs cases, each in processes of its own, and remembers what they took."""

    def __init__(self, cache: Path, asked: argparse.Namespace) -> None:
        self._cache, self._asked = cache, asked
        self._context = multiprocessing.get_context("forkserver")
        modules = (name for name in SUBJECTS if name != PLANNING)
        self._context.set_forkserver_preload(
            ["clser_bench.train.execute", *(registry.entry(name).module for name in modules)]
        )
        self._known: dict[Case, Found] = {}

    def series(self, subject: str, factor: str) -> dict[int, Found]:
        """What a subject takes as a factor grows; nothing beyond the first that is too much."""
        values = set(FACTORS[factor])
        if (subject, factor) == ("sere", "rows"):
            values |= set(BETWEEN)
        steps = STEPS // 10 if self._asked.quick else STEPS
        found: dict[int, Found] = {}
        for value in sorted(values):
            case = dataclasses.replace(Case(subject=subject, steps=steps), **{factor: value})  # type: ignore[arg-type]
            if case not in self._known:
                self._known[case] = self._median(case)
            found[value] = self._known[case]
            report(subject, f"{factor} {value}", found[value])
            if found[value].note:
                break
        return found

    def _median(self, case: Case) -> Found:
        runs: list[Found] = []
        wanted = 1 if self._asked.quick else 3
        # A run fewer where another would pass the budget of the line.
        while len(runs) < wanted and sum(r.seconds for r in runs[:1] + runs) <= self._asked.budget:
            found = self._once(case)
            if found.note:
                return found
            runs.append(found)
        middle = sorted(runs, key=lambda one: one.seconds)[(len(runs) - 1) // 2]
        return dataclasses.replace(middle, runs=len(runs))

    def _once(self, case: Case) -> Found:
        receiver, sender = self._context.Pipe(duplex=False)
        limits = {"seconds": self._asked.budget, "memory": self._asked.memory * 1024}
        process = self._context.Process(
            target=measure, args=(case, self._cache, sender), kwargs=limits
        )
        process.start()
        sender.close()
        try:
            found: Found = receiver.recv()
        except EOFError:
            process.join()
            return Found(note=f"the process died with {process.exitcode}")
        process.join()
        return found


def report(subject: str, what: str, found: Found) -> None:
    """Say on stderr what came of a case."""
    result = found.note or f"{found.seconds:.2f} s, {found.peak:.0f} MiB"
    print(f"{subject:9} {what:12} {result}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument(
        "--quick", action="store_true", help="a tenth of the steps, one run a line"
    )
    options.add_argument("--budget", type=float, default=60, help="seconds of a line")
    options.add_argument("--memory", type=float, default=4, help="GiB that a run may take")
    options.add_argument("--plot", type=Path, help="PNG to draw it into")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), asked)
        results = {
            (factor, subject): bench.series(subject, factor)
            for factor in FACTORS
            for subject in SUBJECTS
        }
    print(f"{machine()}\n\n{as_text(results)}\n")
    if asked.plot:
        asked.plot.write_bytes(plot(results))
    print(as_json(results))


if __name__ == "__main__":
    main()
