"""Findings of `check` about a corpus; the known faults of the real ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_corpora import read_corpus, toy_spec, write_tone, write_toy

from clser_bench.corpora.metadata import Check, check
from clser_bench.corpora.model import Corpus
from clser_bench.errors import AudioError

SPEC = toy_spec("X", counts={"anger": 4, "boredom": 5, "fear": 1}, speakers=3)


def test_everything_at_once(tmp_path: Path) -> None:
    root = write_toy(tmp_path / "toy")
    write_tone(root / "bob" / "fear_0.wav", rate=16000, seconds=0.5)
    shutil.copy(root / "ada" / "anger_0.wav", root / "bob" / "anger_7.wav")
    quiet = np.full(800, 9e-4)
    soundfile.write(root / "ada" / "boredom_8.wav", quiet, 8000, subtype="FLOAT")
    loud = np.where(np.arange(800) < 2, 1.0, 0.1)
    soundfile.write(root / "ada" / "boredom_9.wav", loud, 8000)
    corpus = read_corpus(SPEC, root)
    found = check(corpus)
    assert found.emotions == (("anger", 4), ("boredom", 6), ("disgust", 4), ("fear", 1))
    assert found.speakers == (("ada", 8), ("bob", 7))
    assert ("ada", "fear", 0) in found.cells
    assert ("bob", "fear", 1) in found.cells
    assert found.rates == ((8000, 14), (16000, 1))
    assert found.silent == ("ada/boredom_8.wav",)
    assert found.clipped == ("ada/boredom_9.wav",)
    assert (found.shortest, found.longest) == (0.1, 0.5)
    assert found.seconds == pytest.approx(12 * 0.15 + 0.5 + 2 * 0.1)
    copies, silent, differs = corpus.findings
    assert silent.files == ("ada/boredom_8.wav",), "one value all along"
    assert copies.files == ("bob/anger_7.wav", "ada/anger_0.wav")
    assert "1 of them are listed under two speakers" in copies.sentence
    assert differs.sentence == (
        "Toy X (X) differs from its definition: anger has 5 of 4 utterances, "
        "boredom has 6 of 5 utterances, 2 of 3 speakers are there"
    )


def test_a_file_broken_since(tmp_path: Path) -> None:
    root = write_toy(tmp_path / "toy")
    corpus = read_corpus(SPEC, root)
    (root / "ada" / "anger_0.wav").write_bytes(b"")
    with pytest.raises(AudioError, match="is empty"):
        check(corpus)


@pytest.fixture
def check_real(read_real: Callable[[str], Corpus], real_cache: Path) -> Callable[[str], Check]:
    return lambda code: check(read_real(code), cache=real_cache)


def empty_cells(found: Check) -> list[tuple[str, str]]:
    return [(speaker, emotion) for speaker, emotion, count in found.cells if not count]


@pytest.mark.real_speech
def test_ravdess_faults(
    check_real: Callable[[str], Check], read_real: Callable[[str], Corpus]
) -> None:
    found, corpus = check_real("R"), read_real("R")
    [copy] = corpus.findings
    stems = [Path(name).stem for name in copy.files]
    assert stems == ["03-01-03-01-02-02-07", "03-01-03-01-02-01-07"]
    assert len(found.silent) == 13 - 6  # of the 13 very quiet ones, 6 are calm and left out
    assert {name.split("/")[0] for name in found.silent} == {"Actor_09", "Actor_20"}
    assert dict(corpus.left_out).popitem()[1] == 192


@pytest.mark.real_speech
def test_gaps(check_real: Callable[[str], Check]) -> None:
    urdu, turev = check_real("U"), check_real("T")  # speakers of the first have an emotion or two
    assert (len(urdu.cells), len(empty_cells(urdu))) == (116, 116 - 33)
    assert empty_cells(check_real("N")) == [("MK0", "surprise")]
    assert ("08", "disgust") in empty_cells(check_real("B"))
    assert len(empty_cells(turev)) == 2
    assert turev.shortest == pytest.approx(0.35, abs=0.01)


@pytest.mark.real_speech
def test_the_subset_of_nemo_differs_from_the_whole(read_real: Callable[[str], Corpus]) -> None:
    [finding] = read_real("N").findings
    assert "surprise has 64 of 669 utterances" in finding.sentence


@pytest.mark.real_speech
@pytest.mark.parametrize("code", ["B", "C", "O", "T", "U"])
def test_nothing_is_odd_in_the_others(
    check_real: Callable[[str], Check], read_real: Callable[[str], Corpus], code: str
) -> None:
    corpus = read_real(code)
    assert corpus.findings == corpus.skipped == ()
    assert check_real(code).rates == ((16000, len(corpus.utterances)),)
