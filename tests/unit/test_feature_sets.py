import dataclasses
import pickle

import numpy as np
import pytest
import torch

from clser_bench.errors import FeatureError, MissingExtraError
from clser_bench.features.columns import INSTANTS, QUALITY
from clser_bench.features.sets import FEATURE_SETS, FeatureSet, feature_set
from tests.signals import RATE, sine, voice

KINDS = "silence", "constant", "click", "click at the start", "noise", "clipped", "tone"
OWN, OPENSMILE = ("acoustic", "minimal"), ("egemaps", "compare16")


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


@pytest.mark.parametrize("name", OPENSMILE)
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"'{name}'.*clser-bench\[opensmile\]"):
        feature_set(name).check()


def installed(name: str) -> FeatureSet:
    if name in OPENSMILE:
        pytest.importorskip("opensmile", reason="the extra opensmile is not installed")
    return feature_set(name)


@pytest.mark.parametrize("name", [*OWN, *OPENSMILE])
@pytest.mark.parametrize("kind", KINDS)
def test_every_set_is_finite_for_any_clip(name: str, kind: str):
    features = installed(name)
    own_counts = (1, 2, 15, 100, 399, 400, 401, 700, 5600)
    for count in (1, 500, 959, 1600) if name in OPENSMILE else own_counts:
        noise = np.random.default_rng(0).normal(size=count)
        signals = {
            "silence": np.zeros(count),
            "constant": np.full(count, 0.5),
            "click": np.eye(1, count, count // 2)[0],
            "click at the start": np.eye(1, count)[0],
            "noise": 0.1 * noise,
            "clipped": 50 * noise,
            "tone": sine(200)[:count],
        }
        instants, summary = features.extract(signals[kind].astype(np.float32), RATE)
        assert instants.shape == (INSTANTS, len(features.instants))
        assert summary.shape == (len(features.summary),)
        assert instants.dtype == summary.dtype == np.float32
        assert np.isfinite(instants).all()
        assert np.isfinite(summary).all()
        if (name, kind) == ("minimal", "silence"):
            quality = [features.instants.index(column) for column in QUALITY[1:]]
            assert not instants[:, quality].any()


@pytest.mark.parametrize("name", [*OWN, *OPENSMILE])
def test_no_set_depends_on_what_ran_before_nor_on_threads(name: str):
    features = installed(name)
    clip = np.pad(voice(140), (0, RATE // 10)) + np.float32(0.01) * voice(230, 1.1)
    first = features.extract(clip, RATE)
    for other in (name, *(OPENSMILE if name in OPENSMILE else OWN)):
        feature_set(other).extract(voice(300, 0.3), RATE)
        feature_set(other).extract(voice(310, 0.2, rate=8_000), 8_000)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second = features.extract(clip, RATE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for one, again in zip(first, second, strict=True):
        assert one.tobytes() == again.tobytes()


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
