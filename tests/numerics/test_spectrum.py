import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from clser_bench.features.acoustic import (
    FLOOR,
    FRAME,
    HOP,
    SIZE,
    decibel,
    level,
    mel_columns,
    power,
    shape_columns,
)
from clser_bench.features.columns import BANDS, SHAPE
from clser_bench.features.encoders.forward import import_transformers
from tests.signals import RATE, sine

BINS = SIZE // 2 + 1
KILOHERTZ = np.linspace(0, 8, BINS)


def noise(seconds: float = 0.5) -> torch.Tensor:
    values = np.random.default_rng(3).normal(scale=0.1, size=round(RATE * seconds))
    return torch.from_numpy(values.astype(np.float32))


def shape_of(spectrum: np.ndarray) -> dict[str, float]:
    row = shape_columns(torch.from_numpy(spectrum.astype(np.float32))[None])[0]
    return dict(zip(SHAPE, row.tolist(), strict=True))


def test_power_of_a_frame_adds_up_to_its_mean_square():
    samples = noise()
    spectrum = power(samples)
    assert spectrum.shape == (1 + (len(samples) - FRAME) // HOP, BINS)
    window = scipy.signal.get_window("hann", FRAME)
    for frame in (0, 7):
        part = samples.numpy()[frame * HOP : frame * HOP + FRAME] * window
        expected = np.square(part).sum() / np.square(window).sum()
        np.testing.assert_allclose(spectrum[frame].sum(), expected, rtol=1e-5)


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.001])
def test_level_of_a_tone_in_decibel(amplitude: float):
    loud = level(power(torch.from_numpy(sine(1000, amplitude=amplitude))))
    np.testing.assert_allclose(loud, 20 * np.log10(amplitude / np.sqrt(2)), atol=0.01)


def test_bands_and_loudness_are_those_of_transformers_filters():
    filters = import_transformers().audio_utils.mel_filter_bank(
        BINS, BANDS, 50.0, 7600.0, RATE, norm=None, mel_scale="htk"
    )
    spectrum = power(noise())
    log_mel, _, loudness = mel_columns(spectrum)
    bands = spectrum @ torch.from_numpy(filters).float()
    torch.testing.assert_close(log_mel, decibel(bands), atol=1e-3, rtol=0)
    torch.testing.assert_close(loudness[:, 0], (bands**0.3).sum(dim=1), rtol=1e-3, atol=0)


def test_cepstra_are_an_orthonormal_cosine_transform():
    log_mel, cepstra, _ = mel_columns(power(noise()))
    expected = scipy.fft.dct(log_mel.numpy(), type=2, norm="ortho", axis=1)[:, :13]
    np.testing.assert_allclose(cepstra, expected, atol=1e-3)


def test_log_mel_spans_80_decibel_at_most():
    log_mel, _, _ = mel_columns(power(torch.from_numpy(sine(300))))
    assert log_mel.max() - log_mel.min() == pytest.approx(80, abs=1e-3)


def test_shape_of_white_noise():
    shape = shape_of(np.ones(BINS))
    assert shape["centroid"] == pytest.approx(4, abs=1e-4)
    assert shape["spread"] == pytest.approx(np.std(KILOHERTZ), abs=1e-4)
    assert shape["rolloff"] == pytest.approx(0.85 * 8, abs=0.05)
    assert shape["flatness"] == pytest.approx(0, abs=1e-4)
    assert shape["hammarberg"] == pytest.approx(0, abs=1e-4)
    # bins of 31.25 Hz: 30 from 62.5 to 968.75 Hz, 128 from 1 to 4.97 kHz
    assert shape["alpha_ratio"] == pytest.approx(10 * np.log10(30 / 128), abs=1e-3)


def test_shape_of_a_single_bin():
    spectrum = np.zeros(BINS)
    spectrum[64] = 0.1  # 2 kHz
    shape = shape_of(spectrum)
    assert shape["centroid"] == pytest.approx(2, abs=1e-4)
    assert shape["spread"] == pytest.approx(0, abs=1e-3)
    assert shape["rolloff"] == pytest.approx(2, abs=1e-6)
    assert shape["hammarberg"] < -60


def test_slopes_of_a_falling_spectrum():
    shape = shape_of(10 ** (-12 * KILOHERTZ / 10))
    assert shape["slope_low"] == pytest.approx(-12, abs=1e-2)
    assert shape["slope_high"] == pytest.approx(-12, abs=1e-2)


def test_flux_of_equal_and_of_disjoint_spectra():
    spectrum = torch.zeros(3, BINS)
    spectrum[:2, 10] = 0.5
    spectrum[2, 99] = 0.5
    flux = shape_columns(spectrum)[:, SHAPE.index("flux")]
    torch.testing.assert_close(flux, torch.tensor([0.0, 0.0, 2**0.5]), atol=1e-3, rtol=0)


def test_silence_is_finite_and_white():
    spectrum = power(torch.zeros(RATE))
    shape = shape_of(spectrum[3].numpy())
    assert shape["flatness"] == pytest.approx(0, abs=1e-4)
    assert shape["centroid"] == pytest.approx(4, abs=1e-4)
    for columns in mel_columns(spectrum):
        assert torch.isfinite(columns).all()
    assert level(spectrum).max() == pytest.approx(10 * np.log10(FLOOR))
