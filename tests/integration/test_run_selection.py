"""Runs that choose hyper-parameters by other pairs or criteria, and the oracle beside them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from clser_bench.errors import SpecError
from clser_bench.problem import Value
from clser_bench.protocol import Condition, Pair
from clser_bench.report.table import Leaderboard
from clser_bench.run import selection
from clser_bench.run.execute import run
from clser_bench.run.request import Request, parse_settings
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store
from tests.boards import tables_of
from tests.tiny import (
    Watch,
    planned,
    poison,
    scores,
    stored,
    table_text,
    write_corpora,
    write_method,
)

pytestmark = pytest.mark.usefixtures("packed")
GRID = (0.0, 1.0, 10.0)
FAILS = "if self.weight == 10.0: raise RuntimeError('as asked')"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Four corpora for `other-pairs` and two larger ones for criteria."""
    folder = tmp_path_factory.mktemp("four")
    write_corpora(folder / "two", codes="WX", takes=12)
    write_corpora(folder / "corpora", codes="WXYZ", takes=2)
    write_method(folder / "methods", "near", grid=GRID)
    write_method(folder / "methods", "late", body=FAILS, grid=GRID)
    write_method(folder / "methods", "fixed", deterministic=True)
    return folder


@pytest.fixture
def usual():
    return {"condition": Condition(selection="other-pairs")}


def tables(request: Request) -> dict[str, Leaderboard]:
    with Store(request.results, create=False) as store:
        made = tables_of(store, intervals=False)
    return {table.condition.selection: table for table in made}


def weight_of(record: Record) -> Value:
    return dict(record.trial.parameters)["weight"]


def uars_of(request: Request, method: str = "") -> dict[tuple[str, Value], float]:
    """Means over draws by pair and weight."""
    found: dict[tuple[str, Value], list[float]] = defaultdict(list)
    for record in stored(request.results, method):
        assert record.metrics
        found[str(record.trial.pair), weight_of(record)].append(record.metrics.uar)
    return {place: float(np.mean(values)) for place, values in found.items()}


def test_every_point_runs_and_the_table_holds_the_chosen(config):
    """One of the points of `late` fails, and is not chosen."""
    said: list[str] = []
    asked = config(methods=("chance", "near", "late", "fixed"))
    summary = run(asked, say=said.append)
    assert said[-1] == "selection other-pairs: 192 trials of 8 configurations of 4 methods"
    assert (summary.planned, summary.ok, summary.failed) == (192, 168, 24)
    found = tables(asked)
    assert list(found) == [summary.condition.selection] == ["other-pairs"]
    table = found["other-pairs"]
    lines = {line.method: line for line in table.lines}
    assert {name: line.mean.n for name, line in lines.items()} == dict.fromkeys(asked.methods, 2)
    assert lines["late"].mean.status == "ok"
    uars = uars_of(asked, "near")
    assert len(uars) == 12 * 3
    for pair, cell in zip(table.pairs, lines["near"].cells, strict=True):
        elsewhere = selection.others(pair, table.pairs)
        assert len(elsewhere) == 2
        best = max((1.0, 0.0, 10.0), key=lambda w: np.mean([uars[str(p), w] for p in elsewhere]))
        assert cell.mean == pytest.approx(uars[str(pair), best])


def test_nothing_is_computed_twice(config):
    first = run(config(condition=Condition()))
    summary = run(config())
    assert (first.ok, summary.found, summary.planned) == (24, 24, 72)
    text, watch = table_text(config().results), Watch()
    assert run(config(), progress=watch).found == 72
    assert run(config(condition=Condition()), progress=watch).found == 24
    assert not watch.ran
    assert table_text(config().results) == text
    assert set(tables(config())) == {"default", "other-pairs"}


def test_an_interrupted_selection_goes_on(config, tmp_path):
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
    assert scores(asked.results) == scores(unbroken.results)


def test_what_is_set_is_fixed_and_leaves_the_grid(config):
    plan = planned(config(methods=("near", "late"), settings=parse_settings(["near.weight=2"])))
    weights = {(t.method, dict(t.parameters)["weight"]) for t in plan.trials}
    assert weights == {("near", 2.0), *(("late", weight) for weight in (0.0, 1.0, 10.0))}
    assert plan.condition.selection == "other-pairs"


def test_a_selection_needs_four_corpora(config, tmp_path):
    manifest = write_corpora(tmp_path / "three", codes="XYZ", takes=1)
    with pytest.raises(SpecError, match=r"suite custom-\w+ has none here: a suite needs four corp"):
        run(config(manifests=(manifest,)))
    with pytest.raises(SpecError, match="leave --pairs out"):
        run(config(pairs=(Pair("W", "X"),)))
    assert not config().results.exists()


