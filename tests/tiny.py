"""Recordings of a few tones with a manifest, and methods of a few lines: whole runs in seconds."""

from __future__ import annotations

import csv
import dataclasses
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clser_bench.hashing import digest, generator
from clser_bench.progress import Progress
from clser_bench.report.render import render
from clser_bench.run import execute, plan
from clser_bench.run import prepare as preparing
from clser_bench.run.request import Request
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store
from tests.boards import tables_of

EMOTIONS = ("anger", "sadness")

FITTED = '''"""{about}"""
import os, time
from dataclasses import dataclass
import numpy as np
from clser_bench.plugin import Fitted, hyper, register

@register("{name}", version=1)
class Made(Fitted):
    """{about}"""
    deterministic = {deterministic}
    {values}

    def fit_predict(self, problem, rng):
        {body}
        source = problem.source.summary[problem.labelled.rows]
        target = problem.target.summary[problem.scored]
        centres = [source[problem.labelled.y == c].mean(0) for c in range(len(problem.classes))]
        near = -np.square(target[:, None] - np.stack(centres)).mean(-1)
        return {answer}
'''
WEIGHT = 'weight: float = hyper(1.0, low=0.0, high=10.0, grid=GRID, about="nothing")'
NOISY = "near + self.weight * 1e-3 * rng.standard_normal(near.shape)"
"""Scores that hardly depend on the only hyper-parameter."""


def write_corpora(folder: Path, *, codes: str = "XYZ", takes: int = 3) -> Path:
    """Write a corpus a code, with two speakers and two emotions.

    Returns:
        The manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(4000) / 8000
    rows = []
    for code in codes:
        for speaker in ("ann", "ben"):
            for emotion in EMOTIONS:
                for take in range(takes):
                    rng = generator(code, speaker, emotion, take)
                    pitch = 150 + 100 * EMOTIONS.index(emotion) + 20 * rng.random()
                    tone = 0.3 * np.sin(2 * np.pi * pitch * time)
                    name = f"{code}-{speaker}-{emotion}-{take}.wav"
                    soundfile.write(folder / name, tone + 0.01 * rng.standard_normal(4000), 8000)
                    gender = "female" if speaker == "ann" else "male"
                    language = f"qa{code.lower()}"  # of no pair the same
                    rows.append([name, f"{code}-{speaker}", emotion, language, gender, code])
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "emotion", "language", "gender", "corpus"])
        writer.writerows(rows)
    return manifest


def write_method(
    folder: Path,
    name: str,
    *,
    body: str = "pass",
    about: str = "A method for tests.",
    deterministic: bool = False,
    grid: Sequence[float] = (),
    values: str = WEIGHT,
    answer: str = NOISY,
) -> Path:
    """Write a fitted method into a folder for `CLSER_METHODS`.

    Args:
        folder: made where absent.
        name: to register.
        body: what `fit_predict` does first.
        about: first line of its docstring.
        deterministic: what it declares.
        grid: of its only hyper-parameter, `weight`, whose default is 1.
        values: the lines of other hyper-parameters.
        answer: its scores, from those of the nearest centroid, `near`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a name of its own: a process imports a module name once, whatever folder it came from
    file = folder / f"{name.replace('-', '_')}_{digest(str(folder))[:8]}.py"
    values = values.replace("GRID", str(tuple(grid)))
    text = FITTED.format(
        name=name, about=about, body=body, deterministic=deterministic, values=values, answer=answer
    )
    file.write_text(text, encoding="utf-8")
    return file


def planned(request: Request, **options: Any) -> plan.Plan:
    """The plan of a request; `options` are those of `prepare`."""
    return plan.plan(preparing.prepare(request, request.condition, **options))


def stored(results: Path, method: str = "") -> list[Record]:
    """The records of a results file, of one method or all."""
    with Store(results, create=False) as store:
        return [r for r in store.records() if method in ("", r.trial.method)]


def scores(results: Path) -> dict[str, bytes]:
    """The scores of every record, by its trial."""
    return {record.trial.id: record.scores.tobytes() for record in stored(results)}


def table_text(results: Path) -> str:
    """The tables of a results file."""
    with Store(results, create=False) as store:
        return render(tables_of(store, intervals=False), "csv")


class Watch(Progress):
    """A progress that notes what is started, and may interrupt the run.

    Args:
        stop: packs, or configurations of a sweep, after which SIGTERM is sent; 0 for none.
    """

    def __init__(self, stop: int = 0) -> None:
        self.lines: list[str] = []
        self.left = stop

    def start(self, what: str, total: int) -> None:
        """Note a line."""
        self.lines.append(f"{what}: {total}")

    def advance(self, count: int = 1) -> None:
        """Count what runs, not what is read or extracted."""
        if self.lines[-1].startswith(("trials", "configurations")):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGTERM)

    @property
    def ran(self) -> bool:
        """Whether any trial was to run."""
        return any(line.startswith("trials") for line in self.lines)


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give all runs that follow wrong answers of the target, of two classes."""
    true = preparing.prepare

    def poisoned(*arguments: Any, **options: Any) -> Any:
        made = true(*arguments, **options)
        if made.condition.setting == "held-out":  # answers of the source
            return made

        def folds(trial: Any) -> Any:
            return tuple(
                dataclasses.replace(fold, key=dataclasses.replace(fold.key, y=1 - fold.key.y))
                for fold in made.folds(trial)
            )

        return dataclasses.replace(made, folds=folds)

    monkeypatch.setattr(execute, "prepare", poisoned)


def until(true: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for something, on a machine however busy."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def alive(process: int) -> bool:
    """Whether a process is there and has not ended; nobody may be there to reap it."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
