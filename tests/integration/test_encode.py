"""Feature tables made by encoders: one pass for all layers, rows that stay with their utterance."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from clser_bench.corpora.audio import decode
from clser_bench.errors import FeatureError
from clser_bench.features.cache import Shard, write_shard
from clser_bench.features.columns import INSTANTS, pool
from clser_bench.features.encoders import run
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.encoders.models import find_encoder, parse
from clser_bench.features.extract import extract_tables, feature_table
from clser_bench.features.sets import feature_set
from clser_bench.problem import Floats
from tests.signals import RATE, Events, read_tones
from tests.tiny_encoders import save_tiny

COUNT = 66


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noises of different lengths, one of them longer than an encoder's piece, some resampled."""
    place = tmp_path_factory.mktemp("noises")
    rng = np.random.default_rng(2)
    for number in range(COUNT):
        rate = (RATE, 22050)[number % 3 == 0]
        seconds = 31.0 if number == 7 else rng.uniform(0.05, 0.3)
        path = place / "ab"[number % 2] / f"anger_{number}.wav"
        path.parent.mkdir(exist_ok=True)
        noise = 0.1 * rng.standard_normal(round(seconds * rate)).astype(np.float32)
        soundfile.write(path, noise, rate, subtype="FLOAT")
    return place


@pytest.fixture(scope="module")
def corpus(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    return read_tones(folder, tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("hubert-base", tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="module")
def whole(corpus, hubert: Path, tmp_path_factory: pytest.TempPathFactory):
    """Layer 3 of all utterances, made in one process without any trouble."""
    return feature_table(corpus, f"hf:{hubert}:layer=3", cache=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def some(corpus):
    """The first utterances, enough for several batches."""
    return dataclasses.replace(corpus, utterances=corpus.utterances[:24])


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "WINDOW_BATCHES", 1)
    monkeypatch.setattr(run, "WINDOW_SECONDS", 1)
    monkeypatch.setattr(run, "CPU_SECONDS", 4)


@pytest.mark.parametrize(
    "kind",
    [
        "wav2vec2-base",
        pytest.param("wavlm-large", marks=pytest.mark.slow),
        pytest.param("data2vec-audio", marks=pytest.mark.slow),
    ],
)
def test_every_row_is_its_own_utterance(kind: str, corpus, tmp_path: Path):
    name = f"hf:{save_tiny(kind, tmp_path)}:layer=2:pool=mean+sd"
    table = feature_table(corpus, name, cache=tmp_path / "cache")
    subject = Loaded(find_encoder(parse(name)), (2,))
    for row, utterance in enumerate(corpus.utterances):
        if row % 6 and utterance.seconds < 30:
            continue
        pieces = subject.prepare(decode(utterance.path, rate=RATE).samples)
        states = np.concatenate([subject.run([piece])[0][0] for piece in pieces])
        assert np.abs(table.instants[row] - pool(states, INSTANTS)).max() < 1e-4
        summary = np.concatenate([states.mean(axis=0), states.std(axis=0)])
        assert np.abs(table.summary[row] - summary).max() < 1e-4
    rest = np.abs(table.summary[:, None] - table.summary[None]).max(axis=-1)
    assert (rest[~np.eye(COUNT, dtype=bool)] > 1e-2).all()


def test_layers_that_are_asked_for_together_take_one_pass_and_later_ones_none(
    corpus, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    progress = Events()
    sets = [feature_set(f"hf:{hubert}:layer={number}") for number in (1, 2, 1)]
    tables = extract_tables(corpus, sets, cache=tmp_path, progress=progress).tables
    assert (progress.totals, progress.steps) == ([COUNT], COUNT)
    alone = [feature_table(corpus, each, cache=tmp_path) for each in sets]
    assert [table.key for table in tables] == [table.key for table in alone]
    mean = feature_table(corpus, f"hf:{hubert}:layer=all", cache=tmp_path, progress=progress)
    assert progress.totals == [COUNT, COUNT]
    monkeypatch.setattr(run, "encode", None)
    layers = [feature_table(corpus, f"hf:{hubert}:layer={n}", cache=tmp_path) for n in range(4)]
    some = feature_table(corpus, f"hf:{hubert}:layer=1-2", cache=tmp_path)
    assert np.allclose(mean.summary, np.mean([t.summary for t in layers], axis=0), atol=1e-6)
    assert np.allclose(some.instants, (layers[1].instants + layers[2].instants) / 2, atol=1e-6)
    assert np.abs(layers[1].summary - layers[2].summary).max() > 0.1


@pytest.mark.usefixtures("small_batches")
def test_several_devices_give_the_same(some, whole, hubert: Path, tmp_path: Path):
    progress = Events()
    name = f"hf:{hubert}:layer=3"
    two = feature_table(some, name, cache=tmp_path, devices=("cpu", "cpu"), progress=progress)
    assert progress.steps == len(two)
    assert np.abs(whole.instants[: len(two)] - two.instants).max() < 1e-4


@pytest.mark.usefixtures("small_batches")
def test_a_run_that_was_stopped_goes_on_where_it_was(
    corpus, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = f"hf:{hubert}:layer=3"
    written: list[Path] = []

    def stop(path: Path, shard: Shard) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_shard(path, shard)

    with monkeypatch.context() as patch:
        patch.setattr("clser_bench.features.cache.write_shard", stop)
        with pytest.raises(KeyboardInterrupt):
            feature_table(corpus, name, cache=tmp_path)
    stamps = [path.stat().st_mtime_ns for path in written]
    assert len(stamps) == 2
    progress = Events()
    feature_table(corpus, name, cache=tmp_path, progress=progress)
    assert 0 < progress.steps < COUNT
    assert [path.stat().st_mtime_ns for path in written] == stamps


def test_wrong_devices_and_values_are_errors(
    some, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = f"hf:{hubert}:layer=3"
    for device in ("cuda:99", "gpu"):
        with pytest.raises(FeatureError, match=f"device '{device}' cannot be used"):
            feature_table(some, name, cache=tmp_path, devices=(device,))
    real = Loaded.run

    def broken(self: Loaded, pieces: Sequence[Floats]) -> list[list[Floats]]:
        return [[frames * np.float32(np.nan) for frames in layers] for layers in real(self, pieces)]

    monkeypatch.setattr(Loaded, "run", broken)
    with pytest.raises(FeatureError, match=r"anger_\d+.wav: layer 3 of 'hubert-base' gives values"):
        feature_table(some, name, cache=tmp_path)


def test_memory_that_does_not_suffice_halves_the_batch(
    some, whole, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, refused = Loaded.run, []

    def narrow(self: Loaded, pieces: Sequence[Floats]) -> list[list[Floats]]:
        if len(pieces) > 2:
            refused.append(len(pieces))
            raise torch.OutOfMemoryError("too much")
        return real(self, pieces)

    monkeypatch.setattr(Loaded, "run", narrow)
    halved = feature_table(some, f"hf:{hubert}:layer=3", cache=tmp_path)
    assert refused
    assert np.abs(whole.instants[: len(halved)] - halved.instants).max() < 1e-4


def test_columns_of_acoustic_are_sets_of_their_own(corpus, tmp_path: Path):
    acoustic = feature_table(corpus, "acoustic", cache=tmp_path, workers=1)
    for name in ("mel", "mfcc", "prosody"):
        features, table = feature_set(name), feature_table(corpus, name, cache=tmp_path)
        wanted = [feature_set("acoustic").summary.index(column) for column in features.summary]
        assert np.array_equal(table.summary, acoustic.summary[:, wanted])
        assert table.instants.shape == (COUNT, INSTANTS, len(features.instants))
