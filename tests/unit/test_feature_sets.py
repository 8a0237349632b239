import dataclasses
import pickle

import numpy as np
import pytest
import torch

from clser_bench.errors import FeatureError, MissingExtraError
from clser_bench.features.columns import INSTANTS, QUALITY
from clser_bench.features.sets import FEATURE_SETS, feature_set
from tests.signals import RATE, sine, voice


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_names_are_distinct_and_the_set_pickles(name: str):
    features = feature_set(name)
    for names in (features.instants, features.summary):
        assert len(set(names)) == len(names) > 0
    assert list(features.parameters) == sorted(features.parameters)
    assert pickle.loads(pickle.dumps(features)) == features


def test_everything_enters_the_key():
    features = feature_set("acoustic")
    variants = [
        dataclasses.replace(features, version=features.version + 1),
        dataclasses.replace(features, name="other"),
        dataclasses.replace(features, parameters=features.parameters[1:]),
        dataclasses.replace(features, instants=features.instants[::-1]),
        dataclasses.replace(features, summary=features.summary[1:]),
    ]
    assert len({features.key, *(variant.key for variant in variants)}) == 6


def test_no_samples_is_an_error():
    with pytest.raises(FeatureError, match="not empty"):
        feature_set("acoustic").extract(np.zeros(0, np.float32), RATE)


@pytest.mark.parametrize("name", ["egemaps", "compare16"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"'{name}'.*clser-bench\[opensmile\]"):
        feature_set(name).check()


@pytest.mark.parametrize("name", ["acoustic", "minimal"])
@pytest.mark.parametrize("count", [1, 2, 15, 100, 399, 400, 401, 700, 5600])
@pytest.mark.parametrize("kind", ["silence", "click", "noise", "tone"])
def test_own_sets_are_finite_for_any_clip(name: str, count: int, kind: str):
    signals = {
        "silence": np.zeros(count),
        "click": np.eye(1, count)[0],
        "noise": np.random.default_rng(0).normal(size=count),
        "tone": sine(200)[:count],
    }
    features = feature_set(name)
    instants, summary = features.extract(signals[kind].astype(np.float32), RATE)
    assert instants.shape == (INSTANTS, len(features.instants))
    assert summary.shape == (len(features.summary),)
    assert instants.dtype == summary.dtype == np.float32
    assert np.isfinite(instants).all()
    assert np.isfinite(summary).all()
    if (name, kind) == ("minimal", "silence"):
        assert not instants[:, [features.instants.index(column) for column in QUALITY[1:]]].any()


@pytest.mark.parametrize("name", ["acoustic", "minimal"])
def test_own_sets_do_not_depend_on_what_ran_before_nor_on_threads(name: str):
    features = feature_set(name)
    first = features.extract(voice(140), RATE)
    features.extract(voice(300, 0.3), RATE)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second = features.extract(voice(140), RATE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for one, other in zip(first, second, strict=True):
        assert one.tobytes() == other.tobytes()


def test_acoustic_of_another_rate_is_nearly_the_same():
    features = feature_set("acoustic")
    at_16, _ = features.extract(voice(150, first=2), RATE)
    at_44, _ = features.extract(voice(150, first=2, rate=44_100), 44_100)
    columns = [features.instants.index(name) for name in ("pitch", "level", "loudness", "centroid")]
    np.testing.assert_allclose(at_44[4:-4, columns], at_16[4:-4, columns], rtol=0.01, atol=0.01)


def test_silence_around_speech_changes_instants_little():
    features, speech = feature_set("acoustic"), voice(150)
    bare, _ = features.extract(speech, RATE)
    padded, _ = features.extract(np.pad(speech, RATE), RATE)
    column = features.instants.index("level")
    np.testing.assert_allclose(padded[2:-2, column], bare[2:-2, column], atol=0.5)
