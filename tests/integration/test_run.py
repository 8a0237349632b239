"""Whole runs on recordings of a few tones."""

from __future__ import annotations

import dataclasses
import pickle
import re
import shutil
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clser_bench.errors import ClserError, CorpusError, SpecError
from clser_bench.protocol import Condition, Pair, Shots
from clser_bench.run import execute, plan
from clser_bench.run.execute import Summary, run
from clser_bench.run.request import parse_settings
from clser_bench.store.sqlite import Store
from tests.boards import tables_of
from tests.tiny import Watch, planned, scores, stored, write_corpora


@pytest.mark.usefixtures("packed")
def test_a_run_stores_every_trial_with_its_score_and_runs_none_again(config):
    asked = config(methods=("chance", "near"))
    said: list[str] = []
    summary = run(asked, say=said.append)
    assert re.fullmatch("custom-[0-9a-f]{6}", summary.condition.suite)
    rules = Condition(suite=summary.condition.suite, shots=1)
    counts: dict[str, Any] = {"planned": 24, "found": 0, "ok": 24, "failed": 0, "not_applicable": 0}
    assert summary == Summary(results=asked.results, condition=rules, **counts)
    assert said == [f"suite {summary.condition.suite}: 6 ordered pairs of X Y Z"]
    near = [r for r in stored(asked.results) if r.trial.method == "near"]
    # the tones of two emotions are far apart, so nearest centroids find nearly all
    assert min(r.metrics.uar for r in near if r.metrics) > 90
    assert all(r.scores.shape == (12, 2) for r in near)
    assert all(r.pack for r in near)
    watch = Watch()
    assert run(asked, progress=watch) == dataclasses.replace(summary, found=24)
    assert not watch.ran


@pytest.mark.usefixtures("packed")
def test_more_seeds_and_other_settings_add_to_what_is_there(config):
    run(config(seeds=2))
    before = {r.trial.id: (r.scores.tobytes(), r.seconds) for r in stored(config().results)}
    summary = run(config(seeds=4))
    assert (summary.found, summary.planned) == (12, 24)
    summary = run(config(settings=parse_settings(["near.weight=2"])))
    assert (summary.condition.selection, summary.found, summary.ok) == ("given", 0, 12)
    after = {r.trial.id: (r.scores.tobytes(), r.seconds) for r in stored(config().results)}
    assert len(after) == 24 + 12
    assert {key: after[key] for key in before} == before
    with Store(config().results) as store:
        assert {t.condition.selection for t in tables_of(store)} == {"default", "given"}


@pytest.mark.usefixtures("packed")
def test_planning_many_trials_is_shown(config, monkeypatch):
    monkeypatch.setattr(plan, "_MANY", 2)
    monkeypatch.setattr(execute, "_MANY", 2)
    first, again = Watch(), Watch()
    summary = run(config(), progress=first)
    lines = [f"{what}: {summary.planned}" for what in ("listing trials", "planning trials")]
    assert first.lines[-3:] == [*lines, f"trials of suite {summary.condition.suite}: 12"]
    run(config(), progress=again)
    assert again.lines == lines[:1]


@pytest.fixture
def failing(shared):
    """A file; the method `late` fails as long as it is there."""
    place = shared / "fail"
    place.touch()
    yield place
    place.unlink(missing_ok=True)


def test_a_failed_trial_is_tried_once_more(config, failing, tmp_path):
    asked = config(methods=("late",), pairs=(Pair("X", "Y"),), seeds=1)
    assert run(asked).failed == 1
    (failed,) = stored(asked.results)
    assert "RuntimeError: as asked" in failed.reason
    assert "Traceback" in failed.reason
    again = asked.replace(results=tmp_path / "again.sqlite")
    shutil.copy(asked.results, again.results)
    run(again)
    assert run(again).found == 1, "twice is enough"
    assert [r.attempts for r in stored(again.results)] == [2]
    failing.unlink()
    assert run(asked).ok == 1
    assert [(r.status, r.attempts) for r in stored(asked.results)] == [("ok", 2)]


