"""Figures of leaderboards: what is drawn where, what is said, what is refused; the command."""

from __future__ import annotations

import dataclasses
import itertools
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import typer
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from typer.testing import CliRunner

from clser_bench.cli.figures import figures, file_name
from clser_bench.errors import ClserError, SpecError
from clser_bench.report.board import Cell, Difference, LeaderboardTable, Line, Rules
from clser_bench.report.confusion_figure import confusion, count_confusions, draw_cell, luminance
from clser_bench.report.drawing import render
from clser_bench.report.figures import TOP, forest, heading, heat_map, learning_curves
from clser_bench.report.rank_figure import rank_diagram
from clser_bench.report.statistics import Interval
from clser_bench.report.tables import leaderboard
from clser_bench.spec import EMOTIONS, Pair
from clser_bench.store.database import Store
from clser_bench.store.records import MethodNote
from tests.boards import PAIRS, TWELVE, run
from tests.records import answer_key, ok, trial

HOSTILE = "$\\frac{1}{0}$ <script>alert(1)</script>\n&amp; $x"
RULES = Rules(
    suite="bc",
    features="acoustic",
    normalisation="corpus",
    setting="transductive",
    prior="natural",
    selection="default",
    shots="5",
)


def line(method, mean, *, half=2.0, verdict="", kind="ranked", n=5, cells=None, note=""):
    """A method whose pairs all have its mean, or none where it is None."""
    whole = Cell(n=n, mean=mean, std=1.0 if mean else None)
    if mean is None:
        whole = Cell(n=0, mean=None, std=None, status="failed", reason="not run yet")
    found = Interval(estimate=mean, low=mean - half, high=mean + half) if mean else None
    return Line(
        method=method,
        kind=kind,
        assumes_prior="none",
        note=note,
        slice=0,
        cells=tuple(cells or (whole, whole)),
        mean=whole,
        interval=found,
        difference=Difference(interval=found) if found else None,
        verdict=verdict,
    )


def board(*lines, pairs=PAIRS, reference="", synthetic=False, remarks=(), **rules):
    return LeaderboardTable(
        rules=dataclasses.replace(RULES, **rules),
        pairs=pairs,
        classes=(4,) * len(pairs),
        lines=lines,
        protocol_version=1,
        synthetic=synthetic,
        reference=reference,
        remarks=remarks,
    )


def many(count=37, pairs=TWELVE, **rules):
    """As large as a real table, with the longest name there is, holes, bounds and an oracle."""
    rng = np.random.default_rng(0)
    lines = []
    for place in range(count):
        cells = [Cell(n=5, mean=float(v), std=1.0) for v in rng.uniform(20, 60, len(pairs))]
        cells[place % len(pairs)] = cells[place % len(pairs)] if place % 9 else HOLE
        name = f"method-{place}" if place else "adversarial-transformer-long"
        mean = float(rng.uniform(25, 45)) if place % 9 else None
        note = "equations reconstructed from the abstract of a paper" if place == 3 else ""
        verdict = ("better", "worse", "not separable")[place % 3]
        lines.append(line(name, mean, cells=cells, note=note, verdict=verdict))
    whole = [Cell(n=1, mean=70.0, std=None)] * len(pairs)
    lines.append(line("target-oracle", 70.0, kind="oracle", n=1, cells=whole))
    lines.append(line("chance", 17.0, kind="bound", cells=whole))
    return board(*lines, pairs=pairs, reference="method-1", **rules)


HOLE = Cell(n=0, mean=None, std=None, status="not_applicable", reason="needs 10 shots")


def texts(figure):
    """All that is written in a figure, and drawn."""
    return [one.get_text() for one in figure.findobj(Text) if one.get_visible() and one.get_text()]


def labels(axis, which="y"):
    return [one.get_text() for one in getattr(axis, f"get_{which}ticklabels")()]


def drawn_lines(axis):
    return [(tuple(map(float, one.get_xdata())), tuple(map(float, one.get_ydata()))) for one in
            axis.lines]  # fmt: skip


def dots(axis):
    """Row to place, fill and edge of the dot."""
    return {
        int(one.get_ydata()[0]): one
        for one in axis.lines
        if one.get_marker() != "None" and len(one.get_xdata()) == 1
    }


# forest plot


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


# heat map


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
    from matplotlib.colors import Normalize

    axis = heat_map(board(line("a", 30.0))).axes[0]
    for value in range(0, 101, 5):
        draw_cell(axis, (0, 0), value, "x", scale=Normalize(0, 100))
        light = luminance(axis.patches[-1].get_facecolor()[:3])
        best = "black" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "white"
        assert axis.texts[-1].get_color() == best, value


# learning curves


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


# ranks


