"""The sets `egemaps` and `compare16` against openSMILE's own Python interface, byte for byte."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clser_bench.corpora.audio import decode
from clser_bench.features import opensmile as subject
from clser_bench.features.columns import INSTANTS, opensmile_columns, pool
from clser_bench.hashing import generator
from tests.signals import RATE, voice

opensmile = pytest.importorskip("opensmile", reason="the extra opensmile is not installed")


@dataclass
class Oracle:
    name: str
    levels: list[Any]
    sizes: tuple[int, int]

    def check(self, samples: np.ndarray, rate: int) -> None:
        instants, summary = subject.extract(self.name, samples, rate)
        *descriptors, functionals = (
            level.process_signal(samples, rate).values for level in self.levels
        )
        # Deltas go on for two frames after the last descriptor; an instant has both.
        assert all(len(one) == len(descriptors[0]) + 2 for one in descriptors[1:])
        count = len(descriptors[0])
        together = np.hstack([one[:count] for one in descriptors])
        np.testing.assert_array_equal(summary, functionals[0])
        np.testing.assert_array_equal(instants, pool(together, INSTANTS))
        assert np.isfinite(instants).all()
        assert np.isfinite(summary).all()


@pytest.fixture(scope="module", params=["egemaps", "compare16"])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    levels = ["LowLevelDescriptors", "Functionals"]
    name, sizes = "eGeMAPSv02", (25, 88)
    if request.param == "compare16":
        name, sizes = "ComParE_2016", (130, 6373)
        levels.insert(1, "LowLevelDescriptors_Deltas")
    made = [
        opensmile.Smile(
            feature_set=opensmile.FeatureSet[name], feature_level=opensmile.FeatureLevel[level]
        )
        for level in levels
    ]
    return Oracle(request.param, made, sizes)


def speechlike(rate: int) -> np.ndarray:
    """Two pitches, a pause and noise, so that no column is constant."""
    pause = np.zeros(round(0.1 * rate), np.float32)
    buzz = np.concatenate([voice(140, 0.25, rate=rate), pause, voice(230, 0.35, rate=rate)])
    noise = generator("test_compare16").normal(size=round(0.7 * rate)).astype(np.float32)
    return buzz + np.float32(0.01) * noise[: len(buzz)]


def test_names_are_those_of_opensmile(oracle: Oracle):
    *descriptors, functionals = (tuple(level.feature_names) for level in oracle.levels)
    instants, summary = opensmile_columns(oracle.name)
    assert sum(descriptors, ()) == instants
    assert functionals == summary
    assert (len(instants), len(summary)) == oracle.sizes


@pytest.mark.parametrize(
    ("rate", "count"),
    [(8_000, None), (16_000, None), (44_100, None), (16_000, 960), (16_000, 1100), (16_000, 3200)],
)
def test_equals_opensmile_at_the_rate_of_the_file(oracle: Oracle, rate: int, count: int | None):
    oracle.check(speechlike(rate)[:count], rate)


@pytest.mark.real_speech
def test_equals_opensmile_on_speech(oracle: Oracle, real_corpora: Path):
    paths = sorted((real_corpora / "emodb" / "wav").glob("*.flac"))[:1]
    turkish = sorted((real_corpora / "turev").rglob("*.flac"))
    paths += sorted(turkish, key=lambda path: path.stat().st_size)[:3]
    paths += sorted((real_corpora / "ravdess").rglob("*.flac"))[:1]
    for path in paths:
        audio = decode(path)
        oracle.check(audio.samples, audio.rate)


def test_a_clip_shorter_than_a_frame_is_padded_on_both_sides():
    clip = voice(150, 0.05)
    found, padded = (
        subject.extract("compare16", samples, RATE) for samples in (clip, np.pad(clip, (400, 400)))
    )
    for own, other in zip(found, padded, strict=True):
        np.testing.assert_array_equal(own, other)
