"""eNTERFACE'05 as it is met in the wild; a tree of tones with its known faults."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fake_corpora import write_tone

from clser_bench.corpora.check import check
from clser_bench.corpora.corpus import list_corpus, read_corpus
from clser_bench.corpora.definitions import corpus_specs
from clser_bench.corpora.find import find_corpora
from clser_bench.errors import CorpusError

SPEC = corpus_specs()["E"]
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


def test_the_path_is_the_key(tree: Path, own_cache: Path) -> None:
    assert find_corpora(tree.parent, corpus_specs()) == {"E": tree}
    corpus = read_corpus(SPEC, tree, cache=own_cache)
    counts = Counter(utterance.speaker for utterance in corpus.utterances)
    assert counts == {"3": 30, "11": 30, "16": 30, "23": 27}
    assert Counter(corpus.emotions.tolist())["happiness"] == 17
    assert {utterance.text for utterance in corpus.utterances} == set("12345")


def test_subject_6_is_left_out_with_a_reason(tree: Path, own_cache: Path) -> None:
    [(reason, count)] = list_corpus(SPEC, tree).left_out
    assert count == 6
    assert "subject 6 is not cut into sentences" in reason
    found = check(read_corpus(SPEC, tree, cache=own_cache), cache=own_cache)
    assert found.left_out == ((reason, count),)
    assert "4 speakers, 43 expected" in found.differences
    assert "happiness: 17 utterances, 212 expected" in found.differences


def test_videos_alone_name_the_remedy(tmp_path: Path, own_cache: Path) -> None:
    folder = tmp_path / "x" / "subject 1" / "anger" / "sentence 1"
    folder.mkdir(parents=True)
    (folder / "s1_an_1.avi").write_bytes(b"RIFF")
    assert find_corpora(tmp_path, corpus_specs()) == {"E": tmp_path / "x"}
    with pytest.raises(CorpusError, match=r'ffmpeg -i "s1_an_1.avi" -vn "s1_an_1.wav"'):
        read_corpus(SPEC, tmp_path / "x", cache=own_cache)
    write_tone(folder / "s1_an_1.wav")
    assert len(read_corpus(SPEC, tmp_path / "x", cache=own_cache).utterances) == 1


def test_zeros_and_case_of_folder_names(tmp_path: Path, own_cache: Path) -> None:
    write_tone(tmp_path / "Subject 01" / "anger" / "Sentence 1" / "a.wav")
    corpus = read_corpus(SPEC, tmp_path, cache=own_cache)
    assert corpus.utterances[0].speaker == "1"


def test_the_whole_corpus_has_1287_utterances() -> None:
    assert sum(SPEC.counts.values()) == 1287 == 43 * 30 - 3
