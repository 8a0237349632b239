"""Importances of hyper-parameters: what is planted is found, and noise is not told."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from clser_bench.hyperparameters import Dimension
from clser_bench.report.importance import FEWEST, TREES, TRIED, importances
from clser_bench.sweeps import Configuration, SweepResult

UNIT = tuple(Dimension(name=name) for name in "abc")


def swept(dimensions, values, draws, **changes):
    points = tuple(
        Configuration(number=i, values=tuple(v), draws=tuple(map(float, d)))
        for i, (v, d) in enumerate(zip(values, draws, strict=True))
    )
    return SweepResult(
        method="m", dimensions=dimensions, objective="entropy", unit="nats", oracle=False,
        suite="bc", pairs=2, features="f", normalisation="corpus", shots="5",
        seeds=max(map(len, draws)), search="random", configurations=points, best=0, halving=0,
        command="c", **changes,
    )  # fmt: skip


def drawn(count, seed):
    return np.random.default_rng(seed).random((count, 3))


@pytest.fixture
def quick(monkeypatch):
    """Few forests of shuffled objectives: enough where something is planted."""
    monkeypatch.setattr("clser_bench.report.importance.TRIED", 2)


@pytest.mark.usefixtures("quick")
def test_the_planted_parameter_is_found():
    x = drawn(40, 0)
    noise = np.random.default_rng(1).normal(size=(40, 3)) * 0.2
    found = importances(swept(UNIT, x.tolist(), (np.sin(4 * x[:, [1]]) + noise).tolist()))
    a, b, c = found
    assert [one.name for one in found] == ["a", "b", "c"]
    assert b.mean > 0.5
    assert b.share > 0.9
    assert sum(one.share for one in found) == pytest.approx(1)
    assert max(a.mean, c.mean) < 0.1
    assert {(one.points, one.reason) for one in found} == {(40, "")}


@pytest.mark.usefixtures("quick")
def test_r2_is_that_of_the_forest_out_of_its_bags():
    x = drawn(30, 2)
    y = x @ (1.0, 2.0, 0.0) - 1
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(x, y - y.mean())
    assert importances(swept(UNIT, x.tolist(), y[:, None].tolist()))[0].r2 == pytest.approx(
        forest.oob_score_, abs=1e-6
    )


def test_noise_is_told_seldom():
    told = 0
    for seed in range(10):
        y = np.random.default_rng(100 + seed).normal(size=(16, 1))
        (first, *_) = importances(swept(UNIT, drawn(16, seed).tolist(), y.tolist()))
        told += not first.reason
        if first.reason:
            assert first.mean is first.share is None
            assert f"{first.r2:.2f}" in first.reason
    assert told <= 2, f"once in {TRIED + 1} is meant"


def test_luck_is_not_told():
    """Noise of which a forest happens to explain a fifth, out of its bags."""
    y = np.random.default_rng(357).normal(size=(12, 1))
    (first, *_) = importances(swept(UNIT, drawn(12, 57).tolist(), y.tolist()))
    assert first.r2 > 0.1
    assert first.mean is None
    assert f"as well in 1 of {TRIED} shuffles" in first.reason


def test_few_points_and_equal_ones_say_why():
    x = drawn(FEWEST, 0).tolist()
    few = importances(swept(UNIT, x[1:], [[1.0 * i] for i in range(FEWEST - 1)]))
    assert {one.reason for one in few} == {"points with an objective: 7; 8 are needed"}
    assert {one.r2 for one in few} == {None}
    equal = importances(swept(UNIT, x, [[0.1 + 0.2]] * FEWEST))
    assert {one.reason for one in equal} == {"the objective is the same at all points"}
    holes = importances(swept(UNIT, x, [[1.0 * i] for i in range(FEWEST - 1)] + [[]]))
    assert holes[0].points == FEWEST - 1


@pytest.mark.usefixtures("quick")
def test_a_kind_without_order_is_one_parameter():
    rng = np.random.default_rng(3)
    kinds = ("x", "y", "z", "w")
    dimensions = (Dimension(name="kind", choices=kinds), Dimension(name="flat"))
    height = {"x": 0.0, "y": 5.0, "z": 0.0, "w": 5.0}
    values = [(kinds[i % 4], float(rng.random())) for i in range(48)]
    values[0] = ("shipped", 0.5)
    draws = [[height.get(kind, 2.0) + rng.normal() * 0.5] for kind, _ in values]
    kind, flat = importances(swept(dimensions, values, draws))
    assert kind.share > 0.95
    # shuffled, a kind foretells nothing: twice the variance is left of what was explained
    assert 1.4 < kind.mean < 2.2
    assert abs(flat.mean) < 0.1


@pytest.mark.usefixtures("quick")
def test_numbers_and_flags_have_an_order_and_may_be_off_the_list():
    rng = np.random.default_rng(4)
    dimensions = (
        Dimension(name="steps", choices=(100, 200, 400)),
        Dimension(name="balanced", choices=(False, True)),
    )
    values = [((100, 200, 400)[i % 3], bool(i // 3 % 2)) for i in range(36)]
    values[0] = (300, False)
    draws = [[steps / 100 + rng.normal() * 0.2] for steps, _ in values]
    steps, balanced = importances(swept(dimensions, values, draws))
    assert steps.share > 0.95
    assert balanced.share < 0.05


@pytest.mark.usefixtures("quick")
def test_an_easy_draw_is_no_merit_of_those_that_saw_nothing_else():
    """Points that were given up have the easy draw alone, and lie at the top of `a`."""
    x = drawn(40, 5)
    x[:, 0] = np.linspace(0, 1, 40)
    rng = np.random.default_rng(6)
    draws = [
        [100.0 + rng.normal() * 0.1 + 3 * row[1], rng.normal() * 0.1 + 3 * row[1]] for row in x
    ]
    cut = [one[:1] if place > 20 else one for place, one in enumerate(draws)]
    a, b, _ = importances(swept(UNIT, x.tolist(), cut))
    assert b.share > 0.9
    assert a.share < 0.05
