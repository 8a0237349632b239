"""Runs whose hyper-parameters a criterion without target labels chooses."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clser_bench.errors import SpecError
from clser_bench.problem import Value
from clser_bench.protocol import Condition
from clser_bench.report.tables import leaderboard
from clser_bench.run import execute as main
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from clser_bench.run.sweep import measures
from clser_bench.store.sqlite import Store
from tests.tiny import write_corpora, write_method

Config = Callable[..., Request]
Chosen = dict[tuple[str, int], Value]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("criteria")
    write_corpora(folder / "corpora", codes="WX", takes=12)
    write_method(folder / "methods", "near", grid=(0.0, 1.0, 10.0))
    return folder


@pytest.fixture
def config(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("CLSER_CACHE", str(shared / "cache"))
    monkeypatch.setenv("CLSER_METHODS", str(shared / "methods"))

    def make(selection: str, **options: Any) -> Request:
        usual = Request(
            manifests=(shared / "corpora" / "manifest.csv",),
            methods=("near",),
            shots=(2,),
            seeds=2,
            condition=Condition(selection=selection),
            results=tmp_path / "results.sqlite",
            scheduler="local",
            workers=1,
        )
        return dataclasses.replace(usual, **options)

    return make


def chosen(config: Request) -> Chosen:
    """The weight of each pair and draw in the latest plan of the selection."""
    with Store(config.results, create=False) as store:
        (part,) = [
            item
            for item in store.slices()
            if item.condition.selection == config.condition.selection and not item.candidate
        ]
        (last,) = [item for item in store.runs() if item.id == part.run]
        ids = set(store.planned_ids(last.id))
        return {
            (str(r.trial.pair), r.trial.seed): dict(r.trial.parameters)["weight"]
            for r in store.records(sorted(ids))
        }


def every_point(config: Request, setting: str) -> dict[tuple[str, int], dict[Value, Any]]:
    found: dict[tuple[str, int], dict[Value, Any]] = defaultdict(dict)
    with Store(config.results, create=False) as store:
        for r in store.records(status="ok"):
            if r.trial.condition.setting == setting:
                place = (str(r.trial.pair), r.trial.seed)
                found[place][dict(r.trial.parameters)["weight"]] = r
    return found


def test_each_draw_has_the_point_that_the_criterion_prefers(config: Config) -> None:
    asked = config("mutual-information")
    run(asked)
    for place, weight in chosen(asked).items():
        values = {
            w: measures.of_target("mutual-information", record)
            for w, record in every_point(asked, "transductive")[place].items()
        }
        assert len(values) == 3
        assert values[weight] == max(values.values())


def test_labels_that_were_kept_back_choose(config: Config) -> None:
    asked = config("source-risk", shots=(10,))
    run(asked)
    held = every_point(asked, "held-out")
    for place, weight in chosen(asked).items():
        values = {
            w: measures.of_source("source-risk", record, np.zeros(0))
            for w, record in held[place].items()
        }
        assert len(values) == 3
        assert values[weight] == max(values.values())
        assert {len(r.y) for r in held[place].values()} == {4}  # two of ten, two classes
    with Store(asked.results) as store:
        assert {table.rules.setting for table in leaderboard(store)} == {"transductive"}


@pytest.mark.parametrize("selection", ["agreement", "embedded-validation"])
def test_a_target_label_has_no_say(
    config: Config, selection: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = config(selection, shots=(10,))
    run(asked)
    before = chosen(asked)
    true = main.make_plan

    def made(*arguments: Any, **options: Any) -> Any:
        plan = true(*arguments, **options)
        if plan.condition.setting == "held-out":
            return plan

        def folds(trial: Any) -> Any:
            return tuple(
                dataclasses.replace(fold, key=dataclasses.replace(fold.key, y=1 - fold.key.y))
                for fold in plan.folds(trial)
            )

        return dataclasses.replace(plan, folds=folds)

    monkeypatch.setattr(main, "make_plan", made)
    poisoned = dataclasses.replace(asked, results=tmp_path / "poisoned.sqlite")
    run(poisoned)
    assert chosen(poisoned) == before


def test_the_oracle_stands_apart(config: Config) -> None:
    asked = config("oracle")
    run(asked)
    uars: dict[tuple[str, Value], list[float]] = defaultdict(list)
    for (pair, _), points in every_point(asked, "transductive").items():
        for weight, record in points.items():
            uars[pair, weight].append(record.metrics.uar)
    for (pair, _), weight in chosen(asked).items():
        best = max(np.mean(values) for (p, _), values in uars.items() if p == pair)
        assert np.mean(uars[pair, weight]) == pytest.approx(best)
    with Store(asked.results) as store:
        (table,) = leaderboard(store)
    assert {line.method: line.kind for line in table.lines}["near"] == "oracle"
    assert all(line.rank is None for line in table.lines)


def test_too_few_labels_to_keep_back(config: Config) -> None:
    with pytest.raises(SpecError, match=r"'source-accuracy' is not applicable below 10 shots"):
        run(config("source-accuracy", shots=(10, 5)))


def test_a_second_run_computes_nothing(config: Config) -> None:
    asked = config("source-risk", shots=(10,))
    first = run(asked)
    again = run(asked)
    assert again.found > first.found
    assert (again.ok, again.failed) == (first.ok, 0)
