"""The index of decoded files: right, quick to recall, and never an obstacle."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_corpora import write_tone
from signals import Events

from clser_bench.corpora.index import Sound, figures, measure
from clser_bench.corpora.model import Utterance
from clser_bench.errors import AudioError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_tone(tmp_path / "x" / name) for name in ("b.wav", "a.wav")]


def run(files: list[Path], tmp_path: Path, *, recall: bool = True) -> tuple[Any, list[object]]:
    progress = Events()
    items = [Utterance(name=path.name, path=path, emotion="", speaker="") for path in files]
    root, cache = tmp_path / "x", tmp_path / "cache"
    made = measure(
        items, root, cache=cache, what="reading", recall=recall, progress=progress, workers=2
    )
    return made, progress.events


def test_figures_by_hand() -> None:
    first, second = np.array([0, 1], np.float32), np.array([-1, 0], np.float32)
    sound = figures([(2, first), (2, second)])
    assert (sound.seconds, sound.rate, sound.peak, sound.clipped) == (2.0, 2, 1.0, 0.5)
    assert sound.rms == pytest.approx(0.5**0.5)
    assert sound == figures([(2, np.concatenate([first, second]))])


def test_second_time_decodes_nothing(files: list[Path], tmp_path: Path) -> None:
    first, events = run(files, tmp_path)
    assert list(first[0]) == ["b.wav", "a.wav"]
    assert events == [("reading", 2), 1, 1, "stop"]
    assert run(files, tmp_path) == (first, [])
    assert run(files, tmp_path, recall=False) == (first, events)


def test_a_segment_is_not_its_file(files: list[Path], tmp_path: Path) -> None:
    parts = [
        Utterance(
            name=f"{start}-{end}", path=files[0], emotion="", speaker="", start=start, end=end
        )
        for start, end in ((0.0, None), (0.05, None), (0.05, 0.1), (0.0, 0.15))
    ]
    for _ in range(2):
        sounds = measure(parts, tmp_path, cache=tmp_path / "cache", what="")[0]
        lengths = [sound.seconds for sound in sounds.values() if isinstance(sound, Sound)]
        assert lengths == [0.15, pytest.approx(0.1), 0.05, 0.15]
        contents = [sound.content for sound in sounds.values() if isinstance(sound, Sound)]
        assert contents[0] == contents[3]
        assert len(set(contents)) == 3


def test_a_changed_file_is_decoded_again(files: list[Path], tmp_path: Path) -> None:
    first, _ = run(files, tmp_path)
    status = files[1].stat()
    samples, rate = soundfile.read(files[1])
    soundfile.write(files[1], -samples, rate)
    os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time
    second, events = run(files, tmp_path)
    assert events[0] == ("reading", 1)
    assert second[0]["a.wav"] != first[0]["a.wav"]
    assert second[0]["b.wav"] == first[0]["b.wav"]


def test_files_that_change_names_are_noticed(files: list[Path], tmp_path: Path) -> None:
    for path in files:
        os.utime(path, (1e9, 1e9))
    first, _ = run(files, tmp_path)
    files[0].rename(tmp_path / "aside")
    files[1].rename(files[0])
    (tmp_path / "aside").rename(files[1])
    second, _ = run(files, tmp_path)
    assert second[0]["a.wav"] == first[0]["b.wav"] != first[0]["a.wav"]


@pytest.mark.parametrize("place", [0.0, 0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_flipped_bit_makes_the_index_anew(
    files: list[Path], tmp_path: Path, place: float
) -> None:
    first, _ = run(files, tmp_path)
    [index] = (tmp_path / "cache" / "audio").iterdir()
    whole = bytearray(index.read_bytes())
    whole[int(place * len(whole))] ^= 4
    index.write_bytes(whole)
    second, events = run(files, tmp_path)
    assert second[0] == first[0]
    assert events[0] == ("reading", 2)
    if place > 0:
        assert "is damaged; its recordings are decoded again" in second[1][0]
    assert run(files, tmp_path) == (first, [])
    assert [path.name for path in index.parent.iterdir()] == [index.name]


def test_an_index_of_another_format_is_none(files: list[Path], tmp_path: Path) -> None:
    first, _ = run(files, tmp_path)
    [index] = (tmp_path / "cache" / "audio").iterdir()
    for text in ('{"format": 1, "files": {}}', "clser-bench audio index 2 0f1e\n{}"):
        index.write_text(text)
        assert run(files, tmp_path)[0] == first


def test_an_index_that_cannot_be_written_is_said(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "audio").write_text("a file where a folder is wanted")
    for _ in range(2):
        made, _ = run(files, tmp_path)
        assert isinstance(made[0]["a.wav"], Sound)
        assert "recordings are decoded again by every command" in made[1][-1]


def test_others_may_read_the_index_as_the_umask_says(files: list[Path], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run(files, tmp_path)
    finally:
        os.umask(before)
    [index] = (tmp_path / "cache" / "audio").iterdir()
    assert stat.S_IMODE(index.stat().st_mode) == 0o640


def test_broken_files_are_tried_again(files: list[Path], tmp_path: Path) -> None:
    gone = tmp_path / "x" / "gone.wav"
    for _ in range(2):
        made, _ = run([*files, gone], tmp_path)
        assert isinstance(made[0]["gone.wav"], AudioError)
        assert isinstance(made[0]["a.wav"], Sound)
    write_tone(gone)
    assert isinstance(run([*files, gone], tmp_path)[0][0]["gone.wav"], Sound)
