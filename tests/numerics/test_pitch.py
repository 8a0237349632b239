import numpy as np
import pytest
import torch

from clser_bench.features.acoustic import FRAME, HOP, pitch
from tests.signals import RATE, sine, voice


def follow(samples: np.ndarray):
    frames = 1 + (len(samples) - FRAME) // HOP
    with torch.inference_mode():
        return pitch(torch.from_numpy(samples.copy()), frames)


@pytest.mark.parametrize("hertz", [75, 90, 123.4, 160, 220, 317, 440, 580])
@pytest.mark.parametrize("make", [sine, voice])
def test_tones(hertz: float, make):
    contour = follow(make(hertz, 0.5))
    np.testing.assert_allclose(contour.hertz[3:-3], hertz, rtol=0.005)
    assert contour.voicing[3:-3].min() > 0.95


def test_neither_a_missing_fundamental_nor_loudness_matters():
    for samples in (voice(150, 0.5, first=3), voice(150, 0.5) / 256):
        np.testing.assert_allclose(follow(samples).hertz[3:-3], 150, rtol=0.005)


def test_a_glide_is_followed():
    time = np.arange(RATE) / RATE
    hertz = 120 * 2**time  # one octave in a second
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    signal = np.sum([np.sin(h * phase) / h for h in (1, 2, 3, 4)], axis=0) / 4
    contour = follow(signal.astype(np.float32))
    centres = (FRAME / 2 + HOP * np.arange(len(contour.hertz))) / RATE
    np.testing.assert_allclose(contour.hertz[3:-3], (120 * 2**centres)[3:-3], rtol=0.01)


def test_noise_and_silence_are_unvoiced():
    noise = np.random.default_rng(1).normal(scale=0.1, size=RATE).astype(np.float32)
    assert (follow(noise).hertz > 0).mean() < 0.05
    silent = follow(np.zeros(RATE, np.float32))
    assert not silent.hertz.any()
    assert not silent.voicing.any()


def test_pauses_between_tones_are_unvoiced():
    low = np.pad(voice(120, 0.3), (0, RATE // 4))
    contour = follow(np.concatenate([low, voice(240, 0.3)]))
    assert not contour.hertz[35:50].any()
    np.testing.assert_allclose(contour.hertz[3:25], 120, rtol=0.005)
    np.testing.assert_allclose(contour.hertz[60:-4], 240, rtol=0.005)
