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
import functools
import importlib
import itertools
import json
import math
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from tabulate import tabulate

from clser_bench import registry
from clser_bench.data.build import Fold, build
from clser_bench.features.tables import Part, existing_table, new_table
from clser_bench.run.config import RunConfig
from clser_bench.run.local import run_packs
from clser_bench.run.packs import Pack
from clser_bench.run.plan import Plan
from clser_bench.seeding import generator
from clser_bench.spec import CorpusSpec, Pair, Protocol, Shots
from clser_bench.trial import AnswerKey, Corpus, Labelled, Outcome, Problem, Table, Trial, Utterance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLANNING = "planning"
SUBJECTS = (PLANNING, "logistic", "dann", "sere")
STEPS = 50
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
PAIRS = tuple(Pair(*codes) for codes in itertools.permutations("ABCD", 2))
FACTORS = {
    "pairs": (1, 3, 6, 12),
    "seeds": (1, 5, 10, 20),
    "rows": (500, 2_000, 10_000, 50_000, 200_000),
    "size": (88, 384, 1_024, 4_096),
}
LABELS = {
    "pairs": "pairs",
    "seeds": "seeds",
    "rows": "utterances a corpus",
    "size": "values of a summary",
}
LEAST = {"seconds": 1e-3, "private": 1.0}
"""What is measured; below this nothing is said of its growth (1 ms, 1 MiB)."""
BETWEEN = (5_000, 20_000)
"""Numbers of utterances that `sere` is tried with besides, to see where it ends."""
PART = 1_000
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is run: a subject, and the value of each factor.

    Attributes:
        subject: one of `SUBJECTS`.
        steps: of training.
        pairs: ordered pairs of four corpora.
        seeds: draws a pair.
        rows: utterances a corpus.
        size: values of a summary.
    """

    subject: str
    steps: int = STEPS
    pairs: int = 1
    seeds: int = 5
    rows: int = 500
    size: int = 88


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a case took.

    Attributes:
        seconds: of the median run; until it was ended where there is a note.
        peak: largest resident memory in MiB, above that before the run.
        private: of the process alone, likewise.
        stages: seconds of each, the longest first.
        runs: how many there were.
        note: why there is no result; empty where there is one.
    """

    seconds: float = 0.0
    peak: float = 0.0
    private: float = 0.0
    stages: tuple[tuple[str, float], ...] = ()
    runs: int = 1
    note: str = ""


Results = Mapping[tuple[str, str], Mapping[int, Found]]
"""By factor and subject: what each value took."""


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
    """Resident memory of this process that no file backs, in MiB; the peak where not told."""
    try:
        _, resident, shared = Path("/proc/self/statm").read_text("ascii").split()[:3]
    except OSError:
        return peak()
    return (int(resident) - int(shared)) * resource.getpagesize() / MIB


def table(code: str, case: Case, cache: Path) -> Table:
    """The random table of a corpus; written part by part, and once."""
    key = f"{code}-{case.rows}-{case.size}"

    def parts() -> Iterator[Part]:
        for start in range(0, case.rows, PART):
            rows = np.arange(start, min(start + PART, case.rows))
            rng = generator("benchmark", key, start)
            instants = rng.standard_normal((len(rows), 32, 25), dtype=np.float32)
            yield rows, instants, rng.standard_normal((len(rows), case.size), dtype=np.float32)

    return existing_table(cache, key, rows=case.rows) or new_table(
        cache, key, instants=(case.rows, 32, 25), summary=(case.rows, case.size), parts=parts()
    )


def corpus(code: str, case: Case) -> Corpus:
    """A corpus without audio; what a run holds of one anyway."""
    spec = CorpusSpec(
        code=code, name=code, title=code, language="und", licence="", citation="", pattern=""
    )
    utterances = (
        Utterance(
            name=f"{row}.wav",
            path=Path(f"{row}.wav"),
            emotion=CLASSES[row % 6],
            speaker=str(row % 10),
        )
        for row in range(case.rows)
    )
    return Corpus(spec=spec, root=Path(code), utterances=tuple(utterances))


