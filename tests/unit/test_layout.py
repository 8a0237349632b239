"""Reading corpora: what is read, what is left out with a reason, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_corpora import read_corpus, toy_spec, write_tone, write_toy

from clser_bench.corpora.assemble import reasons as reasons_of
from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.listings import list_corpus
from clser_bench.errors import CorpusError
from clser_bench.problem import SkippedFile

SPEC = toy_spec("X", genders={"ada": "female", "bob": "male"})


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy")


def test_utterances_in_order_of_content(toy: Path) -> None:
    corpus = read_corpus(SPEC, toy)
    keys = [(utterance.content, utterance.name) for utterance in corpus.utterances]
    assert keys == sorted(keys)
    assert len(keys) == 12
    assert corpus.skipped == ()
    one = next(item for item in corpus.utterances if item.name == "ada/anger_1.wav")
    assert one.path == toy / "ada" / "anger_1.wav"
    assert (one.emotion, one.speaker, one.gender, one.text) == ("anger", "ada", "female", "1")
    assert (one.seconds, one.rate) == (0.15, 8000)


def test_the_same_in_one_thread_or_four_anew_or_recalled(toy: Path, tmp_path: Path) -> None:
    read = [
        read_corpus(SPEC, toy, cache=tmp_path / name, workers=workers)
        for name, workers in (("a", 1), ("b", 4), ("b", 4))
    ]
    assert read[0] == read[1] == read[2]


def test_extensions_in_any_case(toy: Path) -> None:
    (toy / "ada" / "anger_0.wav").rename(toy / "ada" / "anger_0.WAV")
    assert len(read_corpus(SPEC, toy).utterances) == 12


def test_hidden_files_are_no_recordings(toy: Path) -> None:
    (toy / "ada" / "._anger_0.wav").write_bytes(b"resource fork")
    write_tone(toy / "__MACOSX" / "a.wav")
    (toy / "notes.txt").write_text("")
    assert len(read_corpus(SPEC, toy).utterances) == 12


def spoil(toy: Path) -> dict[str, str]:
    """Break a corpus in every way; name to the reason to be given."""
    whole = (toy / "ada" / "anger_1.wav").read_bytes()
    (toy / "ada" / "anger_1.wav").write_bytes(whole[:200])
    (toy / "ada" / "boredom_0.wav").write_bytes(b"")
    (toy / "ada" / "boredom_1.wav").write_text("not audio, whatever the name says")
    soundfile.write(toy / "bob" / "anger_0.wav", np.array([np.nan]), 8000, subtype="FLOAT")
    soundfile.write(toy / "bob" / "anger_1.wav", np.array([]), 8000)
    write_tone(toy / "bob" / "joy_1.wav")
    write_tone(toy / "stray.wav")
    (toy / "bob" / "disgust_7.wav").symlink_to(write_tone(toy.parent / "outside.wav"))
    (toy / "bob" / "disgust_8.wav").symlink_to(toy / "gone.wav")
    write_tone(toy / "bob" / "disgust_0.flac")
    return {
        "ada/anger_1.wav": "is truncated",
        "ada/boredom_0.wav": "is empty",
        "ada/boredom_1.wav": "is not audio",
        "bob/anger_0.wav": "NaN",
        "bob/anger_1.wav": "no samples",
        "bob/joy_1.wav": "unknown label 'joy'",
        "stray.wav": "does not lie as Toy X does",
        "bob/disgust_7.wav": "leaves the corpus folder",
        "bob/disgust_8.wav": "No such file",
        "bob/disgust_0.wav": "is there twice",
        "bob/disgust_0.flac": "is there twice",
    }


def test_every_bad_file_is_named_at_once(toy: Path) -> None:
    reasons = spoil(toy)
    with pytest.raises(CorpusError) as caught:
        read_corpus(SPEC, toy)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"Toy X (X) in {toy}: 11 of 17 files cannot be used:"
    assert "--skip-bad" in lines[-1]
    given = dict(line.strip().split(": ", 1) for line in lines[1:-1])
    assert set(given) == set(reasons)
    for name, reason in reasons.items():
        assert reason in given[name]


def test_skip_bad_goes_on_and_lists_them(toy: Path) -> None:
    reasons = spoil(toy)
    corpus = read_corpus(SPEC, toy, skip_bad=True)
    assert len(corpus.utterances) == 6
    assert {item.name for item in corpus.skipped} == set(reasons)
    assert {item.corpus for item in corpus.skipped} == {"X"}


def test_files_of_one_reason_share_a_line(toy: Path) -> None:
    for number in range(30):
        write_tone(toy / f"stray_{number:02d}.wav")
    with pytest.raises(CorpusError) as caught:
        read_corpus(SPEC, toy)
    _, line, remedy = str(caught.value).splitlines()
    start = (
        "  30 files (stray_00.wav, stray_01.wav, stray_02.wav and 27 more): does not lie as Toy X"
    )
    assert line.startswith(start)
    assert "name it under [ignored]" in line
    assert "--skip-bad" in remedy


def test_long_lists_of_reasons_are_cut() -> None:
    bad = [SkippedFile(corpus="X", name=f"{i}.wav", reason="z" * i) for i in range(30)]
    lines = reasons_of(bad)
    assert len(lines) == 21
    assert lines[-1].strip() == "and 10 more reasons"


def test_unknown_label_has_the_nearest_known(toy: Path) -> None:
    write_tone(toy / "ada" / "angr_0.wav")
    with pytest.raises(CorpusError, match="unknown label 'angr'; did you mean 'anger'"):
        read_corpus(SPEC, toy)


def test_nothing_left(tmp_path: Path) -> None:
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "anger_0.wav").write_bytes(b"")
    with pytest.raises(
        CorpusError, match=r"no usable utterance of Toy X .*:\n  ada/anger_0.wav: is"
    ):
        read_corpus(SPEC, tmp_path, skip_bad=True)


def test_gender_from_the_file_name(tmp_path: Path) -> None:
    write_tone(tmp_path / "Angry" / "SM1_F1_A01.wav")
    write_tone(tmp_path / "Sad" / "SF2_F1_S01.wav")
    corpus = read_corpus(definitions().corpora["U"], tmp_path)
    genders = {item.speaker: (item.gender, item.emotion) for item in corpus.utterances}
    assert genders == {"SM1": ("male", "anger"), "SF2": ("female", "sadness")}


def test_ravdess_calm_and_song_are_left_out_with_a_reason(tmp_path: Path) -> None:
    for name in ("03-01-05-01-01-01-01", "03-01-02-01-01-01-01", "03-02-05-01-01-01-01"):
        write_tone(tmp_path / "Actor_01" / f"{name}.wav")
    spec = definitions().corpora["R"]
    corpus = read_corpus(spec, tmp_path)
    assert [item.emotion for item in corpus.utterances] == ["anger"]
    assert corpus.utterances[0].gender == "male"
    reasons = dict(list_corpus(spec, tmp_path).left_out)
    assert sorted(reasons.values()) == [1, 1]
    assert any("calm" in reason for reason in reasons)
    assert "sung, not spoken" in reasons
