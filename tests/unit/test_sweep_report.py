"""Reports of a sweep: intervals, the choice on other draws, texts, files, figures, the page."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import html
import io
import itertools
import json
import math
import re
import tomllib
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from scipy import stats

from clser_bench.errors import SpecError
from clser_bench.hyperparameters import Dimension
from clser_bench.report.drawing import render
from clser_bench.report.sweep_axes import axes_of
from clser_bench.report.sweep_choice import finished, measured, unflattered, weigh
from clser_bench.report.sweep_figures import ENOUGH, parallel_coordinates, parameter_scatter
from clser_bench.report.sweep_page import page
from clser_bench.report.sweep_text import as_csv, as_json, markdown, params_toml, summary
from clser_bench.run.request import parse_settings
from clser_bench.sweeps import Configuration, SweepResult

HOSTILE = '<script>alert(1)</script> | $x_1$ "q"\n# [x](y) & \\'
DIMENSIONS = (
    Dimension(name="rate", low=1e-4, high=1e-1, log=True),
    Dimension(name="rounds", low=1, high=5, whole=True),
    Dimension(name="kind", choices=("rbf", "linear")),
)


def point(number, draws, values=(1e-3, 2, "rbf"), **more):
    return Configuration(
        number=number, values=tuple(values), draws=tuple(map(float, draws)), **more
    )  # fmt: skip


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


FIVE = swept(
    point(0, [1, 2, 3, 4]),
    point(1, [4, 2, 6, 8], (1e-2, 5, "linear")),
    point(2, [0, 9], (1e-1, 1, "rbf")),
    point(3, [], (1e-4, 3, "linear"), reason="B→C, draw 0: loss is NaN"),
    point(4, [3, 3, 2, 3], (3e-3, 4, "rbf")),
)


def wide(count=64, seed=0, early=20):
    """Ten dimensions of all kinds, the shipped point off some of them."""
    rng = np.random.default_rng(seed)
    dimensions = (
        Dimension(name="learning_rate", low=1e-5, high=1e-1, log=True),
        Dimension(name="unlabelled_weight", low=0.01, high=10, log=True),
        Dimension(name="irf_coupling", low=0.1, high=0.9),
        Dimension(name="rounds", low=1, high=12, whole=True),
        Dimension(name="balanced", choices=(False, True)),
        Dimension(name="kernel", choices=("rbf", "linear", "polynomial-with-a-long-name")),
        Dimension(name="steps", choices=(100, 200, 400, 800)),
        Dimension(name="dimension", low=5, high=200, log=True, whole=True),
        Dimension(name="smoothing", low=0, high=0.9),
        Dimension(name="ramp", low=0.1, high=100, log=True),
    )
    points = []
    for number in range(count):
        values = [item.at(rng.random()) for item in dimensions]
        if number == 0:
            values = [3e-4, 0.0, 0.95, 2, False, "sigmoid", 300, 10, 0.1, 10.0]
        seeds = 2 if number >= count - early else 5
        points.append(point(number, 60 + rng.normal() + rng.normal(size=seeds), values))
    points[7] = point(7, [], points[7].values, reason=HOSTILE)
    return swept(*points, dimensions=dimensions, unit="points of UAR", search="sobol + halving")


# intervals


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_intervals_are_those_of_scipy(draws):
    found = measured(draws)
    assert found.mean == pytest.approx(np.mean(draws), abs=1e-9)
    assert found.std == pytest.approx(np.std(draws, ddof=1), abs=1e-9)
    error = stats.sem(draws)
    half = stats.t(len(draws) - 1).ppf(0.975) * error
    assert found.high - found.mean == pytest.approx(half, abs=1e-9)
    assert found.mean - found.low == pytest.approx(half, abs=1e-9)


def test_the_best_point_by_hand():
    found = weigh(FIVE)
    assert found.best.number == 1
    # 4, 2, 6, 8: mean 5, squares 1 + 9 + 1 + 9 = 20, sd sqrt(20 / 3); t(0.975; 3) = 3.18245
    assert found.objective.mean == 5
    assert found.objective.low == pytest.approx(5 - 3.18245 * math.sqrt(20 / 3) / 2, abs=1e-4)
    # minus 1, 2, 3, 4: 3, 0, 3, 4: mean 2.5, squares 0.25 + 6.25 + 0.25 + 2.25 = 9
    assert found.gain.mean == 2.5
    assert found.gain.std == pytest.approx(math.sqrt(3))
    assert found.gain.n == 4
    assert found.reason == ""


def test_the_gain_is_over_common_draws():
    of = swept(point(0, [1, 2]), point(1, [4, 7, 100]), seeds=3, best=1)
    gain = weigh(of).gain
    assert (gain.mean, gain.n) == (4, 2)
    without = weigh(swept(point(0, [], reason="no memory"), point(1, [4, 7])))
    assert without.gain is None
    assert without.reason == "the shipped point has no objective: no memory"


def test_what_cannot_be_told_is_said():
    one = weigh(swept(point(0, [1]), point(1, [2])))
    assert one.objective.low is one.objective.std is one.gain.low is one.unflattered is None
    assert one.reason == (
        "one draw: no interval; too few draws to choose on some and read on others"
    )
    assert weigh(swept(point(0, [1, 2]), point(1, [1, 1]))).gain is None, "the shipped is best"
    none = weigh(swept(point(0, []), point(1, []), seeds=3))
    assert (none.best, none.reason) == (None, "no point was run to the end")
    with pytest.raises(ValueError, match="there is no draw"):
        measured([])


# the choice on other draws


def test_halves_by_hand():
    of = swept(point(0, [1, 5, 1, 5]), point(1, [8, 0, 8, 2]), point(2, [3, 3, 3, 3]))
    found = unflattered(of)
    # even draws choose 1, whose odd ones are 0 and 2; odd draws choose 0, whose even ones are 1, 1
    assert found.value == pytest.approx((1 + 1) / 2)
    # over the shipped point: 1 - 5 on the odd draws, 1 - 1 on the even ones
    assert found.gain == pytest.approx((-4 + 0) / 2)
    assert (set(found.chosen), found.read, found.candidates) == ({0, 1}, (2, 2), 3)


def test_draws_that_decided_who_goes_on_are_not_read():
    points = [point(0, [9, 1, 1, 1]), point(1, [8, 5, 2, 4]), point(2, [7, 9])]
    found = unflattered(swept(*points))
    # draws 0 and 1 belong to the choice: (9 + 1 + 1) and (8 + 5 + 4) choose to read draw 2, …
    assert found.value == pytest.approx((2 + 4) / 2)
    assert found.read == (1, 1)
    single = unflattered(swept(point(0, [9, 1, 1]), point(1, [8, 5, 2]), point(2, [7, 9])))
    assert (single.value, single.gain, single.read) == (2, 1, (1,))
    assert unflattered(swept(point(0, [9]), point(1, [8]), seeds=3)) is None
    hole = point(2, [7, 9], reason="B→C, draw 2: not run")
    assert unflattered(swept(*points[:2], hole)).read == (2, 2), "a hole decides nothing"


def test_equal_points_are_flattered_only_by_the_choice():
    rng = np.random.default_rng(0)
    plain, apart, gains = [], [], []
    for _ in range(400):
        draws = rng.normal(size=(20, 5)) + rng.normal(size=5)
        of = swept(*(point(number, row) for number, row in enumerate(draws)))
        found = weigh(of)
        plain.append(found.objective.mean)
        apart.append(found.unflattered.value)
        gains.append(found.unflattered.gain)
    # the best of 20 means of 5 lies 1.87 / sqrt(5) = 0.84 high (expected largest normal of 20)
    assert np.mean(plain) == pytest.approx(0.84, abs=0.1)
    for values in (apart, gains):
        assert abs(np.mean(values)) < 3.5 * stats.sem(values)


def test_halving_does_not_flatter_what_is_read():
    rng = np.random.default_rng(1)
    apart, wrong = [], []
    for _ in range(400):
        draws = rng.normal(size=(16, 4))
        kept = np.argsort(-draws[:, :2].mean(axis=1))[:4]
        points = [point(i, row if i in kept else row[:2]) for i, row in enumerate(draws)]
        apart.append(unflattered(swept(*points)).value)
        wrong.append(draws[kept].mean())
    assert np.mean(wrong) > 0.3
    assert abs(np.mean(apart)) < 3.5 * stats.sem(apart)


def test_a_point_that_is_better_is_not_hidden():
    rng = np.random.default_rng(2)
    gains = []
    for _ in range(200):
        draws = rng.normal(size=(8, 6))
        draws[3] += 3
        gains.append(weigh(swept(*map(point, range(8), draws))).unflattered.gain)
    assert np.mean(gains) == pytest.approx(3, abs=0.2)


# words


def test_the_summary_says_what_was_found():
    told = summary(FIVE)
    lines = told.splitlines()
    assert lines[0] == (
        "sere on bcro: 5 points, 3 run to the end, 1 given up early, 1 with a hole; n = 4 draws"
    )
    assert lines[1] == "best point by entropy: point 1 (rate=0.01, rounds=5, kind=linear)"
    assert lines[2] == (
        "its entropy: 5.0000 nats [0.8915, 9.1085] (95 %, t over n = 4 draws, given these "
        "corpora); the best of 3, flattered by the choice"
    )
    assert "gain over the shipped point: +2.5000 nats [-0.2561, +5.2561]" in lines[3]
    assert "n = 1 + 1 draws read" in lines[4]
    assert lines[5].startswith("importance of hyper-parameters: cannot be told (points with")
    assert len(lines) == 6


def test_warnings():
    odd = dataclasses.replace(FIVE, oracle=True, synthetic=True, search="optuna")
    for text in (summary(odd), markdown(odd), params_toml(odd)):
        assert "warning: chosen with target labels: a reference, not a result\n" in text
        assert "warning: the speech is synthetic" in text
        assert "optuna placed its points by all draws" in text
    assert "warning" not in summary(FIVE) + markdown(FIVE) + params_toml(FIVE)
    dev = swept(point(0, [1, 2], uars=(1.0, 2.0)), unit="points of UAR", objective="dev")
    assert "warning: labels of these targets decided" in summary(dev)


def test_one_point_with_one_draw():
    one = swept(point(0, [1.5]))
    told = summary(one)
    assert "1 point, 1 run to the end; n = 1 draw\n" in told
    assert "best point by entropy: the shipped one (" in told
    assert "its entropy: 1.5000 nats (n = 1 draw, no interval)\n" in told
    assert "flattered" not in told
    assert "not told: one draw: no interval;" in told
    none = swept(point(0, [], reason="B→C, draw 0: failed"), seeds=2)
    assert "no point was run to the end" in summary(none)
    assert "[1] B→C, draw 0: failed" in markdown(none)
    for of in (one, none):
        assert json.loads(as_json(of))["missing"]
        assert "<table>" in page(of, {"p": parallel_coordinates(of), "s": parameter_scatter(of)})
    with pytest.raises(SpecError, match="sere: no point was run to the end; there is no best"):
        params_toml(none)


def table_of(text):
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_markdown_has_all_points_the_best_first():
    names, _, *rows = table_of(markdown(FIVE))
    assert names == ["point", "mean entropy (nats)", "sd", "n", "rate", "rounds", "kind"]
    assert [row[0] for row in rows] == ["1 (best)", "4", "0 (shipped)", "2", "3 [1]"]
    assert rows[0] == ["1 (best)", "5.0000", "2.5820", "4", "0.01", "5", "linear"]
    assert rows[3] == ["2", "4.5000", "6.3640", "2", "0.1", "1", "rbf"]
    assert rows[4][1:4] == ["–", "–", "0"]
    assert "[1] B→C, draw 0: loss is NaN" in markdown(FIVE)


def test_uars_stand_beside_only_where_they_say_more():
    column = "UAR (%), not looked at by the choice"
    one = point(0, [1, 2], uars=(50.0, 51.0))
    names, _, row = table_of(markdown(swept(one)))
    assert dict(zip(names, row, strict=True))[column] == "50.5"
    same = swept(point(0, [50, 51], uars=(50.0, 51.0)), unit="points of UAR")
    assert "UAR (%)" not in markdown(same)
    assert column not in markdown(swept(one, oracle=True))
    assert "not looked at" not in markdown(FIVE)


def test_csv_and_json_hold_the_numbers():
    rows = list(csv.DictReader(io.StringIO(as_csv(FIVE))))
    assert [row["number"] for row in rows] == list("01234")
    assert [row["draw_1"] for row in rows] == ["2.0", "2.0", "9.0", "", "3.0"]
    assert rows[1]["parameter.rate"] == "0.01"
    assert (rows[1]["best"], rows[0]["best"], rows[2]["finished"]) == ("True", "False", "False")
    assert rows[3]["reason"] == "B→C, draw 0: loss is NaN"
    read = json.loads(as_json(FIVE))
    assert read["objective_of_best"]["mean"] == 5
    assert read["gain_over_shipped"]["std"] == pytest.approx(math.sqrt(3), abs=1e-5)
    assert read["choice_on_other_draws"]["read"] == [1, 1]
    assert [one["draws"] for one in read["points"]] == [
        list(one.draws) for one in FIVE.configurations
    ]
    assert read["points"][1]["values"] == {"rate": 0.01, "rounds": 5, "kind": "linear"}
    assert read["dimensions"][0]["low"] == 1e-4
    odd = swept(
        point(0, [1], (math.inf,)), dimensions=(Dimension(name="a", choices=(1.0, math.inf)),)
    )
    assert json.loads(as_json(odd))["points"][0]["values"] == {"a": "inf"}


# TOML

NAMES = st.text(min_size=1, max_size=12)
VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20))


@settings(max_examples=200, deadline=None)
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
    assert text.startswith("# Best of 5 points of sere: number 1.\n# suite bcro (12 pairs) · ")
    assert "# command: clser-bench sweep\n" in text


# figures


def labels(figure):
    return [one.get_text() for one in figure.findobj(Text)]


def lines_of(figure):
    return {
        int(one.get_gid().partition("-")[2]): one
        for one in figure.axes[0].lines
        if (one.get_gid() or "").startswith("point-")
    }


def test_parallel_lines_go_through_the_values():
    lines = lines_of(parallel_coordinates(FIVE))
    assert sorted(lines) == [0, 1, 2, 3, 4]
    # 0.01 is two of three decades up, 5 is the top; of two points with `linear` one is finished
    assert lines[1].get_ydata() == pytest.approx([2 / 3, 1.0, 0.75, 1.0])
    # means 2.5, 5, 2.75; `rbf` has two finished points, a quarter of its half below and above
    assert lines[0].get_ydata() == pytest.approx([1 / 3, 0.25, 0.25 - 0.0625, 0.0])
    assert lines[4].get_ydata()[2:] == pytest.approx([0.25 + 0.0625, 0.1])
    assert lines[2].get_ydata() == pytest.approx([1.0, 0.0, 0.25]), "ends without an objective"
    assert {lines[2].get_color(), lines[3].get_color()} == {"#BBBBBB"}
    assert max(lines[2].get_linewidth(), lines[3].get_linewidth()) < lines[4].get_linewidth()
    assert lines[0].get_linestyle() == "--"
    assert max(lines.values(), key=lambda one: one.get_zorder()) is lines[1]
    light = {n: sum(lines[n].get_color()[:3]) for n in (1, 4)}
    assert light[1] < light[4], "better is darker"
    told = labels(parallel_coordinates(FIVE))
    for text in ("rate (log)", "rounds", "kind", "0.001", "linear", "entropy (nats)",
                 "best (point 1)", "shipped (point 0)", "given up early (1 point)",
                 "with a hole (1 point)"):  # fmt: skip
        assert text in told, text


def test_scatter_has_means_and_bars():
    figure = parameter_scatter(FIVE)
    panel = figure.axes[0]
    bars = {one.lines[0].get_gid(): one for one in panel.containers}
    place = DIMENSIONS[0].place
    for one in FIVE.configurations:
        gid = f"point-{one.number}"
        if not one.draws:
            assert gid not in bars
            continue
        found = bars[gid].lines[0]
        assert found.get_xdata()[0] == pytest.approx(place(one.values[0]))
        assert found.get_ydata()[0] == pytest.approx(np.mean(one.draws))
        (segments,) = bars[gid].lines[2] or (None,)
        if len(one.draws) == 4:
            ((_, low), (_, high)) = segments.get_segments()[0]
            assert (high - low) / 2 == pytest.approx(np.std(one.draws, ddof=1))
        else:
            assert segments is None
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        "0.0001",
        "0.001",
        "0.01",
        "0.1",
    ]
    assert panel.get_xticks() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    level = [one for one in panel.lines if one.get_linestyle() == "--"]
    assert level[0].get_ydata()[0] == 2.5, "the shipped point"


def steps(figure):
    return [
        next(segment[0][1] for segment in one.get_segments())
        for one in figure.axes[0].collections
        if one.get_gid() == "step"
    ]


def test_means_of_listed_values_need_enough_points():
    choice = (Dimension(name="a", choices=(1, 2, 3)),)
    points = [point(i, [i], ((1, 2)[i % 2],)) for i in range(ENOUGH - 1)]
    assert steps(parameter_scatter(swept(*points, dimensions=choice))) == []
    points += [point(ENOUGH - 1, [100], (3,))]
    found = steps(parameter_scatter(swept(*points, dimensions=choice)))
    assert found == [np.mean(range(0, 14, 2)), np.mean(range(1, 14, 2))], "a single point has none"


def test_shipped_values_outside_the_space_have_a_place():
    made = {item.name: item for item in axes_of(wide())}
    assert made["unlabelled_weight"].at(0.0) < 0
    assert made["irf_coupling"].at(0.95) == 1
    assert made["steps"].kinds == (100, 200, 300, 400, 800)
    assert made["kernel"].kinds[-1] == "sigmoid"
    assert (0.0, "0.01") in made["unlabelled_weight"].ticks()
    assert made["balanced"].ticks() == [(0.25, "false"), (0.75, "true")]


@pytest.mark.parametrize("draw", [parallel_coordinates, parameter_scatter])
@pytest.mark.parametrize("of", [wide(), FIVE, swept(point(0, [1]))], ids=["wide", "few", "one"])
def test_nothing_is_cut_off_and_labels_do_not_meet(draw, of):
    figure = draw(of)
    figure.draw_without_rendering()
    for one in figure.findobj(Text):
        if (
            one.get_visible()
            and one.get_text().strip()
            and one.axes not in figure.axes[0].child_axes
        ):
            box = one.get_window_extent()
            over = max(-box.x0, -box.y0, box.x1 - figure.bbox.x1, box.y1 - figure.bbox.y1)
            assert over < 1, one.get_text()
    for axis in figure.axes:
        shown = [t for t in axis.get_xticklabels() if t.get_visible() and axis.axison]
        shown += [] if draw is parameter_scatter else axis.texts
        boxes = [(one.get_text(), one.get_window_extent()) for one in shown]
        for (name, first), (other, second) in itertools.combinations(boxes, 2):
            slanted = draw is parallel_coordinates and of is not FIVE
            if not (slanted and any(c.isalpha() for c in name + other)):
                assert not first.shrunk(0.98, 0.98).overlaps(second), (name, other)


def test_nothing_to_draw_is_refused():
    for draw in (parallel_coordinates, parameter_scatter):
        with pytest.raises(SpecError, match="0 points over 3 hyper-parameters cannot be drawn"):
            draw(swept())


def test_the_same_sweep_gives_the_same_bytes():
    assert render(parallel_coordinates(FIVE), "svg") == render(parallel_coordinates(FIVE), "svg")


# hostile names, the page


def hostile():
    dimensions = (
        Dimension(name=HOSTILE, choices=(HOSTILE, "b", "c")), Dimension(name="_x")
    )  # fmt: skip
    points = [
        point(0, [1, 2], (HOSTILE, 0.1)), point(1, [1, 3], ("b", 0.2)),
        point(2, [], ("c", 0.3), reason=HOSTILE),
    ]  # fmt: skip
    names = ("method", "suite", "features", "normalisation", "objective", "unit", "command")
    return swept(*points, dimensions=dimensions, **dict.fromkeys(names, HOSTILE))


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *one) for one in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def test_hostile_names_stay_text():
    of = hostile()
    figures = {HOSTILE: parallel_coordinates(of), "parameters": parameter_scatter(of)}
    for figure in figures.values():
        tree = ET.fromstring(render(figure, "svg"))
        assert "script" not in {one.tag.rpartition("}")[2] for one in tree.iter()}
    read = Reader(page(of, figures))
    assert "script" not in read.tags
    assert " ".join(HOSTILE.split()) in read.texts, "a column's name as it is"
    text = markdown(of)
    assert "<script>" not in text
    assert len({len(row) for row in table_of(text)}) == 1, "no name makes columns"
    assert all("\n" not in line and line for line in summary(of).splitlines())
    assert len(summary(of).splitlines()) == 6
    assert tomllib.loads(params_toml(of)) == {HOSTILE: {HOSTILE: "b", "_x": 0.2}}
    assert next(csv.DictReader(io.StringIO(as_csv(of))))[f"parameter.{HOSTILE}"] == HOSTILE
    assert json.loads(as_json(of))["points"][2]["reason"] == HOSTILE


def test_the_page_allows_its_style_and_nothing_else():
    figures = {"parallel-coordinates": parallel_coordinates(FIVE)}
    text = page(FIVE, figures)
    read = Reader(text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(
        value for _, name, value in read.attributes if name == "content" and "src" in value
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not {"script", "iframe", "object", "form", "a"} & set(read.tags)
    assert not {name for _, name, _ in read.attributes if name == "style" or name.startswith("on")}
    loaded = [v for _, name, v in read.attributes if name in ("src", "href")]
    assert len(loaded) == 2
    assert all(value.startswith("data:") for value in loaded)
    image = next(value for value in loaded if "svg" in value)
    assert base64.b64decode(image.partition(",")[2]) == render(parallel_coordinates(FIVE), "svg")
    assert ("tr", "class", "best") in read.attributes
    assert read.attributes.count(("tr", "class", "aside")) == 2
    shown = html.unescape(text)
    for line in summary(FIVE).splitlines():
        assert line in shown
    assert page(FIVE, {}) == page(FIVE, {})


def test_finished_points_are_those_with_all_draws():
    assert [one.number for one in finished(FIVE)] == [0, 1, 4]
    assert finished(swept(point(0, []), seeds=0)) == ()
