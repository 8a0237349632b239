"""Runs whose target is corrupted: what changes and what must not, from the samples to the table."""

from __future__ import annotations

import csv
import dataclasses
import io
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from clser_bench.cli import running
from clser_bench.cli.robustness import scales
from clser_bench.corpora.corrupt import Corruption
from clser_bench.errors import ClserError, SpecError
from clser_bench.features.aligned import aligned
from clser_bench.features.languages import hear
from clser_bench.features.normalise import normalised
from clser_bench.problem import Outcome
from clser_bench.protocol import Condition, Pair
from clser_bench.report.robustness import robustness
from clser_bench.run import execute as local
from clser_bench.run.choice import choose
from clser_bench.run.corpora import Read, read
from clser_bench.run.execute import run
from clser_bench.run.plan import Pack, Plan, make_plan
from clser_bench.run.request import Request
from clser_bench.run.sides import Sides
from clser_bench.store.sqlite import Store
from tests.tiny import write_corpora, write_method

Config = Callable[..., Request]
BURIED = Corruption("noise", -20)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings and a cache that all tests of this file share."""
    folder = tmp_path_factory.mktemp("tiny")
    write_corpora(folder / "corpora")
    write_method(folder / "methods", "near")
    return folder


@pytest.fixture
def config(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("CLSER_CACHE", str(shared / "cache"))
    monkeypatch.setenv("CLSER_METHODS", str(shared / "methods"))

    def make(**options: Any) -> Request:
        usual = Request(
            manifests=(shared / "corpora" / "manifest.csv",),
            methods=("near",),
            shots=(1,),
            seeds=2,
            results=tmp_path / "results.sqlite",
            scheduler="local",
            workers=1,
        )
        return dataclasses.replace(usual, **options)

    return make


class Told:
    """Keeps what a run does."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, what: str, total: int) -> None:
        self.lines.append(f"{what}: {total}")

    def advance(self, count: int = 1) -> None:
        pass

    def stop(self) -> None:
        pass


def facts(plan: Plan) -> dict[Pair, tuple[str, str]]:
    return {trial.pair: (trial.source_key, trial.target_key) for trial in plan.trials}


def test_the_source_stays_and_each_corruption_makes_another_target(config: Config) -> None:
    clean = make_plan(config())
    twice = [Corruption("noise", 20), Corruption("noise", 0)]
    plans = [clean, *(make_plan(config(), corruption=item) for item in twice)]
    for pair in facts(clean):
        assert len({facts(plan)[pair][0] for plan in plans}) == 1
        assert len({facts(plan)[pair][1] for plan in plans}) == len(plans)
    assert [plan.condition.features_label for plan in plans] == [
        "minimal",
        "minimal, target noise:20",
        "minimal, target noise:0",
    ]
    again = make_plan(config(), corruption=twice[1])
    assert [trial.id for trial in again.trials] == [trial.id for trial in plans[2].trials]


def test_the_clean_condition_is_the_run_without_corruptions(config: Config, tmp_path: Path) -> None:
    alone = run(config())
    told = Told()
    both = run(config(corruptions=("noise:-20",)), progress=told)
    assert (both.planned, both.found, both.ok) == (2 * alone.planned, alone.planned, 2 * alone.ok)
    assert both.condition.features_label == "minimal"
    with Store(config().results) as store:
        records = list(store.records())
    clean = {trial.id for trial in make_plan(config()).trials}
    named = {
        record.trial.condition.features_label for record in records if record.trial.id not in clean
    }
    assert len(clean & {record.trial.id for record in records}) == alone.planned
    assert named == {"minimal, target noise:-20"}
    assert run(config(corruptions=("noise:-20",))).found == both.planned


def test_shards_of_corrupted_speech_are_kept(config: Config) -> None:
    asked = config(corruptions=("clip:10,20",), pairs=(Pair("X", "Y"),))
    first, second = Told(), Told()
    run(asked, progress=first)
    assert [line for line in first.lines if "clip" in line] == [
        "Y, clip:10: extracting minimal features: 12",
        "Y, clip:20: extracting minimal features: 12",
    ]
    run(dataclasses.replace(asked, seeds=3), progress=second)
    assert not [line for line in second.lines if "extracting" in line]


