"""Heat maps: numbers, holes, and what can be read."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.colors import Normalize

from clser_bench.protocol import Pair
from clser_bench.report.board import Cell
from clser_bench.report.confusion_figure import draw_cell, luminance
from clser_bench.report.drawing import render
from clser_bench.report.heat_figure import heat_map
from tests.boards import TWELVE
from tests.drawn import HOLE, board, labels, line


def test_a_heat_map_has_each_number_in_its_cell_and_the_mean_apart():
    cells = (Cell(n=5, mean=20.0, std=1.0), Cell(n=5, mean=60.0, std=1.0))
    table = board(line("a", 40.0, cells=cells), line("b", 30.0, kind="bound"))
    axis = heat_map(table).axes[0]
    found = {one.get_position(): one.get_text() for one in axis.texts}
    assert found == {
        (0, 0): "20.0", (1, 0): "60.0", (2.3, 0): "40.0",
        (0, 1): "30.0", (1, 1): "30.0", (2.3, 1): "30.0",
    }  # fmt: skip
    assert labels(axis) == ["a", "b (bound)"]
    assert labels(axis, "x") == ["B→C", "C→B", "mean"]
    squares = {(one.get_x() + 0.5, one.get_y() + 0.5): one for one in axis.patches}
    assert squares.keys() == found.keys()
    light = {place: luminance(one.get_facecolor()[:3]) for place, one in squares.items()}
    assert light[0, 0] < light[0, 1] < light[2.3, 0] < light[1, 0]


def test_holes_are_hatched_by_their_status():
    failed = Cell(n=0, mean=None, std=None, status="failed", reason="not run yet")
    figure = heat_map(board(line("a", None, cells=(failed, HOLE)), line("b", 30.0)))
    axis = figure.axes[0]
    hatches = {one.get_x() + 0.5: one.get_hatch() for one in axis.patches if one.get_y() == 0.5}
    assert set(hatches) == {0, 1, 2.3}
    assert hatches[0] == hatches[2.3] != hatches[1]
    assert not any(one.get_hatch() for one in axis.patches if one.get_y() == -0.5)
    assert all(one.get_position()[1] == 0 for one in axis.texts), "a hole has no number"
    keys = figure.legends[0]
    assert [one.get_text() for one in keys.get_texts()] == ["failed or not run", "not applicable"]
    assert [one.get_hatch() for one in keys.legend_handles] == [hatches[0], hatches[1]]


def test_a_heat_map_of_nothing_but_holes_is_drawn():
    figure = heat_map(board(line("a", None)))
    assert render(figure, "png")
    assert not figure.axes[0].texts


def test_narrow_cells_hold_whole_percents():
    table = board(line("m", 33.44, cells=[Cell(n=5, mean=33.44, std=1.0)] * 12), pairs=TWELVE)
    assert {one.get_text() for one in heat_map(table, width=3.4).axes[0].texts} == {"33"}
    assert {one.get_text() for one in heat_map(table, width=7).axes[0].texts} == {"33.4"}


def test_a_heat_map_grows_where_pairs_would_not_fit():
    pairs = tuple(Pair(a, b) for a, b in itertools.permutations("BCROEFGH", 2))
    table = board(line("m", 30.0, cells=[Cell(n=5, mean=30.0, std=1.0)] * 56), pairs=pairs)
    assert heat_map(table).get_size_inches()[0] > 56 * 0.16


def test_luminance_by_hand():
    assert luminance((0, 0, 0)) == 0
    assert luminance((1, 1, 1)) == pytest.approx(1)
    assert luminance((0.5, 0.5, 0.5)) == pytest.approx(0.2140, abs=1e-4)
    assert luminance((0, 1, 0)) == pytest.approx(0.7152)


def test_numbers_have_the_ink_of_the_higher_contrast():
    axis = heat_map(board(line("a", 30.0))).axes[0]
    for value in range(0, 101, 5):
        draw_cell(axis, (0, 0), value, "x", scale=Normalize(0, 100))
        light = luminance(axis.patches[-1].get_facecolor()[:3])
        best = "black" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "white"
        assert axis.texts[-1].get_color() == best, value
