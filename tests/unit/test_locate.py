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
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the corpus X be defined, and lie in the folder x."""
    monkeypatch.setenv("CLSER_TASKS", str(define(tmp_path / "tasks", toy_spec("X"))))
    return write_toy(tmp_path / "x")


def places(located: Located) -> dict[str, Path]:
    return {code: listing.root for code, listing in located.listings.items()}


def sentences(located: Located) -> list[str]:
    return [finding.sentence for finding in located.findings]


def write_manifest(path: Path) -> Path:
    write_tone(path.parent / "a.wav")
    path.write_text("path,speaker,emotion,language\na.wav,s,anger,nl\n")
    return path


def test_whatever_its_name_at_any_depth(tmp_path, toy):
    write_tone(toy / "stray.wav")  # a damaged copy is found, too
    for place in (toy, tmp_path):
        located = locate(place)
        assert places(located) == {"X": toy}
        assert [item.name for item in located.listings["X"].bad] == ["stray.wav"]
    toy.rename(tmp_path / "tasks" / "else")
    assert places(locate(tmp_path)) == {"X": tmp_path / "tasks" / "else"}


def test_a_folder_without_corpora_is_named(tmp_path):
    write_tone(tmp_path / "a" / "song.wav")
    for name, message in (("gone", "no such folder"), ("a", "no corpus is recognised")):
        with pytest.raises(CorpusError, match=message):
            load_corpora(tmp_path / name)


def test_two_copies_are_refused_where_they_are_wanted_and_parts_are_no_copies(tmp_path):
    """Following "move all but one away" would lose a corpus that lies in parts."""
    write_toy(tmp_path / "y")
    for emotion, letter in (("anger", "W"), ("fear", "A")):
        write_tone(tmp_path / "EmoDB" / emotion / f"03a01{letter}a.wav")
    located = locate(tmp_path)
    assert places(located) == {}
    for code, message in (
        ("X", r"Toy X \(X\) is there 2 times: .*x and .*y"),
        ("B", r"EMO-DB \(B\) lies in 2 folders with different files"),
    ):
        with pytest.raises(CorpusError, match=message):
            located.require([code])


def test_an_optional_folder_counts_once(tmp_path):
    wav = tmp_path / "berlin" / "wav"
    for number in range(3):
        write_tone(wav / f"03a0{number}Wa.WAV")
    for place in (wav.parent, wav):
        assert places(locate(place)) == {"B": place}


def test_a_doubled_ravdess_archive(tmp_path):
    """The copy that goes round holds the actors twice, once in a folder of their own."""
    root = tmp_path / "own" / "r"
    for folder in (root, root / "audio_speech_actors_01-24"):
        write_tone(folder / "Actor_01" / "03-01-05-01-01-01-01.wav")
        write_tone(folder / "Actor_02" / "03-01-05-01-01-01-02.wav")
    located = locate(root.parent)
    assert places(located) == {"R": root / "audio_speech_actors_01-24"}
    [sentence] = sentences(located)
    assert "2 recording(s), such as r/Actor_0" in sentence


def test_linked_folders_are_followed_without_going_in_circles(tmp_path, toy):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(toy, target_is_directory=True)
    (toy / "ada" / "up").symlink_to(tmp_path / "root")
    assert places(locate(tmp_path / "root")) == {"X": tmp_path / "root" / "link"}


def test_the_folder_s_name_decides_between_equal_layouts(tmp_path, toy):
    define(tmp_path / "tasks", toy_spec("Y", folders=("why",)))
    toy.rename(tmp_path / "Why")
    assert places(locate(tmp_path)) == {"Y": tmp_path / "Why"}


def test_a_common_pattern_counts_below_its_own_folder_only(tmp_path):
    pattern = r"(?P<speaker>\d+)-(?P<emotion>[a-z]+)"
    define(tmp_path / "tasks", toy_spec("Z", pattern=pattern, folders=("zed",), in_folder=True))
    write_tone(tmp_path / "speech" / "Zed" / "wav" / "1-anger.wav")
    write_tone(tmp_path / "speech" / "unknown" / "1-anger.wav")
    located = locate(tmp_path / "speech")
    assert places(located) == {"Z": tmp_path / "speech" / "Zed" / "wav"}
    assert "unknown: 1 recording(s)" in sentences(located)[0]


def test_recordings_of_no_corpus_are_named_with_the_layout_they_may_mean(tmp_path):
    write_tone(tmp_path / "RAVDESS" / "03-01-05-01-01-01-01.wav")
    [sentence] = sentences(locate(tmp_path))
    assert sentence.startswith(f"{tmp_path.name}/RAVDESS: 1 recording(s), such as RAVDESS/03-01-05")
    assert "belong to no known corpus; those of RAVDESS (R) lie as Actor_" in sentence


def test_formats_that_are_not_read_are_named(tmp_path, toy):
    samples, rate = soundfile.read(toy / "ada" / "anger_0.wav")
    soundfile.write(toy / "ada" / "anger_7.mp3", samples, rate)
    soundfile.write(toy / "ada" / "anger_0.mp3", samples, rate)  # there as WAV too
    (tmp_path / "y").mkdir()
    soundfile.write(tmp_path / "y" / "b.ogg", samples, rate)
    located = locate(tmp_path)
    [inside] = located.listings["X"].findings
    assert "Toy X (X): 1 .mp3 file(s), such as ada/anger_7.mp3" in inside.sentence
    [outside] = sentences(located)
    assert "1 .ogg file(s), such as y/b.ogg, are of a format that is not read" in outside


def test_recordings_of_a_manifest_are_no_strays_and_stand_in_one_only(tmp_path):
    own = [write_manifest(tmp_path / "own" / name) for name in ("m.csv", "n.csv")]
    located = locate(tmp_path, own[:1])
    assert list(located.listings) == ["nl", "X"]
    assert located.listed == {"nl"}
    assert located.findings == ()
    with pytest.raises(CorpusError, match=r"corpus 'nl' is also in .*m\.csv"):
        locate(manifests=own)


def test_corpora_are_called_by_code_or_name_and_findings_are_said_once(tmp_path, toy):
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
    shutil.copy(toy / "ada" / "anger_0.wav", toy / "ada" / "anger_9.wav")
    load_corpora(tmp_path, say=said.append)
    [line] = said
    assert "1 recording(s) are copies of others" in line


def test_demo_corpora_are_made_only_where_one_is_wanted(tmp_path, toy):
    def made() -> Path:
        return write_tone(tmp_path / "d" / "demo_de" / "de_f1" / "angst_s1.wav").parents[2]

    assert list(load_corpora(tmp_path, codes=["X"], demo=pytest.fail)) == ["X"]
    assert list(load_corpora(toy, codes=["DE", "X"], demo=made)) == ["DE", "X"]


@pytest.mark.real_speech
def test_real_corpora_are_found(real_corpora):
    located = locate(real_corpora)
    names = {code: place.relative_to(real_corpora) for code, place in places(located).items()}
    folders = "emodb casia nemo_subset emovo ravdess turev urdu"
    assert names == dict(zip("BCNORTU", map(Path, folders.split()), strict=True))
    assert located.findings == ()
