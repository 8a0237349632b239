"""Corrupted speech: features of it, and runs whose target is corrupted, from samples to table."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clser_bench.cli.tables import scales
from clser_bench.corpora.audio import Audio, content_hash, decode
from clser_bench.corpora.corrupt import (
    CORRUPTED_RATE,
    Corrupted,
    Corruption,
    corrupted,
    corrupted_corpus,
    unchanged,
)
from clser_bench.corpora.locate import load_corpora
from clser_bench.corpora.model import Corpus
from clser_bench.errors import FeatureError
from clser_bench.features.extract import feature_table
from clser_bench.protocol import Condition, Pair
from clser_bench.report.robustness import Robustness, robustness
from clser_bench.run.execute import run
from clser_bench.run.plan import Plan
from clser_bench.store.sqlite import Store
from tests.integration.conftest import Call, Config
from tests.tiny import Watch, planned, stored, write_corpora, write_method
from tests.tiny_encoders import save_tiny

pytestmark = pytest.mark.usefixtures("packed")
BURIED = Corruption("noise", -20)
BOTH = (Pair("X", "Y"), Pair("Y", "X"))


@pytest.fixture
def corpus(tiny: Path) -> Corpus:
    """Four utterances."""
    manifest = tiny / "corpora" / "manifest.csv"
    whole = load_corpora(manifests=[manifest], cache=tiny / "cache", codes=["X"], workers=1)["X"]
    return dataclasses.replace(whole, utterances=whole.utterances[::3])


def corrupted_samples(corpus: Corpus, row: int, item: Corruption) -> np.ndarray:
    utterance = corpus.utterances[row]
    samples = decode(utterance.path, rate=CORRUPTED_RATE).samples
    return corrupted(samples, CORRUPTED_RATE, item, content=utterance.content)


@pytest.mark.parametrize("name", ["minimal", "egemaps", "encoder"])
def test_features_are_those_of_files_corrupted_by_hand(name, corpus, tmp_path):
    item = Corruption("reverb", 0.6)
    utterances = []
    for row, utterance in enumerate(corpus.utterances):
        worse = corrupted_samples(corpus, row, item)
        assert np.abs(worse).max() <= 1
        path = tmp_path / utterance.name
        soundfile.write(path, worse, CORRUPTED_RATE, subtype="FLOAT")
        content = content_hash(Audio(worse, CORRUPTED_RATE))
        changes = {"path": path, "content": content, "rate": CORRUPTED_RATE}
        utterances.append(dataclasses.replace(utterance, **changes))
    by_hand = dataclasses.replace(corpus, utterances=tuple(utterances))
    if name == "encoder":
        name = f"hf:{save_tiny('hubert-base', tmp_path)}:layer=2"
    elif name == "egemaps":
        pytest.importorskip("opensmile")
    found, wanted, clean = (
        feature_table(some, name, cache=tmp_path / "cache", workers=1)
        for some in (corrupted_corpus(corpus, item), by_hand, corpus)
    )
    assert np.abs(found.summary - wanted.summary).max() < 1e-4
    assert np.abs(found.instants - wanted.instants).max() < 1e-4
    assert np.abs(found.summary - clean.summary).max() > 1e-2
    assert len({found.key, wanted.key, clean.key}) == 3


def test_what_exceeds_full_scale_is_made_softer_and_the_rest_is_not(corpus):
    for item, over in ((BURIED, True), (Corruption("noise", 40), False)):
        sound = unchanged(corrupted_corpus(corpus, item).utterances[0])
        assert sound.rate == CORRUPTED_RATE
        worse = corrupted_samples(corpus, 0, item)
        peak = np.abs(worse).max()
        assert (peak > 1) == over
        np.testing.assert_allclose(sound.samples, worse / max(1, peak), atol=1e-7)
        assert np.abs(sound.samples).max() <= 1


def test_a_corrupted_utterance_has_the_same_row_and_checks_its_file(corpus, tmp_path):
    fast = corrupted_corpus(corpus, Corruption("speed", 2))
    assert [one.name for one in fast.utterances] == [one.name for one in corpus.utterances]
    assert fast.speakers.tolist() == corpus.speakers.tolist()
    assert fast.spec.code == corpus.spec.code
    one = fast.utterances[0]
    assert isinstance(one, Corrupted)
    assert one.seconds == corpus.utterances[0].seconds / 2
    assert len(unchanged(one).samples) == pytest.approx(one.seconds * CORRUPTED_RATE, abs=1)
    assert len(unchanged(one, rate=8000).samples) == pytest.approx(one.seconds * 8000, abs=1)
    path = tmp_path / "other.wav"
    soundfile.write(path, np.zeros(100), 8000)
    with pytest.raises(FeatureError, match=r"other\.wav: changed since the corpus was read"):
        unchanged(dataclasses.replace(one, path=path))


def facts(plan: Plan) -> dict[Pair, tuple[str, str]]:
    return {trial.pair: (trial.source_key, trial.target_key) for trial in plan.trials}


def robustness_of(results: Path, **condition: str) -> Robustness:
    with Store(results) as store:
        [found] = robustness(store.frame(condition or None), store, scales())
    return found


def test_the_source_stays_and_each_corruption_makes_another_target(config):
    asked = config(pairs=BOTH)
    clean = planned(asked)
    twice = [Corruption("noise", 20), Corruption("noise", 0)]
    plans = [clean, *(planned(asked, corruption=item) for item in twice)]
    for pair in facts(clean):
        assert len({facts(plan)[pair][0] for plan in plans}) == 1
        assert len({facts(plan)[pair][1] for plan in plans}) == len(plans)
    labels = [plan.condition.features_label for plan in plans]
    assert labels == ["minimal", "minimal, target noise:20", "minimal, target noise:0"]
    again = planned(asked, corruption=twice[1])
    assert [trial.id for trial in again.trials] == [trial.id for trial in plans[2].trials]


def test_the_clean_condition_is_the_run_without_corruptions_and_shards_are_used_again(config):
    alone = run(config(pairs=BOTH))
    asked, first, second = config(pairs=BOTH, corruptions=("clip:15,25",)), Watch(), Watch()
    both = run(asked, progress=first)
    assert (both.planned, both.found, both.ok) == (3 * alone.planned, alone.planned, both.planned)
    assert both.condition.features_label == "minimal"
    records = stored(asked.results)
    clean = {trial.id for trial in planned(config(pairs=BOTH)).trials}
    assert len(clean & {record.trial.id for record in records}) == alone.planned
    conditions = [record.trial.condition for record in records if record.trial.id not in clean]
    labels = {condition.features_label for condition in conditions}
    assert labels == {"minimal, target clip:15", "minimal, target clip:25"}
    assert [line for line in first.lines if "Y, clip" in line] == [
        "Y, clip:15: extracting minimal features: 12",
        "Y, clip:25: extracting minimal features: 12",
    ]
    assert run(asked).found == both.planned
    run(asked.replace(seeds=3), progress=second)
    assert not [line for line in second.lines if "extracting" in line]


def test_buried_tones_are_not_recognised_and_clean_ones_are(config):
    """The tones differ in pitch only; one that loudness gives away would survive the noise."""
    run(config(methods=("near", "chance"), corruptions=("noise:40,-20",)))
    found = robustness_of(config().results)
    near: Any = next(points for line, points in found.curves if line.method == "near")
    clean, mild, severe = (point.cell.mean for point in near)
    assert list(found.corruptions) == ["clean", "noise:40", "noise:-20"]
    assert clean > 90
    assert mild > 90
    assert severe < 75
    assert near[2].change.estimate == pytest.approx(severe - clean)


@pytest.mark.parametrize("how", ["source", "corpus"])
def test_a_corrupted_target_has_statistics_of_its_own_or_the_clean_source_s(config, how):
    def tables(normalisation: str, corruption: Corruption | None) -> list[np.ndarray]:
        asked = config(
            condition=Condition(normalisation=normalisation),  # type: ignore[arg-type]
            pairs=(Pair("X", "Y"),),
        )
        plan = planned(asked, corruption=corruption)
        problem = plan.jobs(plan.trials[0])[0].problem
        return [np.asarray(side.summary, np.float64) for side in (problem.source, problem.target)]

    source, raw = tables("none", BURIED)
    known = source if how == "source" else raw
    wanted = ((raw - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)).clip(-5, 5)
    np.testing.assert_allclose(tables(how, BURIED)[1], wanted, atol=1e-4)
    np.testing.assert_array_equal(tables(how, BURIED)[0], tables(how, None)[0])


def test_sets_that_differ_are_aligned_by_corrupted_anchors(config):
    asked = config(
        condition=Condition(features="set:X=mel,Y=prosody,Z=mel"),
        pairs=(Pair("X", "Y"), Pair("Z", "Y")),
        corruptions=(BURIED.name,),
    )
    watch = Watch()
    summary = run(asked, progress=watch)
    assert summary.ok == summary.planned == 8
    corrupted = {line for line in watch.lines if line.startswith("Y, noise:-20: extracting")}
    assert "Y, noise:-20: extracting acoustic features: 12" in corrupted, "the anchors"
    assert not [line for line in watch.lines if line.startswith(("X, noise", "Z, noise"))]
    found = {record.trial.condition for record in stored(asked.results)}
    assert {item.features for item in found} == {summary.condition.features}
    assert {item.corruption for item in found} == {"", "noise:-20"}
    assert {item.alignment for item in found} == {"anchors"}


def test_configurations_are_chosen_in_each_condition(config, tmp_path, monkeypatch):
    manifest = write_corpora(tmp_path / "four", codes="WXYZ", takes=2)
    write_method(tmp_path / "methods", "tuned", grid=(1.0, 10.0))
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))
    condition = Condition(selection="other-pairs")
    usual = {"methods": ("tuned",), "manifests": (manifest,), "seeds": 1}
    summary = run(config(condition=condition, corruptions=("noise:0",), **usual))
    assert summary.ok == summary.planned
    found = robustness_of(config().results, selection="other-pairs")
    assert [point.cell.n for point in found.curves[0][1]] == [1, 1]


@pytest.fixture
def command(config: Config, call: Call, places: Path) -> Call:
    results = ("--results", str(config().results))
    usual = ("--manifest", str(places), "--methods", "near", "--shots", "1", "--seeds", "2",
             "--scheduler", "local", "--workers", "1")  # fmt: skip
    return lambda name, *words: call(name, *results, *(usual if name == "run" else ()), *words)


def test_the_command_prints_the_conditions(command):
    corruptions = ("--corruption", "noise:20,0", "--corruption", "clip:10")
    done = command("run", *corruptions, "--format", "csv")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["corruption"] for row in rows] == ["clean", "noise:20", "noise:0", "clip:10"]
    assert all(row["uar_mean"] for row in rows)
    assert "48 of 48 trials stored" in done.stderr
    again = command("resume", "--format", "csv")
    assert again.stdout == done.stdout
    assert "48 were there before" in again.stderr


def test_the_command_says_what_is_wrong_before_the_work(command, config):
    for words, message in (
        (("nois:20",), "corruption 'nois' is unknown; did you mean 'noise'"),
        (("noise", "--with", "point"), "--with point belongs to leaderboards"),
    ):
        done = command("run", "--corruption", *words)
        assert (done.exit_code, done.stderr.startswith("Error: ")) == (2, True)
        assert message in done.stderr
        assert not config().results.exists()
