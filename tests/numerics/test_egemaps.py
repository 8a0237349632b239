from pathlib import Path

import numpy as np
import pytest
from signals import RATE, sine, voice

from clser_bench.corpora.audio import decode
from clser_bench.features.columns import INSTANTS, opensmile_columns, pool
from clser_bench.features.sets import feature_set

opensmile = pytest.importorskip("opensmile", reason="the extra opensmile is not installed")

FEATURES = feature_set("egemaps")
INSTANT_NAMES, SUMMARY_NAMES = opensmile_columns("egemaps")


@pytest.fixture(scope="module")
def oracles():
    return [
        opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=level)
        for level in (
            opensmile.FeatureLevel.LowLevelDescriptors,
            opensmile.FeatureLevel.Functionals,
        )
    ]


def test_names_are_those_of_opensmile(oracles):
    assert tuple(oracles[0].feature_names) == INSTANT_NAMES
    assert tuple(oracles[1].feature_names) == SUMMARY_NAMES


@pytest.mark.real_speech
def test_equals_opensmile_on_speech(oracles, real_corpora: Path):
    paths = sorted((real_corpora / "emodb" / "wav").glob("*.flac"))[::180]
    paths += sorted((real_corpora / "turev").rglob("*.flac"))[::800]
    paths += sorted((real_corpora / "ravdess").rglob("*.flac"))[::900]
    for path in paths:
        audio = decode(path)
        instants, summary = FEATURES.extract(audio.samples, audio.rate)
        descriptors, functionals = (oracle.process_file(str(path)).values for oracle in oracles)
        np.testing.assert_array_equal(summary, functionals[0])
        np.testing.assert_array_equal(instants, pool(descriptors, INSTANTS))


def test_the_rate_of_the_file_is_used(oracles):
    signal = voice(150, 0.5, rate=44_100)
    _, summary = FEATURES.extract(signal, 44_100)
    np.testing.assert_array_equal(summary, oracles[1].process_signal(signal, 44_100).values[0])


@pytest.mark.parametrize("count", [1, 160, 500, 960, 1600, 8000])
@pytest.mark.parametrize("signal", [np.zeros(8000, np.float32), sine(200, 0.5)])
def test_any_clip_is_finite(count: int, signal: np.ndarray):
    instants, summary = FEATURES.extract(signal[:count], RATE)
    assert instants.shape == (INSTANTS, 25)
    assert summary.shape == (88,)
    assert instants.dtype == summary.dtype == np.float32
    assert np.isfinite(instants).all()
    assert np.isfinite(summary).all()


def test_nothing_is_left_over_from_the_utterance_before():
    first = FEATURES.extract(voice(120, 0.4), RATE)
    FEATURES.extract(sine(300, 0.02), RATE)
    FEATURES.extract(voice(310, 0.6), RATE)
    second = FEATURES.extract(voice(120, 0.4), RATE)
    for one, other in zip(first, second, strict=True):
        assert one.tobytes() == other.tobytes()
