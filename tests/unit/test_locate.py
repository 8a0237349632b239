"""Corpora are found by their layout, whatever the folders are called; what lies beside is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile

from clser_bench.corpora.locate import Located, load_corpora, locate
from clser_bench.errors import CorpusError, SpecError
from tests.fake_corpora import define, toy_spec, write_tone, write_toy


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the corpus X be defined."""
    monkeypatch.setenv("CLSER_TASKS", str(define(tmp_path / "tasks", toy_spec("X"))))


def places(located: Located) -> dict[str, Path]:
    return {code: listing.root for code, listing in located.listings.items()}


def sentences(located: Located) -> list[str]:
    return [finding.sentence for finding in located.findings]


@pytest.mark.parametrize("place", ["some/thing/else", "."])
def test_whatever_its_name_at_any_depth(tmp_path, place):
    write_toy(tmp_path / place)
    assert places(locate(tmp_path)) == {"X": tmp_path / place}


def test_no_such_root(tmp_path):
    with pytest.raises(CorpusError, match="no such folder"):
        locate(tmp_path / "gone")


def test_a_damaged_copy_is_found(tmp_path):
    write_toy(tmp_path / "x")
    write_tone(tmp_path / "x" / "stray.wav")
    located = locate(tmp_path)
    assert places(located) == {"X": tmp_path / "x"}
    assert [item.name for item in located.listings["X"].bad] == ["stray.wav"]


def test_two_copies_are_refused_where_they_are_wanted_and_parts_are_no_copies(tmp_path):
    """Following "move all but one away" would lose a corpus that lies in parts."""
    for folder in ("first", "second"):
        write_toy(tmp_path / folder)
    for emotion, letter in (("anger", "W"), ("fear", "A")):
        write_tone(tmp_path / "EmoDB" / emotion / f"03a01{letter}a.wav")
    located = locate(tmp_path)
    assert places(located) == {}
    for code, message in (
        ("X", r"Toy X \(X\) is there 2 times: .*first and .*second"),
        ("B", r"EMO-DB \(B\) lies in 2 folders with different files"),
    ):
        with pytest.raises(CorpusError, match=message):
            located.require([code])


def test_an_optional_folder_counts_once(tmp_path):
    for number in range(3):
        write_tone(tmp_path / "berlin" / "wav" / f"03a0{number}Wa.WAV")
    assert places(locate(tmp_path)) == {"B": tmp_path / "berlin"}
    wav = tmp_path / "berlin" / "wav"
    assert places(locate(wav)) == {"B": wav}


def test_a_doubled_ravdess_archive(tmp_path):
    """The copy that goes round holds the actors twice, once in a folder of their own."""
    for folder in (tmp_path / "r", tmp_path / "r" / "audio_speech_actors_01-24"):
        write_tone(folder / "Actor_01" / "03-01-05-01-01-01-01.wav")
        write_tone(folder / "Actor_02" / "03-01-05-01-01-01-02.wav")
    located = locate(tmp_path)
    assert places(located) == {"R": tmp_path / "r" / "audio_speech_actors_01-24"}
    [sentence] = sentences(located)
    assert "2 recording(s), such as r/Actor_0" in sentence


