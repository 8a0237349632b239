"""Forest plots: means, intervals and verdicts."""

from __future__ import annotations

import dataclasses

from matplotlib.colors import to_hex, to_rgb

from clser_bench.report.forest_figure import forest
from clser_bench.report.tables import leaderboard
from clser_bench.store.sqlite import Store
from tests.boards import run
from tests.drawn import board, dots, drawn_lines, labels, line, texts


def test_a_forest_has_the_means_and_intervals_in_order():
    table = board(line("low", 30.0, half=1.5), line("high", 44.0, half=3.0), line("none", None))
    axis = forest(table).axes[0]
    assert labels(axis) == ["high (n = 5)", "low (n = 5)", "none (n = 0)"]
    assert {row: float(dot.get_xdata()[0]) for row, dot in dots(axis).items()} == {0: 44, 1: 30}
    drawn = drawn_lines(axis)
    assert ((41.0, 47.0), (0.0, 0.0)) in drawn
    assert ((28.5, 31.5), (1.0, 1.0)) in drawn
    assert ((25.0, 25.0), (0.0, 1.0)) in drawn  # chance of four classes, all the way down
    (hole_text,) = axis.texts
    assert hole_text.get_text() == "no mean: not run yet"
    assert hole_text.get_position()[1] == 2
    bottom, top = axis.get_ylim()
    assert bottom > top, "the highest mean is on top"


def test_only_what_differs_from_the_reference_is_filled():
    table = board(
        line("a", 50.0, verdict="better"),
        line("b", 44.0, verdict="not separable"),
        line("base", 40.0),
        line("c", 30.0, verdict="worse"),
        line("target-oracle", 60.0, kind="oracle", n=1),
        line("chance", 25.0, kind="bound"),
        reference="base",
    )
    figure = forest(table)
    axis = figure.axes[0]
    assert labels(axis) == [
        "target-oracle (oracle, n = 1)", "a (n = 5)", "b (n = 5)", "base (n = 5)", "c (n = 5)",
        "chance (bound, n = 5)",
    ]  # fmt: skip
    filled = {
        row: to_rgb(dot.get_markerfacecolor()) != (1, 1, 1) for row, dot in dots(axis).items()
    }
    assert filled == {0: False, 1: True, 2: False, 3: False, 4: True, 5: False}
    colours = {row: to_hex(dot.get_color()) for row, dot in dots(axis).items()}
    assert colours[0] == colours[5] == "#777777"
    assert len({colours[1], colours[4], colours[2]}) == 3
    through = {one.get_xdata()[0]: one.get_linestyle() for one in axis.lines
               if tuple(one.get_ydata()) == (0, 1)}  # fmt: skip
    assert through == {60.0: "--", 40.0: "-", 25.0: "--"}
    keys = [one.get_text() for one in figure.legends[0].get_texts()]
    assert keys == [
        "better than base (p < 0.05, Holm over 3)", "worse than base (p < 0.05, Holm over 3)",
        "not separable from base", "base (reference)", "bound or oracle: no competitor",
    ]  # fmt: skip


def test_a_forest_of_a_store_agrees_with_its_table(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        run(store, {"logistic": 12, "good": 22}, seeds=3)
        (table,) = leaderboard(store)
    axis = forest(table).axes[0]
    assert labels(axis) == ["good (n = 3)", "logistic (n = 3)"]
    best = next(one for one in table.lines if one.method == "good")
    ends = next(xs for xs, ys in drawn_lines(axis) if ys == (0, 0) and len(xs) == 2)
    assert ends == (best.interval.low, best.interval.high)


def test_notes_and_remarks_stand_below():
    table = board(line("sere", 30.0, note="reconstructed"), remarks=("n = 1: one draw only",))
    figure = forest(table)
    assert labels(figure.axes[0]) == ["sere* (n = 5)"]
    assert texts(figure)[-2:] == ["* reconstructed", "n = 1: one draw only"]


def test_without_intervals_dots_stand_alone():
    bare = dataclasses.replace(line("a", 30.0), interval=None)
    figure = forest(board(bare))
    assert len(dots(figure.axes[0])) == 1
    assert "95 %" not in "".join(texts(figure))
