"""Feature tables made by encoders: one pass for all layers, rows that stay with their utterance."""

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clser_bench.corpora.audio import decode
from clser_bench.errors import FeatureError
from clser_bench.features import extract
from clser_bench.features.columns import INSTANTS, pool
from clser_bench.features.encoders import run
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.encoders.models import find_encoder, parse
from clser_bench.features.extract import extract_tables, feature_table, own_device, run_tasks
from clser_bench.features.sets import feature_set
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


def no_encoder(*_: object, **__: object) -> None:
    raise AssertionError("the encoder was run again")


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


def test_all_layers_in_one_pass_then_any_without_the_encoder(
    corpus, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    progress = Events()
    mean = feature_table(corpus, f"hf:{hubert}:layer=all", cache=tmp_path, progress=progress)
    assert progress.totals == [COUNT]
    assert progress.steps == COUNT
    monkeypatch.setattr(run, "encode", no_encoder)
    layers = [feature_table(corpus, f"hf:{hubert}:layer={n}", cache=tmp_path) for n in range(4)]
    some = feature_table(corpus, f"hf:{hubert}:layer=1-2", cache=tmp_path)
    assert np.allclose(mean.summary, np.mean([t.summary for t in layers], axis=0), atol=1e-6)
    assert np.allclose(some.instants, (layers[1].instants + layers[2].instants) / 2, atol=1e-6)
    assert np.abs(layers[1].summary - layers[2].summary).max() > 0.1


def test_sets_that_are_asked_for_together_are_made_in_one_pass(
    corpus, hubert: Path, tmp_path: Path
):
    progress = Events()
    sets = [feature_set(f"hf:{hubert}:layer={number}") for number in (1, 2, 1)]
    tables = extract_tables(corpus, sets, cache=tmp_path, progress=progress).tables
    assert progress.totals == [COUNT]
    alone = [feature_table(corpus, each, cache=tmp_path) for each in sets]
    assert [table.key for table in tables] == [table.key for table in alone]


def test_several_devices_give_the_same(
    some, whole, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "WINDOW_BATCHES", 1)
    monkeypatch.setattr(run, "WINDOW_SECONDS", 1)
    monkeypatch.setattr(run, "CPU_SECONDS", 4)
    progress = Events()
    name = f"hf:{hubert}:layer=3"
    two = feature_table(some, name, cache=tmp_path, devices=("cpu", "cpu"), progress=progress)
    assert progress.steps == len(two)
    assert np.abs(whole.instants[: len(two)] - two.instants).max() < 1e-4


def test_each_process_has_a_device_of_its_own():
    found = list(run_tasks(claim, range(6), workers=2, devices=("cuda:0", "cuda:1")))
    owners = dict(found)
    assert set(found) == set(owners.items())
    assert len(set(owners.values())) == len(owners)


def claim(_: int) -> tuple[int, str]:
    """What a worker has; slow enough for the other worker to come in."""
    time.sleep(0.2)
    return os.getpid(), own_device()


def test_an_unbroken_run_and_one_that_was_stopped(
    corpus, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "WINDOW_BATCHES", 1)
    monkeypatch.setattr(run, "WINDOW_SECONDS", 1)
    monkeypatch.setattr(run, "CPU_SECONDS", 4)
    name = f"hf:{hubert}:layer=3"
    write = extract.disk.write_shard
    written: list[Path] = []

    def stop(path: Path, shard: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, shard)  # type: ignore[arg-type]

    monkeypatch.setattr(extract.disk, "write_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        feature_table(corpus, name, cache=tmp_path)
    stamps = [path.stat().st_mtime_ns for path in written]
    assert len(stamps) == 2
    monkeypatch.setattr(extract.disk, "write_shard", write)
    progress = Events()
    feature_table(corpus, name, cache=tmp_path, progress=progress)
    assert 0 < progress.steps < COUNT
    assert [path.stat().st_mtime_ns for path in written] == stamps


def test_wrong_devices_and_values_are_told(
    some, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = f"hf:{hubert}:layer=3"
    with pytest.raises(FeatureError, match="device 'cuda:99' cannot be used"):
        feature_table(some, name, cache=tmp_path, devices=("cuda:99",))
    with pytest.raises(FeatureError, match="device 'gpu' cannot be used"):
        feature_table(some, name, cache=tmp_path, devices=("gpu",))
    broken = Loaded.run

    def nan(self: Loaded, pieces: object) -> object:
        return [[frames * np.nan for frames in layers] for layers in broken(self, pieces)]  # type: ignore[arg-type]

    monkeypatch.setattr(Loaded, "run", nan)
    with pytest.raises(FeatureError, match=r"anger_\d+.wav: layer 3 of 'hubert-base' gives values"):
        feature_table(some, name, cache=tmp_path)


def test_memory_that_does_not_suffice_halves_the_batch(
    some, whole, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    real, refused = Loaded.run, []

    def narrow(self: Loaded, pieces: list) -> object:
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
