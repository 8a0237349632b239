"""Corrupted targets in tables and figures: means and changes by hand, missing cells, order."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from clser_bench.cli.tables import scales
from clser_bench.corpora.corrupt import KINDS, parse
from clser_bench.errors import SpecError
from clser_bench.protocol import Pair
from clser_bench.report import robustness as report
from clser_bench.report.drawing import COLOURS
from clser_bench.report.drawing import render as save
from clser_bench.report.figures import TOP, corruption_curves
from clser_bench.report.robustness import render
from clser_bench.report.table import leaderboard
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests import boards

HOSTILE = "$x$ <script>alert(1)</script>|\n`_"
BOUND = {"chance": MethodNote(role="bound")}


def fill(store: Store, conditions: dict[str, dict[str, int]], **rules: Any) -> None:
    """Right guesses of 24 by method, under each condition."""
    for name, methods in conditions.items():
        boards.run(store, methods, corruption="" if name == "clean" else name, **rules)


def fill_one(store: Store, **conditions: int) -> None:
    """The same of a method `a`; `noise_20` stands for `noise:20`."""
    fill(store, {name.replace("_", ":"): {"a": right} for name, right in conditions.items()})


def made(store: Store, **options: Any) -> Any:
    (found,) = report.robustness(store.frame(), store, scales(), **options)
    return found


def values(found: report.Robustness) -> dict[tuple[str, str], dict[str, Any]]:
    rows = json.loads(render([found], "json"))
    return {(row["method"], row["corruption"]): row for row in rows}


def drawn(found: report.Robustness, **options: Any) -> list[Any]:
    """The axes of a figure."""
    return corruption_curves(found, **options).axes


def ticks(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.get_xticklabels()]


def test_means_and_changes_are_those_by_hand_and_intervals_those_of_the_leaderboard(store):
    noisy = {"noise:20": {"a": 15, "b": 12}, "noise:0": {"a": 9, "b": 6}}
    fill(store, {"clean": {"a": 18, "b": 12}, **noisy})
    found = made(store)
    rows = values(found)
    assert {key: (row["n"], row["uar_mean"], row["change"]) for key, row in rows.items()} == {
        ("a", "clean"): (2, 75.0, None),
        ("a", "noise:20"): (2, 62.5, -12.5),
        ("a", "noise:0"): (2, 37.5, -37.5),
        ("b", "clean"): (2, 50.0, None),
        ("b", "noise:20"): (2, 50.0, 0.0),
        ("b", "noise:0"): (2, 25.0, -25.0),
    }
    row = rows["a", "noise:0"]
    assert (row["features"], row["corruption"], row["level"]) == ("acoustic", "noise:0", 0.0)
    assert row["change_low"] <= -37.5 <= row["change_high"]
    for table in leaderboard(store.frame(), store):
        name = table.condition.corruption or "clean"
        for line, points in found.curves:
            (point,) = [point for point in points if point.corruption == name]
            own = table.line(line.method)
            assert own is not None
            assert (point.interval, point.cell) == (own.interval, own.mean)


def test_paired_changes_are_surer_than_the_means(store):
    """The same utterances are missed by both, so most of the draws' spread cancels."""
    fill_one(store, clean=12, gain_10=12)  # the same guesses: the seed is fixed
    change = made(store).curves[0][1][1].change
    assert (change.estimate, change.low, change.high, change.p) == (0.0, 0.0, 0.0, 1.0)


def test_conditions_stand_from_mild_to_severe_in_the_order_of_kinds(store):
    order = (
        *("clean", "noise:20", "noise:-5", "reverb:0.3", "reverb:1", "telephone:8", "telephone:4"),
        *("gain:10", "gain:-20", "speed:0.9", "speed:1.25"),
    )
    fill(store, {name: {"a": 12} for name in sorted(order)}, seeds=1)
    assert made(store).corruptions == order