def test_buried_tones_are_not_recognised_and_clean_ones_are(config: Config) -> None:
    """The tones differ in pitch only; one that loudness gives away would survive the noise."""
    run(config(methods=("near", "chance"), corruptions=("noise:40,-20",), seeds=4))
    with Store(config().results) as store:
        (found,) = robustness(store, scales(), resamples=200)
    near = next(curve for curve in found.curves if curve.method == "near")
    clean, mild, severe = (point.cell.mean for point in near.points)
    assert [item.name for item in found.conditions] == ["clean", "noise:40", "noise:-20"]
    assert clean is not None
    assert mild is not None
    assert severe is not None
    assert clean > 90
    assert mild > 90
    assert severe < 75
    change = near.points[2].change
    assert change is not None
    assert change.estimate == pytest.approx(severe - clean)


def read_all(config: Request, cache: Path, corruption: Corruption | None) -> Read:
    told = Told()
    choice = choose(config, cache=cache, progress=told)
    heard = hear(config.condition.features, {code: choice.spec(code) for code in choice.known})
    return read(choice, config, heard, cache=cache, progress=told, corruption=corruption)


@pytest.mark.parametrize("how", ["source", "corpus"])
def test_a_corrupted_target_has_statistics_of_its_own_or_the_clean_source_s(
    config: Config, shared: Path, how: str
) -> None:
    asked = config(condition=Condition(normalisation=how))  # type: ignore[arg-type]
    have = read_all(asked, shared / "cache", BURIED)
    source, target = have.corpora["X"], have.corpora["Y"]
    _, second = Sides(have, asked.condition, align="anchors")(source, target)
    raw = np.asarray(have.targets["Y"].summary, np.float64)
    known = np.asarray(have.tables["X"].summary, np.float64) if how == "source" else raw
    wanted = ((raw - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)).clip(-5, 5)
    np.testing.assert_allclose(second.summary, wanted, atol=1e-4)


def test_anchors_of_a_corrupted_target_are_corrupted(config: Config, shared: Path) -> None:
    asked = config(
        condition=Condition(features="set:X=mel,Y=prosody,Z=mel"),
        pairs=(Pair("X", "Y"), Pair("Z", "Y")),
    )
    clean = read_all(asked, shared / "cache", None)
    have = read_all(asked, shared / "cache", BURIED)
    assert clean.target_anchors is clean.anchors
    assert clean.targets is clean.tables
    assert set(have.targets) == set(have.target_anchors) == {"Y"}
    assert {code: table.key for code, table in have.tables.items()} == {
        code: table.key for code, table in clean.tables.items()
    }
    assert have.target_anchors["Y"].key != have.anchors["Y"].key == clean.anchors["Y"].key
    parts = (
        (have.tables, "X"),
        (have.targets, "Y"),
        (have.anchors, "X"),
        (have.target_anchors, "Y"),
    )
    source, target, *anchors = (
        normalised(tables[code], how="corpus", speakers=np.array([]), cache=have.cache)
        for tables, code in parts
    )
    wanted = aligned(
        source,
        target,
        sets=(have.heard.sets["X"], have.heard.sets["Y"]),
        how="anchors",
        rows=None,
        cache=have.cache,
        anchors=(anchors[0], anchors[1]),
    )
    sides = Sides(have, asked.condition, align="anchors")
    found = sides(have.corpora["X"], have.corpora["Y"])
    assert [table.key for table in found] == [table.key for table in wanted]
    summary = run(dataclasses.replace(asked, corruptions=(BURIED.name,)))
    assert summary.ok == summary.planned == 8
    with Store(asked.results) as store:
        found = {record.trial.condition for record in store.records()}
    assert {item.features for item in found} == {summary.condition.features}
    assert {item.corruption for item in found} == {"", "noise:-20"}
    assert {item.alignment for item in found} == {"anchors"}


