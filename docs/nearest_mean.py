"""A small system outside the package: the nearest class mean of band energies.

Reads a folder of `clser-bench draws ... --audio copy` and writes scores for `clser-bench score`. It
is deterministic, and an example of the two file formats; it needs numpy and soundfile alone.

    python docs/nearest_mean.py draws predictions.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

BANDS = 24


def energies(path: Path) -> np.ndarray:
    """Log energy in bands of equal width on a logarithmic scale of frequency [24]."""
    samples, rate = soundfile.read(path, dtype="float64")
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    edges = np.geomspace(60, 4000, BANDS + 1)
    place = np.digitize(frequencies, edges)
    return np.log(1e-9 + np.bincount(place, power, BANDS + 2)[1:-1])


def main(arguments: Sequence[str]) -> None:
    """Predict every scored row of the draws.

    Args:
        arguments: folder of the draws, file to write.
    """
    folder, out = Path(arguments[0]), Path(arguments[1])
    with (folder / "draws.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] in ("labelled", "scored")]
    audio = {row["id"]: folder / row["audio"] for row in rows}
    found = {name: energies(path) for name, path in audio.items()}
    written = []
    for trial, members in groupby(rows, key=lambda row: row["trial"]):
        labelled: dict[str, list[np.ndarray]] = {}
        scored = []
        for row in members:
            if row["part"] == "labelled":
                labelled.setdefault(row["emotion"], []).append(found[row["id"]])
            elif row["part"] == "scored":
                scored.append(row["id"])
        means = {emotion: np.mean(values, axis=0) for emotion, values in labelled.items()}
        for name in scored:
            scores = {e: -float(np.linalg.norm(found[name] - mean)) for e, mean in means.items()}
            written.append({"trial": trial, "id": name, **scores})
    emotions = sorted({name for row in written for name in row} - {"trial", "id"})
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["trial", "id", *emotions])
        writer.writeheader()
        writer.writerows(written)


if __name__ == "__main__":
    main(sys.argv[1:])