def test_every_kind_has_a_place_for_clean_speech_at_its_mild_end():
    assert {name: scale.clean for name, scale in scales().items()} == {
        **dict.fromkeys(("noise", "pink", "babble", "telephone"), math.inf),
        **dict.fromkeys(("reverb", "gain", "clip"), 0.0),
        "speed": 1.0,
    }
    for name, kind in KINDS.items():
        severities = [scales()[name].severity(level) for level in kind.defaults]
        assert scales()[name].severity(scales()[name].clean) < min(severities)
        if name not in ("gain", "speed"):  # these go both ways
            assert severities == sorted(severities)


def test_missing_cells_say_why_and_change_nothing_else(store):
    fill(store, {"clean": {"a": 18}, "noise:0": {"a": 9, "late": 9}})
    boards.run(store, {"gone": 12}, corruption="noise:20", left_out=[("gone", "B→C", 1)])
    found = made(store)
    rows = values(found)
    assert rows["late", "clean"]["reason"] == rows["a", "noise:20"]["reason"] == "not run"
    assert (rows["late", "noise:0"]["change"], rows["late", "noise:0"]["uar_mean"]) == (None, 37.5)
    assert rows["gone", "noise:20"]["uar_mean"] is None
    assert rows["a", "noise:0"]["change"] == -37.5
    text = render([found], "table", width=200)
    assert "gone, noise:20: no result for 1 of 2 pairs: B→C" in text


def test_other_pairs_are_not_compared_and_without_clean_speech_there_is_a_remark(store):
    fill_one(store, clean=18, noise_0=9)
    boards.run(store, {"a": 6}, corruption="noise:5", pairs=[Pair("B", "C")])
    found = made(store)
    rows = values(found)
    assert (rows["a", "noise:5"]["uar_mean"], rows["a", "noise:5"]["change"]) == (25.0, None)
    assert rows["a", "noise:0"]["change"] == -37.5
    assert any(text.startswith("noise:5 is over other pairs") for text in found.remarks)
    boards.run(store, {"a": 9}, corruption="noise:0", features="mel")
    _, found = report.robustness(store.frame(), store, scales())
    assert values(found)["a", "noise:0"]["change"] is None
    assert any("clean speech was not run" in text for text in found.remarks)


def test_all_labels_have_changes_too(store):
    fill(store, {"clean": {"a": 18}, "noise:0": {"a": 9}}, shots="all", seeds=1)
    assert values(made(store))["a", "noise:0"]["change"] == -37.5


def test_clean_results_alone_are_no_curve_and_rules_stay_apart(store, call):
    fill_one(store, clean=9)
    assert report.robustness(store.frame(), store, scales()) == ()
    for shots in (1, 5):
        both = {"clean": {"a": 9}, "noise:0": {"a": 9}}
        fill(store, both, features="mel", shots=shots)
    found = report.robustness(store.frame(), store, scales())
    rules = [one.table.condition for one in found]
    assert [(rule.features, rule.shots) for rule in rules] == [("mel", 1), ("mel", 5)]
    with pytest.raises(SpecError, match="no results of 'aa'; did you mean 'a'"):
        report.robustness(store.frame(), store, scales(), methods=["aa"])
    # one figure is of one table
    done = call(*COMMAND, "--figure", "x.png")
    assert (done.exit_code, "2 were asked for" in done.stderr) == (2, True)
    assert call(*COMMAND, "--figure", "x.png", "--shots", "5").exit_code == 0


def test_the_table_of_every_format_says_the_same(store):
    fill(store, {"clean": {"a": 18, "chance": 8}, "noise:0": {"a": 9, "chance": 8}}, notes=BOUND)
    found = [made(store)]
    plain = render(found, "table", width=200)
    assert "noise: signal-to-noise ratio, dB" in plain
    assert "chance (bound)" in plain
    for text in (plain, render(found, "md"), render(found, "latex")):
        assert " 37.5 [" in text
        assert "-37.5 [" in text.replace("$-$", "-")


