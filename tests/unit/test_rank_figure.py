"""Critical-difference diagrams."""

from __future__ import annotations

import itertools

import pytest

from clser_bench.errors import SpecError
from clser_bench.report.rank_figure import rank_diagram
from tests.drawn import drawn_lines, texts


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
