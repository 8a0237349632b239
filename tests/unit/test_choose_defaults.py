"""The rule by which defaults are chosen, on numbers made by hand, and one small run."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from clser_bench.problem import Trial
from clser_bench.protocol import Condition
from clser_bench.run.request import Request, parse_settings
from clser_bench.run.worker import Worker
from tests import tools
from tests.records import trial
from tests.tiny import write_corpora, write_method

TEN = np.arange(10) % 3


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return tools.load("choose_defaults")


def points(tool: ModuleType, *draws: dict[str, np.ndarray]) -> list[object]:
    return [
        tool.Point(parameters={"weight": float(number), "kind": "a"}, draws=values)
        for number, values in enumerate(draws)
    ]


def chosen(tool: ModuleType, *draws: dict[str, np.ndarray]) -> int:
    return tool.choice(tool.cells_of(points(tool, *draws)))


def test_a_point_must_be_better_by_more_than_its_error(tool: ModuleType) -> None:
    default = {"a": 40.0 + TEN}
    noise = np.tile([-1.0, 1.0], 5)
    error = np.std(noise, ddof=1) / np.sqrt(10)
    assert chosen(tool, default, {"a": default["a"] + noise + error * 0.99}) == 0
    assert chosen(tool, default, {"a": default["a"] + noise + error * 1.01}) == 1
    assert chosen(tool, default, {"a": default["a"] - 5}) == 0
    best = [{"a": default["a"] + gain} for gain in (1.0, 3.0, 2.0, 3.0)]
    assert chosen(tool, default, *best) == 2


def test_conditions_count_together(tool: ModuleType) -> None:
    """Much better under one condition and a little worse under the other."""
    default = {"a": 40.0 + TEN, "b": 30.0 + TEN}
    other = {"a": default["a"] + 3, "b": default["b"] - 1}
    (_, row) = tool.cells_of(points(tool, default, other))
    assert row["all"].difference == pytest.approx(1.0)
    assert row["all"].uar == pytest.approx(np.mean(36.0 + TEN))
    assert chosen(tool, default, other) == 1


def test_a_point_with_a_hole_is_not_chosen_but_shown(tool: ModuleType) -> None:
    default = {"a": 40.0 + TEN, "b": 30.0 + TEN}
    holed = {"a": default["a"] + 9}
    assert chosen(tool, default, holed) == 0
    assert "| weight=1.0 | 49.90 (+9.00 ± 0.00) | – | – |" in tool.section(
        "m", [tool.Point(parameters={"weight": float(n)}, draws=d) for n, d in
              enumerate((default, holed))]
    )  # fmt: skip


def test_what_cannot_be_compared_chooses_nothing(tool: ModuleType) -> None:
    """A condition that does not apply to the default, a default without draws, a single draw."""
    default = {"a": 40.0 + TEN}
    assert chosen(tool, default, {"a": default["a"] + 1, "b": default["a"]}) == 1
    assert chosen(tool, {}, {"a": default["a"]}) == 0
    assert chosen(tool, {"a": np.array([40.0])}, {"a": np.array([90.0])}) == 0


def test_a_single_draw_counts_for_every_draw_of_the_others(tool: ModuleType) -> None:
    default = {"5": 40.0 + TEN, "all": np.array([50.0])}
    other = {"5": 42.0 + TEN, "all": np.array([49.0])}
    (_, row) = tool.cells_of(points(tool, default, other))
    assert row["all"].difference == pytest.approx(0.5)


def test_means_run_over_pairs_within_a_draw(tool: ModuleType) -> None:
    trials: list[Trial] = [
        trial("m", pair, seed=seed) for pair in ("N→T", "T→N") for seed in range(2)
    ]
    uars = dict(zip([t.id for t in trials], (10.0, 20.0, 30.0, 50.0), strict=True))
    np.testing.assert_array_equal(tool.draw_means(trials, uars), [20.0, 35.0])
    del uars[trials[0].id]
    assert tool.draw_means(trials, uars) is None


def test_what_changes_is_written_for_params(tool: ModuleType, tmp_path: Path) -> None:
    default = {"a": 40.0 + TEN}
    better = {"a": default["a"] + 1}
    made = tool.as_toml({"m": points(tool, default, better), "n": points(tool, default)})
    assert made == "[m]\nweight = 1.0\n\n# n: the default stays\n"
    file = tmp_path / "chosen.toml"
    file.write_text(made)
    assert parse_settings([], file) == {"m": {"weight": 1.0}}


def test_a_small_run_writes_its_files_and_goes_on(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = tmp_path / "methods"
    write_method(methods, "near", grid=(0.0, 1.0, 10.0))
    write_method(methods, "fixed")
    monkeypatch.setenv("CLSER_METHODS", str(methods))
    manifest = write_corpora(tmp_path / "corpora", codes="XY", takes=2)
    asked = [
        Request(
            manifests=(manifest,),
            methods=("near", "fixed"),
            shots=(1,),
            seeds=3,
            condition=Condition(normalisation=how),
            results=tmp_path / "records.sqlite",
            scheduler="local",
        )
        for how in tool.NORMALISATIONS
    ]
    out = tmp_path / "out"
    said = tool.write(asked, out, command="the command")
    first = {file.name: file.read_text(encoding="utf-8") for file in out.iterdir()}
    assert first["chosen.toml"] == said
    assert "| weight=1.0 (default) |" in first["defaults.md"]
    assert "fixed" not in first["defaults.md"]
    rows = list(csv.DictReader(first["defaults.csv"].splitlines()))
    assert len(rows) == 3 * 3
    assert {row["condition"] for row in rows} == {"minimal corpus 1", "minimal speaker 1", "all"}
    assert sum(int(row["chosen"]) for row in rows) == 3
    monkeypatch.setattr(Worker, "run", lambda *_, **__: pytest.fail("ran again"))
    tool.write(asked, out, command="the command")
    assert {file.name: file.read_text(encoding="utf-8") for file in out.iterdir()} == first
