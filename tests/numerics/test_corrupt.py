"""Corruptions against what their definitions say, measured from the samples that come out."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from clser_bench.corpora import corrupt
from clser_bench.corpora.corrupt import KINDS, Corruption, corrupted, parse
from clser_bench.hashing import generator
from tests.signals import sine, voice

RATE = 16_000
ALL = parse(*KINDS)
NOISES = ("noise", "pink", "babble")
RANDOM = (*NOISES, "reverb")


def make(samples, name: str, *, rate: int = RATE, content: str = "an utterance"):
    return corrupted(samples, rate, parse(name)[0], content=content)


def added(samples, name: str, *, rate: int = RATE, content: str = "an utterance"):
    """What a corruption added, in float64."""
    made = make(samples, name, rate=rate, content=content)
    assert made.dtype == np.float32
    return made.astype(np.float64) - samples


def power(samples) -> float:
    return float(np.mean(np.asarray(samples, np.float64) ** 2))


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def chirp(seconds: float = 2.0, *, to: float = 7000.0) -> np.ndarray:
    """From 50 Hz up, linearly."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * signal.chirp(times, 50, seconds, to, phi=-90)).astype(np.float32)


def density(samples, *, rate: int = RATE):
    return signal.welch(samples, rate, nperseg=8192)


def slope(samples, *, rate: int) -> float:
    """DB a decade from 50 Hz to 7 kHz: densities of thirds of octaves against log frequency."""
    hertz, level = density(samples, rate=rate)
    edges = 50 * 2 ** (np.arange(int(3 * np.log2(7000 / 50)) + 1) / 3)
    means = [level[(hertz >= a) & (hertz < b)].mean() for a, b in pairwise(edges)]
    return float(np.polyfit(np.log10(edges[:-1]), 10 * np.log10(means), 1)[0])


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("ratio", [30, 20, 10, 0, -5])
@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_the_ratio_is_the_one_asked_for(kind: str, ratio: float, rate: int):
    # One second of a sine of power 0.1^2 / 2 between pauses of whole frames, on an offset.
    tone = sine(200, amplitude=0.1, rate=rate)
    pause = np.zeros(rate // 2, np.float32)
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(len(pause)).astype(np.float32)
    speech = np.concatenate([hiss, tone, pause]) + np.float32(0.05)
    noise = added(speech, f"{kind}:{ratio}", rate=rate)
    assert decibels(0.005 / power(noise)) == pytest.approx(ratio, abs=0.1)
    assert power(noise[: len(hiss)]) > 0.2 * power(noise)  # pauses are noisy as well


def test_pauses_do_not_count():
    tone = np.concatenate([np.zeros(16_000), sine(200, amplitude=0.1)])
    assert corrupt.active_power(tone, RATE) == pytest.approx(0.005, rel=1e-6)
    # A part 20 dB below the loudest counts, one 40 dB below does not: by hand.
    steps = np.concatenate([sine(200, amplitude=a) for a in (0.1, 0.01, 0.001)])
    assert corrupt.active_power(steps, RATE) == pytest.approx((0.005 + 0.00005) / 2, rel=1e-6)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_spectra_of_noise(rate: int):
    speech = sine(200, 20, amplitude=0.1, rate=rate)
    white, pink = (added(speech, name, rate=rate) for name in ("noise:0", "pink:0"))
    assert slope(white, rate=rate) == pytest.approx(0, abs=0.5)
    assert slope(pink, rate=rate) == pytest.approx(-10, abs=1)
    hertz, level = density(pink, rate=rate)
    inaudible, low = (level[(hertz > a) & (hertz < b)].mean() for a, b in ((0, 15), (20, 30)))
    assert inaudible < 0.05 * low


def test_white_noise_is_gaussian():
    noise = added(sine(200, 5), "noise:0")
    scaled = noise / noise.std()
    assert np.mean(scaled**4) == pytest.approx(3, abs=0.1)
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(0, abs=0.02)


def test_babble_has_spectrum_and_rhythm_of_speech():
    speech = sine(200, 30)
    noise = added(speech, "babble:0")
    hertz, level = density(noise)

    def near(f: float) -> float:
        return decibels(level[np.abs(hertz - f) < 0.06 * f].mean())

    # Table 3 of ANSI S3.5-1997, at 500 Hz 34.27 dB.
    for f, expected in ((1000, 25.01), (2000, 17.32), (4000, 9.33)):
        assert near(500) - near(f) == pytest.approx(34.27 - expected, abs=1)

    def swelling(samples) -> float:
        frames = (samples[: len(samples) // 800 * 800].reshape(-1, 800) ** 2).mean(axis=1)
        return float(frames.std() / frames.mean())

    # Six talkers, each of power g^2 with g normal: deviation of sqrt(2 / 6) of the mean.
    assert swelling(noise) == pytest.approx((2 / 6) ** 0.5, abs=0.15)
    assert swelling(added(speech, "noise:0")) < 0.1


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_a_room_rings_as_long_as_it_should(seconds: float, rate: int):
    start = 100
    impulse = np.zeros(start + 2 * round(seconds * rate), np.float32)
    impulse[start] = 0.5
    heard = make(impulse, f"reverb:{seconds}", rate=rate).astype(np.float64)
    decay = np.cumsum(heard[::-1] ** 2)[::-1][start + 1 :]  # Schroeder: what is still to come
    level = 10 * np.log10(np.maximum(decay / decay[0], 1e-12))
    falling = (level < -5) & (level > -35)
    rate_of_fall = np.polyfit(np.flatnonzero(falling) / rate, level[falling], 1)[0]
    assert -60 / rate_of_fall == pytest.approx(seconds, rel=0.15)
    # The direct sound keeps its place; Sabine: 16 pi RT60 / 16.1 as much energy comes after.
    assert np.argmax(np.abs(heard)) == start
    assert np.abs(heard[:start]).max() < 1e-6
    sabine = decibels(16 * np.pi * seconds / 16.1)
    assert decibels(decay[0] / heard[start] ** 2) == pytest.approx(sabine, abs=1)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 5.0])
def test_a_room_keeps_length_and_power(seconds: float):
    for speech in (voice(150, 0.7), chirp()):
        heard = make(speech, f"reverb:{seconds}")
        assert len(heard) == len(speech)
        assert power(heard) == pytest.approx(power(speech), rel=1e-5)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 48_000])
