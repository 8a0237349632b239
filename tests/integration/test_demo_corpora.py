"""The demo corpora as a whole: read like any corpus, sounding as the rules say, neither trivial
nor hopeless."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score

from clser_bench.corpora.definitions import classes_of, definitions
from clser_bench.corpora.locate import load_corpora, locate
from clser_bench.corpora.model import Corpus
from clser_bench.demo import demo_corpora, synthesis
from clser_bench.demo.synthesis import takes
from clser_bench.features.sets import feature_set

CODES = definitions().suites["demo"].corpora
THIRD = {code: takes()[code][::3] for code in CODES}
"""Of the utterances that `test_demo` plans; the default tier makes no more."""

AGAIN = """
import hashlib, io, sys, soundfile
from clser_bench.demo.synthesis import LANGUAGES, RATE, record, synthesise, takes
for language in reversed(LANGUAGES):
    wanted = takes()[language.code][::3][::-13]
    for take, spoken in zip(wanted, synthesise([take.request for take in wanted])):
        file = io.BytesIO()
        heard = record(spoken, take=take, channel=language.channel)
        soundfile.write(file, heard, RATE, subtype="PCM_16", format="WAV")
        print(language.code, take.name, hashlib.sha256(file.getvalue()).hexdigest())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "takes", lambda: THIRD)
        return demo_corpora(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def corpora(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    return load_corpora(place, cache=tmp_path_factory.mktemp("cache"), workers=1)


def test_found_and_complete(place: Path, corpora: dict[str, Corpus]) -> None:
    assert set(locate(place).listings) == set(CODES)
    for code, corpus in corpora.items():
        assert {item.name for item in corpus.utterances} == {take.name for take in THIRD[code]}
        assert len(set(corpus.speakers)) == 6
        assert len({utterance.content for utterance in corpus.utterances}) == len(THIRD[code]) >= 40
        for utterance in corpus.utterances[::10]:
            info = soundfile.info(utterance.path)
            assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
            assert 0.4 < info.duration < 5


def test_same_bytes_in_another_process_and_order(place: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True, env=environment
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) > 10
    for code, name, digest in lines:
        file = place / definitions().corpora[code].name / name
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest, name


def semitones(samples: np.ndarray) -> float:
    """Median pitch over the voiced frames, by autocorrelation; semitones above 1 Hz."""
    low = signal.sosfilt(signal.butter(4, 900, fs=16_000, output="sos"), samples)
    frames = np.lib.stride_tricks.sliding_window_view(low, 800)[::400]
    frames = frames[np.square(frames).mean(1) > 0.2 * np.square(low).mean()]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(800), 2048)) ** 2
    lags = np.fft.irfft(spectra)[:, 32:229]  # 70 to 500 Hz
    return float(12 * np.log2(16_000 / (32 + np.median(lags.argmax(1)))))


@pytest.fixture(scope="module")
def heard(place: Path) -> dict[str, dict[str, np.ndarray]]:
    """Mean level (dB), pitch (semitones) and duration (s) by corpus and emotion."""
    found = {}
    for code in CODES:
        rows: dict[str, list[tuple[float, ...]]] = {}
        for take in THIRD[code]:
            samples, _ = soundfile.read(place / definitions().corpora[code].name / take.name)
            level = 10 * np.log10(np.mean(samples**2))
            rows.setdefault(take.emotion, []).append(
                (level, semitones(samples), len(samples) / 16_000)
            )
        found[code] = {emotion: np.mean(values, axis=0) for emotion, values in rows.items()}
    return found


def test_emotions_sound_as_the_rules_say(heard) -> None:
    level, pitch, duration = 0, 1, 2
    for by in heard.values():
        assert by["anger"][level] > by["neutral"][level] + 2
        assert by["sadness"][level] < by["neutral"][level] - 2
        assert by["fear"][pitch] > by["sadness"][pitch] + 1
        assert by["happiness"][pitch] > by["sadness"][pitch] + 1
        assert by["sadness"][duration] > 1.1 * by["neutral"][duration]
        assert by["fear"][duration] < 0.95 * by["neutral"][duration]


@pytest.mark.slow
def test_every_pair_is_neither_trivial_nor_hopeless(tmp_path: Path) -> None:
    place = demo_corpora(tmp_path)
    acoustic = feature_set("acoustic")
    tables = {}
    for code in CODES:
        x = []
        for take in takes()[code]:
            path = place / definitions().corpora[code].name / take.name
            samples, rate = soundfile.read(path, dtype="float32")
            x.append(acoustic.extract(samples, rate)[1])
        values = np.array(x, dtype=float)
        values = np.clip((values - values.mean(0)) / (values.std(0) + 1e-6), -5, 5)
        tables[code] = values, np.array([take.emotion for take in takes()[code]])
    scores = {
        pair: uar(tables, pair.source, pair.target) for pair in definitions().suites["demo"].pairs()
    }
    assert min(scores.values()) > 32, scores
    assert max(scores.values()) < 75, scores
    assert np.std(list(scores.values())) > 3


def uar(tables: dict, source: str, target: str) -> float:
    """UAR in percent of logistic regression on all labels of the source."""
    classes = classes_of(definitions().corpora[source], definitions().corpora[target])
    (x, y), (test_x, test_y) = tables[source], tables[target]
    use, ask = np.isin(y, classes), np.isin(test_y, classes)
    model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=500).fit(x[use], y[use])
    return 100 * recall_score(test_y[ask], model.predict(test_x[ask]), average="macro")
