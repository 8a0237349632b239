"""Whole runs on recordings of a few tones."""

from __future__ import annotations

import dataclasses
import pickle
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clser_bench.errors import ClserError, CorpusError, SpecError
from clser_bench.protocol import Condition, Pair
from clser_bench.run import execute, plan
from clser_bench.run.execute import Summary, run
from clser_bench.run.request import parse_settings
from clser_bench.store.sqlite import Store
from tests.boards import tables_of
from tests.integration.conftest import Config
from tests.tiny import Watch, planned, scores, stored, table_text, write_corpora, write_method


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_corpora(folder / "corpora")
    write_method(folder / "methods", "near")
    write_method(folder / "methods", "fixed", deterministic=True)
    broken = f"if os.path.exists({str(folder / 'fail')!r}): raise RuntimeError('as asked')"
    write_method(folder / "methods", "late", body=broken)
    write_method(folder / "methods", "full", body="raise MemoryError('no more')")
    write_method(folder / "methods", "dying", body="os._exit(3)")
    return folder


@pytest.mark.usefixtures("packed")
def test_a_run_stores_every_trial_with_its_score_and_runs_none_again(config: Config) -> None:
    asked = config(methods=("chance", "near"))
    said: list[str] = []
    summary = run(asked, say=said.append)
    assert re.fullmatch("custom-[0-9a-f]{6}", summary.condition.suite)
    assert summary == Summary(
        results=asked.results,
        condition=Condition(suite=summary.condition.suite, shots=1),
        planned=24,
        found=0,
        ok=24,
        failed=0,
        not_applicable=0,
    )
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
def test_planning_many_trials_is_shown(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MANY", 2)
    monkeypatch.setattr(execute, "_MANY", 2)
    first, again = Watch(), Watch()
    summary = run(config(), progress=first)
    lines = [f"{what}: {summary.planned}" for what in ("listing trials", "planning trials")]
    assert first.lines[-3:] == [*lines, f"trials of suite {summary.condition.suite}: 12"]
    run(config(), progress=again)
    assert again.lines == lines[:1]


@pytest.mark.usefixtures("packed")
def test_more_seeds_add_to_what_is_there(config: Config) -> None:
    run(config(seeds=2))
    before = {r.trial.id: (r.scores.tobytes(), r.seconds) for r in stored(config().results)}
    summary = run(config(seeds=4))
    assert (summary.found, summary.planned) == (12, 24)
    after = {r.trial.id: (r.scores.tobytes(), r.seconds) for r in stored(config().results)}
    assert {key: after[key] for key in before} == before


@pytest.fixture
def failing(shared: Path) -> Iterator[Path]:
    """A file; the method `late` fails as long as it is there."""
    place = shared / "fail"
    place.touch()
    yield place
    place.unlink(missing_ok=True)


def test_a_failed_trial_is_tried_once_more(config: Config, failing: Path, tmp_path: Path) -> None:
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


def test_whatever_breaks_a_worker_is_a_failure_of_its_trials_alone(config: Config) -> None:
    asked = config(methods=("full", "dying", "near"), pairs=(Pair("X", "Y"),))
    summary = run(asked)
    assert (summary.failed, summary.ok) == (4, 2)
    reasons = {r.trial.method: r.reason for r in stored(asked.results) if r.status == "failed"}
    assert "MemoryError: no more" in reasons["full"]
    assert "the process of this trial died: exit code 3" in reasons["dying"]


def test_deterministic_methods_run_once_with_all_labels(config: Config) -> None:
    asked = config(methods=("fixed", "near"), shots=(1, "all"), seeds=3, pairs=(Pair("X", "Y"),))
    plan = planned(asked)
    seeds = {
        (method, shots): [t.seed for t in plan.trials if (t.method, t.shots) == (method, shots)]
        for method in ("fixed", "near")
        for shots in (1, "all")
    }
    assert seeds["fixed", "all"] == [0]
    assert seeds["fixed", 1] == seeds["near", 1] == seeds["near", "all"] == [0, 1, 2]


@pytest.mark.usefixtures("packed")
def test_both_folds_of_the_inductive_setting_make_one_record(config: Config) -> None:
    asked = config(condition=Condition(setting="inductive"), seeds=1)
    plan = planned(asked)
    folds = [plan.jobs(trial) for trial in plan.trials]
    assert {len(jobs) for jobs in folds} == {2}
    run(asked)
    assert all(len(r.y) == 12 for r in stored(asked.results))
    assert all(len(set(r.speakers)) == 2 for r in stored(asked.results))


def test_methods_share_random_numbers(config: Config) -> None:
    plan = planned(config(methods=("near", "fixed")))
    seeds = {
        method: [job.seed for t in plan.trials if t.method == method for job in plan.jobs(t)]
        for method in ("near", "fixed")
    }
    assert seeds["near"] == seeds["fixed"]
    assert len(set(seeds["near"])) == len(seeds["near"])


@pytest.mark.usefixtures("packed")
def test_settings_name_themselves_and_are_other_trials(config: Config) -> None:
    run(config())
    asked = config(settings=parse_settings(["near.weight=2"]))
    summary = run(asked)
    assert (summary.condition.selection, summary.found, summary.ok) == ("given", 0, 12)
    with Store(asked.results) as store:
        assert {t.condition.selection for t in tables_of(store)} == {"default", "given"}


def test_corrected_labels_are_other_trials(shared: Path, tmp_path: Path, config: Config) -> None:
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
        ({"methods": ("naer",)}, SpecError, "method 'naer' is unknown; did you mean 'near'"),
        ({"condition": Condition(suite="bcor")}, SpecError, "suite 'bcor' is unknown"),
        ({"shots": (7,)}, CorpusError, "7"),
        ({"pairs": (Pair("X", "Q"),)}, SpecError, "X→Q is not in suite custom"),
        ({"condition": Condition(suite="bcro")}, CorpusError, "missing: EMO-DB"),
        ({"settings": {"near": {"weight": 11.0}}}, SpecError, "weight=11.0: allowed is"),
        (
            {"methods": ("logistic",), "settings": {"logistic": {"iterations": 10.0}}},
            SpecError,
            "iterations=10.0: a whole number is needed",
        ),
        (
            {"methods": ("logistic",), "settings": {"logistic": {"balanced": 1}}},
            SpecError,
            "balanced=1: write true or false",
        ),
        ({"settings": {"near": {"wieght": 1.0}}}, SpecError, "did you mean 'weight'"),
        ({"settings": {"dann": {"steps": 1}}}, SpecError, "not among the methods"),
        ({"condition": Condition(features="acustic")}, ClserError, "acustic"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    config: Config, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run(config(**options))
    results = config().results
    assert not results.exists() or not stored(results)


def test_an_interruption_keeps_whole_packs_and_the_same_command_goes_on(
    config: Config, tmp_path: Path
) -> None:
    some = {"seeds": 3, "pairs": (Pair("X", "Y"), Pair("Y", "X")), "methods": ("near", "chance")}
    asked = config(**some)
    summary = run(asked, progress=Watch(stop=2))
    assert summary.interrupted
    assert 0 < summary.ok < summary.planned
    assert run(asked).ok == summary.planned
    unbroken = config(**some, results=tmp_path / "unbroken.sqlite")
    run(unbroken)
    assert table_text(asked.results) == table_text(unbroken.results)
    assert scores(asked.results) == scores(unbroken.results)


def test_two_runs_at_once_on_one_file_agree(config: Config) -> None:
    asked = config(pairs=(Pair("X", "Y"),), seeds=4)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, [asked, asked])
    assert first.ok == second.ok == first.planned
    assert (
        len({r.trial.id for r in stored(asked.results)})
        == len(stored(asked.results))
        == first.planned
    )


def test_what_is_sent_holds_no_answer(config: Config) -> None:
    plan = planned(config(methods=("near",), condition=Condition(setting="inductive")))
    open_ids = {trial.id for trial in plan.trials}
    packs = plan.packs(open_ids=open_ids, failed_ids=())
    sent = b"".join(pickle.dumps(pack.jobs) for pack in packs)
    assert sent
    for trial in plan.trials:
        for key in plan.keys(trial):
            for name in (*key.names, *key.speakers):
                assert name.encode() not in sent
    back = [job for pack in packs for job in pack.jobs]
    fields = {f.name for job in back for f in dataclasses.fields(job.problem)}
    expected = {"classes", "source", "target", "labelled", "unlabelled", "adapt", "scored"}
    expected |= {"added"}  # rows of other corpora, without labels as all unlabelled ones
    assert fields == expected
    for trial in plan.trials:
        for job, key in zip(plan.jobs(trial), plan.keys(trial), strict=True):
            assert key.y.tobytes() not in pickle.dumps(job)