def test_a_telephone_passes_its_band_alone(rate: int):
    speech = (0.1 * np.random.default_rng(1).standard_normal(5 * rate)).astype(np.float32)
    heard = make(speech, "telephone:8", rate=rate)
    assert len(heard) == len(speech)
    hertz, before = signal.welch(speech, rate, nperseg=4096)
    after = signal.welch(heard, rate, nperseg=4096)[1]

    def change(low: float, high: float) -> float:
        band = (hertz >= low) & (hertz <= high)
        return decibels(after[band].sum() / before[band].sum())

    assert change(400, 3000) == pytest.approx(0, abs=0.5)
    assert change(20, 200) < -30
    assert change(3600, rate / 2) < -30
    # No delay: alike sample by sample within the band.
    inside = signal.butter(4, (500, 2500), "bandpass", fs=rate, output="sos")
    one, other = (signal.sosfiltfilt(inside, x) for x in (speech, heard))
    assert power(one - other) < 0.01 * power(one)


def test_mu_law_by_hand():
    # ln(1 + 255/2) / ln 256 = 0.87570, of 127 steps 111.2; (256^(111/127) - 1) / 255 = 0.49530.
    assert corrupt.mu_law(np.array([0.5]), bits=8)[0] == pytest.approx(0.4953, abs=5e-5)
    np.testing.assert_allclose(corrupt.mu_law(np.array([-1.0, 0.0, 1.0]), bits=3), [-1, 0, 1])
    # Three steps each way: 256^(1/3) = 6.3496, 256^(2/3) = 40.3175.
    values = np.unique(corrupt.mu_law(np.linspace(-1, 1, 9999), bits=3))
    third = [5.3496 / 255, 39.3175 / 255, 1]
    np.testing.assert_allclose(values, [*(-np.array(third))[::-1], 0, *third], atol=1e-6)


@pytest.mark.parametrize("bits", [8, 7, 6])
@pytest.mark.parametrize("level", [-12, -20, -26])
def test_mu_law_is_as_noisy_as_theory_has_it(bits: int, level: float):
    # Bennett: 6.02 b + 4.77 - 20 log10(ln(1 + mu)) dB, whatever the level (2^b - 1 steps here).
    speech = np.random.default_rng(2).uniform(-1, 1, 100_000) * 10 ** (level / 20) * 3**0.5
    error = corrupt.mu_law(speech, bits=bits) - speech
    steps = np.log2(2**bits - 2)
    expected = 6.02 * steps + 4.77 - 20 * np.log10(np.log(256))
    assert decibels(power(speech) / power(error)) == pytest.approx(expected, abs=1)