def test_the_figure_shows_the_means_with_clean_speech_in_its_place(store):
    fill(store, {"clean": {"a": 18}, "noise:20": {"a": 15}, "noise:0": {"a": 9}})
    fill(store, {"gain:-20": {"a": 12}, "gain:10": {"a": 6}})
    found = made(store)
    noise, gain = drawn(found)
    assert noise.lines[0].get_ydata() == pytest.approx([75.0, 62.5, 37.5])
    assert ticks(noise) == ["clean", "20", "0"]
    assert ticks(gain) == ["-20", "clean", "10"]
    assert gain.lines[0].get_ydata() == pytest.approx([50.0, 75.0, 25.0])
    assert noise.get_xlabel() == "noise: signal-to-noise ratio, dB"
    points = found.curves[0][1]
    bars = np.sort([path[:, 1] for path in noise.collections[0].get_segments()], axis=1)
    for (low, high), point in zip(bars, points[:3], strict=True):
        assert (low, high) == pytest.approx((point.interval.low, point.interval.high), abs=1e-3)


def test_the_figure_leaves_missing_cells_out_and_greys_bounds(store):
    fill(store, {"clean": {"_a": 18, "chance": 8}, "noise:0": {"chance": 8}}, notes=BOUND)
    found = made(store)
    (first,) = drawn(found)[0].lines
    assert first.get_ydata() == pytest.approx([75.0, math.nan], nan_ok=True)
    assert first.get_color() == COLOURS[0]
    (legend,) = corruption_curves(found).legends
    assert "_a, n = 0–2" in [text.get_text().strip() for text in legend.get_texts()]
    (bound,) = drawn(found, methods=["chance"])[0].lines
    assert bound.get_color() not in COLOURS
    with pytest.raises(SpecError, match="no results of 'chanc'; did you mean 'chance'"):
        corruption_curves(found, methods=["chanc"])


def test_a_figure_of_every_kind_and_a_hostile_name_is_drawn(store):
    corrupted = {item.name.partition(":")[0]: item.name for item in parse(",".join(KINDS))}
    methods = {HOSTILE: 18, **{f"method-{number}": 12 for number in range(TOP + 1)}}
    fill(store, dict.fromkeys(["clean", *corrupted.values()], methods), seeds=1)
    found = made(store)
    figure = corruption_curves(found)
    assert [len(axis.lines) for axis in figure.axes] == [TOP] * len(KINDS)
    text = save(figure, "svg")
    ET.fromstring(text)
    assert b"<script" not in text
    assert save(corruption_curves(found), "svg") == text


COMMAND = ("robustness", "--results", "clser.sqlite")


def test_the_command_prints_a_table_and_draws(store, call, tmp_path: Path):
    fill(store, {"clean": {"a": 18, "b": 12}, "noise:0": {"a": 9, "b": 6}})
    done = call(*COMMAND, "--suite", "bc", "--methods=a", "--figure=out.PNG", "--format=csv")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    found = [(row["method"], row["corruption"]) for row in rows]
    assert found == [("a", "clean"), ("a", "noise:0")]
    assert (tmp_path / "out.PNG").read_bytes().startswith(b"\x89PNG")
    assert "out.PNG" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "cvs"), "no format 'cvs'; did you mean 'csv'"),
        (("--figure", "x.jpg"), "cannot be a 'jpg'"),
        (("--figure", "clser.sqlite/b.png"), "clser.sqlite/b.png: cannot be written"),
    ],
)
def test_the_command_says_what_is_wrong(store, call, words, message):
    fill_one(store, clean=18, noise_0=9)
    done = call(*COMMAND, *words)
    assert (done.exit_code, done.stdout, message in done.stderr) == (2, "", True), done.output
    assert ("another --figure" in done.stderr) == ("b.png" in message)
