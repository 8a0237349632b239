"""The demo corpora: planned and written on a handful of utterances, and as a whole.

The whole is read like any corpus, sounds as the rules say, and is neither trivial nor hopeless.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import MappingProxyType

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
from clser_bench.demo.synthesis import (
    LANGUAGES,
    PARAMETERS,
    RATE,
    RULES,
    Request,
    changes,
    record,
    takes,
)
from clser_bench.errors import CorpusError, MissingExtraError
from clser_bench.features.sets import feature_set
from clser_bench.protocol import EMOTIONS
from tests.signals import Events

SPECS, SUITE = definitions().corpora, definitions().suites["demo"]
CODES = SUITE.corpora
FEW = MappingProxyType({"DE": takes()["DE"][:2]})
THIRD = {code: takes()[code][::3] for code in CODES}
"""Of the utterances that are planned; the default tier makes no more."""

AGAIN = """
import hashlib, io, sys, soundfile
from clser_bench.demo.synthesis import LANGUAGES, RATE, record, synthesise, takes
for language in reversed(LANGUAGES):
    wanted = takes()[language.code][::3][::-13]
    for take, spoken in zip(wanted, synthesise([take.request for take in wanted])):
        file = io.BytesIO()
        sound = record(spoken, take=take, channel=language.channel)
        soundfile.write(file, sound, RATE, subtype="PCM_16", format="WAV")
        print(language.code, take.name, hashlib.sha256(file.getvalue()).hexdigest())
"""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be one corpus of two utterances."""
    monkeypatch.setattr(synthesis, "LANGUAGES", LANGUAGES[:1])
    monkeypatch.setattr(synthesis, "takes", lambda: FEW)


def test_suite_and_definitions_agree_with_what_is_made():
    assert tuple(language.code for language in LANGUAGES) == CODES
    for language in LANGUAGES:
        spec = SPECS[language.code]
        assert spec.synthetic
        assert set(language.voices) == set(spec.genders)
        assert len(language.voices) == spec.speakers == 6
        planned = takes()[language.code]
        assert Counter(take.emotion for take in planned) == spec.counts
        assert len({take.name for take in planned}) == len(planned) >= 120
    shared = {classes_of(SPECS[pair.source], SPECS[pair.target]) for pair in SUITE.pairs()}
    assert min(map(len, shared)) == 5
    assert len(shared) > 1


def test_rules_speak_of_known_things_once():
    assert {rule["emotion"] for rule in RULES} <= set(EMOTIONS) - {"neutral"}
    assert {rule["parameter"] for rule in RULES} == set(PARAMETERS)
    assert len({(rule["emotion"], rule["parameter"]) for rule in RULES}) == len(RULES)
    assert {rule["source"] for rule in RULES} == {"BS1996", "BS2000", "MA1993", "SC2003", "SR2001"}
    assert set(changes("neutral").values()) == {0.0}
    assert changes("sadness")["loudness"] < 0 < changes("anger")["loudness"]


def request(voice: str, text: str) -> Request:
    return Request(voice=voice, text=text, rate=175, pitch=50, range=50, seed=1)


def test_every_voice_sounds_different():
    requests = [
        request(f"{language.language}+{voice['variant']}", language.sentences[0])
        for language in LANGUAGES
        for voice in language.voices.values()
    ]
    spoken = synthesis.synthesise(requests)
    assert len({samples.tobytes() for samples in spoken}) == len(requests)
    assert all(0.4 < len(samples) / synthesis.SPOKEN_RATE < 5 for samples in spoken)
    with pytest.raises(CorpusError, match="xx-none"):
        synthesis.synthesise([request("xx-none", "a")])


@pytest.mark.parametrize("channel", ["telephone", "room", "clean", "noise"])
@pytest.mark.parametrize("amplitude", [8000, 0])
def test_recording_is_finite_within_bounds_and_at_its_rate(channel, amplitude):
    take = takes()["DE"][0]
    spoken = (amplitude * np.sin(np.arange(synthesis.SPOKEN_RATE) / 20)).astype(np.int16)
    recorded = record(spoken, take=take, channel=channel)
    assert len(recorded) == RATE
    assert np.isfinite(recorded).all()
    assert np.abs(recorded).max() <= 0.95
    assert np.array_equal(recorded, record(spoken, take=take, channel=channel))