def test_ranks_stand_on_the_axis_and_cliques_join_them():
    names = ("a", "b", "c", "d", "e")
    ranks = (4.5, 1.25, 2.0, 3.0, 4.25)
    figure = rank_diagram(names, ranks, 1.5, ((1, 2), (2, 3), (3, 4, 0), (0,)), width=4)
    axis = figure.axes[0]
    left, right = axis.get_xlim()
    assert (left, right) == (5, 1), "the best is on the right"
    elbows = {xs[0]: (xs[2], ys) for xs, ys in drawn_lines(axis) if len(xs) == 3}
    assert set(elbows) == set(ranks)
    assert {rank: side for rank, (side, _) in elbows.items()} == {
        1.25: 1, 2.0: 1, 3.0: 1, 4.25: 5, 4.5: 5
    }  # fmt: skip
    depth = {rank: ys[1] for rank, (_, ys) in elbows.items()}
    assert depth[1.25] < depth[2.0] < depth[3.0]
    assert depth[4.5] < depth[4.25]
    assert all(ys[0] == 0 and ys[1] == ys[2] for _, ys in elbows.values())
    named = {one.get_text(): one.xy for one in axis.texts if hasattr(one, "xy")}
    assert named["b  1.25"] == (1, depth[1.25])
    assert named["a  4.50"] == (5, depth[4.5])
    level = [(xs, ys) for xs, ys in drawn_lines(axis) if len(xs) == 2]
    spans = {xs: ys[0] for xs, ys in level}
    assert set(spans) == {(1.25, 2.0), (2.0, 3.0), (3.0, 4.5), (5.0, 3.5)}
    assert spans[5.0, 3.5] < 0, "the critical difference is over the axis"
    bars = [(xs, y) for xs, y in spans.items() if y > 0]
    for (one, y), (other, z) in itertools.combinations(bars, 2):
        assert y != z or one[1] < other[0] or other[1] < one[0], "bars meet"
    assert "critical difference 1.50" in texts(figure)
    assert max(y for _, y in bars) < min(depth.values())


def test_ranks_that_make_no_sense_are_refused():
    with pytest.raises(SpecError, match="2 methods with 1 ranks"):
        rank_diagram(("a", "b"), (1.0,), 1.0, ())
    with pytest.raises(SpecError, match="0 methods"):
        rank_diagram((), (), 1.0, ())
    with pytest.raises(SpecError, match="nan is no rank"):
        rank_diagram(("a",), (1.0,), float("nan"), ())
    with pytest.raises(SpecError, match="must be from 0 to 0"):
        rank_diagram(("a",), (1.0,), 1.0, ((0, 1),))


# confusion


def test_confusion_has_shares_of_the_true_class_and_counts():
    matrices = [np.array([[3, 1], [0, 0]]), np.array([[1, 1], [2, 8]])]
    figure = confusion(matrices, ("anger", "fear"), ("a", "b"), width=7)
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["a, n = 4", "b, n = 12"]
    assert labels(first) == ["anger (4)", "fear (0)"]
    assert labels(second) == ["anger (2)", "fear (10)"]
    assert labels(second, "x") == ["anger", "fear"]
    shown = [{one.get_position(): one.get_text() for one in axis.texts} for axis in figure.axes]
    assert shown[0] == {(0, 0): "75", (1, 0): "25", (0, 1): "–", (1, 1): "–"}
    assert shown[1] == {(0, 0): "50", (1, 0): "50", (0, 1): "20", (1, 1): "80"}


def test_confusion_refuses_what_does_not_fit():
    with pytest.raises(SpecError, match=r"a: the matrix is \(3, 3\); it must be \(2, 2\)"):
        confusion([np.ones((3, 3), int)], ("anger", "fear"), ("a",))
    with pytest.raises(SpecError, match="0 matrices"):
        confusion([], ("anger",), ())


def test_counted_confusions_are_those_of_the_stored_metrics(tmp_path):
    rng = np.random.default_rng(1)
    classes = {"B→C": ("anger", "neutral"), "C→B": ("anger", "fear", "sadness")}
    records, trials = [], []
    for method, (pair, names), seed in itertools.product("mo", classes.items(), range(2)):
        y = np.arange(24) % len(names)
        of = trial(method, pair, seed=seed, classes=names)
        trials.append(of)
        records.append(
            ok(of, rng.integers(0, len(names), 24), answer_key(y.tolist(), classes=names))
        )
    with Store(tmp_path / "s.sqlite") as store:
        store.plan("bc", trials, pairs=PAIRS, config={})
        store.put(records)
        (table,) = leaderboard(store, intervals=False)
        found, order = count_confusions(store, table, ["o", "m"])
        with pytest.raises(SpecError, match="has no 'x'"):
            count_confusions(store, table, ["x"])
    assert order == ("anger", "fear", "neutral", "sadness")
    for method, matrix in zip("om", found, strict=True):
        expected = dict.fromkeys(itertools.product(order, order), 0)
        for record in records:
            names = record.trial.classes
            for one, other in itertools.product(range(len(names)), repeat=2):
                if record.trial.method == method:
                    expected[names[one], names[other]] += record.metrics.confusion[one][other]
        assert matrix.ravel().tolist() == list(expected.values())
        assert matrix.sum() == 2 * 2 * 24