def test_linked_folders_are_followed_without_going_in_circles(tmp_path):
    write_toy(tmp_path / "disk" / "x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "disk" / "x", target_is_directory=True)
    (tmp_path / "disk" / "x" / "ada" / "up").symlink_to(tmp_path / "root")
    assert places(locate(tmp_path / "root")) == {"X": tmp_path / "root" / "link"}


def test_the_folder_s_name_decides_between_equal_layouts(tmp_path):
    define(tmp_path / "tasks", toy_spec("Y", folders=("why",)))
    write_toy(tmp_path / "Why")
    assert places(locate(tmp_path)) == {"Y": tmp_path / "Why"}


def test_a_common_pattern_counts_below_its_own_folder_only(tmp_path, monkeypatch):
    spec = toy_spec("Z", pattern=r"(?P<speaker>\d+)-(?P<emotion>[a-z]+)", folders=("zed",))
    spec = spec.model_copy(update={"in_folder": True})
    monkeypatch.setenv("CLSER_TASKS", str(define(tmp_path / "other", spec)))
    write_tone(tmp_path / "speech" / "Zed" / "wav" / "1-anger.wav")
    write_tone(tmp_path / "speech" / "unknown" / "1-anger.wav")
    located = locate(tmp_path / "speech")
    assert places(located) == {"Z": tmp_path / "speech" / "Zed" / "wav"}
    assert "unknown: 1 recording(s)" in sentences(located)[0]


def test_recordings_of_no_corpus_are_named_with_the_layout_they_may_mean(tmp_path):
    write_toy(tmp_path / "x")
    write_tone(tmp_path / "RAVDESS" / "03-01-05-01-01-01-01.wav")
    [sentence] = sentences(locate(tmp_path))
    assert sentence.startswith(f"{tmp_path.name}/RAVDESS: 1 recording(s), such as RAVDESS/03-01-05")
    assert "belong to no known corpus; those of RAVDESS (R) lie as Actor_" in sentence


def test_formats_that_are_not_read_are_named(tmp_path):
    write_toy(tmp_path / "x")
    samples, rate = soundfile.read(tmp_path / "x" / "ada" / "anger_0.wav")
    soundfile.write(tmp_path / "x" / "ada" / "anger_7.mp3", samples, rate)
    soundfile.write(tmp_path / "x" / "ada" / "anger_0.mp3", samples, rate)  # there as WAV too
    (tmp_path / "y").mkdir()
    soundfile.write(tmp_path / "y" / "b.ogg", samples, rate)
    located = locate(tmp_path)
    [inside] = located.listings["X"].findings
    assert "Toy X (X): 1 .mp3 file(s), such as ada/anger_7.mp3" in inside.sentence
    [outside] = sentences(located)
    assert "1 .ogg file(s), such as y/b.ogg, are of a format that is not read" in outside


def test_recordings_of_a_manifest_are_no_strays(tmp_path):
    write_toy(tmp_path / "x")
    write_tone(tmp_path / "own" / "a.wav")
    manifest = tmp_path / "own" / "m.csv"
    manifest.write_text("path,speaker,emotion,language\na.wav,s,anger,nl\n")
    located = locate(tmp_path, [manifest])
    assert list(located.listings) == ["nl", "X"]
    assert located.listed == {"nl"}
    assert located.findings == ()


def test_one_corpus_in_two_places(tmp_path):
    write_tone(tmp_path / "a.wav")
    for name in ("m.csv", "n.csv"):
        (tmp_path / name).write_text("path,speaker,emotion,language\na.wav,s,anger,nl\n")
    with pytest.raises(CorpusError, match=r"corpus 'nl' is also in .*m\.csv"):
        locate(manifests=[tmp_path / "m.csv", tmp_path / "n.csv"])


def test_corpora_are_called_by_code_or_name(tmp_path):
    write_toy(tmp_path / "x")
    said: list[str] = []
    corpora = load_corpora(tmp_path, codes=["toy_x", "X"], say=said.append)
    assert list(corpora) == ["X"]
    assert said == []
    with pytest.raises(SpecError, match="corpus 'toy_y' is unknown; did you mean 'toy_x'"):
        load_corpora(tmp_path, codes=["toy_y"])
    with pytest.raises(CorpusError, match=r"missing: EMO-DB \(B\): not below"):
        load_corpora(tmp_path, codes=["B"])
    with pytest.raises(CorpusError, match="no folder of corpora was given"):
        load_corpora(codes=["B"])


def test_demo_corpora_are_made_only_where_one_is_wanted(tmp_path):
    def refuse() -> Path:
        raise AssertionError

    def made() -> Path:
        return write_tone(tmp_path / "d" / "demo_de" / "de_f1" / "angst_s1.wav").parents[2]

    write_toy(tmp_path / "x")
    assert list(load_corpora(tmp_path, codes=["X"], demo=refuse)) == ["X"]
    both = load_corpora(tmp_path / "x", codes=["DE", "X"], demo=made)
    assert list(both) == ["DE", "X"]


def test_findings_are_said_once(tmp_path):
    root = write_toy(tmp_path / "x")
    shutil.copy(root / "ada" / "anger_0.wav", root / "ada" / "anger_9.wav")
    said: list[str] = []
    load_corpora(tmp_path, say=said.append)
    [line] = said
    assert "1 recording(s) are copies of others" in line


def test_nothing_recognised(tmp_path):
    write_tone(tmp_path / "a" / "song.wav")
    with pytest.raises(CorpusError, match="no corpus is recognised"):
        load_corpora(tmp_path)


@pytest.mark.real_speech
def test_real_corpora_are_found(real_corpora):
    located = locate(real_corpora)
    names = {c: place.relative_to(real_corpora).as_posix() for c, place in places(located).items()}
    assert names == {
        "B": "emodb",
        "C": "casia",
        "N": "nemo_subset",
        "O": "emovo",
        "R": "ravdess",
        "T": "turev",
        "U": "urdu",
    }
    assert located.findings == ()
