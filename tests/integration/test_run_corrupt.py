"""Runs whose target is corrupted: what changes and what must not, from the samples to the table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from clser_bench.cli.tables import scales
from clser_bench.corpora.corrupt import Corruption
from clser_bench.protocol import Condition, Pair
from clser_bench.report.robustness import robustness
from clser_bench.run.execute import run
from clser_bench.run.plan import Plan
from clser_bench.store.sqlite import Store
from tests.integration.conftest import Call, Config
from tests.tiny import Watch, planned, stored, write_corpora, write_method

pytestmark = pytest.mark.usefixtures("packed")
BURIED = Corruption("noise", -20)


def facts(plan: Plan) -> dict[Pair, tuple[str, str]]:
    return {trial.pair: (trial.source_key, trial.target_key) for trial in plan.trials}


def test_the_source_stays_and_each_corruption_makes_another_target(config: Config) -> None:
    clean = planned(config())
    twice = [Corruption("noise", 20), Corruption("noise", 0)]
    plans = [clean, *(planned(config(), corruption=item) for item in twice)]
    for pair in facts(clean):
        assert len({facts(plan)[pair][0] for plan in plans}) == 1
        assert len({facts(plan)[pair][1] for plan in plans}) == len(plans)
    assert [plan.condition.features_label for plan in plans] == [
        "minimal",
        "minimal, target noise:20",
        "minimal, target noise:0",
    ]
    again = planned(config(), corruption=twice[1])
    assert [trial.id for trial in again.trials] == [trial.id for trial in plans[2].trials]


def test_the_clean_condition_is_the_run_without_corruptions(config: Config, tmp_path: Path) -> None:
    alone = run(config())
    watch = Watch()
    both = run(config(corruptions=("noise:-20",)), progress=watch)
    assert (both.planned, both.found, both.ok) == (2 * alone.planned, alone.planned, 2 * alone.ok)
    assert both.condition.features_label == "minimal"
    records = stored(config().results)
    clean = {trial.id for trial in planned(config()).trials}
    named = {
        record.trial.condition.features_label for record in records if record.trial.id not in clean
    }
    assert len(clean & {record.trial.id for record in records}) == alone.planned
    assert named == {"minimal, target noise:-20"}
    assert run(config(corruptions=("noise:-20",))).found == both.planned


def test_shards_of_corrupted_speech_are_used_again(config: Config) -> None:
    asked = config(corruptions=("clip:10,20",), pairs=(Pair("X", "Y"),))
    first, second = Watch(), Watch()
    run(asked, progress=first)
    assert [line for line in first.lines if "clip" in line] == [
        "Y, clip:10: extracting minimal features: 12",
        "Y, clip:20: extracting minimal features: 12",
    ]
    run(asked.replace(seeds=3), progress=second)
    assert not [line for line in second.lines if "extracting" in line]


def test_buried_tones_are_not_recognised_and_clean_ones_are(config: Config) -> None:
    """The tones differ in pitch only; one that loudness gives away would survive the noise."""
    run(config(methods=("near", "chance"), corruptions=("noise:40,-20",)))
    with Store(config().results) as store:
        (found,) = robustness(store.frame(), store, scales())
    near = next(points for line, points in found.curves if line.method == "near")
    clean, mild, severe = (point.cell.mean for point in near)
    assert list(found.corruptions) == ["clean", "noise:40", "noise:-20"]
    assert clean is not None
    assert mild is not None
    assert severe is not None
    assert clean > 90
    assert mild > 90
    assert severe < 75
    change = near[2].change
    assert change is not None
    assert change.estimate == pytest.approx(severe - clean)


@pytest.mark.parametrize("how", ["source", "corpus"])
def test_a_corrupted_target_has_statistics_of_its_own_or_the_clean_source_s(
    config: Config, how: str
) -> None:
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


def test_sets_that_differ_are_aligned_by_corrupted_anchors(config: Config) -> None:
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


def test_configurations_are_chosen_in_each_condition(config: Config, tmp_path: Path) -> None:
    write_corpora(tmp_path / "four", codes="WXYZ", takes=2)
    write_method(tmp_path / "methods", "tuned", grid=(1.0, 10.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLSER_METHODS", str(tmp_path / "methods"))
        asked = config(
            methods=("tuned",),
            manifests=(tmp_path / "four" / "manifest.csv",),
            condition=Condition(selection="other-pairs"),
            seeds=1,
            corruptions=("noise:0",),
        )
        summary = run(asked)
    assert summary.ok == summary.planned
    with Store(asked.results) as store:
        (found,) = robustness(store.frame({"selection": "other-pairs"}), store, scales())
    assert [point.cell.n for point in found.curves[0][1]] == [1, 1]


@pytest.fixture
def command(config: Config, call: Call, places: Path) -> Call:
    results = ("--results", str(config().results))
    usual = ("--manifest", str(places), "--methods", "near", "--shots", "1", "--seeds", "2",
             "--scheduler", "local", "--workers", "1")  # fmt: skip
    return lambda name, *words: call(name, *results, *(usual if name == "run" else ()), *words)


def test_the_command_prints_the_conditions(command: Call) -> None:
    done = command(
        "run", "--corruption", "noise:20,0", "--corruption", "clip:10", "--format", "csv"
    )
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["corruption"] for row in rows] == ["clean", "noise:20", "noise:0", "clip:10"]
    assert all(row["uar_mean"] for row in rows)
    assert "48 of 48 trials stored" in done.stderr
    again = command("resume", "--format", "csv")
    assert again.stdout == done.stdout
    assert "48 were there before" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--corruption", "nois:20"), "corruption 'nois' is unknown; did you mean 'noise'"),
        (("--corruption", "noise", "--with", "point"), "--with point belongs to leaderboards"),
    ],
)
def test_the_command_says_what_is_wrong_before_the_work(
    command: Call, config: Config, words: tuple[str, ...], message: str
) -> None:
    done = command("run", *words)
    assert (done.exit_code, done.stderr.startswith("Error: ")) == (2, True)
    assert message in done.stderr
    assert not config().results.exists()
