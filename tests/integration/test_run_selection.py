"""Runs that choose hyper-parameters, and the oracle beside them, on four tiny corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clser_bench import registry
from clser_bench.errors import CorpusError, SpecError
from clser_bench.protocol import Condition, Pair
from clser_bench.report.table import Leaderboard
from clser_bench.run import selection
from clser_bench.run.execute import run, run_configurations
from clser_bench.run.plan import Pack, Plan
from clser_bench.run.request import Request, parse_settings
from clser_bench.store.sqlite import Store
from tests.boards import tables_of
from tests.integration.conftest import Config
from tests.tiny import Watch, planned, poison, stored, table_text, write_corpora, write_method

pytestmark = pytest.mark.usefixtures("packed")
OTHER_PAIRS = Condition(selection="other-pairs")
GRID = (0.0, 1.0, 10.0)
FAILS = "if self.weight == 10.0: raise RuntimeError('as asked')"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four corpora for the selection, and a cache that all tests of this file share."""
    folder = tmp_path_factory.mktemp("four")
    write_corpora(folder / "corpora", codes="WXYZ", takes=2)
    write_method(folder / "methods", "near", grid=GRID)
    write_method(folder / "methods", "late", body=FAILS, grid=GRID)
    write_method(folder / "methods", "fixed", deterministic=True)
    return folder


@pytest.fixture
def usual() -> dict[str, Any]:
    return {"condition": OTHER_PAIRS}


def tables(request: Request) -> dict[str, Leaderboard]:
    with Store(request.results, create=False) as store:
        made = tables_of(store, intervals=False)
    return {table.condition.selection: table for table in made}


def all_packs(plan: Plan) -> list[Pack]:
    return plan.packs(open_ids={trial.id for trial in plan.trials}, failed_ids=())


def test_every_point_runs_and_the_table_holds_the_chosen(config: Config) -> None:
    asked = config(methods=("chance", "near", "fixed"))
    said: list[str] = []
    summary = run(asked, say=said.append)
    assert said[-1] == "selection other-pairs: 120 trials of 5 configurations of 3 methods"
    assert (summary.planned, summary.ok, summary.condition.selection) == (120, 120, "other-pairs")
    found = tables(asked)
    assert list(found) == ["other-pairs"]
    table = found["other-pairs"]
    assert {line.method: line.mean.n for line in table.lines} == dict.fromkeys(
        ("chance", "near", "fixed"), 2
    )
    by_cell: dict[tuple[Pair, float], list[float]] = {}
    for record in stored(asked.results, "near"):
        assert record.metrics
        cell = by_cell.setdefault((record.trial.pair, dict(record.trial.parameters)["weight"]), [])  # type: ignore[arg-type]
        cell.append(record.metrics.uar)
    assert len(by_cell) == 12 * 3
    (line,) = [line for line in table.lines if line.method == "near"]
    for pair, cell in zip(table.pairs, line.cells, strict=True):
        elsewhere = selection.others(pair, table.pairs)
        assert len(elsewhere) == 2
        best = max(
            (1.0, 0.0, 10.0), key=lambda w: np.mean([np.mean(by_cell[p, w]) for p in elsewhere])
        )
        assert cell.mean == pytest.approx(np.mean(by_cell[pair, best]))


def test_nothing_is_computed_twice(config: Config) -> None:
    first = run(config(condition=Condition()))
    summary = run(config())
    assert (first.ok, summary.found, summary.planned) == (24, 24, 72)
    text, watch = table_text(config().results), Watch()
    assert run(config(), progress=watch).found == 72
    assert run(config(condition=Condition()), progress=watch).found == 24
    assert not watch.ran
    assert table_text(config().results) == text
    assert set(tables(config())) == {"default", "other-pairs"}


def test_an_interrupted_selection_goes_on(config: Config, tmp_path: Path) -> None:
    asked = config(shots=(1, 2), seeds=1)
    summary = run(asked, progress=Watch(stop=2))
    assert summary.interrupted
    assert 0 < summary.ok < summary.planned == 72
    assert tables(asked) == {}, "nothing is chosen from half of the trials"
    with Store(asked.results) as store:
        again = Request.from_json(store.runs()[-1].request, results=asked.results)
    assert again == asked
    assert run(again).ok == 72
    unbroken = asked.replace(results=tmp_path / "unbroken.sqlite")
    run(unbroken)
    assert table_text(asked.results) == table_text(unbroken.results)


def test_a_configuration_that_fails_is_not_chosen(config: Config) -> None:
    asked = config(methods=("late",))
    assert run(asked).failed == 24
    (line,) = tables(asked)["other-pairs"].lines
    assert line.mean.status == "ok"


