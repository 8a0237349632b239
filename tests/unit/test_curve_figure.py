"""Learning curves: which methods, where, with what intervals."""

from __future__ import annotations

import numpy as np
import pytest

from clser_bench.errors import SpecError
from clser_bench.report.curve_figure import TOP, learning_curves
from tests.drawn import board, labels, line


def curves(figure):
    return [one for one in figure.axes[0].lines if len(one.get_xdata()) > 1]


def test_curves_have_shots_evenly_apart_and_all_last():
    values = {"all": 50.0, "20": 42.0, "5": 36.0, "1": 30.0}
    tables = [board(line("m", mean, half=1.0, n=3), shots=k) for k, mean in values.items()]
    figure = learning_curves(tables)
    axis = figure.axes[0]
    assert labels(axis, "x") == ["1\nn = 3", "5\nn = 3", "20\nn = 3", "all\nn = 3"]
    (curve,) = curves(figure)
    assert list(curve.get_xdata()) == [0, 1, 2, 3]
    assert list(curve.get_ydata()) == [30, 36, 42, 50]
    band, bars = axis.collections
    corners = {tuple(map(float, corner)) for corner in band.get_paths()[0].vertices}
    expected = {(at, mean + side) for at, mean in enumerate((30, 36, 42, 50)) for side in (-1, 1)}
    assert expected == corners
    assert bars.get_segments()[0].tolist() == [[0, 29], [0, 31]]


def test_a_hole_breaks_the_curve_and_numbers_of_draws_are_told():
    tables = [
        board(line("m", 30.0, n=5), line("o", 20.0, n=1), shots="1"),
        board(line("m", None), line("o", 21.0, n=1), shots="5"),
        board(line("o", 22.0, n=1), shots="10"),
    ]
    figure = learning_curves(tables, methods=["m"])
    (curve,) = curves(figure)
    np.testing.assert_array_equal(curve.get_ydata(), [30, np.nan, np.nan])
    both = learning_curves(tables)
    assert labels(both.axes[0], "x") == ["1\nn = 1–5", "5\nn = 0–1", "10\nn = 1"]
    assert [one.get_text() for one in both.legends[0].get_texts()] == ["o", "m"]


def test_the_highest_means_are_drawn_and_the_reference():
    made = [
        board(*[line(f"m{place}", 60.0 - place) for place in range(15)],
              line("target-oracle", 90.0, kind="oracle"), shots=shots, reference="m12")
        for shots in ("1", "5")
    ]  # fmt: skip
    figure = learning_curves(made)
    shown = [one.get_text() for one in figure.legends[0].get_texts()]
    assert shown == [*(f"m{place}" for place in range(TOP)), "m12"]
    assert figure.get_suptitle().startswith(f"95 % intervals; the {TOP} highest means of 15, and")
    offsets = [float(one.get_xdata()[0]) for one in curves(figure)]
    assert sorted(offsets) == offsets
    assert len(set(offsets)) == TOP + 1
    assert max(map(abs, offsets)) < 0.25
    asked = learning_curves(made, methods=["m3", "target-oracle"])
    shown = [one.get_text() for one in asked.legends[0].get_texts()]
    assert shown == ["target-oracle (oracle)", "m3"]


def test_curves_of_other_rules_are_refused():
    one = board(line("m", 30.0), shots="1")
    for other in (board(line("m", 30.0), shots="5", prior="dirichlet:1"), one):
        with pytest.raises(SpecError, match="make no curve: give one for each number of shots"):
            learning_curves([one, other])
    with pytest.raises(SpecError, match="0 tables"):
        learning_curves([])
    with pytest.raises(SpecError, match="no results of 'mm'"):
        learning_curves([one], methods=["mm"])