@pytest.mark.usefixtures("few")
def test_writes_in_one_step_quietly_to_the_cache_and_tells_progress(own_cache, capfd):
    events = Events()
    place = demo_corpora(progress=events)
    assert place == own_cache / "demo-v1"
    assert not list(own_cache.glob(".demo-*"))
    assert len(list(place.rglob("*.wav"))) == 2
    assert events.events == [("making synthetic speech", 2), 1, 1, "stop"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("few")
def test_half_written_corpora_are_made_again_and_finished_ones_are_used(tmp_path, monkeypatch):
    place = demo_corpora(tmp_path)
    sound = next(place.rglob("*.wav"))
    stray = place / "demo_de" / "stray.txt"
    for damage in (None, "{", '{"recipe": "old"}'):
        stray.touch()
        if damage is None:
            sound.unlink()
        else:
            (place / "complete.json").write_text(damage, encoding="utf-8")
        assert demo_corpora(tmp_path) == place
        assert sound.is_file()
        assert not stray.exists()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert demo_corpora(tmp_path) == place
    sound.unlink()
    with pytest.raises(MissingExtraError, match=r"extra 'demo'"):
        demo_corpora(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="file"):
        demo_corpora(tmp_path / "file")


@pytest.mark.usefixtures("few")
def test_an_interrupted_run_leaves_nothing_and_the_faster_of_two_wins(tmp_path, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(synthesis, "record", stop)
        with pytest.raises(KeyboardInterrupt):
            demo_corpora(tmp_path)
    assert list(tmp_path.iterdir()) == []
    place = demo_corpora(tmp_path / "a")
    before = (place / "complete.json").stat().st_ino
    synthesis._put_in_place(demo_corpora(tmp_path / "b"), place)
    assert (place / "complete.json").stat().st_ino == before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "takes", lambda: THIRD)
        return demo_corpora(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def corpora(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    return load_corpora(place, cache=tmp_path_factory.mktemp("cache"), workers=1)


def test_found_and_complete(place, corpora):
    assert set(locate(place).listings) == set(CODES)
    for code, corpus in corpora.items():
        assert {item.name for item in corpus.utterances} == {take.name for take in THIRD[code]}
        assert len(set(corpus.speakers)) == 6
        assert len({utterance.content for utterance in corpus.utterances}) == len(THIRD[code]) >= 40
        for utterance in corpus.utterances[::10]:
            info = soundfile.info(utterance.path)
            assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
            assert 0.4 < info.duration < 5


def test_same_bytes_in_another_process_and_order(place):
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True, env=environment
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) > 10
    for code, name, digest in lines:
        file = place / SPECS[code].name / name
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest, name


def semitones(samples: np.ndarray) -> float:
    """Median pitch over the voiced frames, by autocorrelation; semitones above 1 Hz."""
    low = signal.sosfilt(signal.butter(4, 900, fs=RATE, output="sos"), samples)
    frames = np.lib.stride_tricks.sliding_window_view(low, 800)[::400]
    frames = frames[np.square(frames).mean(1) > 0.2 * np.square(low).mean()]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(800), 2048)) ** 2
    lags = np.fft.irfft(spectra)[:, 32:229]  # 70 to 500 Hz
    return float(12 * np.log2(RATE / (32 + np.median(lags.argmax(1)))))


def test_emotions_sound_as_the_rules_say(place):
    level, pitch, duration = 0, 1, 2
    for code in CODES:
        rows: dict[str, list[tuple[float, ...]]] = {}
        for take in THIRD[code]:
            samples, _ = soundfile.read(place / SPECS[code].name / take.name)
            loudness = 10 * np.log10(np.mean(samples**2))
            rows.setdefault(take.emotion, []).append((loudness, semitones(samples), len(samples)))
        by = {emotion: np.mean(values, axis=0) for emotion, values in rows.items()}
        assert by["anger"][level] > by["neutral"][level] + 2
        assert by["sadness"][level] < by["neutral"][level] - 2
        assert by["fear"][pitch] > by["sadness"][pitch] + 1
        assert by["happiness"][pitch] > by["sadness"][pitch] + 1
        assert by["sadness"][duration] > 1.1 * by["neutral"][duration]
        assert by["fear"][duration] < 0.95 * by["neutral"][duration]


@pytest.mark.slow
def test_every_pair_is_neither_trivial_nor_hopeless(tmp_path):
    place = demo_corpora(tmp_path)
    acoustic = feature_set("acoustic")
    tables = {}
    for code in CODES:
        sounds = [
            soundfile.read(place / SPECS[code].name / take.name, dtype="float32")
            for take in takes()[code]
        ]
        values = np.array([acoustic.extract(*sound)[1] for sound in sounds], dtype=float)
        values = np.clip((values - values.mean(0)) / (values.std(0) + 1e-6), -5, 5)
        tables[code] = values, np.array([take.emotion for take in takes()[code]])
    scores = []
    for pair in SUITE.pairs():
        classes = classes_of(SPECS[pair.source], SPECS[pair.target])
        (x, y), (test_x, test_y) = tables[pair.source], tables[pair.target]
        use, ask = np.isin(y, classes), np.isin(test_y, classes)
        model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=500)
        found = model.fit(x[use], y[use]).predict(test_x[ask])
        scores.append(100 * recall_score(test_y[ask], found, average="macro"))
    assert min(scores) > 32, scores
    assert max(scores) < 75, scores
    assert np.std(scores) > 3