def test_whatever_breaks_a_worker_is_a_failure_of_its_trials_alone(config):
    asked = config(methods=("full", "dying", "near"), pairs=(Pair("X", "Y"),))
    summary = run(asked)
    assert (summary.failed, summary.ok) == (4, 2)
    reasons = {r.trial.method: r.reason for r in stored(asked.results) if r.status == "failed"}
    assert "MemoryError: no more" in reasons["full"]
    assert "the process of this trial died: exit code 3" in reasons["dying"]


def test_methods_share_random_numbers_and_deterministic_ones_run_once_with_all_labels(config):
    pairs = (Pair("X", "Y"), Pair("Y", "X"))
    plan = planned(config(methods=("fixed", "near"), shots=(1, "all"), seeds=3, pairs=pairs))
    seeds: dict[tuple[str, Shots], dict[tuple[Pair, int], int]] = defaultdict(dict)
    for trial in plan.trials:
        (job,) = plan.jobs(trial)
        seeds[trial.method, trial.shots][trial.pair, trial.seed] = job.seed
    assert seeds["fixed", 1] == seeds["near", 1]
    assert len(seeds["near", 1]) == len(set(seeds["near", 1].values())) == 6
    once = {place: seed for place, seed in seeds["near", "all"].items() if place[1] == 0}
    assert seeds["fixed", "all"] == once
    assert len(seeds["near", "all"]) == 6


def test_corrected_labels_are_other_trials(shared, tmp_path, config):
    before = planned(config()).trials
    manifest = write_corpora(tmp_path / "corpora")
    text = manifest.read_text().replace(
        "X-ann-anger-0.wav,X-ann,anger", "X-ann-anger-0.wav,X-ann,sadness"
    )
    manifest.write_text(text)
    after = planned(config(manifests=(manifest,))).trials
    changed = {a.pair for a, b in zip(after, before, strict=True) if a.id != b.id}
    assert changed == {
        pair for pair in (t.pair for t in after) if "X" in (pair.source, pair.target)
    }


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"condition": Condition(suite="bcor")}, SpecError, "suite 'bcor' is unknown"),
        ({"shots": (7,)}, CorpusError, "7"),
        ({"pairs": (Pair("X", "Q"),)}, SpecError, "X→Q is not in suite custom"),
        ({"condition": Condition(suite="bcro")}, CorpusError, "missing: EMO-DB"),
        ({"condition": Condition(features="acustic")}, ClserError, "acustic"),
        ({"settings": {"near": {"weight": 11.0}}}, SpecError, "weight=11.0: allowed is"),
        ({"settings": {"near": {"wieght": 1.0}}}, SpecError, "did you mean 'weight'"),
        ({"settings": {"dann": {"steps": 1}}}, SpecError, "not among the methods"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(config, options, kind, message):
    with pytest.raises(kind, match=message):
        run(config(**{"methods": ("near", "within-target"), **options}))
    results = config().results
    assert not results.exists() or not stored(results)


def test_two_runs_at_once_on_one_file_agree(config):
    asked = config(pairs=(Pair("X", "Y"),), seeds=4)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, [asked, asked])
    assert first.ok == second.ok == first.planned
    assert len(scores(asked.results)) == len(stored(asked.results)) == first.planned


def test_what_is_sent_holds_no_answer(config):
    plan = planned(config(condition=Condition(setting="inductive")))
    packs = plan.packs(open_ids={trial.id for trial in plan.trials}, failed_ids=())
    sent = b"".join(pickle.dumps(pack.jobs) for pack in packs)
    assert sent
    for trial in plan.trials:
        for job, key in zip(plan.jobs(trial), plan.keys(trial), strict=True):
            assert not [name for name in (*key.names, *key.speakers) if name.encode() in sent]
            assert key.y.tobytes() not in pickle.dumps(job)
    problems = [job.problem for pack in packs for job in pack.jobs]
    fields = {field.name for problem in problems for field in dataclasses.fields(problem)}
    expected = {"classes", "source", "target", "labelled", "unlabelled", "adapt", "scored"}
    assert fields == expected | {"added"}  # rows of other corpora, without labels
