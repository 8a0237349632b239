"""How defaults are chosen and criteria judged, on numbers made by hand, and a small run of each."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clser_bench.problem import Value
from clser_bench.protocol import Condition, Pair
from clser_bench.run.request import Request, parse_settings
from clser_bench.run.selection import OBJECTIVES, Place
from clser_bench.run.worker import Worker
from clser_bench.store.sqlite import Store
from tests import tools
from tests.boards import tables_of
from tests.records import trial
from tests.tiny import stored, write_corpora, write_method

AB, BA, CD = Pair("A", "B"), Pair("B", "A"), Pair("C", "D")
QUALITY = np.array([10.0, 20.0, 40.0])
TEN = np.arange(10) % 3
DEFAULT = {"a": 40.0 + TEN}
defaults = tools.load("choose_defaults")
judging = tools.load("compare_criteria")


@pytest.fixture
def methods(tmp_path, monkeypatch):
    """One with a grid of its weight and one without."""
    write_method(tmp_path / "methods", "near", grid=(0.0, 1.0, 10.0))
    write_method(tmp_path / "methods", "fixed")
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


# defaults


def points(*draws: dict[str, np.ndarray]) -> list[Any]:
    return [
        defaults.Point(parameters={"weight": float(number), "kind": "a"}, draws=values)
        for number, values in enumerate(draws)
    ]


def chosen(*draws: dict[str, np.ndarray]) -> Any:
    return defaults.choice(defaults.cells_of(points(*draws)))


def test_a_point_must_be_better_by_more_than_its_error():
    noise = np.tile([-1.0, 1.0], 5)
    error = np.std(noise, ddof=1) / np.sqrt(10)
    assert chosen(DEFAULT, {"a": DEFAULT["a"] + noise + error * 0.99}) == 0
    assert chosen(DEFAULT, {"a": DEFAULT["a"] + noise + error * 1.01}) == 1
    assert chosen(DEFAULT, {"a": DEFAULT["a"] - 5}) == 0
    best = [{"a": DEFAULT["a"] + gain} for gain in (1.0, 3.0, 2.0, 3.0)]
    assert chosen(DEFAULT, *best) == 2


def test_conditions_count_together():
    """Much better under one condition and a little worse under the other."""
    default = {**DEFAULT, "b": 30.0 + TEN}
    other = {"a": default["a"] + 3, "b": default["b"] - 1}
    (_, row) = defaults.cells_of(points(default, other))
    assert row["all"].difference == pytest.approx(1.0)
    assert row["all"].uar == pytest.approx(np.mean(36.0 + TEN))
    assert chosen(default, other) == 1
    single = {"5": 40.0 + TEN, "all": np.array([50.0])}  # its draw counts for every other's
    (_, row) = defaults.cells_of(points(single, {"5": 42.0 + TEN, "all": np.array([49.0])}))
    assert row["all"].difference == pytest.approx(0.5)


def test_what_cannot_be_compared_chooses_nothing():
    """A hole, a condition of one point only, a default without draws, a single draw."""
    default, holed = {**DEFAULT, "b": 30.0 + TEN}, {"a": DEFAULT["a"] + 9}
    assert chosen(default, holed) == 0
    shown = [defaults.Point(parameters={"weight": float(n)}, draws=d)
             for n, d in enumerate((default, holed))]  # fmt: skip
    assert "| weight=1.0 | 49.90 (+9.00 ± 0.00) | – | – |" in defaults.section("m", shown)
    assert chosen(DEFAULT, {"a": DEFAULT["a"] + 1, "b": DEFAULT["a"]}) == 1
    assert chosen({}, DEFAULT) == 0
    assert chosen({"a": np.array([40.0])}, {"a": np.array([90.0])}) == 0


def test_means_run_over_pairs_within_a_draw():
    trials = [trial("m", pair, seed=seed) for pair in ("N→T", "T→N") for seed in range(2)]
    uars = dict(zip([t.id for t in trials], (10.0, 20.0, 30.0, 50.0), strict=True))
    np.testing.assert_array_equal(defaults.draw_means(trials, uars), [20.0, 35.0])
    del uars[trials[0].id]
    assert defaults.draw_means(trials, uars) is None


def test_what_changes_is_written_for_params(tmp_path):
    better = {"a": DEFAULT["a"] + 1}
    made = defaults.as_toml({"m": points(DEFAULT, better), "n": points(DEFAULT)})
    assert made == "[m]\nweight = 1.0\n\n# n: the default stays\n"
    (tmp_path / "chosen.toml").write_text(made)
    assert parse_settings([], tmp_path / "chosen.toml") == {"m": {"weight": 1.0}}


@pytest.mark.usefixtures("methods")
def test_a_small_choice_writes_its_files_and_goes_on(tmp_path, monkeypatch):
    manifest = write_corpora(tmp_path / "corpora", codes="XY", takes=2)
    asked = [
        Request(
            manifests=(manifest,),
            methods=("near", "fixed", "chance", "within-target"),
            shots=(1,),
            seeds=3,
            condition=Condition(normalisation=how),
            results=tmp_path / "records.sqlite",
            scheduler="local",
        )
        for how in defaults.NORMALISATIONS
    ]
    out = tmp_path / "out"
    said = defaults.write(asked, out, command="the command")
    first = contents(out)
    assert first["chosen.toml"] == said
    assert "| weight=1.0 (default) |" in first["defaults.md"]
    assert not re.search("fixed|chance|within", first["defaults.md"]), "nothing to choose"
    with Store(tmp_path / "records.sqlite", create=False) as store:
        assert tables_of(store, intervals=False) == ()
    rows = list(csv.DictReader(first["defaults.csv"].splitlines()))
    assert len(rows) == 3 * 3
    assert {row["condition"] for row in rows} == {"minimal corpus 1", "minimal speaker 1", "all"}
    assert sum(int(row["chosen"]) for row in rows) == 3
    monkeypatch.setattr(Worker, "run", lambda *_, **__: pytest.fail("ran again"))
    defaults.write(asked, out, command="the command")
    assert contents(out) == first


# criteria


@pytest.mark.parametrize(
    ("draws", "correlation", "regret"),
    [
        pytest.param([[10, 20, 40]], 1, 0, id="perfect"),
        pytest.param([[-3, -2, 0]], 1, 0, id="any increasing scale will do"),
        pytest.param([[3, 2, 1]], -1, 30, id="reverse"),
        pytest.param([[1, 1, 1]], 0, 30, id="ranks nothing: the first is taken"),
        pytest.param([[0, 5, 5]], np.sqrt(0.75), 20, id="ties go to the earlier point"),
        pytest.param([[1, 2, 3], [3, 1, 2]], 0.25, 15, id="means over draws"),
        pytest.param([[1, 2, 3], [0, 0, 0]], 0.5, 15, id="a draw that ranks nothing counts 0"),
    ],
)
def test_a_criterion_on_one_pair(draws, correlation, regret):
    found = judging.judge(np.array(draws, float).T, QUALITY)
    assert found == pytest.approx((correlation, regret))
    alike = np.array([30.0, 30.0, 30.0])  # no regret, whatever is chosen
    assert judging.judge(np.array(draws, float).T, alike) == (0.0, 0.0)


def places(*pairs: tuple[Pair, list[float]]) -> dict[Place, float]:
    return {(pair, seed): value for pair, row in pairs for seed, value in enumerate(row)}


FIRST = places((AB, [5.0, 15.0]), (CD, [30.0, 30.0]))
SECOND = places((AB, [20.0, 20.0]), (CD, [0.0, 20.0]))
"""Qualities: 10 and 20 on A→B, 30 and 10 on C→D."""


def test_all_criteria_of_a_method_by_hand():
    uars = [FIRST, SECOND]
    against = [{place: -value for place, value in point.items()} for point in uars]
    # draw 0 of A→B prefers the second point and draw 1 the first; C→D the first, twice
    mixed = [places((AB, [0, 1]), (CD, [1, 1])), places((AB, [1, 0]), (CD, [0, 0]))]
    found = judging.judged({"good": uars, "bad": against, "mixed": mixed}, uars, [AB, CD], 2)
    hand: dict[str, tuple[list[float], list[float]]] = {
        "good": ([1, 1], [0, 0]),
        "bad": ([-1, -1], [10, 20]),
        "mixed": ([0, 1], [5, 0]),
        "shipped point": ([], [10, 0]),
        "random point": ([], [5, 10]),
        "other-pairs": ([-1, -1], [10, 20]),
    }
    assert set(found) == set(hand)
    for name, (correlation, regret) in hand.items():
        assert found[name].correlation == pytest.approx(tuple(correlation)), name
        assert found[name].regret == pytest.approx(tuple(regret)), name
    one = judging.judged({"good": uars}, uars, [CD], 2)
    assert one["good"].regret == one["shipped point"].regret == (0.0,), "A→B has no say"


def test_other_pairs_take_the_mean_over_all_pairs_of_other_corpora():
    """For A→B: C→D says 1 against 9, D→C 9 against 5; together the second is better."""
    pairs = [AB, BA, CD, Pair("D", "C")]
    qualities = ([50.0, 7.0, 1.0, 9.0], [40.0, 3.0, 9.0, 5.0])
    uars = [{(p, 0): v for p, v in zip(pairs, row, strict=True)} for row in qualities]
    found = judging.judged({}, uars, pairs, 1)["other-pairs"]
    # A→B and B→A take the second point: 50 - 40, 7 - 3; C→D and D→C the first: 9 - 1, 9 - 9
    assert found.regret == pytest.approx((10, 4, 8, 0))
    assert found.correlation == pytest.approx((-1, -1, -1, 1))
    two = [{place: uar for place, uar in point.items() if place[0] in (AB, BA)} for point in uars]
    assert "other-pairs" not in judging.judged({}, two, [AB, BA], 1), "no other corpora"


def test_cells_show_mean_deviation_and_holes():
    judged = judging.Judged
    found = {
        "m": {
            "entropy": judged(correlation=(1.0, 0.0), regret=(1.0, 3.0)),
            "shipped point": judged(correlation=(), regret=(2.0, 2.0)),
        },
        "k": {
            "entropy": judged(correlation=(0.25,), regret=(6.0,)),
            "source-risk": judged(correlation=(-1.0,), regret=(8.0,)),
            "shipped point": judged(correlation=(), regret=(0.0,)),
        },
    }
    lines = judging.section(10, found).splitlines()
    assert lines[0] == "## 10 shots"
    for line in (
        "| method | n | entropy | source-risk | shipped point |",
        "| m | 2 | 2.00 ± 1.41 | n/a | 2.00 ± 0.00 |",
        "| k | 1 | 6.00 | 8.00 | 0.00 |",
        "| **mean of 2 methods** | | 4.00 | 8.00 | 1.00 |",
        "| method | n | entropy | source-risk |",
        "| m | 2 | 0.50 ± 0.71 | n/a |",
        "| **mean of 2 methods** | | 0.38 | -1.00 |",
    ):
        assert line in lines
    rows = list(csv.DictReader(judging.as_csv({10: found}).splitlines()))
    assert ",".join(rows[0]) == "shots,method,criterion,pairs,correlation,regret"
    assert ",".join(rows[0].values()) == "10,m,entropy,2,0.5000,2.0000"
    assert [row["correlation"] for row in rows if row["criterion"] == "shipped point"] == ["", ""]


def namespace(**options: Any) -> argparse.Namespace:
    usual = {"suite": "bcro", "corpora": None, "methods": "near,fixed", "features": "minimal",
             "normalise": "speaker", "shots": "2,10", "seeds": 2, "workers": 1,
             "records": Path("records.sqlite"), "out": Path("out")}  # fmt: skip
    return argparse.Namespace(**{**usual, **options})


@pytest.mark.parametrize(
    ("shots", "held"), [((5,), None), ((5, 10), (10,)), ((9, "all", 20), ("all", 20))]
)
def test_labels_are_held_out_only_where_there_are_enough(shots, held):
    usual, *more = judging.configs(namespace(), shots)
    assert (usual.shots, usual.condition.setting) == (shots, "transductive")
    assert usual.methods == ("near", "fixed")
    assert [config.shots for config in more] == ([held] if held else [])
    for config in more:
        assert dataclasses.replace(config, shots=shots, condition=usual.condition) == usual
        assert config.condition.setting == "held-out"


@pytest.mark.slow
@pytest.mark.usefixtures("methods")
def test_a_small_comparison_writes_its_files_and_goes_on(tmp_path, monkeypatch):
    here = {"manifests": (write_corpora(tmp_path / "corpora", codes="WXYZ", takes=5),)}
    real = judging.configs

    def local(*arguments: Any) -> list[Request]:
        return [
            each.replace(condition=each.condition.replace(suite=""), scheduler="local", **here)
            for each in real(*arguments)
        ]

    monkeypatch.setattr(judging, "configs", local)
    asked = namespace(records=tmp_path / "records.sqlite", out=tmp_path / "out")
    said = judging.write(asked, command="the command")
    first = contents(asked.out)
    [page, table] = sorted(first, reverse=True)
    assert re.fullmatch(r"criteria-custom-[0-9a-f]{6}\.md", page)
    assert table == page.replace(".md", ".csv")
    assert first[page] == said
    assert "`the command`" in said
    assert "speaker normalisation, 2 draws" in said
    assert "| fixed |" not in said, "a method with one point leaves nothing to choose"
    rows = list(csv.DictReader(first[table].splitlines()))
    assert {row["pairs"] for row in rows} == {"12"}
    names = {k: {row["criterion"] for row in rows if row["shots"] == k} for k in ("2", "10")}
    source = {name for name, item in OBJECTIVES.items() if item.requires == "source"}
    assert names["10"] == set(judging.COLUMNS)
    assert names["2"] == set(judging.COLUMNS) - source
    for shots in (2, 10):
        found: dict[Pair, dict[Value, list[float]]] = {}  # UARs of draws by pair and weight
        for r in stored(asked.records):
            if (r.trial.shots, r.trial.condition.setting) == (shots, "transductive"):
                assert r.metrics
                cell = found.setdefault(r.trial.pair, {})
                cell.setdefault(dict(r.trial.parameters)["weight"], []).append(r.metrics.uar)
        assert len(found) == 12
        rest = [{w: np.mean(v) for w, v in row.items()} for row in found.values()]
        regrets = {r["criterion"]: float(r["regret"]) for r in rows if r["shots"] == str(shots)}
        shipped = np.mean([max(row.values()) - row[1.0] for row in rest])
        drawn = np.mean([max(row.values()) - np.mean(list(row.values())) for row in rest])
        assert regrets["shipped point"] == pytest.approx(shipped, abs=1e-4)
        assert regrets["random point"] == pytest.approx(drawn, abs=1e-4)
        assert min(regrets.values()) >= 0
    monkeypatch.setattr(Worker, "run", lambda *_, **__: pytest.fail("ran again"))
    judging.write(asked, command="the command")
    assert contents(asked.out) == first
