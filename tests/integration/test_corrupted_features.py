"""Features of corrupted speech: those of files that were corrupted by hand, row by row."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clser_bench.corpora.audio import Audio, content_hash, decode
from clser_bench.corpora.corrupt import (
    CORRUPTED_RATE,
    Corrupted,
    Corruption,
    corrupted,
    corrupted_corpus,
    unchanged,
)
from clser_bench.corpora.locate import load_corpora
from clser_bench.corpora.model import Corpus
from clser_bench.errors import FeatureError
from clser_bench.features.extract import feature_table
from tests.tiny import write_corpora
from tests.tiny_encoders import save_tiny


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("tiny")
    manifest = write_corpora(folder / "corpora")
    corpora = load_corpora(manifests=[manifest], cache=folder / "cache", workers=1)
    return next(iter(corpora.values()))


@pytest.mark.parametrize("name", ["minimal", "egemaps", "encoder"])
def test_features_are_those_of_corrupted_files(name: str, corpus: Corpus, tmp_path: Path) -> None:
    """Every set hears what a file would hold that was corrupted by hand."""
    item = Corruption("reverb", 0.6)
    utterances = []
    for utterance in corpus.utterances:
        samples = decode(utterance.path, rate=CORRUPTED_RATE).samples
        worse = corrupted(samples, CORRUPTED_RATE, item, content=utterance.content)
        assert np.abs(worse).max() <= 1
        path = tmp_path / utterance.name
        soundfile.write(path, worse, CORRUPTED_RATE, subtype="FLOAT")
        content = content_hash(Audio(worse, CORRUPTED_RATE))
        utterances.append(
            dataclasses.replace(utterance, path=path, content=content, rate=CORRUPTED_RATE)
        )
    by_hand = dataclasses.replace(corpus, utterances=tuple(utterances))
    if name == "encoder":
        name = f"hf:{save_tiny('hubert-base', tmp_path)}:layer=2"
    elif name == "egemaps":
        pytest.importorskip("opensmile")
    cache = tmp_path / "cache"
    found = feature_table(corrupted_corpus(corpus, item), name, cache=cache, workers=1)
    wanted = feature_table(by_hand, name, cache=cache, workers=1)
    clean = feature_table(corpus, name, cache=cache, workers=1)
    assert np.abs(found.summary - wanted.summary).max() < 1e-4
    assert np.abs(found.instants - wanted.instants).max() < 1e-4
    assert np.abs(found.summary - clean.summary).max() > 1e-2
    assert len({found.key, wanted.key, clean.key}) == 3


def test_what_exceeds_full_scale_is_made_softer_and_the_rest_is_not(corpus: Corpus) -> None:
    for level, loud in ((-20, True), (40, False)):
        item = Corruption("noise", level)
        utterance = corrupted_corpus(corpus, item).utterances[0]
        heard = unchanged(utterance)
        assert heard.rate == CORRUPTED_RATE
        samples = decode(utterance.path, rate=CORRUPTED_RATE).samples
        worse = corrupted(samples, CORRUPTED_RATE, item, content=corpus.utterances[0].content)
        peak = np.abs(worse).max()
        assert (peak > 1) == loud
        np.testing.assert_allclose(heard.samples, worse / max(1, peak), atol=1e-7)
        assert np.abs(heard.samples).max() <= 1


def test_a_corrupted_utterance_keeps_its_row_and_checks_its_file(
    corpus: Corpus, tmp_path: Path
) -> None:
    fast = corrupted_corpus(corpus, Corruption("speed", 2))
    assert [one.name for one in fast.utterances] == [one.name for one in corpus.utterances]
    assert fast.speakers.tolist() == corpus.speakers.tolist()
    assert fast.spec.code == corpus.spec.code
    one = fast.utterances[0]
    assert isinstance(one, Corrupted)
    assert one.seconds == corpus.utterances[0].seconds / 2
    assert len(unchanged(one).samples) == pytest.approx(one.seconds * CORRUPTED_RATE, abs=1)
    assert len(unchanged(one, rate=8000).samples) == pytest.approx(one.seconds * 8000, abs=1)
    path = tmp_path / "other.wav"
    soundfile.write(path, np.zeros(100), 8000)
    with pytest.raises(FeatureError, match=r"other\.wav: changed since the corpus was read"):
        unchanged(dataclasses.replace(one, path=path))
