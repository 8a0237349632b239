"""Runs whose hyper-parameters a criterion without target labels chooses."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clser_bench.errors import SpecError
from clser_bench.problem import Value
from clser_bench.protocol import Condition
from clser_bench.run import selection as measures
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from clser_bench.store.sqlite import Store
from tests.boards import tables_of
from tests.integration.conftest import Config
from tests.tiny import Watch, poison, stored, write_corpora, write_method

pytestmark = pytest.mark.usefixtures("packed")
Chosen = dict[tuple[str, int], Value]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("criteria")
    write_corpora(folder / "corpora", codes="WX", takes=12)
    write_method(folder / "methods", "near", grid=(0.0, 1.0, 10.0))
    return folder


@pytest.fixture
def usual() -> dict[str, Any]:
    return {"shots": (2,)}


@pytest.fixture
def selecting(config: Config) -> Config:
    return lambda name, **options: config(condition=Condition(selection=name), **options)


def chosen(request: Request) -> Chosen:
    """The weight of each pair and draw in the latest plan of the selection."""
    with Store(request.results, create=False) as store:
        frame = store.frame({"selection": request.condition.selection})
    return {(row.pair, row.seed): dict(row.parameters)["weight"] for row in frame.itertuples()}


def every_configuration(request: Request, setting: str) -> dict[tuple[str, int], dict[Value, Any]]:
    found: dict[tuple[str, int], dict[Value, Any]] = defaultdict(dict)
    for r in stored(request.results):
        if r.trial.condition.setting == setting:
            found[str(r.trial.pair), r.trial.seed][dict(r.trial.parameters)["weight"]] = r
    return found


def test_each_draw_has_the_configuration_that_the_criterion_prefers(selecting: Config) -> None:
    asked = selecting("mutual-information")
    run(asked)
    for place, weight in chosen(asked).items():
        values = {
            w: measures.of_target("mutual-information", record)
            for w, record in every_configuration(asked, "transductive")[place].items()
        }
        assert len(values) == 3
        assert values[weight] == max(values.values())


def test_held_out_labels_choose(selecting: Config) -> None:
    asked = selecting("source-risk", shots=(10,))
    first = run(asked)
    held = every_configuration(asked, "held-out")
    for place, weight in chosen(asked).items():
        values = {
            w: measures.of_source("source-risk", record, np.zeros(0))
            for w, record in held[place].items()
        }
        assert len(values) == 3
        assert values[weight] == max(values.values())
        assert {len(r.y) for r in held[place].values()} == {4}  # two of ten, two classes
    with Store(asked.results) as store:
        assert {table.condition.setting for table in tables_of(store)} == {"transductive"}
    watch = Watch()
    again = run(asked, progress=watch)
    assert not watch.ran
    assert (again.ok, again.failed) == (first.ok, 0)


@pytest.mark.parametrize("selection", ["agreement", "embedded-validation"])
def test_a_target_label_has_no_say(
    selecting: Config, selection: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = selecting(selection, shots=(10,))
    run(asked)
    before = chosen(asked)
    poison(monkeypatch)
    poisoned = asked.replace(results=tmp_path / "poisoned.sqlite")
    run(poisoned)
    assert chosen(poisoned) == before


def test_the_oracle_stands_apart(selecting: Config) -> None:
    asked = selecting("oracle")
    run(asked)
    uars: dict[tuple[str, Value], list[float]] = defaultdict(list)
    for (pair, _), points in every_configuration(asked, "transductive").items():
        for weight, record in points.items():
            uars[pair, weight].append(record.metrics.uar)
    for (pair, _), weight in chosen(asked).items():
        best = max(np.mean(values) for (p, _), values in uars.items() if p == pair)
        assert np.mean(uars[pair, weight]) == pytest.approx(best)
    with Store(asked.results) as store:
        (table,) = tables_of(store)
    assert {line.method: line.role for line in table.lines}["near"] == "reference"
    assert all(line.ranks is None for line in table.lines)


def test_too_few_labels_to_hold_out(selecting: Config) -> None:
    with pytest.raises(SpecError, match=r"'source-accuracy' is not applicable below 10 shots"):
        run(selecting("source-accuracy", shots=(10, 5)))
