"""The demo corpora: what is planned, asked for and written, on a handful of utterances."""

from __future__ import annotations

import sys
from collections import Counter
from types import MappingProxyType

import numpy as np
import pytest

from clser_bench.corpora.definitions import classes_of, definitions
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
from clser_bench.protocol import EMOTIONS
from tests.signals import Events

FEW = MappingProxyType({"DE": takes()["DE"][:2]})


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be one corpus of two utterances."""
    monkeypatch.setattr(synthesis, "LANGUAGES", LANGUAGES[:1])
    monkeypatch.setattr(synthesis, "takes", lambda: FEW)


def test_suite_and_definitions_agree_with_what_is_made():
    specs, suite = definitions().corpora, definitions().suites["demo"]
    assert suite.corpora == tuple(language.code for language in LANGUAGES)
    for language in LANGUAGES:
        spec = specs[language.code]
        assert spec.synthetic
        assert set(language.voices) == set(spec.genders)
        assert len(language.voices) == spec.speakers == 6
        planned = takes()[language.code]
        assert Counter(take.emotion for take in planned) == spec.counts
        assert len({take.name for take in planned}) == len(planned) >= 120
    shared = {classes_of(specs[pair.source], specs[pair.target]) for pair in suite.pairs()}
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
def test_finished_corpora_are_used_again_even_without_espeak(tmp_path, monkeypatch):
    place = demo_corpora(tmp_path)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert demo_corpora(tmp_path) == place
    next(place.rglob("*.wav")).unlink()
    with pytest.raises(MissingExtraError, match=r"extra 'demo'"):
        demo_corpora(tmp_path)


@pytest.mark.usefixtures("few")
def test_half_written_corpora_are_made_again(tmp_path):
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


@pytest.mark.usefixtures("few")
def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="file"):
        demo_corpora(tmp_path / "file")
