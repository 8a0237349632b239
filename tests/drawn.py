"""Tables with made-up numbers, and what stands in a figure of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from matplotlib.text import Text

from clser_bench.report.board import Cell, Difference, LeaderboardTable, Line, Rules
from clser_bench.report.crossed_statistics import Interval
from tests.boards import PAIRS, TWELVE

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
