import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from signals import RATE, sine, voice

from clser_bench.corpora.audio import decode
from clser_bench.errors import MissingExtraError
from clser_bench.features import opensmile as subject
from clser_bench.features.columns import INSTANTS, opensmile_columns, pool
from clser_bench.hashing import generator

INSTANT_NAMES, SUMMARY_NAMES = opensmile_columns("compare16")

opensmile = pytest.importorskip("opensmile", reason="the extra opensmile is not installed")


@pytest.fixture(scope="module")
def oracles():
    return [
        opensmile.Smile(feature_set=opensmile.FeatureSet.ComParE_2016, feature_level=level)
        for level in (
            opensmile.FeatureLevel.LowLevelDescriptors,
            opensmile.FeatureLevel.LowLevelDescriptors_Deltas,
            opensmile.FeatureLevel.Functionals,
        )
    ]


def speechlike(rate: int, *, amplitude: float = 1.0) -> np.ndarray:
    """Two pitches, a pause and noise, so that no column is constant."""
    noise = generator("test_compare16").normal(size=round(0.7 * rate)).astype(np.float32)
    buzz = np.concatenate(
        [
            voice(140, 0.25, rate=rate),
            np.zeros(round(0.1 * rate), np.float32),
            voice(230, 0.35, rate=rate),
        ]
    )
    return (amplitude * (buzz + 0.01 * noise[: len(buzz)])).astype(np.float32)


def assert_equals(oracles, samples: np.ndarray, rate: int):
    instants, summary = subject.extract("compare16", samples, rate)
    descriptors, deltas, functionals = (
        oracle.process_signal(samples, rate).values for oracle in oracles
    )
    np.testing.assert_array_equal(summary, functionals[0])
    # The deltas go on for two frames after the last descriptor; an instant has both.
    assert len(deltas) == len(descriptors) + 2
    np.testing.assert_array_equal(
        instants, pool(np.hstack([descriptors, deltas[: len(descriptors)]]), INSTANTS)
    )
    assert np.isfinite(instants).all()
    assert np.isfinite(summary).all()


def test_names_are_those_of_opensmile(oracles):
    descriptors, deltas, functionals = (tuple(oracle.feature_names) for oracle in oracles)
    assert descriptors + deltas == INSTANT_NAMES
    assert functionals == SUMMARY_NAMES
    assert len(INSTANT_NAMES) == 130
    assert len(SUMMARY_NAMES) == 6373


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_equals_opensmile_at_the_rate_of_the_file(oracles, rate: int):
    assert_equals(oracles, speechlike(rate), rate)


@pytest.mark.parametrize("count", [960, 1100, 1600, 3200])
def test_equals_opensmile_on_short_clips(oracles, count: int):
    assert_equals(oracles, speechlike(RATE)[:count], RATE)


@pytest.mark.real_speech
def test_equals_opensmile_on_speech(oracles, real_corpora: Path):
    paths = sorted((real_corpora / "emodb" / "wav").glob("*.flac"))[:1]
    turkish = sorted((real_corpora / "turev").rglob("*.flac"))
    paths += sorted(turkish, key=lambda path: path.stat().st_size)[:3]
    for path in paths:
        audio = decode(path)
        assert_equals(oracles, audio.samples, audio.rate)


def test_a_clip_shorter_than_a_frame_is_padded_on_both_sides():
    clip = voice(150, 0.05)
    padded = np.pad(clip, (400, 400))
    for own, other in zip(
        subject.extract("compare16", clip, RATE),
        subject.extract("compare16", padded, RATE),
        strict=True,
    ):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("count", [1, 160, 500, 959, 960, 1600, 8000])
@pytest.mark.parametrize("kind", ["silence", "constant", "click", "noise", "clipped", "tone"])
def test_any_clip_is_finite(count: int, kind: str):
    noise = generator("test_compare16", kind).normal(size=count)
    signals = {
        "silence": np.zeros(count),
        "constant": np.full(count, 0.5),
        "click": np.eye(1, count, count // 2)[0],
        "noise": 0.1 * noise,
        "clipped": 50 * noise,
        "tone": sine(200)[:count],
    }
    instants, summary = subject.extract("compare16", signals[kind].astype(np.float32), RATE)
    assert instants.shape == (INSTANTS, 130)
    assert summary.shape == (6373,)
    assert instants.dtype == summary.dtype == np.float32
    assert np.isfinite(instants).all()
    assert np.isfinite(summary).all()


def test_nothing_is_left_over_from_what_ran_before():
    first = subject.extract("compare16", speechlike(RATE), RATE)
    subject.extract("compare16", sine(300, 0.02), RATE)
    subject.extract("compare16", voice(310, 0.6), RATE)
    subject.extract("egemaps", voice(200, 0.3), RATE)
    subject.extract("compare16", voice(310, 0.2, rate=8_000), 8_000)
    second = subject.extract("compare16", speechlike(RATE), RATE)
    for one, other in zip(first, second, strict=True):
        assert one.tobytes() == other.tobytes()


def test_its_names_load_no_audio_library():
    code = (
        "import sys; import clser_bench.features.columns;"
        "print([m for m in ('torch', 'torchaudio', 'opensmile', 'soundfile') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert answer.stdout.strip() == "[]"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'compare16'.*clser-bench\[opensmile\]"):
        subject.extract("compare16", sine(200), RATE)