@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_the_oracle_runs_once_and_stands_apart(config, setting):
    rules = Condition(setting=setting)
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
def test_a_method_meets_every_target_that_is_drawn(config, method):
    rules = Condition(prior="dirichlet:1")
    plan = planned(config(methods=(method,), condition=rules, shots=("all",)))
    assert sorted({t.seed for t in plan.trials}) == [0, 1]


def test_no_answer_of_the_oracle_travels(config):
    plan = planned(config(methods=("within-target", "near"), condition=Condition()))
    packs = plan.packs(open_ids={trial.id for trial in plan.trials}, failed_ids=())
    assert {job.method for pack in packs for job in pack.jobs} == {"near"}


def test_a_poisoned_key_changes_the_oracle_only(config, monkeypatch, tmp_path):
    asked = config(methods=("near", "within-target"), condition=Condition())
    run(asked)
    poisoned = asked.replace(results=tmp_path / "poisoned.sqlite")
    poison(monkeypatch)
    run(poisoned)
    before, after = stored(asked.results), scores(poisoned.results)
    assert len(before) == len(after)
    alike = {(r.trial.method, r.scores.tobytes() == after[r.trial.id]) for r in before}
    assert alike == {("near", True), ("within-target", False)}


def test_the_oracle_has_no_settings(config):
    with pytest.raises(SpecError, match="'within-target' has no hyper-parameter 'c'"):
        run(config(methods=("within-target",), settings=parse_settings(["within-target.c=1"])))


def test_a_routine_that_breaks_is_a_failure(config, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("clser_bench.shallow.classifiers.logistic_scores", broken)
    assert run(config(methods=("within-target",), condition=Condition())).failed == 12
    assert "MemoryError: no more" in stored(config().results, "within-target")[0].reason


# criteria without target labels


@pytest.fixture
def selecting(config, shared):
    two = {"manifests": (shared / "two" / "manifest.csv",), "shots": (2,)}
    return lambda name, **more: config(**{**two, **more}, condition=Condition(selection=name))


def chosen(request: Request) -> dict[tuple[str, int], Value]:
    """The weight of each pair and draw in the latest plan of the selection."""
    with Store(request.results, create=False) as store:
        frame = store.frame({"selection": request.condition.selection})
    rows = frame[["pair", "seed", "parameters"]].to_numpy()
    return {(pair, seed): dict(parameters)["weight"] for pair, seed, parameters in rows}


def every_configuration(request: Request, setting: str) -> dict[tuple[str, int], dict[Value, Any]]:
    found: dict[tuple[str, int], dict[Value, Any]] = defaultdict(dict)
    for record in stored(request.results):
        if record.trial.condition.setting == setting:
            found[str(record.trial.pair), record.trial.seed][weight_of(record)] = record
    return found


@pytest.mark.parametrize(
    ("criterion", "shots", "setting"),
    [("mutual-information", 2, "transductive"), ("source-risk", 10, "held-out")],
)
def test_each_draw_has_what_its_criterion_prefers(selecting, criterion, shots, setting):
    asked = selecting(criterion, shots=(shots,))
    first = run(asked)
    every = every_configuration(asked, setting)
    for place, weight in chosen(asked).items():
        values = {
            w: selection.of_target(criterion, record)
            if setting == "transductive"
            else selection.of_source(criterion, record, np.zeros(0))
            for w, record in every[place].items()
        }
        assert len(values) == 3
        assert values[weight] == max(values.values())
        # of the target all; of the source two of ten in two classes
        answers = 48 if setting == "transductive" else 4
        assert {len(record.y) for record in every[place].values()} == {answers}
    with Store(asked.results) as store:
        assert {table.condition.setting for table in tables_of(store)} == {"transductive"}
    watch = Watch()
    again = run(asked, progress=watch)
    assert not watch.ran
    assert (again.ok, again.failed) == (first.ok, 0)


@pytest.mark.parametrize("criterion", ["agreement", "embedded-validation"])
def test_a_target_label_has_no_say(selecting, criterion, monkeypatch, tmp_path):
    asked = selecting(criterion, shots=(10,))
    run(asked)
    before = chosen(asked)
    poison(monkeypatch)
    poisoned = asked.replace(results=tmp_path / "poisoned.sqlite")
    run(poisoned)
    assert chosen(poisoned) == before


def test_the_best_by_target_labels_stands_apart(selecting):
    asked = selecting("oracle")
    run(asked)
    uars = uars_of(asked)
    for (pair, _), weight in chosen(asked).items():
        best = max(uar for (other, _), uar in uars.items() if other == pair)
        assert uars[pair, weight] == pytest.approx(best)
    with Store(asked.results) as store:
        (table,) = tables_of(store)
    assert {line.method: line.role for line in table.lines}["near"] == "reference"
    assert all(line.ranks is None for line in table.lines)


def test_too_few_labels_to_hold_out(selecting):
    with pytest.raises(SpecError, match=r"'source-accuracy' is not applicable below 10 shots"):
        run(selecting("source-accuracy", shots=(10, 5)))
