"""eNTERFACE'05 as it is met in the wild; a tree of tones with its known faults."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_corpora import read_corpus, write_tone

from clser_bench.corpora.audio import decode
from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.locate import locate
from clser_bench.errors import AudioError, CorpusError

SPEC = definitions().corpora["E"]
CODES = {
    "anger": "an",
    "disgust": "di",
    "fear": "fe",
    "happiness": "ha",
    "sadness": "sa",
    "surprise": "su",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Subjects 3, 6, 11, 16 and 23 with the faults that the originals have."""
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
    return root


def test_the_path_is_the_key(tree: Path) -> None:
    assert locate(tree.parent).listings["E"].root == tree
    corpus = read_corpus(SPEC, tree)
    counts = Counter(utterance.speaker for utterance in corpus.utterances)
    assert counts == {"3": 30, "11": 30, "16": 30, "23": 27}
    assert Counter(corpus.emotions.tolist())["happiness"] == 17
    assert {utterance.text for utterance in corpus.utterances} == set("12345")


def test_subject_6_is_left_out_with_a_reason(tree: Path) -> None:
    corpus = read_corpus(SPEC, tree)
    [(reason, count)] = corpus.left_out
    assert count == 6
    assert "subject 6 is not cut into sentences" in reason
    [finding] = corpus.findings
    assert finding.kind == "differs"
    assert "4 of 43 speakers are there" in finding.sentence
    assert "happiness has 17 of 212 utterances" in finding.sentence


def write_video(path: Path, samples: np.ndarray, rate: int = 48_000) -> Path:
    """An AVI as the corpus has them, with PCM sound, but without pictures."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.int16)[None], "s16", "mono")
        frame.rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def test_videos_are_read_like_their_sound(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "subject 1" / "anger" / "sentence 1"
    samples = np.random.default_rng(0).integers(-9000, 9000, 48_000)
    write_video(folder / "s1_an_1.avi", samples)
    [video] = read_corpus(SPEC, tmp_path / "x").utterances
    soundfile.write(folder / "s1_an_1.wav", samples.astype(np.int16), 48_000)
    [sound] = read_corpus(SPEC, tmp_path / "x").utterances
    assert (video.name[-4:], sound.name[-4:]) == (".avi", ".wav")
    assert (video.content, video.seconds, video.rate) == (sound.content, 1.0, 48_000)


def test_videos_cut_short_and_others(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", np.full(96_000, 99))
    path.write_bytes(path.read_bytes()[:90_000])
    with pytest.raises(AudioError, match=r"truncated: .* bytes promised"):
        decode(path)
    path.write_bytes(b"no video" * 20)
    with pytest.raises(AudioError, match="is no video, or damaged"):
        decode(path)


def test_without_the_extra_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x" / "subject 1" / "anger" / "sentence 1"
    folder.mkdir(parents=True)
    (folder / "s1_an_1.avi").write_bytes(b"RIFF")
    monkeypatch.setitem(sys.modules, "av", None)
    assert locate(tmp_path).listings["E"].root == tmp_path / "x"
    with pytest.raises(CorpusError, match=r'extra .video.*ffmpeg -i "s1_an_1.avi" -vn "s1_an_1.w'):
        read_corpus(SPEC, tmp_path / "x")


def test_zeros_and_case_of_folder_names(tmp_path: Path) -> None:
    write_tone(tmp_path / "Subject 01" / "anger" / "Sentence 1" / "a.wav")
    corpus = read_corpus(SPEC, tmp_path)
    assert corpus.utterances[0].speaker == "1"


def test_the_whole_corpus_has_1287_utterances() -> None:
    assert sum(SPEC.counts.values()) == 1287 == 43 * 30 - 3