def test_fewer_bits_and_softer_recordings():
    speech = voice(150)
    errors = [power(added(speech, f"telephone:{bits}")) for bits in (8, 6, 4)]
    assert errors == sorted(errors)
    softer = make(speech * np.float32(1e-3), "telephone:4")
    np.testing.assert_allclose(softer, 1e-3 * make(speech, "telephone:4"), atol=1e-8)


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.9, 1.1, 1.25, 2.0])
def test_a_faster_tape_is_higher_and_shorter(factor: float):
    heard = make(sine(200, 2), f"speed:{factor}")
    assert len(heard) == pytest.approx(2 * RATE / factor, abs=1)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 20 * RATE))
    assert np.argmax(spectrum) / 20 == pytest.approx(200 * factor, abs=0.2)
    faster = make(chirp(to=3000), f"speed:{factor}")
    expected = 0.5 * signal.chirp(np.arange(len(faster)) * factor / RATE, 50, 2.0, 3000, phi=-90)
    inner = slice(500, -500)  # the edges ring
    np.testing.assert_allclose(faster[inner], expected[inner], atol=1e-3)


def test_gain_clips_at_full_scale():
    speech = np.array([0.1, -0.2, 0.5, -0.9], np.float32)
    np.testing.assert_allclose(make(speech, "gain:-20"), [0.01, -0.02, 0.05, -0.09], rtol=1e-6)
    np.testing.assert_allclose(make(speech, "gain:20"), [1, -1, 1, -1])
    np.testing.assert_allclose(make(speech, "gain:10")[:2], [0.316228, -0.632456], rtol=1e-5)


def test_clip_is_relative_to_the_peak():
    speech = np.array([0.1, -0.2, 0.01, -0.05], np.float32)
    np.testing.assert_allclose(make(speech, "clip:20"), [0.02, -0.02, 0.01, -0.02], rtol=1e-6)
    np.testing.assert_array_equal(make(speech, "clip:0"), speech)


@pytest.mark.parametrize("corruption", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_silence_and_very_short_speech(corruption: Corruption, rate: int):
    noise = np.random.default_rng(3).uniform(-0.1, 0.1, 1000).astype(np.float32)
    for count in (1, 2, 3, 7, 100, 1000):
        silent = corrupted(np.zeros(count, np.float32), rate, corruption, content="s")
        assert len(silent) >= 1
        assert not silent.any()
        for speech in (noise[:count], np.full(count, 1e-30, np.float32)):
            made = corrupted(speech, rate, corruption, content="s")
            assert made.dtype == np.float32
            assert np.isfinite(made).all()
            assert len(made) == count or (corruption.kind == "speed" and len(made))
    assert len(corrupted(noise[:0], rate, corruption, content="s")) == 0


@pytest.mark.parametrize("kind", NOISES)
def test_an_offset_alone_is_silence(kind: str):
    still = np.full(5000, 0.1, np.float32)
    np.testing.assert_array_equal(make(still, f"{kind}:-30"), still)


@pytest.mark.parametrize("corruption", ALL, ids=lambda one: one.name)
def test_the_same_bytes_again_however_they_lie(corruption: Corruption):
    speech = voice(150, 0.5)
    first = corrupted(speech, RATE, corruption, content="u")
    before = speech.copy()
    spaced, turned = np.stack([speech, speech], axis=1)[:, 1], speech[::-1].copy()[::-1]
    still = speech.copy()
    still.flags.writeable = False
    for same in (speech, speech.astype(np.float64), speech.astype(">f4"), spaced, still, turned):
        assert corrupted(same, RATE, corruption, content="u").tobytes() == first.tobytes()
    np.testing.assert_array_equal(speech, before)
    assert not np.shares_memory(first, speech)


@pytest.mark.parametrize("kind", RANDOM)
def test_other_utterances_and_levels_get_other_noise(kind: str):
    speech = voice(150, 0.5)
    level = KINDS[kind].defaults[0]
    one, other = (added(speech, f"{kind}:{level:g}", content=c) for c in "uv")
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.9
    assert abs(np.corrcoef(added(speech, "noise:10"), added(speech, "noise:20"))[0, 1]) < 0.05


def test_the_seed_is_the_utterance_and_the_name():
    speech = sine(200)
    numbers = generator("corruption", "noise:10", "abc").standard_normal(len(speech))
    noise = added(speech, "noise:10", content="abc")
    assert np.corrcoef(noise, numbers)[0, 1] == pytest.approx(1, abs=1e-6)
