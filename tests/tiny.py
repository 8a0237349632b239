"""Recordings of a few tones with a manifest, and methods of a few lines: whole runs in seconds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from clser_bench.hashing import digest, generator

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
    weight: float = hyper(1.0, low=0.0, high=10.0, grid={grid}, about="nothing")

    def fit_predict(self, problem, rng):
        {body}
        source = problem.source.summary[problem.labelled.rows]
        target = problem.target.summary[problem.scored]
        centres = [source[problem.labelled.y == c].mean(0) for c in range(len(problem.classes))]
        near = -np.square(target[:, None] - np.stack(centres)).mean(-1)
        return near + self.weight * 1e-3 * rng.standard_normal(near.shape)
'''


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
) -> Path:
    """Write a fitted method into a folder for `CLSER_METHODS`.

    Args:
        folder: made where absent.
        name: to register.
        body: what `fit_predict` does first.
        about: first line of its docstring.
        deterministic: what it declares.
        grid: of its only hyper-parameter, `weight`, whose default is 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a name of its own: a process imports a module name once, whatever folder it came from
    file = folder / f"{name.replace('-', '_')}_{digest(str(folder))[:8]}.py"
    text = FITTED.format(
        name=name, about=about, body=body, deterministic=deterministic, grid=tuple(grid)
    )
    file.write_text(text, encoding="utf-8")
    return file
