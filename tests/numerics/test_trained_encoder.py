"""Trained weights (Whisper base): batches, contexts, and the values of a known signal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clser_bench.corpora.audio import decode
from clser_bench.features.encoders import whisper
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.encoders.models import Encoder, find_encoder, parse
from tests.signals import RATE, voice

LAYERS = tuple(range(7))

GOLDEN = {
    "padded": [
        *(-0.11257, 0.903012, 0.437934, 0.709729, 0.42341, 0.711841, 0.0919435),
        *(0.746116, -0.646279, 0.873368, 0.357407, 1.25374, -1.18469, 1.30609),
    ],
    "own": [
        *(-0.11257, 0.903012, 0.436182, 0.701871, 0.448633, 0.6907, 0.144384),
        *(0.738363, -0.394436, 0.851802, 0.700645, 1.21805, -0.652087, 1.39406),
    ],
    "30s": [
        *(-0.11257, 0.903012, 0.438297, 0.709697, 0.422792, 0.711829, 0.0932672),
        *(0.745555, -0.592673, 0.869647, 0.396176, 1.24629, -1.15944, 1.31832),
    ],
}
"""Of `signal()`, at layers 0 to 6: mean of the states' first column, and their root mean square."""


@pytest.fixture(scope="module")
def encoder(trained_encoders: Path) -> Encoder:
    return find_encoder(parse(f"hf:{trained_encoders / 'whisper-base'}"))


@pytest.fixture(scope="module")
def load(encoder: Encoder) -> Callable[[str], Loaded]:
    """All layers in a context, loaded once."""
    return functools.cache(lambda context: Loaded(encoder, LAYERS, context=context))


@pytest.fixture(scope="module")
def padded(load: Callable[[str], Loaded]) -> Loaded:
    return load("padded")


def signal() -> np.ndarray:
    """Two voices and a pause, 1.1 s."""
    pause = np.zeros(RATE // 5, np.float32)
    return np.concatenate([voice(140, 0.5), pause, voice(220, 0.4)])


def states(subject: Loaded, *utterances: np.ndarray) -> list[list[np.ndarray]]:
    return subject.run([subject.prepare(samples)[0] for samples in utterances])


def means(subject: Loaded, utterances: list[np.ndarray]) -> np.ndarray:
    """[n, layers, d]."""
    found = states(subject, *utterances)
    return np.array([[frames.mean(axis=0) for frames in one] for one in found])


@pytest.mark.parametrize("context", ["padded", "own", "30s"])
def test_values_of_a_known_signal(load: Callable[[str], Loaded], context: str) -> None:
    found = states(load(context), signal())[0]
    assert {len(frames) for frames in found} == {55}
    digest = [x for f in found for x in (f[:, 0].mean(), np.sqrt(np.square(f).mean()))]
    np.testing.assert_allclose(digest, GOLDEN[context], rtol=1e-3, atol=1e-3)


def test_without_padding_all_contexts_are_one(encoder: Encoder) -> None:
    samples = np.resize(signal(), round(29.95 * RATE))
    near, far = (Loaded(encoder, (1,), context=context) for context in ("padded", "30s"))
    one, other = (states(subject, samples)[0][0] for subject in (near, far))
    assert np.abs(one - other).max() < 2e-3 * np.abs(other).max()


@pytest.mark.slow
@pytest.mark.real_speech
def test_padded_is_near_the_window_of_30_s_and_own_frames_alone_are_not(
    load: Callable[[str], Loaded], padded: Loaded, real_corpora: Path
) -> None:
    paths = sorted((real_corpora / "emodb" / "wav").glob("*.flac"))[::180]
    paths += sorted((real_corpora / "turev").rglob("*.flac"))[::800]
    speech = [decode(path, rate=RATE).samples for path in paths]
    whole = np.concatenate([means(load("30s"), [one]) for one in speech])
    assert (cosines(means(padded, speech), whole) >= 0.99).all()
    assert (cosines(means(load("own"), speech), whole)[2:] < 0.95).all()


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean cosine of centred utterances at each layer."""
    first, second = one - other.mean(axis=0), other - other.mean(axis=0)
    lengths = np.linalg.norm(first, axis=2) * np.linalg.norm(second, axis=2)
    return ((first * second).sum(axis=2) / lengths).mean(axis=0)


def test_keys_and_values_beyond_their_share_of_memory_lie_in_a_file(
    encoder: Encoder, padded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper, "KEPT_BYTES", 0)
    subject = Loaded(encoder, (3,), context="padded")
    one, other = states(subject, signal())[0][0], states(padded, signal())[0][3]
    assert np.abs(one - other).max() < 1e-4 * np.abs(other).max()
