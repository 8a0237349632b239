"""Runs where each corpus has a feature set of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clser_bench.errors import FeatureError
from clser_bench.protocol import Condition
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from tests.signals import RATE, voice
from tests.tiny import planned, stored, table_text
from tests.tiny_encoders import save_tiny

Config = Callable[..., Request]
pytestmark = pytest.mark.usefixtures("shapes_unchecked")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora, of German and Italian: two emotions that differ in pitch and loudness."""
    folder = tmp_path_factory.mktemp("speech")
    table = folder / "corpora" / "manifest.csv"
    table.parent.mkdir()
    (folder / "methods").mkdir()
    lines = ["path,speaker,emotion,language,corpus"]
    for corpus, language, gain in (("X", "de", 1.0), ("Y", "it", 0.98)):
        for number in range(24):
            emotion, hertz, loud = (("anger", 220, 0.8), ("sadness", 110, 0.2))[number % 2]
            sound = gain * loud * voice(hertz + number, 0.25 + 0.01 * number)
            path = table.with_name(f"{corpus}{number}.wav")
            soundfile.write(path, np.clip(sound, -1, 1), RATE)
            lines.append(f"{path.name},{corpus}{number % 4 // 2},{emotion},{language},{corpus}")
    table.write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def asked(config: Config) -> Config:
    """Makes requests for features and an alignment."""

    def make(features: str, align: str = "anchors", **more: Any) -> Request:
        condition = Condition(features=features, alignment=align)
        usual = {"methods": ("logistic",), "shots": (5,), "seeds": 1, "condition": condition}
        return config(**{**usual, **more})

    return make


@pytest.mark.parametrize("align", ["anchors", "names"])
def test_every_kind_of_method_learns_across_sets_of_unequal_size(align: str, asked: Config):
    methods = ("chance", "logistic", "source-only", "sere")
    request = asked("set:de=acoustic,it=prosody", align, methods=methods)
    summary = run(request)
    assert (summary.failed, summary.not_applicable) == (0, 0)
    assert summary.condition.features_label == f"set:[de=acoustic,it=prosody], aligned by {align}"
    for record in stored(request.results):
        assert record.metrics is not None
        assert record.trial.method == "chance" or record.metrics.uar > 90, record.trial.method


@pytest.mark.parametrize("align", ["moments", "gromov"])
def test_alignments_that_know_nothing_still_run(align: str, asked: Config):
    summary = run(asked("set:de=mel,it=prosody", align))
    assert (summary.ok, summary.planned) == (2, 2)


@pytest.mark.parametrize(("align", "features"), [("none", "prosody"), ("names", "mfcc")])
def test_what_cannot_be_aligned_is_a_hole_with_its_reason(align: str, features: str, asked: Config):
    request = asked(f"set:de=mel,it={features}", align, methods=("chance", "logistic"))
    summary = run(request)
    assert (summary.not_applicable, summary.planned) == (2, 4)  # chance looks at no feature
    assert "same size, and the alignment" in table_text(request.results)


def test_sets_that_are_the_same_are_left_as_they_are(asked: Config):
    plain, same = planned(asked("acoustic")), planned(asked("set:*=acoustic"))
    assert same.condition.features == "set:[de=acoustic,it=acoustic]"
    keys = [(t.source_key, t.target_key) for t in plain.trials]
    assert [(t.source_key, t.target_key) for t in same.trials] == keys


def test_the_revision_of_an_encoder_stands_in_every_record(asked: Config, tmp_path: Path):
    place = save_tiny("hubert-base", tmp_path)
    request = asked(f"set:de=hf:{place}:layer=2,it=mfcc")
    summary = run(request)
    assert summary.failed == 0
    (name,) = {record.trial.condition.features_label for record in stored(request.results)}
    assert name == summary.condition.features_label
    assert name.startswith("set:[de=hf:hubert-base@")
    assert name.endswith(":layer=2:pool=mean,it=mfcc], aligned by anchors")
    assert str(tmp_path) not in name
    assert summary.condition.features in table_text(request.results)


def test_only_what_may_be_looked_at_is_looked_at(asked: Config):
    """In the inductive setting a half's table does not depend on the other half's utterances."""
    condition = Condition(features="set:de=acoustic,it=prosody", setting="inductive")
    plan = planned(asked("acoustic", condition=condition))
    first, second = plan.prepared.folds(plan.trials[0])
    assert first.problem.target.key != second.problem.target.key
    assert first.problem.source.key != second.problem.source.key


def test_encoders_of_equal_size_are_never_taken_for_one(asked: Config, tmp_path: Path):
    first, second = (save_tiny(kind, tmp_path) for kind in ("hubert-base", "wavlm-base"))
    features = f"set:de=hf:{first}:layer=2,it=hf:{second}:layer=2"
    for align in ("none", "names"):
        with pytest.raises(FeatureError, match="their columns mean other things"):
            run(asked(features, align))
    assert run(asked(features, "anchors")).ok == 2
