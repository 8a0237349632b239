"""How criteria are judged, on numbers made by hand, and one small run."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from clser_bench.protocol import Pair
from clser_bench.run.request import Request
from clser_bench.run.selection import OBJECTIVES, Place
from clser_bench.run.worker import Worker
from clser_bench.store.sqlite import Store
from tests import tools
from tests.tiny import write_corpora, write_method

AB, BA, CD = Pair("A", "B"), Pair("B", "A"), Pair("C", "D")
QUALITY = np.array([10.0, 20.0, 40.0])


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return tools.load("compare_criteria")


def columns(*draws: list[float]) -> np.ndarray:
    """[points, draws]."""
    return np.array(draws).T


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
def test_a_criterion_on_one_pair(
    tool: ModuleType, draws: list[list[float]], correlation: float, regret: float
) -> None:
    found = tool.judge(columns(*draws), QUALITY)
    assert found == pytest.approx((correlation, regret))


def test_the_shipped_point_wins_ties_of_quality_at_no_regret(tool: ModuleType) -> None:
    assert tool.judge(columns([1, 1]), np.array([30.0, 30.0])) == (0.0, 0.0)


def places(*pairs: tuple[Pair, list[float]]) -> dict[Place, float]:
    return {(pair, seed): value for pair, row in pairs for seed, value in enumerate(row)}


FIRST = places((AB, [5.0, 15.0]), (CD, [30.0, 30.0]))
SECOND = places((AB, [20.0, 20.0]), (CD, [0.0, 20.0]))
"""Qualities: 10 and 20 on A→B, 30 and 10 on C→D."""


def test_all_criteria_of_a_method_by_hand(tool: ModuleType) -> None:
    uars = [FIRST, SECOND]
    against = [{place: -value for place, value in point.items()} for point in uars]
    # draw 0 of A→B prefers the second point and draw 1 the first; C→D the first, twice
    mixed = [places((AB, [0, 1]), (CD, [1, 1])), places((AB, [1, 0]), (CD, [0, 0]))]
    found = tool.judged({"good": uars, "bad": against, "mixed": mixed}, uars, [AB, CD], 2)
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


def test_other_pairs_take_the_mean_over_all_pairs_of_other_corpora(tool: ModuleType) -> None:
    """For A→B: C→D says 1 against 9, D→C 9 against 5; together the second is better."""
    pairs = [AB, BA, CD, Pair("D", "C")]
    qualities = ([50.0, 7.0, 1.0, 9.0], [40.0, 3.0, 9.0, 5.0])
    uars = [{(p, 0): v for p, v in zip(pairs, row, strict=True)} for row in qualities]
    found = tool.judged({}, uars, pairs, 1)["other-pairs"]
    # A→B and B→A take the second point: 50 - 40, 7 - 3; C→D and D→C the first: 9 - 1, 9 - 9
    assert found.regret == pytest.approx((10, 4, 8, 0))
    assert found.correlation == pytest.approx((-1, -1, -1, 1))


def test_other_pairs_need_other_corpora(tool: ModuleType) -> None:
    uars = [places((AB, [5.0, 15.0]), (BA, [1.0, 2.0])), places((AB, [1.0, 1.0]), (BA, [0.0, 9.0]))]
    assert "other-pairs" not in tool.judged({}, uars, [AB, BA], 2)


def test_a_pair_that_is_not_named_has_no_say(tool: ModuleType) -> None:
    found = tool.judged({"good": [FIRST, SECOND]}, [FIRST, SECOND], [CD], 2)
    assert found["good"].regret == (0.0,)
    assert found["shipped point"].regret == (0.0,)


def test_cells_show_mean_deviation_and_holes(tool: ModuleType) -> None:
    judged = tool.Judged
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
    lines = tool.section(10, found).splitlines()
    assert lines[0] == "## 10 shots"
    assert "| method | n | entropy | source-risk | shipped point |" in lines
    assert "| m | 2 | 2.00 ± 1.41 | n/a | 2.00 ± 0.00 |" in lines
    assert "| k | 1 | 6.00 | 8.00 | 0.00 |" in lines
    assert "| **mean of 2 methods** | | 4.00 | 8.00 | 1.00 |" in lines
    assert "| method | n | entropy | source-risk |" in lines
    assert "| m | 2 | 0.50 ± 0.71 | n/a |" in lines
    assert "| **mean of 2 methods** | | 0.38 | -1.00 |" in lines
    rows = list(csv.DictReader(tool.as_csv({10: found}).splitlines()))
    assert rows[0] == {
        "shots": "10",
        "method": "m",
        "criterion": "entropy",
        "pairs": "2",
        "correlation": "0.5000",
        "regret": "2.0000",
    }
    assert [row["correlation"] for row in rows if row["criterion"] == "shipped point"] == ["", ""]


def namespace(**options: Any) -> argparse.Namespace:
    usual = {
        "suite": "bcro",
        "corpora": None,
        "methods": "near,fixed",
        "features": "minimal",
        "normalise": "speaker",
        "shots": "2,10",
        "seeds": 2,
        "workers": 1,
        "records": Path("records.sqlite"),
        "out": Path("out"),
    }
    return argparse.Namespace(**{**usual, **options})


@pytest.mark.parametrize(
    ("shots", "held"), [((5,), None), ((5, 10), (10,)), ((9, "all", 20), ("all", 20))]
)
def test_labels_are_kept_back_only_where_there_are_enough(
    tool: ModuleType, shots: tuple[Any, ...], held: tuple[Any, ...] | None
) -> None:
    usual, *more = tool.configs(namespace(), shots)
    assert (usual.shots, usual.condition.setting) == (shots, "transductive")
    assert usual.methods == ("near", "fixed")
    assert [config.shots for config in more] == ([held] if held else [])
    for config in more:
        assert dataclasses.replace(config, shots=shots, condition=usual.condition) == usual
        assert config.condition.setting == "held-out"


def qualities(results: Path, shots: int) -> Mapping[str, dict[float, float]]:
    """Mean UAR over draws by pair and weight, from the file alone."""
    found: dict[str, dict[float, list[float]]] = {}
    with Store(results, create=False) as store:
        for record in store.records(status="ok"):
            trial = record.trial
            if trial.shots != shots or trial.condition.setting != "transductive":
                continue
            assert record.metrics
            weight = float(dict(trial.parameters)["weight"])
            found.setdefault(str(trial.pair), {}).setdefault(weight, []).append(record.metrics.uar)
    return {pair: {w: float(np.mean(v)) for w, v in row.items()} for pair, row in found.items()}


@pytest.mark.slow
def test_a_small_run_writes_its_files_and_goes_on(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = tmp_path / "methods"
    write_method(methods, "near", grid=(0.0, 1.0, 10.0))
    write_method(methods, "fixed")
    monkeypatch.setenv("CLSER_METHODS", str(methods))
    manifest = write_corpora(tmp_path / "corpora", codes="WXYZ", takes=5)
    real = tool.configs

    def local(*arguments: Any) -> list[Request]:
        return [
            each.replace(
                condition=each.condition.replace(suite=""),
                manifests=(manifest,),
                scheduler="local",
            )
            for each in real(*arguments)
        ]

    monkeypatch.setattr(tool, "configs", local)
    asked = namespace(records=tmp_path / "records.sqlite", out=tmp_path / "out")
    said = tool.write(asked, command="the command")
    first = {file.name: file.read_text(encoding="utf-8") for file in asked.out.iterdir()}
    [page, table] = sorted(first, reverse=True)
    assert re.fullmatch(r"criteria-custom-[0-9a-f]{6}\.md", page)
    assert (Path(table).stem, Path(table).suffix) == (Path(page).stem, ".csv")
    assert first[page] == said
    assert "`the command`" in said
    assert "speaker normalisation, 2 draws" in said
    assert "| fixed |" not in said, "a method with one point leaves nothing to choose"
    rows = list(csv.DictReader(first[table].splitlines()))
    assert {row["pairs"] for row in rows} == {"12"}
    names = {k: {row["criterion"] for row in rows if row["shots"] == k} for k in ("2", "10")}
    source = {name for name, item in OBJECTIVES.items() if item.requires == "source"}
    assert names["10"] == set(tool.COLUMNS)
    assert names["2"] == set(tool.COLUMNS) - source
    for shots in (2, 10):
        found = qualities(asked.records, shots)
        assert len(found) == 12
        shipped = np.mean([max(row.values()) - row[1.0] for row in found.values()])
        drawn = np.mean([max(row.values()) - np.mean(list(row.values())) for row in found.values()])
        told = {r["criterion"]: float(r["regret"]) for r in rows if r["shots"] == str(shots)}
        assert told["shipped point"] == pytest.approx(shipped, abs=1e-4)
        assert told["random point"] == pytest.approx(drawn, abs=1e-4)
        assert all(value >= 0 for value in told.values())
    monkeypatch.setattr(Worker, "run", lambda *_, **__: pytest.fail("ran again"))
    tool.write(asked, command="the command")
    assert {file.name: file.read_text(encoding="utf-8") for file in asked.out.iterdir()} == first
