"""The values of the feature sets, pinned. If one of these fails, raise the set's VERSION.

The signal: a gliding buzz with a pause and noise at the end. The figures were printed by
`feature_set("acoustic").extract(golden_signal(), 16000)`.
"""

from pathlib import Path

import numpy as np
import pytest

from clser_bench.features.encoders.models import Encoder
from clser_bench.features.sets import feature_set, layer_set
from clser_bench.hashing import generator

RATE = 16_000

KEYS = {
    "acoustic": "d6325d59d4db463cf8f751aabcbb24291706ebc1d53716f3948431076d262fbf",
    "egemaps": "855a2d3f5a19fd2a3ce275ebd23908a5e268a92b171e2e5f038d9ba6ec66b358",
    "compare16": "86d4186f942605767d7a7961622fb8cd052b4fcc6c0708d5e01a65d4ef584d6c",
    "minimal": "875bc367f3ca2163f09a66545516cf604b291099f0483598acfe0f58bbdfeed5",
    "mel": "ea95e7ec64e70a0e723f4a671b9e28c3ee456dc1db25960903f0d504f8e81fa0",
    "mfcc": "1854f013578a198d102afa95de47bf4bbd7e059ffc3f2b2149977027e881f9b4",
    "prosody": "fa8d456e0d2e5d2aa92a118f1b871359e29fa4ef7d8332b1cd7ade5e624e72ce",
}
ENCODER_KEY = "dc8348a561d9990997b5d625aa6c46fe5c8076cedddfdd9b8375f8e083d61533"

SUMMARY = """
    mean_mel13 -53.8562, mean_mfcc02 -29.6445, mean_pitch 0.0613, mean_voicing 0.682,
    mean_level -34.3572, mean_loudness 1.0887, mean_centroid 0.9755, mean_spread 0.7621,
    mean_rolloff 1.5592, mean_slope_low 17.7629, mean_slope_high -7.0575, mean_hammarberg 20.4757,
    mean_flux 0.1728, mean_flatness -36.6525, sd_mel13 20.0782, sd_mfcc02 23.0573, sd_pitch 0.1444,
    sd_voicing 0.4419, sd_level 21.3442, sd_loudness 0.739, sd_centroid 1.4229, sd_spread 0.7023,
    sd_rolloff 2.3893, sd_slope_low 40.5137, sd_slope_high 4.9517, sd_hammarberg 11.841,
    sd_flux 0.2558, sd_flatness 19.6394, voiced_mfcc02 -42.3925, voiced_centroid 0.3735,
    voiced_spread 0.444, voiced_rolloff 0.5406, voiced_slope_low 39.1892, voiced_slope_high -9.5851,
    voiced_hammarberg 21.8836, voiced_flux 0.074, voiced_flatness -48.0982, delta_mfcc02 342.9906,
    rise_pitch 0.4964, fall_pitch 0.0, rise_level 319.391, fall_level -371.0656, log2_seconds 0.516,
    voiced_share 0.6993, pause_share 0.2378, voiced_seconds 1.0, unvoiced_seconds 0.43,
    voiced_rate 0.6993, peak_rate 2.7972
"""

INSTANTS = {
    "mel01": [-20.8802, -20.4813, -24.4199, -98.5866],
    "mel20": [-98.5866, -98.5866, -51.4205, -98.5866],
    "mfcc05": [-20.2814, -22.4009, -12.9769, 0.0],
    "pitch": [-0.176, -0.0013, 0.1784, 0.3057],
    "voicing": [0.9896, 0.9975, 0.9973, 0.0],
    "level": [-17.0957, -15.2428, -16.2981, -82.1666],
    "loudness": [1.7764, 2.1329, 2.0711, 0.001],
    "centroid": [0.3152, 0.3559, 0.4031, 0.0483],
    "flux": [0.0392, 0.0473, 0.048, 0.0],
}


def golden_signal() -> np.ndarray:
    time = np.arange(RATE) / RATE
    phase = 2 * np.pi * np.cumsum(140 * 2 ** (time / 2)) / RATE
    buzz = sum(np.sin(h * phase) / h for h in range(1, 20)) * (0.1 + 0.1 * np.sin(20 * time))
    noise = generator("golden", "noise").normal(scale=0.02, size=RATE // 4)
    return np.concatenate([buzz, np.zeros(RATE // 5), noise]).astype(np.float32)


def test_an_encoders_name_and_key():
    encoder = Encoder(
        name="facebook/hubert-large-ll60k",
        revision="ff022d095678a2995f3c49bab18a96a9e553f782",
        content="0" * 64,
        family="hubert",
        layers=24,
        size=4,
        rate=16000,
        folder=Path("anywhere"),
    )
    features = layer_set(encoder, 12, "float32")
    revision = "ff022d095678a2995f3c49bab18a96a9e553f782"
    assert features.name == f"hf:facebook/hubert-large-ll60k@{revision}:layer=12"
    assert features.key == ENCODER_KEY


@pytest.mark.parametrize("name", KEYS)
def test_names_and_parameters(name: str):
    assert feature_set(name).key == KEYS[name]


def test_acoustic_values():
    features = feature_set("acoustic")
    instants, summary = features.extract(golden_signal(), RATE)
    for name, value in (item.split() for item in SUMMARY.split(",")):
        got = summary[features.summary.index(name)]
        assert got == pytest.approx(float(value), rel=2e-3, abs=2e-3), name
    for name, values in INSTANTS.items():
        got = instants[::8, features.instants.index(name)]
        np.testing.assert_allclose(got, values, rtol=2e-3, atol=2e-3, err_msg=name)
