from collections.abc import Sequence

import numpy as np
import pytest

from clser_bench.features.columns import ACOUSTIC_INSTANTS, ACOUSTIC_SUMMARY, active, summarise


def summary_of(voiced: list[bool], **columns: Sequence[float]) -> dict[str, float]:
    frames = np.zeros((len(voiced), len(ACOUSTIC_INSTANTS)), np.float32)
    for name, values in columns.items():
        frames[:, ACOUSTIC_INSTANTS.index(name)] = values
    summary = summarise(frames, np.array(voiced))
    assert summary.shape == (len(ACOUSTIC_SUMMARY),)
    return dict(zip(ACOUSTIC_SUMMARY, summary.tolist(), strict=True))


def test_the_active_stretch_runs_from_the_first_to_the_last_loud_frame():
    level = np.array([-90, -50, -10, -80, -49.9, -51, -90], np.float32)
    assert active(level) == slice(1, 5)
    assert active(np.full(3, -100, np.float32)) == slice(0, 3)


def test_means_deviations_and_percentiles():
    summary = summary_of([True] * 5, level=[1, 2, 3, 4, 10], mel01=[2, 2, 2, 2, 2])
    assert summary["mean_level"] == 4
    assert summary["sd_level"] == pytest.approx(np.sqrt(10))
    assert summary["p20_level"] == pytest.approx(1.8)
    assert summary["p50_level"] == 3
    assert summary["p80_level"] == pytest.approx(5.2)
    assert (summary["mean_mel01"], summary["sd_mel01"]) == (2, 0)


def test_pitch_counts_where_voiced_only():
    summary = summary_of(
        [True, True, False, True, True], pitch=[1, 2, 9, 4, 3], centroid=[1, 1, 5, 1, 1]
    )
    assert summary["mean_pitch"] == 2.5
    assert summary["p50_pitch"] == 2.5
    assert summary["rise_pitch"] == pytest.approx(100)  # one octave in one step of 10 ms
    assert summary["fall_pitch"] == pytest.approx(-100)
    assert summary["voiced_centroid"] == 1
    assert summary["mean_centroid"] == pytest.approx(1.8)


def test_changes():
    summary = summary_of([False] * 4, mfcc03=[0, 2, 1, 1], level=[0, 3, 1, 1])
    assert summary["delta_mfcc03"] == pytest.approx(100)
    assert summary["rise_level"] == pytest.approx(300)
    assert summary["fall_level"] == pytest.approx(-200)


def test_timing():
    voiced = [True, True, False, True, False, False, True, True]
    summary = summary_of(voiced, level=[0, 0, 0, -25, -24, 0, 0, 0])
    assert summary["log2_seconds"] == pytest.approx(np.log2(0.08))
    assert summary["voiced_share"] == 0.625
    assert summary["pause_share"] == 0.125
    assert summary["voiced_seconds"] == pytest.approx(0.05 / 3)
    assert summary["unvoiced_seconds"] == pytest.approx(0.015)
    assert summary["voiced_rate"] == pytest.approx(3 / 0.08)


def test_peaks_are_counted_once_a_syllable():
    time = np.arange(200) * 0.01
    loudness = 1 + np.sin(2 * np.pi * 4 * time - np.pi / 2)
    summary = summary_of([True] * 200, loudness=loudness.tolist())
    assert summary["peak_rate"] == pytest.approx(4)


def test_a_single_unvoiced_frame():
    summary = summary_of([False], level=[-30])
    assert np.isfinite(list(summary.values())).all()
    assert summary["rise_level"] == summary["voiced_seconds"] == summary["peak_rate"] == 0