def test_an_interrupted_run_goes_on_with_its_corruptions(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = config(corruptions=("noise:0", "telephone"), pairs=(Pair("X", "Y"), Pair("Y", "X")))
    assert asked.corruptions == ("noise:0", "telephone:8", "telephone:6", "telephone:4")
    whole = local.run_packs

    def interrupted(packs: Sequence[Pack], *, done: Any, **rest: Any) -> None:
        def stop_after_two(pack: Pack, outcomes: Sequence[Outcome]) -> None:
            done(pack, outcomes)
            if pack is packs[1]:
                signal.raise_signal(signal.SIGTERM)

        whole(packs, done=stop_after_two, **rest)

    monkeypatch.setattr(local, "run_packs", interrupted)
    first = run(asked)
    assert first.interrupted
    assert 0 < first.ok < first.planned == 20
    monkeypatch.setattr(local, "run_packs", whole)
    with Store(asked.results) as store:
        stored = store.runs()[-1].config
    repeated = Request.from_json(stored, results=asked.results)
    assert repeated.corruptions == asked.corruptions
    second = run(repeated)
    assert (second.found, second.ok) == (first.ok, 20)
    unbroken = dataclasses.replace(asked, results=tmp_path / "unbroken.sqlite")
    run(unbroken)
    scores = []
    for results in (asked.results, unbroken.results):
        with Store(results) as store:
            scores.append({r.trial.id: r.scores.tobytes() for r in store.records()})
    assert scores[0] == scores[1]


def test_options_of_older_files_have_no_corruption(config: Config) -> None:
    stored = config().as_json()
    del stored["corruptions"]
    assert Request.from_json(stored, results=config().results) == config()


def test_points_are_chosen_in_each_condition(config: Config, tmp_path: Path) -> None:
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
        (found,) = robustness(store, scales(), wanted={"selection": "other-pairs"}, resamples=50)
    assert [point.cell.n for point in found.curves[0].points] == [1, 1]


@pytest.fixture
def call(config: Config, shared: Path) -> Callable[..., Result]:
    app = typer.Typer(add_completion=False)
    app.command("run")(running.run)
    app.command("resume")(running.resume)
    results = str(config().results)
    usual = ("--manifest", str(shared / "corpora" / "manifest.csv"), "--methods", "near",
             "--shots", "1", "--seeds", "2", "--scheduler", "local", "--workers", "1")  # fmt: skip

    def invoke(command: str, *words: str) -> Result:
        given = usual if command == "run" else ()
        return CliRunner().invoke(app, [command, "--results", results, *given, *words])

    return invoke


def test_the_command_prints_the_conditions(call: Callable[..., Result]) -> None:
    done = call("run", "--corrupt", "noise:20,0", "--corrupt", "clip:10", "--format", "csv")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["condition"] for row in rows] == ["clean", "noise:20", "noise:0", "clip:10"]
    assert all(row["uar_mean"] for row in rows)
    assert "48 of 48 trials stored" in done.stderr
    again = call("resume", "--format", "csv")
    assert again.stdout == done.stdout
    assert "48 were there before" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--corrupt", "nois:20"), "corruption 'nois' is unknown; did you mean 'noise'"),
        (("--corrupt", "noise:loud"), "'loud' is no number"),
        (("--corrupt", "telephone:6.5"), "must be a whole number"),
        (("--corrupt", "20,10"), "20 is a level of nothing"),
        (("--corrupt", "noise", "--with", "point"), "--with point belongs to leaderboards"),
    ],
)
def test_the_command_says_what_is_wrong_before_the_work(
    call: Callable[..., Result], config: Config, words: tuple[str, ...], message: str
) -> None:
    done = call("run", *words)
    assert isinstance(done.exception, SpecError)
    with pytest.raises(ClserError, match=message):
        raise done.exception
    assert not config().results.exists()
