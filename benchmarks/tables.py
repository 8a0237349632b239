"""How long the tables of a large results file take, for this checkout and perhaps another.

    python benchmarks/tables.py                     # this checkout
    python benchmarks/tables.py --beside FOLDER     # and another one, in turns

Makes a results file (minutes; it is used again where it is there) of 56 methods x 12 pairs x 10
draws x 3 numbers of shots: 20,160 finished trials with scores and predictions, stored pack by pack
as a run stores them. Answers are those of `results/bcro/records-minimal.parquet`; the share of
right predictions depends on method, pair and draw. Each command then runs in turns, as a process
of its own. Prints median and least seconds by the clock, median CPU seconds (user and system, of
which other processes on the machine take little) and, beside another checkout, whether both print
the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clser_bench.hashing import generator
from clser_bench.problem import AnswerKey, Outcome, Trial
from clser_bench.protocol import Pair
from clser_bench.run.plan import MethodInfo, expand, read_methods
from clser_bench.scoring.metrics import score
from clser_bench.store.parquet import read
from clser_bench.store.records import MethodNote, Record
from clser_bench.store.sqlite import Store

ROOT = Path(__file__).resolve().parents[1]
EXPORT = ROOT / "results/bcro/records-minimal.parquet"
LEFT_OUT = ("within-target", "majority")
DRAWS, SHOTS, PACK = 10, (1, 5, "all"), 40
COMMANDS = (
    ("leaderboard",),
    ("leaderboard", "--format", "csv"),
    ("leaderboard", "--shots", "5"),
    ("compare", "--shots", "5"),
    ("status",),
)


def make(path: Path) -> None:
    """Make the results file."""
    export = read(EXPORT)
    keys: dict[Pair, tuple[Trial, AnswerKey]] = {}
    for trial, _, record in export.entries:
        if record is not None and trial.pair not in keys:
            key = AnswerKey(
                classes=trial.classes, y=record.y, speakers=record.speakers, names=record.names
            )
            keys[trial.pair] = trial, key
    names = [name for name in expand(["all"]) if name not in LEFT_OUT]
    infos = read_methods([(name, {}) for name in names])
    pairs = export.suites["bcro"]
    with Store(path) as store:
        trials = [trial for info in infos for trial in _trials(info, keys, pairs)]
        store.plan({}, trials, pairs=pairs, methods={info.name: _note(info) for info in infos})
        for start in range(0, len(trials), PACK):
            pack = trials[start : start + PACK]
            store.put([_record(trial, keys[trial.pair][1], f"p{start}") for trial in pack])


def _trials(
    info: MethodInfo, keys: Mapping[Pair, tuple[Trial, AnswerKey]], pairs: tuple[Pair, ...]
) -> Iterator[Trial]:
    for shots, pair, seed in itertools.product(SHOTS, pairs, range(DRAWS)):
        usual = keys[pair][0]
        yield Trial(
            pair=pair,
            classes=usual.classes,
            seed=seed,
            method=info.name,
            version=info.version,
            parameters=info.parameters,
            condition=usual.condition.replace(shots=shots),
            source_key=usual.source_key,
            target_key=usual.target_key,
            engine_version=info.engine_version,
        )


def _note(info: MethodInfo) -> MethodNote:
    own: Any = {"role": info.role, "title": info.title, "uses": info.uses, "kind": info.kind}
    return MethodNote(assumes_prior=info.assumes_prior, note=info.note, version=info.version, **own)


def _record(trial: Trial, key: AnswerKey, pack: str) -> Record:
    rng = generator("tables", trial.id)
    levels = (generator("tables", part).random() for part in (trial.method, str(trial.pair)))
    margin = 0.6 * sum(levels) + 0.1 * rng.random()
    scores = rng.standard_normal((len(key.y), len(key.classes)), dtype=np.float32)
    scores[np.arange(len(key.y)), key.y] += np.float32(margin)
    outcome = Outcome(id="x", status="ok", scores=scores, seconds=float(rng.random()))
    return score(trial, [outcome], [key], pack=pack)


def run(checkout: Path, command: tuple[str, ...], results: Path) -> tuple[float, float, str]:
    """Seconds of a command by the clock and of CPU, and the hash of what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    line = [sys.executable, "-P", "-c", "from clser_bench.cli.main import main; main()", *command]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = subprocess.run(  # noqa: S603 (own commands)
        [*line, "--results", str(results)], env=environment, check=True, capture_output=True
    )
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return clock, seconds, hashlib.sha256(found.stdout + found.stderr).hexdigest()


def main() -> None:
    """Make the file, run the commands, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("build/tables.sqlite"))
    parser.add_argument("--beside", type=Path, help="another checkout of the package")
    parser.add_argument("--rounds", type=int, default=7)
    given: Any = parser.parse_args()
    if not given.results.exists():
        given.results.parent.mkdir(parents=True, exist_ok=True)
        make(given.results)
    checkouts = [*filter(None, [given.beside]), ROOT]
    print("| command | " + " | ".join(f"{c.name}, s" for c in checkouts) + " | ratio | bytes |")
    print("|---|" + "---|" * (len(checkouts) + 2))
    for command in COMMANDS:
        clocks: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
        seconds: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
        outputs = set()
        for _, checkout in itertools.product(range(given.rounds), checkouts):
            clock, spent, output = run(checkout, command, given.results)
            clocks[checkout].append(clock)
            seconds[checkout].append(spent)
            outputs.add(output)
        middle = [statistics.median(clocks[checkout]) for checkout in checkouts]
        cells = [
            f"{m:.2f} ({min(clocks[c]):.2f}), CPU {statistics.median(seconds[c]):.2f}"
            for c, m in zip(checkouts, middle, strict=True)
        ]
        same = "the same" if len(outputs) == 1 else "DIFFERENT"
        ratio = f"{middle[-1] / middle[0]:.2f}" if len(checkouts) > 1 else ""
        print("|", " | ".join([f"`{' '.join(command)}`", *cells, ratio, same]), "|", flush=True)


if __name__ == "__main__":
    main()
