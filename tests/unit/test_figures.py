"""What holds of every figure of a leaderboard: nothing is cut off, names are text."""

from __future__ import annotations

import dataclasses
import itertools
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.text import Text

from clser_bench.errors import SpecError
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.confusion_figure import confusion
from clser_bench.report.curve_figure import learning_curves
from clser_bench.report.drawing import render
from clser_bench.report.figure_parts import heading
from clser_bench.report.forest_figure import forest
from clser_bench.report.heat_figure import heat_map
from clser_bench.report.rank_figure import rank_diagram
from tests.boards import PAIRS
from tests.drawn import HOLE, HOSTILE, board, line, many, texts


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
        kind = {"heat": "png", "curves": "pdf"}.get(name, "svg")
        assert render(figure, kind) == render(second[name], kind), (name, kind)