class Folds:
    """The folds of a case: built as a run builds them to measure planning, else bare problems."""

    def __init__(self, case: Case, cache: Path) -> None:
        codes = sorted(
            {code for pair in PAIRS[: case.pairs] for code in (pair.source, pair.target)}
        )
        self.tables = {code: table(code, case, cache) for code in codes}
        planned = case.subject == PLANNING
        self.corpora = {code: corpus(code, case) for code in codes} if planned else {}
        self.everything = np.arange(case.rows)

    @functools.cache  # noqa: B019 (a process has one)
    def __call__(self, trial: Trial) -> tuple[Fold, ...]:
        """The folds of a trial."""
        pair = trial.pair
        sides = self.tables[pair.source], self.tables[pair.target]
        if not self.corpora:
            return (self._bare(trial, *sides),)
        return build(
            self.corpora[pair.source],
            self.corpora[pair.target],
            classes=CLASSES,
            shots=5,
            seed=trial.seed,
            protocol=trial.protocol,
            tables=lambda *_: sides,
        )

    def _bare(self, trial: Trial, source: Table, target: Table) -> Fold:
        rng = generator("benchmark", "draw", trial.pair.source, trial.seed)
        rows = rng.choice(len(source), 30, replace=False)
        problem = Problem(
            classes=CLASSES,
            source=source,
            target=target,
            labelled=Labelled(rows, np.arange(30) % 6),
            unlabelled=np.setdiff1d(self.everything, rows),
            adapt=self.everything,
            scored=self.everything,
        )
        key = AnswerKey(classes=CLASSES, y=self.everything, speakers=(), names=())
        return Fold(problem=problem, key=key)


def plan_of(case: Case, folds: Folds) -> Plan:
    """The plan of a case, as a run makes it but for corpora that are none."""
    name = "logistic" if case.subject == PLANNING else case.subject
    method = registry.create(name)
    if method.kind == "trained":
        method = registry.create(name, {"steps": case.steps})
    shots: Shots = 5
    trials = tuple(
        Trial(
            pair=pair,
            classes=CLASSES,
            shots=shots,
            seed=seed,
            method=name,
            version=method.version,
            parameters=method.parameters(),
            protocol=Protocol(),
            source_key=pair.source,
            target_key=pair.target,
        )
        for pair in PAIRS[: case.pairs]
        for seed in range(case.seeds)
    )
    config = RunConfig(scheduler="local")
    return Plan(
        config=config,
        protocol=config.protocol,
        suite="benchmark",
        table=PAIRS,
        trials=trials,
        cards=(),
        folds=folds,
    )


def work(case: Case, folds: Folds) -> str:
    """Plan and, but for planning, run a case; why it failed, or an empty string."""
    from clser_bench.train.packing import group_key, pack_limit

    plan = plan_of(case, folds)
    ids = [trial.id for trial in plan.trials]
    packs = plan.packs(open_ids=ids, failed_ids=(), grouping=(group_key, pack_limit))
    reasons: list[str] = []

    def done(_: Pack, outcomes: Sequence[Outcome]) -> None:
        reasons.extend(o.reason.strip().splitlines()[-1] for o in outcomes if o.status != "ok")

    if case.subject != PLANNING:
        run_packs(packs, done=done)
    return f"failed: {reasons[0]}" if reasons else ""


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
    from clser_bench.train import batches, gather, loop, pack

    stages = Stages()
    for module in (loop, pack):
        stages.watch(module, "new_network", "start")
        stages.watch(module, "refreshed", "refresh")
        stages.watch(module, "score_rows", "scoring")
    stages.watch(gather, "bank_of", "pooling")
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
            told(subject, f"{factor} {value}", found[value])
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


def told(subject: str, what: str, found: Found) -> None:
    """Say on stderr what came of a case."""
    result = found.note or f"{found.seconds:.2f} s, {found.peak:.0f} MiB"
    print(f"{subject:9} {what:12} {result}", file=sys.stderr, flush=True)


def slope(series: Mapping[int, Found], part: str) -> float | None:
    """The exponent with which a part grows between the two largest values that were measured."""
    points = [(value, getattr(one, part)) for value, one in series.items() if not one.note][-2:]
    if len(points) < 2 or min(y for _, y in points) < LEAST[part]:
        return None
    (less, before), (more, after) = points
    return round(math.log(after / before) / math.log(more / less), 2)


def as_text(results: Results) -> str:
    """Markdown tables: a line a case, exponents, and the stages that grow with utterances."""
    parts = ("seconds", "private")
    slopes = [(*key, *(slope(series, part) for part in parts)) for key, series in results.items()]
    return "\n\n".join(
        (
            _table(cases(results), "factor value subject seconds runs peak,MiB private,MiB stages"),
            "Exponents between the two largest values measured (1: in proportion; –: below 1 MiB):",
            _table(slopes, "factor subject seconds private,MiB"),
            "Seconds of the stages with the fewest and the most utterances that were affordable:",
            _table(
                ends(results), "subject stage fewest,utterances seconds most,utterances seconds"
            ),
            *(limit(*key, series) for key, series in results.items() if _over(series)),
        )
    )


def _table(lines: Iterable[Sequence[object]], head: str) -> str:
    names = [name.replace(",", " ") for name in head.split()]
    return tabulate(lines, names, tablefmt="github", disable_numparse=True, missingval="–")


def _over(series: Mapping[int, Found]) -> list[int]:
    return [value for value, one in series.items() if one.note]


