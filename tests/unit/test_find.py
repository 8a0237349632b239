"""Corpora are found by their layout, whatever the folders are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_corpora import toy_spec, write_tone, write_toy

from clser_bench.corpora.definitions import corpus_specs
from clser_bench.corpora.find import find_corpora
from clser_bench.errors import CorpusError

SPECS = {"X": toy_spec("X")}


def test_whatever_its_name_at_any_depth(tmp_path: Path) -> None:
    write_toy(tmp_path / "some" / "thing" / "else")
    assert find_corpora(tmp_path, SPECS) == {"X": tmp_path / "some" / "thing" / "else"}


def test_the_root_itself(tmp_path: Path) -> None:
    write_toy(tmp_path)
    assert find_corpora(tmp_path, SPECS) == {"X": tmp_path}


def test_nothing_there(tmp_path: Path) -> None:
    write_tone(tmp_path / "a" / "song.wav")
    assert find_corpora(tmp_path, SPECS) == {}


def test_no_such_root(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        find_corpora(tmp_path / "gone", SPECS)


def test_a_damaged_copy_is_found(tmp_path: Path) -> None:
    write_toy(tmp_path / "x")
    write_tone(tmp_path / "x" / "stray.wav")
    assert find_corpora(tmp_path, SPECS) == {"X": tmp_path / "x"}


def test_two_copies_are_refused(tmp_path: Path) -> None:
    write_toy(tmp_path / "first")
    write_toy(tmp_path / "second")
    with pytest.raises(CorpusError, match=r"Toy X \(X\) is there 2 times: .*first and .*second"):
        find_corpora(tmp_path, SPECS)


def test_an_optional_folder_counts_once(tmp_path: Path) -> None:
    for number in range(3):
        write_tone(tmp_path / "berlin" / "wav" / f"03a0{number}Wa.WAV")
    assert find_corpora(tmp_path, corpus_specs()) == {"B": tmp_path / "berlin"}
    assert find_corpora(tmp_path / "berlin" / "wav", corpus_specs()) == {
        "B": tmp_path / "berlin" / "wav"
    }


def test_a_doubled_ravdess_archive(tmp_path: Path) -> None:
    """The copy that goes round holds the actors twice, once in a folder of their own."""
    for folder in (tmp_path / "r", tmp_path / "r" / "audio_speech_actors_01-24"):
        write_tone(folder / "Actor_01" / "03-01-05-01-01-01-01.wav")
        write_tone(folder / "Actor_02" / "03-01-05-01-01-01-02.wav")
    found = find_corpora(tmp_path, corpus_specs())
    assert found == {"R": tmp_path / "r" / "audio_speech_actors_01-24"}


def test_linked_folders_are_followed_without_going_in_circles(tmp_path: Path) -> None:
    write_toy(tmp_path / "disk" / "x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "disk" / "x", target_is_directory=True)
    (tmp_path / "disk" / "x" / "ada" / "up").symlink_to(tmp_path / "root")
    assert find_corpora(tmp_path / "root", SPECS) == {"X": tmp_path / "root" / "link"}


def test_the_folder_s_name_tells_equal_layouts_apart(tmp_path: Path) -> None:
    specs = {"X": toy_spec("X", folders=("ex",)), "Y": toy_spec("Y", folders=("why",))}
    write_toy(tmp_path / "Why")
    assert find_corpora(tmp_path, specs) == {"Y": tmp_path / "Why"}


@pytest.mark.real_speech
def test_real_corpora_are_found(real_corpora: Path) -> None:
    found = find_corpora(real_corpora, corpus_specs())
    names = {code: folder.relative_to(real_corpora).as_posix() for code, folder in found.items()}
    assert names == {
        "B": "emodb",
        "C": "casia",
        "N": "nemo_subset",
        "O": "emovo",
        "R": "ravdess",
        "T": "turev",
        "U": "urdu",
    }
