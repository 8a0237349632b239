"""Voice quality against signals whose quality is known, and against openSMILE."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clser_bench.corpora.audio import decode
from clser_bench.features import acoustic, opensmile
from clser_bench.features.acoustic import harmonic_level, harmonic_spectrum, quality_columns
from clser_bench.features.columns import (
    ACOUSTIC_INSTANTS,
    ACOUSTIC_SUMMARY,
    MINIMAL_INSTANTS,
    MINIMAL_SUMMARY,
    QUALITY,
    opensmile_columns,
)
from clser_bench.hashing import generator
from tests.signals import RATE, voice


def columns(samples: np.ndarray) -> dict[str, np.ndarray]:
    """The quality of the voiced frames in the middle."""
    speech = acoustic.analyse(samples.astype(np.float32), RATE)
    made = quality_columns(speech.signal, speech.contour)
    middle = (speech.contour.hertz > 0) & (np.arange(len(made)) > 5)
    middle[-6:] = False
    assert middle.sum() > 20
    return {name: made[middle, place] for place, name in enumerate(QUALITY)}


def harmonics(levels: list[float], hertz: float = 200.0, seconds: float = 1.0) -> np.ndarray:
    """Harmonics of the given levels in dB."""
    time = np.arange(round(seconds * RATE)) / RATE
    parts = [
        10 ** (level / 20) * np.sin(2 * np.pi * hertz * (number + 1) * time + number)
        for number, level in enumerate(levels)
    ]
    return 0.05 * np.sum(parts, axis=0)


@pytest.mark.parametrize("gap", [-10.0, 0.0, 12.0])
def test_the_first_over_the_second_harmonic(gap: float):
    found = columns(harmonics([0.0, -gap, -20.0, -20.0]))["h1_h2"]
    np.testing.assert_allclose(found, gap, atol=0.5)


def test_the_first_harmonic_over_the_third_formants_range():
    levels = [0.0, -10.0, *[-60.0] * 10, -15.0, *[-60.0] * 3]  # number 13 is at 2.6 kHz
    np.testing.assert_allclose(columns(harmonics(levels))["h1_a3"], 15.0, atol=1.0)


@pytest.mark.parametrize("ratio", [5.0, 10.0, 20.0])
def test_the_ratio_of_harmonics_to_noise(ratio: float):
    tone = harmonics([0.0, -3.0, -6.0, -9.0])
    random = generator("quality", ratio)
    noise = random.standard_normal(len(tone))
    noise *= tone.std() / noise.std() * 10 ** (-ratio / 20)
    # Boersma's method finds the ratio within the band up to 6 kHz, which has three quarters of
    # the noise, and single frames scatter.
    found = np.median(columns(tone + noise)["hnr"])
    assert found == pytest.approx(ratio + 10 * np.log10(8 / 6), abs=1.5)


def test_gain_does_not_matter():
    loud, quiet = columns(voice(150)), columns(0.05 * voice(150))
    for name in QUALITY:
        np.testing.assert_allclose(loud[name], quiet[name], atol=0.05)


def test_the_other_columns_are_acoustics_own():
    samples = voice(180, 0.8)
    instants, summary = acoustic.extract("minimal", samples, RATE)
    whole_instants, whole = acoustic.extract("acoustic", samples, RATE)
    for place, name in enumerate(MINIMAL_INSTANTS[: -len(QUALITY)]):
        other = whole_instants[:, ACOUSTIC_INSTANTS.index(name)]
        assert np.array_equal(instants[:, place], other), name
    shared = [name for name in MINIMAL_SUMMARY if name in ACOUSTIC_SUMMARY]
    assert len(shared) == 105
    for name in shared:
        ours, theirs = MINIMAL_SUMMARY.index(name), ACOUSTIC_SUMMARY.index(name)
        assert summary[ours] == whole[theirs], name


@pytest.mark.real_speech
@pytest.mark.filterwarnings("default")
def test_pitch_and_quality_agree_with_opensmile_on_speech(real_corpora: Path):
    pytest.importorskip("opensmile")
    names = opensmile_columns("egemaps")[0]
    wanted = "F0semitoneFrom27.5Hz_sma3nz", "HNRdBACF_sma3nz", "logRelF0-H1-H2_sma3nz"
    files = sorted((real_corpora / "emodb").rglob("*.flac"))[::27][:20]
    assert len(files) == 20
    pitches, ratios, seconds = [], [], []
    for path in files:
        audio = decode(path)
        theirs, _ = opensmile.process("egemaps", audio.samples, audio.rate)
        semitones, noise, difference = theirs[:, [names.index(name) for name in wanted]].T
        speech = acoustic.analyse(audio.samples, audio.rate)
        hnr = quality_columns(speech.signal, speech.contour)[:, 0]
        # openSMILE's frames of 60 ms start at 0, ours of 25 ms: the same centre is two later.
        count = min(len(semitones), len(hnr) - 2)
        hertz = speech.contour.hertz[2 : 2 + count]
        other = np.where(semitones > 0, 27.5 * 2 ** (semitones / 12), 0)[:count]
        pitches.append(np.stack([hertz, other]))
        both = np.flatnonzero((hertz > 0) & (other > 0))
        both = both[np.abs(np.log2(hertz[both] / other[both])) < 1 / 12]
        # What openSMILE calls H1-H2 is the second harmonic over the third: with levels of 0, 0 and
        # -5 dB it gives 5, and 15 when the second is 10 dB higher.
        spectrum = harmonic_spectrum(speech.signal, both + 2)
        second, third = (harmonic_level(spectrum, torch.from_numpy(hertz[both]), n) for n in (2, 3))
        ratios.append(np.stack([hnr[both + 2], noise[both]]))
        seconds.append(np.stack([(second - third).numpy(), difference[both]]))
    own, other = np.hstack(pitches)
    voiced = (own > 0) & (other > 0)
    distance = np.abs(np.log2(own[voiced] / other[voiced]))
    assert ((own > 0) == (other > 0)).mean() > 0.85
    assert np.median(distance) < 0.02
    assert (distance > 0.263).mean() < 0.03
    assert sum(values.shape[1] for values in ratios) > 1000
    for pairs in (ratios, seconds):
        assert np.corrcoef(np.hstack(pairs))[0, 1] > 0.75