def cases(results: Results) -> Iterator[Sequence[object]]:
    """A line a case."""
    for (factor, subject), series in results.items():
        for value, one in series.items():
            large = [(name, t / one.seconds) for name, t in one.stages if t > 0.05 * one.seconds]
            stages = ", ".join(f"{name} {100 * share:.0f} %" for name, share in large)
            seconds = one.note or f"{one.seconds:.3g}"
            memory = f"{one.peak:.0f}", f"{one.private:.0f}"
            yield factor, value, subject, seconds, one.runs, *memory, stages


def ends(results: Results) -> Iterator[Sequence[object]]:
    """What each stage takes with the fewest and the most utterances."""
    for subject in SUBJECTS:
        measured = [(v, one) for v, one in results["rows", subject].items() if not one.note]
        for name, seconds in measured[-1][1].stages if measured else ():
            few, first = measured[0]
            before = dict(first.stages).get(name, 0.0)
            yield subject, name, few, f"{before:.3f}", measured[-1][0], f"{seconds:.3f}"


def limit(factor: str, subject: str, series: Mapping[int, Found]) -> str:
    """Where a subject stops being affordable."""
    fits = [f"{v} is affordable" for v, one in series.items() if not one.note][-1:] or ["none is"]
    (value,) = _over(series)
    return f"{subject}, {factor}: {fits[0]}, {value} is not ({series[value].note})."


def as_json(results: Results) -> str:
    """All of it as one object in one line."""
    lines = [
        {"factor": f, "subject": s, "value": value, **_short(one)}
        for (f, s), series in results.items()
        for value, one in series.items()
    ]
    slopes = {" ".join(key): slope(series, "seconds") for key, series in results.items()}
    found = {"machine": machine(), "cases": lines, "slopes": slopes}
    return json.dumps(found, default=str, ensure_ascii=False)


def _short(one: Found) -> dict[str, object]:
    stages = {name: round(seconds, 4) for name, seconds in one.stages}
    sizes = {"peak": round(one.peak, 1), "private": round(one.private, 1)}
    return {"seconds": round(one.seconds, 4), **sizes, "runs": one.runs, "note": one.note} | stages


def machine() -> str:
    """What the figures were measured on."""
    import torch

    return f"{platform.machine()}, {os.cpu_count()} cores, one used, torch {torch.__version__}"


def plot(results: Results) -> bytes:
    """A PNG with a panel for time and one for memory under each factor."""
    from clser_bench.report.drawing import in_style, new_figure, render

    figure = new_figure(7.2, 3.8)
    in_style(panels)(figure, results)
    return render(figure, "png")


def panels(figure: Figure, results: Results) -> None:
    """Draw the panels."""
    grid = figure.subplots(2, len(FACTORS), sharex="col", sharey="row")
    for (row, part), (column, factor) in itertools.product(enumerate(LEAST), enumerate(FACTORS)):
        axes = grid[row, column]
        for subject in SUBJECTS:
            line(axes, results[factor, subject], part, subject=subject)
        axes.set_xticks(FACTORS[factor], [thousands(value) for value in FACTORS[factor]])
        axes.minorticks_off()
        axes.margins(x=0.2, y=0.1)
        if row:
            axes.set_xlabel(LABELS[factor])
    for axes, label in zip(
        grid[:, 0], ("seconds", "private memory, MiB (at least 1)"), strict=True
    ):
        axes.set_ylabel(label)
    cross = grid[0, 0].plot([], [], "x", color="black", markersize=4)
    handles = [*grid[0, 0].get_lines()[: len(SUBJECTS)], *cross]
    title = "Number at the end of a line: exponent between its two largest values"
    names = (*SUBJECTS, "over budget")
    figure.legend(handles, names, loc="outside upper center", ncols=5, title=title, frameon=False)


def line(axes: Axes, series: Mapping[int, Found], part: str, *, subject: str) -> None:
    """Draw what a subject takes; a cross on the upper edge where it was over its budget."""
    from clser_bench.report.drawing import COLOURS

    colour = COLOURS[SUBJECTS.index(subject)]
    points = [(v, getattr(one, part)) for v, one in series.items() if not one.note]
    axes.loglog(
        [value for value, _ in points],
        [max(y, LEAST[part]) for _, y in points],
        ".-",
        color=colour,
        linewidth=0.8,
        markersize=4,
    )
    found = slope(series, part)
    if found is not None:
        side = "right" if _over(series) else "left"  # of its last point, away from a cross
        axes.text(*points[-1], f"  {found:.1f}  ", color=colour, fontsize=5, ha=side)
    edge = axes.get_xaxis_transform()
    for value in _over(series):
        axes.plot(value, 1.0, "x", color=colour, markersize=4, transform=edge, clip_on=False)


def thousands(value: int) -> str:
    """A number for an axis."""
    return f"{value // 1000}k" if value % 1000 == 0 else str(value)


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
