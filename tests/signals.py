"""Signals whose features are known, and corpora of them on disk.

As a script: `python -m tests.signals FOLDER CACHE WORKERS HOLD` extracts the acoustic features of
the toy corpus in FOLDER. With HOLD it stops for good just before the file of shard number HOLD gets
its name, so that a test can kill it there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile

from clser_bench.corpora.model import Corpus
from clser_bench.features.cache import Shard, shard_path, write_shard
from clser_bench.features.columns import INSTANTS
from clser_bench.features.sets import FeatureSet
from clser_bench.hashing import digest
from clser_bench.problem import Table
from clser_bench.progress import Progress
from tests.fake_corpora import read_corpus, toy_spec

RATE = 16_000


def sine(hertz: float, seconds: float = 1.0, *, amplitude: float = 0.5, rate: int = RATE):
    """A pure tone, float32."""
    phase = 2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(phase)).astype(np.float32)


def voice(hertz: float, seconds: float = 1.0, *, first: int = 1, rate: int = RATE):
    """A buzz of twelve harmonics from number `first`, falling by 6 dB an octave, float32."""
    parts = [
        sine(hertz * h, seconds, amplitude=0.3 / h, rate=rate) for h in range(first, first + 12)
    ]
    return np.sum(parts, axis=0, dtype=np.float32)


def write_tones(folder: Path, tones: Sequence[float], *, seconds: float = 0.1) -> Path:
    """Lay down a toy corpus of voices of the given pitches."""
    for number, hertz in enumerate(tones):
        path = folder / "ab"[number % 2] / f"anger_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(hertz, seconds), RATE, subtype="PCM_16")
    return folder


def read_tones(folder: Path, cache: Path) -> Corpus:
    """The corpus that `write_tones` laid down."""
    return read_corpus(toy_spec("X", ("anger",)), folder, cache=cache, workers=1)


class Events(Progress):
    """Remembers each call."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.totals: list[int] = []
        self.steps = 0

    def start(self, what: str, total: int) -> None:
        self.events.append((what, total))
        self.totals.append(total)

    def advance(self, count: int = 1) -> None:
        self.events.append(count)
        self.steps += count

    def stop(self) -> None:
        self.events.append("stop")


def put_shard(cache: Path, features: FeatureSet, *numbers: int) -> Path:
    """Write a shard of made-up features of some utterances, which are numbered."""
    contents = tuple(sorted(digest(number) for number in numbers))
    random = np.random.default_rng(numbers)
    long = (len(numbers), INSTANTS, len(features.instants))
    short = (len(numbers), len(features.summary))
    path = shard_path(cache, features, contents)
    shard = Shard(
        contents=contents,
        instants=random.normal(size=long).astype(np.float32),
        summary=random.normal(size=short).astype(np.float32),
    )
    write_shard(path, shard)
    return path


def main(folder: str, cache: str, workers: str, hold: str = "0") -> Table:
    from clser_bench.features.extract import feature_table

    finished = 0
    replace = Path.replace

    def held(self: Path, target: Path) -> Path:
        nonlocal finished
        finished += target.suffix == ".safetensors"
        if finished == int(hold):
            print("holding", flush=True)
            time.sleep(600)
        return replace(self, target)

    progress = Events()
    with mock.patch.object(Path, "replace", held if int(hold) else replace):
        corpus = read_tones(Path(folder), Path(cache))
        table = feature_table(
            corpus, "acoustic", cache=Path(cache), workers=int(workers), progress=progress
        )
    print(f"extracted {progress.steps}", flush=True)
    return table


if __name__ == "__main__":
    main(*sys.argv[1:])
