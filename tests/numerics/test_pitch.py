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
    signal = sum(np.sin(h * phase) / h for h in (1, 2, 3, 4)).astype(np.float32) / 4
    contour = follow(signal)
    centres = (FRAME / 2 + HOP * np.arange(len(contour.hertz))) / RATE
    np.testing.assert_allclose(contour.hertz[3:-3], (120 * 2**centres)[3:-3], rtol=0.01)


def test_noise_and_silence_are_unvoiced():
    noise = np.random.default_rng(1).normal(scale=0.1, size=RATE).astype(np.float32)
    assert (follow(noise).hertz > 0).mean() < 0.05
    silent = follow(np.zeros(RATE, np.float32))
    assert not silent.hertz.any()
    assert not silent.voicing.any()


def test_pauses_between_tones_are_unvoiced():
    gap = np.zeros(RATE // 4, np.float32)
    contour = follow(np.concatenate([voice(120, 0.3), gap, voice(240, 0.3)]))
    assert not contour.hertz[35:50].any()
    np.testing.assert_allclose(contour.hertz[3:25], 120, rtol=0.005)
    np.testing.assert_allclose(contour.hertz[60:-4], 240, rtol=0.005)


@pytest.mark.real_speech
@pytest.mark.filterwarnings("default")
def test_agrees_with_opensmile_on_speech(real_corpora):
    pytest.importorskip("opensmile")
    from clser_bench.corpora.audio import decode
    from clser_bench.features.columns import opensmile_columns
    from clser_bench.features.opensmile import process

    column = opensmile_columns("egemaps")[0].index("F0semitoneFrom27.5Hz_sma3nz")
    ours, theirs = [], []
    for path in sorted((real_corpora / "emodb" / "wav").glob("*.flac"))[::90]:
        audio = decode(path)
        semitones = process("egemaps", audio.samples, audio.rate)[0][:, column]
        hertz = follow(audio.samples).hertz
        # Their frames are 60 ms long, ours 25: theirs is centred two hops later.
        count = min(len(semitones), len(hertz) - 2)
        ours.append(hertz[2 : 2 + count])
        theirs.append(np.where(semitones > 0, 27.5 * 2 ** (semitones / 12), 0)[:count])
    own, other = np.concatenate(ours), np.concatenate(theirs)
    both = (own > 0) & (other > 0)
    distance = np.abs(np.log2(own[both] / other[both]))
    assert ((own > 0) == (other > 0)).mean() > 0.85
    assert np.median(distance) < 0.02
    assert (distance > 0.263).mean() < 0.03
