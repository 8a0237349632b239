"""Figures: that marks lie where the numbers are, names are text, and files are the same bytes."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from clser_bench.cli.figures import file_name
from clser_bench.errors import SpecError
from clser_bench.protocol import Condition
from clser_bench.report import figures
from clser_bench.report.drawing import render
from clser_bench.report.table import rows_of
from clser_bench.store.records import MethodNote
from tests.boards import TWELVE, run, tables_of

HOSTILE = "$x$ <script>alert(1)</script>|\n`_"


def fill(store):
    notes = {"chance": MethodNote(role="bound"), HOSTILE: MethodNote(note=HOSTILE)}
    methods = {"logistic": 14, "good": 22, "bad": 6, "same": 14, HOSTILE: 15, "chance": 8}
    run(store, methods, seeds=3, pairs=TWELVE, notes=notes)


def the_axis(figure) -> Any:
    (axis,) = figure.axes
    return axis


def test_the_forest_draws_the_simultaneous_intervals_of_the_table(store):
    fill(store)
    (table,) = tables_of(store)
    axis = the_axis(figures.forest(table))
    ranked = [line for line in table.lines if line.role == "ranked" and line.difference]
    ranked.sort(key=lambda line: -line.difference.estimate)
    marks = [line for line in axis.lines if line.get_marker() == "o"]
    bars = [line for line in axis.lines if line.get_marker() != "o"][1:]  # the first is zero
    for mark, bar, line in zip(marks, bars, ranked, strict=True):
        interval = line.difference
        assert mark.get_xdata()[0] == interval.estimate
        assert tuple(bar.get_xdata()) == (interval.low, interval.high)
        separable = interval.low > 0 or interval.high < 0
        assert (mark.get_markerfacecolor() != "white") == separable
        assert (line.verdict != "not separable") == separable
    assert {line.verdict for line in ranked} == {"better", "worse", "not separable"}


def test_a_forest_without_the_reference_says_so(store):
    run(store, {"a": 12, "b": 6})
    with pytest.raises(SpecError, match="no method is compared with logistic"):
        figures.forest(tables_of(store)[0])


def test_the_heat_map_has_each_mean_and_hatches_missing_cells(store):
    run(store, {"logistic": 12, "m": 18}, left_out={("m", "B→C", 1)})
    (table,) = tables_of(store)
    axis = the_axis(figures.heat_map(table, width=7))
    found = {tuple(text.get_position()): text.get_text() for text in axis.texts}
    lines = sorted(table.lines, key=lambda line: -(line.mean.mean or 0.0))
    for row, line in enumerate(lines):
        for column, cell in enumerate(line.cells):
            text = None if cell.mean is None else f"{cell.mean:.1f}"
            assert found.get((column, row)) == text
    assert sum(patch.get_hatch() is not None for patch in axis.patches) == 2  # the cell, the mean


def test_learning_curves_go_through_the_means(store):
    for shots in (1, 5, "all"):
        run(store, {"logistic": 12, "m": 18 if shots == 5 else 9}, shots=shots, seeds=1)
    found = tables_of(store)
    axis = the_axis(figures.learning_curves(found, methods=["m"]))
    (line,) = axis.lines
    assert line.get_ydata() == pytest.approx([table.line("m").mean.mean for table in found])
    assert [text.get_text().split("\n")[0] for text in axis.get_xticklabels()] == ["1", "5", "all"]
    with pytest.raises(SpecError, match="no results of 'n'"):
        figures.learning_curves(found, methods=["n"])
    run(store, {"m": 9}, features="mel", shots=5)
    with pytest.raises(SpecError, match="make no curve"):
        figures.learning_curves(tables_of(store))


def test_confusions_are_those_of_the_stored_metrics(store):
    run(store, {"m": 15}, seeds=3)
    (table,) = tables_of(store)
    (matrix,), classes = figures.count_confusions(store, rows_of(store.frame(), table), ["m"])
    total = sum(np.array(record.metrics.confusion) for record in store.records())
    assert (matrix == total).all()
    assert classes == ("anger", "happiness", "sadness")
    axis = figures.confusion([matrix], classes, ["m"]).axes[0]
    shares = [f"{100 * c / row.sum():.0f}" for row in matrix for c in row]
    assert [text.get_text() for text in axis.texts] == shares


def test_hostile_names_stay_text_and_bytes_stay_the_same(store):
    fill(store)
    (table,) = tables_of(store)
    for draw in (figures.forest, figures.heat_map):
        text = render(draw(table), "svg")
        ET.fromstring(text)
        assert b"<script" not in text
        assert render(draw(table), "svg") == text
        assert not draw(table, title=False).get_suptitle()


def test_names_of_files_differ_where_conditions_do():
    rules = ({}, {"features": "a/b"}, {"features": "a-b"}, {"corruption": "noise:10"})
    conditions = [Condition(suite="bcro", **rule) for rule in rules]
    conditions += [Condition(suite="bcro", shots="all"), Condition(suite="b" * 200)]
    names = [file_name("forest", condition) for condition in conditions]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


RESULTS = ("--results", "clser.sqlite")


def test_the_command_writes_every_figure(store, call, tmp_path):
    for shots in (1, 5):
        run(store, {"logistic": 12, "m": 18}, shots=shots)
    done = call("figures", "out", "--methods", "m,logistic", "--formats", "png,svg", *RESULTS)
    assert done.exit_code == 0, done.output
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert sorted(done.stdout.split()) == [f"out/{name}" for name in written]
    assert {path.rpartition(".")[2] for path in written} == {"png", "svg"}
    kinds = {name.partition("-bc")[0] for name in written}
    assert kinds == {"heat-map", "confusion", "shots", "forest"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("out", "--formats", "jpg"), "cannot be a 'jpg'"),
        (("out", "--formats", ","), "--formats is empty"),
        (("out", "--suite", "other"), "no results of suite 'other'"),
        (("out", "--methods", "n"), "no results of 'n'"),
        (("file", "--formats", "png"), "choose another --out"),
    ],
)
def test_the_command_says_what_is_wrong(store, call, tmp_path, words, message):
    run(store, {"logistic": 12, "m": 18})
    (tmp_path / "file").write_text("")
    done = call("figures", *words, *RESULTS)
    assert (done.exit_code, message in done.stderr) == (2, True), done.output
