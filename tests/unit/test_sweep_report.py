"""Reports of a sweep: intervals, the choice on other draws, importances, texts, files, pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clser_bench.errors import SpecError
from clser_bench.report.sweep import (
    FEWEST,
    as_csv,
    as_json,
    figures,
    importances,
    markdown,
    params_toml,
    summary,
)
from clser_bench.run.request import parse_settings
from clser_bench.sweeps import (
    Configuration,
    Dimension,
    SweepResult,
    choose,
    finished,
    measured,
    split_half,
)

HOSTILE = '<script>alert(1)</script> | $x_1$ "q"\n# [x](y) & \\'
DIMENSIONS = (
    Dimension(name="rate", low=1e-4, high=1e-1, log=True),
    Dimension(name="rounds", low=1, high=5, whole=True),
    Dimension(name="kind", choices=("rbf", "linear")),
)


def point(number, draws, values=(1e-3, 2, "rbf"), **more):
    draws = tuple(map(float, draws))
    return Configuration(number=number, values=tuple(values), draws=draws, **more)


def swept(*points, dimensions=DIMENSIONS, seeds=None, best=None, **changes):
    seeds = seeds or max((len(one.draws) for one in points), default=1)
    full = [one for one in points if one.draws and len(one.draws) == seeds]
    if best is None:
        best = max(full, key=lambda one: sum(one.draws)).number if full else 0
    made = SweepResult(
        method="sere", dimensions=dimensions, objective="entropy", unit="nats", oracle=False,
        suite="bcro", pairs=12, features="acoustic", normalisation="corpus", shots="5",
        seeds=seeds, search="sobol", halving=0, configurations=points, best=best,
        command="clser-bench sweep",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def chosen(*points, **more) -> Any:
    """The choice of a sweep, whose parts may be None."""
    return choose(swept(*points, **more))


def halves(*points, **more) -> Any:
    """The choice on other draws, which may be None."""
    return split_half(swept(*points, **more))


FIVE = swept(
    point(0, [1, 2, 3, 4]),
    point(1, [4, 2, 6, 8], (1e-2, 5, "linear")),
    point(2, [0, 9], (1e-1, 1, "rbf")),
    point(3, [], (1e-4, 3, "linear"), reason="B→C, draw 0: loss is NaN"),
    point(4, [3, 3, 2, 3], (3e-3, 4, "rbf")),
)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_intervals_are_those_of_scipy(draws):
    found: Any = measured(draws)
    assert found.mean == pytest.approx(np.mean(draws), abs=1e-9)
    assert found.std == pytest.approx(np.std(draws, ddof=1), abs=1e-9)
    half = stats.t(len(draws) - 1).ppf(0.975) * stats.sem(draws)
    assert found.high - found.mean == pytest.approx(half, abs=1e-9)
    assert found.mean - found.low == pytest.approx(half, abs=1e-9)


def test_the_gain_is_over_common_draws_and_what_is_missing_has_a_reason():
    gain = chosen(point(0, [1, 2]), point(1, [4, 7, 100]), seeds=3, best=1).gain
    assert (gain.mean, gain.n) == (4, 2)
    without = chosen(point(0, [], reason="no memory"), point(1, [4, 7]))
    assert (without.gain, without.reason) == (None, "the default has no objective: no memory")
    one = chosen(point(0, [1]), point(1, [2]))
    assert one.objective.low is one.objective.std is one.gain.low is one.apart is None
    assert one.reason.endswith("too few draws to choose on some and read on others")
    assert chosen(point(0, [1, 2]), point(1, [1, 1])).gain is None, "the default is best"
    with pytest.raises(ValueError, match="there is no draw"):
        measured([])


def test_halves_by_hand():
    found = halves(point(0, [1, 5, 1, 5]), point(1, [8, 0, 8, 2]), point(2, [3, 3, 3, 3]))
    # even draws choose 1, whose odd ones are 0 and 2; odd draws choose 0, whose even ones are 1, 1
    assert found.value == pytest.approx((1 + 1) / 2)
    # over the default: 1 - 5 on the odd draws, 1 - 1 on the even ones
    assert found.gain == pytest.approx((-4 + 0) / 2)
    assert (set(found.chosen), found.read, found.candidates) == ({0, 1}, (2, 2), 3)


def test_draws_that_decided_who_goes_on_are_not_read():
    points = [point(0, [9, 1, 1, 1]), point(1, [8, 5, 2, 4]), point(2, [7, 9])]
    found = halves(*points)
    # draws 0 and 1 belong to the choice: (9 + 1 + 1) and (8 + 5 + 4) choose to read draw 2, …
    assert (found.value, found.read) == (pytest.approx((2 + 4) / 2), (1, 1))
    single = halves(point(0, [9, 1, 1]), point(1, [8, 5, 2]), point(2, [7, 9]))
    assert (single.value, single.gain, single.read) == (2, 1, (1,))
    assert halves(point(0, [9]), point(1, [8]), seeds=3) is None
    missing = point(2, [7, 9], reason="B→C, draw 2: not run")
    assert halves(*points[:2], missing).read == (2, 2), "a failure decides nothing"


def test_the_estimate_has_no_bias_of_the_choice():
    rng = np.random.default_rng(0)
    plain, apart, gains, halved = [], [], [], []
    for _ in range(400):
        draws = rng.normal(size=(20, 5)) + rng.normal(size=5)
        found = chosen(*map(point, range(20), draws))
        plain.append(found.objective.mean)
        apart.append(found.apart.value)
        gains.append(found.apart.gain)
        draws = rng.normal(size=(16, 4))
        first = np.argsort(-draws[:, :2].mean(axis=1))[:4]
        points = [point(i, row if i in first else row[:2]) for i, row in enumerate(draws)]
        halved.append(halves(*points).value)
    # the best of 20 means of 5 lies 1.87 / sqrt(5) = 0.84 high (expected largest normal of 20)
    assert np.mean(plain) == pytest.approx(0.84, abs=0.1)
    for values in (apart, gains, halved):
        assert abs(np.mean(values)) < 3.5 * stats.sem(values)


def unit(x, draws):
    """A sweep over the unit cube."""
    points = [point(i, d, v) for i, (v, d) in enumerate(zip(x.tolist(), draws, strict=True))]
    return swept(*points, dimensions=tuple(Dimension(name=name) for name in "abc"))


@pytest.mark.slow
def test_the_planted_parameter_is_important_and_an_easy_draw_is_not():
    """Configurations that stopped early have the easy draw alone, and lie at the top of `a`."""
    x = np.random.default_rng(5).random((40, 3))
    x[:, 0] = np.linspace(0, 1, 40)
    rng = np.random.default_rng(6)
    draws = [[100 + rng.normal() * 0.1 + 3 * b, rng.normal() * 0.1 + 3 * b] for _, b, _ in x]
    draws = [one[:1] if place > 20 else one for place, one in enumerate(draws)]
    shares, reason = importances(unit(x, draws))
    assert reason == ""
    assert next(iter(shares)) == "b"
    assert shares["b"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.slow
def test_noise_has_no_importances():
    # noise of which a forest happens to explain a fifth, out of its bags, and ordinary noise
    lucky = np.random.default_rng(57).random((12, 3))
    y = np.random.default_rng(357).normal(size=(12, 1))
    shares, reason = importances(unit(lucky, y))
    assert shares == {}
    assert "as well in 2 of 19 shuffles" in reason
    plain = np.random.default_rng(0).random((16, 3))
    y = np.random.default_rng(100).normal(size=(16, 1))
    assert importances(unit(plain, y))[0] == {}


def test_few_and_equal_configurations_say_why():
    x = np.random.default_rng(0).random((FEWEST, 3))
    few = [[1.0 * i] for i in range(FEWEST - 1)] + [[]]
    reason = "configurations with an objective: 7; 8 are needed"
    assert importances(unit(x, few)) == ({}, reason)
    equal = unit(x, [[0.1 + 0.2]] * FEWEST)
    assert importances(equal)[1] == "the objective is the same for all configurations"


def test_the_summary_by_hand():
    # 4, 2, 6, 8: mean 5, squares 1 + 9 + 1 + 9 = 20, sd sqrt(20 / 3); t(0.975; 3) = 3.18245
    half = 3.18245 * math.sqrt(20 / 3) / 2
    # minus 1, 2, 3, 4: 3, 0, 3, 4: mean 2.5, squares 0.25 + 6.25 + 0.25 + 2.25 = 9, sd sqrt(3)
    gain = 3.18245 * math.sqrt(3) / 2
    assert [one.number for one in finished(FIVE)] == [0, 1, 4]
    assert finished(swept(point(0, []), seeds=0)) == ()
    given = "(95 %, t over n = 4 draws, given these corpora)"
    assert summary(FIVE) == (
        "sere on bcro: 5 configurations, 3 run to the end, 1 stopped early, 1 with a missing "
        "result; n = 4 draws\n"
        "best configuration by entropy: 1 (rate=0.01, rounds=5, kind=linear)\n"
        f"its entropy: 5.0000 nats [{5 - half:.4f}, {5 + half:.4f}] {given}; the best of 3, biased "
        "upwards by the choice\n"
        f"gain over the default: +2.5000 nats [{2.5 - gain:.4f}, +{2.5 + gain:.4f}] {given}, "
        "paired\n"
        "chosen on some draws, read on the others: 7.0000 nats; gain over the default +3.5000 "
        "(n = 1 + 1 draws read; chosen: 1)\n"
        "importance of hyper-parameters (fANOVA): not given (configurations with an objective: 4; "
        "8 are needed)\n"
    )


def test_warnings():
    odd = dataclasses.replace(FIVE, oracle=True, synthetic=True, search="tpe")
    for text in (summary(odd), markdown(odd), params_toml(odd)):
        assert "warning: chosen with target labels: a reference, not a result\n" in text
        assert "warning: the speech is synthetic" in text
        assert "warning: tpe placed its configurations by all draws" in text
    assert "warning" not in summary(FIVE) + markdown(FIVE) + params_toml(FIVE)
    dev = swept(point(0, [1, 2], uars=(1.0, 2.0)), unit="points of UAR", objective="dev")
    assert "warning: labels of these targets decided" in summary(dev)


def test_one_configuration_with_one_draw_or_none():
    one = swept(point(0, [1.5]))
    text = summary(one)
    assert "1 configuration, 1 run to the end; n = 1 draw\n" in text
    assert "best configuration by entropy: the default (" in text
    assert "its entropy: 1.5000 nats (n = 1 draw, no interval)\n" in text
    assert "not given: one draw: no interval;" in text
    none = swept(point(0, [], reason="B→C, draw 0: failed"), seeds=2)
    assert "no configuration was run to the end" in summary(none)
    assert "[1] B→C, draw 0: failed" in markdown(none)
    assert json.loads(as_json(one))["missing"]
    assert json.loads(as_json(none))["missing"]
    with pytest.raises(SpecError, match="sere: no configuration was run to the end; there is no"):
        params_toml(none)


def table_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_has_all_configurations_the_highest_first():
    table = table_of(markdown(FIVE, pictures=["parameters.png"]))
    assert table[0] == ["configuration", "mean entropy (nats)", "sd", "n", "rate", "rounds", "kind"]
    names = [row[0] for row in table[2:]]
    assert names == ["1 (best)", "4", "0 (default)", "2", "3 [1]"]
    assert table[2][1:] == ["5.0000", "2.5820", "4", "0.01", "5", "linear"]
    assert table[6][1:4] == ["–", "–", "0"]
    assert markdown(FIVE, pictures=["parameters.png"]).endswith("![parameters](parameters.png)\n")


def test_uars_stand_beside_only_where_they_say_more():
    column = "UAR (%), not used by the choice"
    one = point(0, [1, 2], uars=(50.0, 51.0))
    names, _, row = table_of(markdown(swept(one)))
    assert dict(zip(names, row, strict=True))[column] == "50.5"
    same = swept(point(0, [50, 51], uars=(50.0, 51.0)), unit="points of UAR")
    assert "UAR (%)" not in markdown(same)
    assert column not in markdown(swept(one, oracle=True))


def test_csv_and_json_hold_the_numbers():
    table = list(csv.DictReader(io.StringIO(as_csv(FIVE))))
    assert [row["number"] for row in table] == list("01234")
    assert [row["draw_1"] for row in table] == ["2.0", "2.0", "9.0", "", "3.0"]
    assert [row["best"] for row in table] == ["False", "True", *["False"] * 3]
    assert (table[1]["parameter.rate"], table[2]["finished"]) == ("0.01", "False")
    assert table[3]["reason"] == "B→C, draw 0: loss is NaN"
    read = json.loads(as_json(FIVE))
    assert read["objective_of_best"]["mean"] == 5
    assert read["gain_over_default"]["std"] == pytest.approx(math.sqrt(3), abs=1e-5)
    assert read["choice_on_other_draws"]["read"] == [1, 1]
    drawn = [one["draws"] for one in read["configurations"]]
    assert drawn == [list(one.draws) for one in FIVE.configurations]
    assert read["configurations"][1]["values"] == {"rate": 0.01, "rounds": 5, "kind": "linear"}
    assert read["dimensions"][0]["low"] == 1e-4
    endless = Dimension(name="a", choices=(1.0, math.inf))
    odd = json.loads(as_json(swept(point(0, [1], (math.inf,)), dimensions=(endless,))))
    assert odd["configurations"][0]["values"] == {"a": "inf"}


NAMES = st.text(min_size=1, max_size=12)
VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20))


@settings(max_examples=40)
@given(NAMES, st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), NAMES)
def test_toml_reads_as_it_was(method, values, command):
    of = swept(
        point(0, [1, 2], tuple(values.values())), method=method, command=command,
        dimensions=tuple(Dimension(name=name, choices=(v,)) for name, v in values.items()),
    )  # fmt: skip
    read = tomllib.loads(params_toml(of))
    assert read == {method: values}
    assert [type(v) for v in read[method].values()] == [type(v) for v in values.values()]


def test_toml_is_what_run_reads(tmp_path):
    file = tmp_path / "best.toml"
    file.write_text(params_toml(FIVE, fixed=[("steps", 100), ("rate", 9.0)]), encoding="utf-8")
    expected = (("kind", "linear"), ("rate", 0.01), ("rounds", 5), ("steps", 100))
    assert parse_settings([], file) == {"sere": dict(expected)}
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# Best of 5 configurations of sere: number 1.\n# suite bcro (12 pairs)")
    assert "# command: clser-bench sweep\n" in text


def test_pictures_take_a_default_outside_the_space():
    dimensions = (
        Dimension(name="weight", low=0.01, high=10, log=True),
        Dimension(name="rounds", low=1, high=12, whole=True, log=True),
        Dimension(name="steps", choices=(100, 200)),
        Dimension(name="kind", choices=("rbf", "$x")),
    )
    points = [point(0, [1, 2], (0.0, 20, 300, "other")), point(1, [2, 3], (0.1, 2, 100, "$x"))]
    points += [point(2, [5], (1.0, 3, 200, "rbf")), point(3, [], (1.0, 3, 200, "rbf"), reason="x")]
    made = figures(swept(*points, dimensions=dimensions, method=HOSTILE, unit="$"))
    assert sorted(made) == ["parallel-coordinates.png", "parameters.png"]
    for content in made.values():
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000
    assert len(figures(swept(point(0, [1])))) == 2


def test_hostile_names_stay_text():
    points = [
        point(0, [1, 2], (HOSTILE, 0.1)),
        point(1, [1, 3], ("b", 0.2)),
        point(2, [], ("c", 0.3), reason=HOSTILE),
    ]
    dimensions = (Dimension(name=HOSTILE, choices=(HOSTILE, "b", "c")), Dimension(name="_x"))
    names = ("method", "suite", "features", "normalisation", "objective", "unit", "command")
    of = swept(*points, dimensions=dimensions, **dict.fromkeys(names, HOSTILE))
    text = markdown(of)
    assert "<script>" not in text
    assert len({len(row) for row in table_of(text)}) == 1, "no name makes columns"
    lines = summary(of).splitlines()
    assert (len(lines), all(lines)) == (6, True)
    assert tomllib.loads(params_toml(of)) == {HOSTILE: {HOSTILE: "b", "_x": 0.2}}
    assert next(csv.DictReader(io.StringIO(as_csv(of))))[f"parameter.{HOSTILE}"] == HOSTILE
    assert json.loads(as_json(of))["configurations"][2]["reason"] == HOSTILE
