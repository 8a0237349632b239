"""The index of decoded files: right, quick to recall, and never an obstacle."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_corpora import write_tone

from clser_bench.corpora import index
from clser_bench.corpora.audio import Audio
from clser_bench.corpora.index import Sound, figures, measure
from clser_bench.errors import AudioError


class Counting:
    """A progress display that only counts."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def start(self, what: str, total: int) -> None:
        self.heard.append((what, total))

    def advance(self, count: int = 1) -> None:
        self.heard.append(count)

    def stop(self) -> None:
        self.heard.append("stop")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {name: write_tone(tmp_path / "x" / name) for name in ("b.wav", "a.wav")}


def run(files: dict[str, Path], tmp_path: Path) -> tuple[dict[str, object], list[object]]:
    progress = Counting()
    made = measure(
        files, tmp_path / "x", cache=tmp_path / "cache", what="reading", progress=progress
    )
    return made, progress.heard


def test_figures_by_hand() -> None:
    sound = figures(Audio(np.array([0, 1, -1, 0], np.float32), 2))
    assert (sound.seconds, sound.rate, sound.peak, sound.clipped) == (2.0, 2, 1.0, 0.5)
    assert sound.rms == pytest.approx(0.5**0.5)


def test_second_time_decodes_nothing(files: dict[str, Path], tmp_path: Path) -> None:
    first, heard = run(files, tmp_path)
    assert list(first) == ["b.wav", "a.wav"]
    assert heard == [("reading", 2), 1, 1, "stop"]
    second, heard = run(files, tmp_path)
    assert second == first
    assert heard == []


def test_a_changed_file_is_decoded_again(files: dict[str, Path], tmp_path: Path) -> None:
    first, _ = run(files, tmp_path)
    status = files["a.wav"].stat()
    samples, rate = soundfile.read(files["a.wav"])
    soundfile.write(files["a.wav"], -samples, rate)
    os.utime(files["a.wav"], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    second, heard = run(files, tmp_path)
    assert heard[0] == ("reading", 1)
    assert second["a.wav"] != first["a.wav"]
    assert second["b.wav"] == first["b.wav"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 99, "files": {}}',
        '{"format": 1, "files": {"p": [1, 2]}}',
        '{"format": 1, "files": {"p": [1, 2, ["short", 1.0, 1, 1.0, 1.0, 1.0]]}}',
        '{"format": 1, "files": {"p": [1, 2, [null]]}}',
    ],
)
def test_a_corrupted_index_is_made_anew(files: dict[str, Path], tmp_path: Path, text: str) -> None:
    first, _ = run(files, tmp_path)
    [place] = (tmp_path / "cache" / "audio").iterdir()
    place.write_text(text)
    second, heard = run(files, tmp_path)
    assert second == first
    assert heard[0] == ("reading", 2)
    assert index._load(place)
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_broken_files_are_tried_anew(files: dict[str, Path], tmp_path: Path) -> None:
    files = {**files, "gone.wav": tmp_path / "x" / "gone.wav"}
    for _ in range(2):
        made, _ = run(files, tmp_path)
        assert isinstance(made["gone.wav"], AudioError)
        assert isinstance(made["a.wav"], Sound)
    write_tone(files["gone.wav"])
    assert isinstance(run(files, tmp_path)[0]["gone.wav"], Sound)
