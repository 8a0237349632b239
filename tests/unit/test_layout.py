"""Reading corpora by their layout: what is read, left out with a reason, refused.

Each definition reads the file names that its corpus is published with; eNTERFACE'05 as it is met in
the wild is a tree of tones with its known faults.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clser_bench.corpora.assemble import reasons as reasons_of
from clser_bench.corpora.audio import decode
from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.listings import list_corpus
from clser_bench.corpora.locate import load_corpora, locate
from clser_bench.corpora.model import Corpus
from clser_bench.errors import AudioError, CorpusError
from clser_bench.problem import SkippedFile
from tests.fake_corpora import read_corpus, toy_spec, write_tone, write_toy

SPEC = toy_spec("X", genders={"ada": "female", "bob": "male"})
LAYOUTS: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "layouts.toml").read_text(encoding="utf-8")
)
ENTERFACE = definitions().corpora["E"]
CODES = {name: name[:2] for name in ENTERFACE.labels.values()}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy")


def facts(corpus: Corpus) -> dict[Path, list[str]]:
    return {item.path: [item.emotion, item.speaker, item.gender] for item in corpus.utterances}


def test_utterances_in_order_of_content(toy, tmp_path):
    (toy / "ada" / "._anger_0.wav").write_bytes(b"resource fork")  # hidden files are no recordings
    write_tone(toy / "__MACOSX" / "a.wav")
    (toy / "notes.txt").write_text("")
    corpus = read_corpus(SPEC, toy)
    keys = [(utterance.content, utterance.name) for utterance in corpus.utterances]
    assert keys == sorted(keys)
    assert len(keys) == 12
    assert corpus.skipped == ()
    one = next(item for item in corpus.utterances if item.name == "ada/anger_1.wav")
    assert one.path == toy / "ada" / "anger_1.wav"
    assert (one.emotion, one.speaker, one.gender, one.text) == ("anger", "ada", "female", "1")
    assert (one.seconds, one.rate) == (0.15, 8000)
    for name, workers in (("a", 1), ("b", 4), ("b", 4)):  # one thread or four, read or recalled
        assert read_corpus(SPEC, toy, cache=tmp_path / name, workers=workers) == corpus


def test_every_bad_file_is_named_at_once_and_can_be_left_out(toy):
    whole = (toy / "ada" / "anger_1.wav").read_bytes()
    (toy / "ada" / "anger_1.wav").write_bytes(whole[:200])
    (toy / "ada" / "boredom_0.wav").write_bytes(b"")
    (toy / "ada" / "boredom_1.wav").write_text("not audio, whatever the name says")
    soundfile.write(toy / "bob" / "anger_0.wav", np.array([np.nan]), 8000, subtype="FLOAT")
    soundfile.write(toy / "bob" / "anger_1.wav", np.array([]), 8000)
    write_tone(toy / "bob" / "angr_1.wav")
    write_tone(toy / "stray.wav")
    (toy / "bob" / "disgust_7.wav").symlink_to(write_tone(toy.parent / "outside.wav"))
    (toy / "bob" / "disgust_8.wav").symlink_to(toy / "gone.wav")
    write_tone(toy / "bob" / "disgust_0.flac")
    reasons = {
        "ada/anger_1.wav": "is truncated",
        "ada/boredom_0.wav": "is empty",
        "ada/boredom_1.wav": "is not audio",
        "bob/anger_0.wav": "NaN",
        "bob/anger_1.wav": "no samples",
        "bob/angr_1.wav": "unknown label 'angr'; did you mean 'anger'",
        "stray.wav": "does not lie as Toy X does",
        "bob/disgust_7.wav": "leaves the corpus folder",
        "bob/disgust_8.wav": "No such file",
        "bob/disgust_0.wav": "is there twice",
        "bob/disgust_0.flac": "is there twice",
    }
    with pytest.raises(CorpusError) as caught:
        read_corpus(SPEC, toy)
    first, *lines, last = str(caught.value).splitlines()
    assert first == f"Toy X (X) in {toy}: 11 of 17 files cannot be used:"
    assert "--skip-bad" in last
    given = dict(line.strip().split(": ", 1) for line in lines)
    assert set(given) == set(reasons)
    for name, reason in reasons.items():
        assert reason in given[name]
    corpus = read_corpus(SPEC, toy, skip_bad=True)
    assert len(corpus.utterances) == 6
    assert {item.name for item in corpus.skipped} == set(reasons)
    assert {item.corpus for item in corpus.skipped} == {"X"}


def test_files_of_one_reason_share_a_line_and_many_reasons_are_cut(toy):
    for number in range(30):
        write_tone(toy / f"stray_{number:02d}.wav")
    with pytest.raises(CorpusError) as caught:
        read_corpus(SPEC, toy)
    _, line, remedy = str(caught.value).splitlines()
    names = "stray_00.wav, stray_01.wav, stray_02.wav and 27 more"
    assert line.startswith(f"  30 files ({names}): does not lie as Toy X")
    assert "name it under [ignored]" in line
    assert "--skip-bad" in remedy
    bad = [SkippedFile(corpus="X", name=f"{i}.wav", reason="z" * i) for i in range(30)]
    lines = reasons_of(bad)
    assert len(lines) == 21
    assert lines[-1].strip() == "and 10 more reasons"


def test_nothing_left(tmp_path):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "anger_0.wav").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"no usable utterance of Toy X .*:\n  ada/anger_0"):
        read_corpus(SPEC, tmp_path, skip_bad=True)


def test_ravdess_calm_and_song_are_left_out_with_a_reason(tmp_path):
    for name in ("03-01-05-01-01-01-01", "03-01-02-01-01-01-01", "03-02-05-01-01-01-01"):
        write_tone(tmp_path / "Actor_01" / f"{name}.wav")
    spec = definitions().corpora["R"]
    assert [*facts(read_corpus(spec, tmp_path)).values()] == [["anger", "01", "male"]]
    reasons = dict(list_corpus(spec, tmp_path).left_out)
    assert sorted(reasons.values()) == [1, 1]
    assert any("calm" in reason for reason in reasons)
    assert "sung, not spoken" in reasons


def test_every_definition_that_was_not_checked_is_tried_here():
    specs = definitions().corpora
    unchecked = {code for code, spec in specs.items() if not spec.verified}
    assert len(unchecked) >= 20
    assert set(LAYOUTS) == unchecked | {"U"}


@pytest.mark.parametrize("code", LAYOUTS)
def test_files_as_published_are_read(code, tmp_path):
    expected, listed = {}, 0
    for name, content in LAYOUTS[code].items():
        if isinstance(content, str):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text(content)
            listed = content.count("\n") - 1
        else:
            expected[write_tone(tmp_path / f"{name}.wav")] = content
    located = locate(tmp_path)
    assert list(located.listings) == [code]
    assert located.findings == ()
    corpus = load_corpora(codes=[code], located=located)[code]
    assert facts(corpus) == expected
    if listed:
        assert sum(count for _, count in corpus.left_out) == listed - len(expected)


def test_both_halves_of_esd(tmp_path):
    for speaker in ("0001", "0011"):
        for number in range(3):
            write_tone(tmp_path / "x" / speaker / "Angry" / f"{speaker}_00000{number}.wav")
    corpora = load_corpora(tmp_path)
    sizes = {code: len(corpus.utterances) for code, corpus in corpora.items()}
    assert sizes == {"ESDen": 3, "ESDzh": 3}
    assert corpora["ESDzh"].left_out == (("the other language of ESD", 3),)


def test_the_path_is_the_key_and_subject_6_is_left_out_with_a_reason(tmp_path):
    """Subjects 3, 6, 11, 16 and 23 have the faults of the originals."""
    root = tmp_path / "enterface database"
    for subject in (3, 11, 16, 23):
        for emotion, code in CODES.items():
            for sentence in range(1, 6):
                if (subject, emotion) == (23, "happiness") and sentence < 4:
                    continue
                name = {
                    3: f"s_{subject}_{code}_{sentence}",
                    11: f"s12_{code}_{sentence}",
                    16: f"s16_{code}_{sentence}" + ("avi" if sentence == 3 else ""),
                    23: f"s23_{code}_{sentence}",
                }[subject]
                folder = root / f"subject {subject}" / emotion / f"sentence {sentence}"
                write_tone(folder / f"{name}.wav")
    for emotion in CODES:
        write_tone(root / "subject 6" / emotion / f"s6_{emotion}.wav")
    assert sum(ENTERFACE.counts.values()) == 1287 == 43 * 30 - 3
    assert locate(tmp_path).listings["E"].root == root
    corpus = read_corpus(ENTERFACE, root)
    counts = Counter(utterance.speaker for utterance in corpus.utterances)
    assert counts == {"3": 30, "11": 30, "16": 30, "23": 27}
    assert Counter(corpus.emotions.tolist())["happiness"] == 17
    assert {utterance.text for utterance in corpus.utterances} == set("12345")
    [(reason, count)] = corpus.left_out
    assert count == 6
    assert "subject 6 is not cut into sentences" in reason
    [finding] = corpus.findings
    assert finding.kind == "differs"
    assert "4 of 43 speakers are there" in finding.sentence
    assert "happiness has 17 of 212 utterances" in finding.sentence


@pytest.fixture
def sentence(tmp_path: Path) -> Path:
    folder = tmp_path / "x" / "subject 1" / "anger" / "sentence 1"
    folder.mkdir(parents=True)
    return folder


def test_videos_are_read_like_their_sound_and_damaged_ones_refused(sentence):
    """AVI with PCM sound, as the corpus has them, but without pictures."""
    av = pytest.importorskip("av")
    samples = np.random.default_rng(0).integers(-9000, 9000, 48_000).astype(np.int16)
    path = sentence / "s1_an_1.avi"
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    root = sentence.parents[2]
    [video] = read_corpus(ENTERFACE, root).utterances
    soundfile.write(sentence / "s1_an_1.wav", samples, 48_000)
    [sound] = read_corpus(ENTERFACE, root).utterances
    assert (video.name[-4:], sound.name[-4:]) == (".avi", ".wav")
    assert (video.content, video.seconds, video.rate) == (sound.content, 1.0, 48_000)
    path.write_bytes(path.read_bytes()[:45_000])
    with pytest.raises(AudioError, match=r"truncated: .* bytes promised"):
        decode(path)
    path.write_bytes(b"no video" * 20)
    with pytest.raises(AudioError, match="is no video, or damaged"):
        decode(path)


def test_without_the_extra_the_remedy_is_named(tmp_path, sentence, monkeypatch):
    (sentence / "s1_an_1.avi").write_bytes(b"RIFF")
    monkeypatch.setitem(sys.modules, "av", None)
    assert locate(tmp_path).listings["E"].root == tmp_path / "x"
    with pytest.raises(CorpusError, match=r'extra .video.*ffmpeg -i "s1_an_1.avi" -vn "s1_an_1.w'):
        read_corpus(ENTERFACE, tmp_path / "x")


def test_zeros_and_case_of_folder_names(tmp_path):
    write_tone(tmp_path / "Subject 01" / "anger" / "Sentence 1" / "a.wav")
    corpus = read_corpus(ENTERFACE, tmp_path)
    assert corpus.utterances[0].speaker == "1"