# all figures


def every(table, width=3.4):
    names = [one.method for one in table.lines]
    ranks = np.linspace(1.2, max(len(names), 2), len(names)).tolist()
    cliques = [tuple(range(at, min(at + 4, len(names)))) for at in range(0, len(names), 2)]
    counts = np.arange(49).reshape(7, 7) * 100
    shots = [dataclasses.replace(table, rules=dataclasses.replace(table.rules, shots=k))
             for k in ("1", "5", "10", "20", "all")]  # fmt: skip
    return {
        "forest": forest(table, width=width),
        "heat": heat_map(table, width=width),
        "curves": learning_curves(shots, width=width),
        "ranks": rank_diagram(names, ranks, 3.0, cliques, heading="what\nrules", width=width),
        "confusion": confusion([counts] * 3, EMOTIONS[:7], names[:1] * 3, width=width),
    }


LARGE = many(synthetic=True, features="hf:facebook/wav2vec2-large-xlsr-53@c3f9d884:layer=12")
SMALL = board(line("m", 30.0, cells=[HOLE]), pairs=PAIRS[:1], synthetic=True)


@pytest.mark.parametrize(
    ("table", "width"), [(LARGE, 3.4), (LARGE, 7.0), (SMALL, 2.0)], ids=["column", "page", "tiny"]
)
def test_nothing_is_cut_off_and_labels_do_not_meet(table, width):
    for name, figure in every(table, width).items():
        figure.draw_without_rendering()
        beyond = set()
        for axis in (one for axes in figure.axes for one in (axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()
            beyond |= {id(one) for tick in ticks if not low <= tick.get_loc() <= high
                       for one in (tick.label1, tick.label2)}  # fmt: skip
            shown = [one for tick in ticks for one in (tick.label1, tick.label2)
                     if one.get_visible() and one.get_text() and id(one) not in beyond]  # fmt: skip
            boxes = [one.get_window_extent() for one in shown]
            for first, second in itertools.pairwise(boxes):
                assert not first.shrunk(0.99, 0.99).overlaps(second), (name, shown)
        for one in figure.findobj(Text):
            if one.get_visible() and one.get_text().strip() and id(one) not in beyond:
                box = one.get_window_extent()
                over = max(-box.x0, -box.y0, box.x1 - figure.bbox.x1, box.y1 - figure.bbox.y1)
                assert over < 1, (name, one.get_text())


def test_synthetic_speech_and_unusual_rules_are_told():
    table = many(3, synthetic=True, prior="dirichlet:1", setting="inductive", shots="1")
    for figure in (forest(table), heat_map(table), learning_curves([table])):
        told = figure.get_suptitle().replace("\n", " ")
        assert "synthetic speech" in told
        assert "bc, 1 shot, acoustic, normalisation corpus, setting inductive, prior dirich" in told
    assert "synthetic" not in "".join(texts(forest(many(3))))
    assert "selection" not in "".join(texts(forest(many(3))))


def test_the_end_of_a_long_name_is_told():
    start = f"hf:facebook/{'w' * 60}@1f:layer="
    boards = [board(line("m", 30.0), features=f"{start}{layer}") for layer in (11, 12)]
    for width in (2.0, 3.4):
        told = [heading([one], "what", width) for one in boards]
        assert told[1] == told[0].replace("layer=11", "layer=12") != told[0]


def test_hostile_names_are_drawn_as_text():
    table = board(
        line(HOSTILE, 30.0, note=HOSTILE), line("_b", 20.0), pairs=(Pair(HOSTILE, "$C$"),) * 2,
        suite=HOSTILE, features=HOSTILE, reference=HOSTILE, remarks=(HOSTILE,),
    )  # fmt: skip
    drawn = every(table)
    drawn["confusion"] = confusion([np.eye(2, dtype=int)], (HOSTILE, "b"), (HOSTILE,))
    drawn["curves"] = learning_curves([table])
    for name, figure in drawn.items():
        drawn_svg = ET.fromstring(render(figure, "svg"))
        assert "script" not in {one.tag.rpartition("}")[2] for one in drawn_svg.iter()}, name
        assert any("<script>" in text for text in texts(figure)), name
    assert texts(learning_curves([table])).count(" _b") == 1


def test_no_methods_are_refused():
    for draw in (forest, heat_map):
        with pytest.raises(SpecError, match="there is no method to draw"):
            draw(board())


def test_the_same_figure_gives_the_same_bytes():
    table = board(line("a", 30.0, cells=(HOLE, HOLE), note="x"), line("b", None))
    first, second = every(table), every(table)
    for name, figure in first.items():
        kinds = {"heat": ("png", "pdf"), "forest": ("svg",)}.get(name, ("pdf",))
        for kind in kinds:
            assert render(figure, kind) == render(second[name], kind), (name, kind)


# the command


@pytest.fixture
def call(tmp_path):
    app = typer.Typer()
    app.command()(figures)

    def called(*arguments: str):
        results = ("--results", str(tmp_path / "s.sqlite"))
        return CliRunner().invoke(app, [str(tmp_path / "out"), *arguments, *results])

    return called


def filled(tmp_path, suites=("bc",), **rules):
    with Store(tmp_path / "s.sqlite") as store:
        for suite in suites:
            for shots in (1, 5):
                notes = {"chance": MethodNote(role="bound")}
                methods = {"chance": 8, "logistic": 12, "sere": 20}
                run(store, methods, suite=suite, shots=shots, notes=notes, **rules)


RULED = "bc-acoustic-corpus-transductive-natural-default"


def test_the_command_writes_figures_and_tells_where(call, tmp_path):
    filled(tmp_path, synthetic=True)
    result = call("--formats", "svg, PDF,svg", "--methods", "sere,logistic", "--shots", "1")
    assert result.exit_code == 0, result.output
    names = [f"{what}-{RULED}-1" for what in ("forest", "heat-map", "ranks", "confusion")]
    files = [str(tmp_path / "out" / f"{name}.{kind}") for name in names for kind in ("svg", "pdf")]
    assert result.stdout.splitlines() == files
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(files)
    assert "figures: 4" in result.stderr


def test_several_shots_make_a_curve(call, tmp_path):
    filled(tmp_path)
    result = call("--formats", "svg", "--suite", "bc", "--methods", "chance", "--shots", "1,5")
    assert result.exit_code == 0, result.output
    kinds = ("forest", "heat-map", "confusion")
    names = [f"{kind}-{RULED}-{shots}.svg" for shots in (1, 5) for kind in kinds]
    made = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(made) == sorted([*names, f"shots-{RULED}.svg"])


def test_files_stay_in_their_folder_and_no_two_are_one(call, tmp_path):
    suites = ("../../x", "..//..\\x", "X", "$(rm)\n<b>" + "é" * 300)
    with Store(tmp_path / "s.sqlite") as store:
        for suite in suites:
            run(store, {"m": 20}, suite=suite, seeds=1)
    result = call("--formats", "svg")
    assert result.exit_code == 0, result.output
    made = list((tmp_path / "out").iterdir())
    assert len(made) == 2 * len(suites)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "s.sqlite"}
    for path in made:
        assert set(path.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert len(path.name) < 160


def test_names_of_files():
    long = dataclasses.replace(RULES, features="f" * 200)
    assert file_name("forest", RULES) == "forest-bc-acoustic-corpus-transductive-natural-default-5"
    assert file_name("shots", RULES, shots=False).endswith("-natural-default")
    assert len(file_name("forest", long)) == 129
    others = [dataclasses.replace(RULES, features=f) for f in ("A b", "a b", "a-b", "a:b")]
    assert len({file_name("forest", rules).lower() for rules in others}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--formats", "pgn"), "--formats: a figure cannot be a 'pgn'.*png"),
        (("--formats", ","), "--formats is empty; choose of png, svg, pdf"),
        (("--suite", "other"), "no results are what was asked for"),
        (("--methods", "sere,nobody"), "no results of nobody"),
        (("--against", "ser"), "no results of 'ser'.*sere"),
    ],
)
def test_the_command_says_what_is_wrong(call, tmp_path, arguments, message):
    filled(tmp_path)
    error = call(*arguments).exception
    assert isinstance(error, SpecError)
    with pytest.raises(SpecError, match=message):
        raise error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_an_error_with_a_remedy(call, tmp_path):
    filled(tmp_path)
    (tmp_path / "out").write_text("")
    error = call().exception
    assert isinstance(error, ClserError)
    assert "choose another OUT_DIR" in str(error)


def test_methods_with_holes_are_left_out_of_the_ranks(call, tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        run(store, {"a": 20, "b": 12, "c": 9}, left_out={("c", "B→C", 0)})
    assert call("--formats", "svg").exit_code == 0
    (path,) = (tmp_path / "out").glob("ranks-*.svg")
    comments = path.read_text(encoding="utf-8")
    assert "1 methods with holes left out" in comments.replace("\n", " ")
    assert "<!-- c " not in comments