def test_what_is_set_is_fixed_and_leaves_the_grid(config: Config) -> None:
    plan = planned(config(methods=("near", "late"), settings=parse_settings(["near.weight=2"])))
    weights = {(t.method, dict(t.parameters)["weight"]) for t in plan.trials}
    assert weights == {("near", 2.0), *(("late", weight) for weight in (0.0, 1.0, 10.0))}
    assert plan.condition.selection == "other-pairs"


def test_a_selection_needs_four_corpora(config: Config, tmp_path: Path) -> None:
    manifest = write_corpora(tmp_path / "three", codes="XYZ", takes=1)
    with pytest.raises(SpecError, match=r"suite custom-\w+ has none here: a suite needs four corp"):
        run(config(manifests=(manifest,)))
    with pytest.raises(SpecError, match="leave --pairs out"):
        run(config(pairs=(Pair("W", "X"),)))
    assert not config().results.exists()


def test_configurations_share_no_pack_and_leave_packs_as_they_are(config: Config) -> None:
    default = all_packs(planned(config(condition=Condition())))
    every = all_packs(planned(config()))
    assert {pack.name for pack in default} < {pack.name for pack in every}
    assert all(len({job.parameters for job in pack.jobs}) == 1 for pack in every)


def test_every_point_under_several_rules_at_once(config: Config) -> None:
    asked = [
        config(
            methods=("near", "fixed", "chance", "within-target"),
            condition=Condition(normalisation=how),
            seeds=1,
        )
        for how in ("corpus", "speaker")
    ]
    plans = run_configurations(asked)
    assert [len(plan.trials) for plan in plans] == [36, 36]
    assert {t.method for plan in plans for t in plan.trials} == {"near"}
    with Store(asked[0].results) as store:
        assert len(store.uars([t.id for plan in plans for t in plan.trials])) == 72
        assert tables_of(store, intervals=False) == ()


@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_the_oracle_runs_once_and_stands_apart(config: Config, setting: str) -> None:
    rules = Condition(setting=setting)  # type: ignore[arg-type]
    asked = config(methods=("within-target", "near"), condition=rules, shots=(1, 2))
    assert run(asked).ok == 48 + 24
    found = stored(asked.results, "within-target")
    assert {(r.trial.seed, r.trial.parameters, r.pack) for r in found} == {(0, (), "")}
    assert all(len(r.y) == 8 and np.isfinite(r.scores).all() for r in found)
    with Store(asked.results) as store:
        table = tables_of(store, shots=1)[0]
    last = table.lines[-1]
    assert (last.method, last.role) == ("within-target", "reference")
    assert (last.ranks, last.mean.n) == (None, 1)
    assert run(asked).found == 72


@pytest.mark.parametrize("method", ["within-target", "fixed"])
def test_a_method_meets_every_target_that_is_drawn(config: Config, method: str) -> None:
    rules = Condition(prior="dirichlet:1")
    plan = planned(config(methods=(method,), condition=rules, shots=("all",)))
    assert sorted({t.seed for t in plan.trials}) == [0, 1]


def test_no_answer_of_the_oracle_travels(config: Config) -> None:
    plan = planned(config(methods=("within-target", "near"), condition=Condition()))
    assert {job.method for pack in all_packs(plan) for job in pack.jobs} == {"near"}


def test_a_poisoned_key_changes_the_oracle_only(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = config(methods=("near", "within-target"), condition=Condition())
    run(asked)
    poisoned = asked.replace(results=tmp_path / "poisoned.sqlite")
    poison(monkeypatch)
    run(poisoned)
    for method, same in (("near", True), ("within-target", False)):
        before, after = stored(asked.results, method), stored(poisoned.results, method)
        alike = [
            one.scores.tobytes() == other.scores.tobytes()
            for one, other in zip(before, after, strict=True)
        ]
        assert all(alike) if same else not any(alike)


def test_too_many_shots_are_refused_before_the_oracle_runs(config: Config) -> None:
    with pytest.raises(CorpusError, match="7"):
        run(config(methods=("within-target",), condition=Condition(), shots=(7,)))
    with Store(config().results) as store:
        assert store.runs() == ()


def test_the_oracle_has_no_settings(config: Config) -> None:
    with pytest.raises(SpecError, match=r"'logistic' has no hyper-parameter 'title'.*strength"):
        registry.create("logistic", {"title": "mine"})
    with pytest.raises(SpecError, match="'within-target' has no hyper-parameter 'c'"):
        run(config(methods=("within-target",), settings=parse_settings(["within-target.c=1"])))


def test_a_routine_that_breaks_is_a_failure(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("clser_bench.shallow.classifiers.logistic_scores", broken)
    assert run(config(methods=("within-target",), condition=Condition())).failed == 12
    assert "MemoryError: no more" in stored(config().results, "within-target")[0].reason
