"""What the leaderboard's page is made of: rows, matrices, cards and a picture."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

from clser_bench.report.site import content
from clser_bench.report.site.cards import MethodText, method_cards
from clser_bench.report.site.details import details, method_versions
from clser_bench.report.site.forest import forest
from clser_bench.report.site.heat import LEVELS
from clser_bench.report.tables import leaderboard
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, TWELVE, run
from tests.records import CLASSES, hole, ok, trial


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "clser.sqlite") as opened:
        yield opened


def section_of(store, **wishes):
    (table,) = leaderboard(store, resamples=100, **wishes)
    return content.section(table, 0, title="t")


def test_confusion_matrix_and_seeds_by_hand(store):
    """Of 24 utterances, 8 a class, the first draw takes all of class 2 for class 0."""
    first = [0 if y == 2 else y for y in KEY.y]
    trials = [trial("m", "B→C", seed=seed, parameters=(("c", 0.5),)) for seed in (3, 7)]
    store.plan({}, trials, pairs=PAIRS[:1])
    store.put([ok(trials[0], first, KEY), ok(trials[1], KEY.y, KEY)])
    tables = leaderboard(store, intervals=False)
    found = json.loads(json.dumps(details(store, tables, versions={tables[0].lines[0].slice: 4})))
    (row,) = found["tables"][0]["rows"]
    assert (row["method"], row["version"]) == ("m", 4)
    classes, seeds, uars, matrix, point, keys, status, reason = row["cells"][0]
    assert found["classes"][classes] == list(CLASSES)
    assert found["seeds"][seeds] == [3, 7]
    assert uars == [66.67, 100]
    assert matrix == [16, 0, 0, 0, 16, 0, 8, 0, 8]
    assert found["points"][point] == [["c", "0.5"]]
    assert found["keys"][keys] == [f"t-{code}".ljust(16, "0") for code in "BC"]
    assert (status, reason) == ("ok", "")


def test_the_details_agree_with_the_stored_metrics(store):
    run(store, {"a": 20, "b": 9}, pairs=TWELVE, seeds=3)
    tables = leaderboard(store, intervals=False)
    found = details(store, tables, versions={})
    wanted = {}
    for record in store.records():
        spot = record.trial.method, str(record.trial.pair)
        wanted[spot] = wanted.get(spot, 0) + np.array(record.metrics.confusion)
    for row in found["tables"][0]["rows"]:
        for pair, cell in zip(found["tables"][0]["pairs"], row["cells"], strict=True):
            assert cell[3] == wanted[row["method"], pair].ravel().tolist()


def test_versions_are_those_of_the_plan_that_is_shown(store):
    run(store, {"m": 12, "n": 12})
    run(store, {"m": 12}, version=2)
    run(store, {"m": 12}, version=3, shots="all")
    run(store, {"never": 12}, left_out=set(itertools.product(["never"], map(str, PAIRS), range(2))))
    tables = leaderboard(store, intervals=False)
    slices = {
        line.slice: (line.method, table.rules.shots) for table in tables for line in table.lines
    }
    found = method_versions(store, list(slices))
    assert {slices[number]: version for number, version in found.items()} == {
        ("m", "5"): 2,
        ("n", "5"): 1,
        ("m", "all"): 3,
    }


def test_rows_say_what_the_table_says(store):
    methods = {"logistic": 12, "good": 22, "same": 12, "chance": 8, "best": 24}
    notes = {name: MethodNote() for name in methods}
    notes |= {"chance": MethodNote(role="bound"), "best": MethodNote(role="oracle")}
    run(store, methods, seeds=6, pairs=TWELVE, notes=notes)
    shown = section_of(store)
    bounds, ranked, oracles = shown.bodies
    assert [row.method for row in bounds] == ["chance"]
    assert [row.method for row in oracles] == ["best"]
    rows = {row.method: row for row in ranked}
    assert rows["good"].mean.text == "91.7"
    assert rows["good"].spread == "± 0.0"
    assert rows["good"].rank.text == "1"
    assert rows["good"].verdict == "better"
    assert rows["good"].difference.text == "+41.7"
    assert rows["same"].verdict == "not separable"
    assert (rows["logistic"].verdict, rows["logistic"].difference.text) == ("", "")
    assert rows["logistic"].reference
    assert all(cell.gap == LEVELS for cell in rows["good"].pairs)
    assert all(cell.gap is None for cell in rows["logistic"].pairs)
    assert bounds[0].rank.text == ""


def test_colours_run_from_the_lowest_to_the_highest_ranked_mean(store):
    notes = {"a": MethodNote(), "b": MethodNote(), "best": MethodNote(role="oracle")}
    run(store, {"a": 6, "b": 18, "best": 24}, notes=notes)
    shown = section_of(store)
    heats = {row.method: row.pairs[0].heat for body in shown.bodies for row in body}
    # 25 and 75 % span the colours: the level of chance lies at a sixth, the oracle above the end
    assert shown.range == ("25", "75")
    assert heats == {"chance level": 2, "b": 10, "a": 0, "best": 10}


def test_holes_tell_their_reasons(store):
    trials = run(store, {"m": 20, "n": 20}, left_out={("m", "B→C", 1), ("n", "C→B", 0)})
    missing = [of for of in trials if of.method == "n"]
    store.plan({"x": 1}, missing, pairs=PAIRS)
    store.put([hole(of, "not_applicable", "needs 10 shots") for of in missing[2:3]])
    shown = section_of(store)
    assert shown.holes == (
        "m, B→C: failed: not run yet (1 of 2 draws)",
        "n, C→B: not applicable: needs 10 shots (1 of 2 draws)",
    )
    texts = {row.method: [cell.value.text for cell in row.pairs] for row in shown.bodies[-1]}
    assert texts["m"][0] == "failed"
    assert texts["n"][1] == "n/a"
    assert {row.mean.sort for row in shown.bodies[-1]} == {None}


def test_every_table_has_a_title_of_its_own(store):
    for shots, how in itertools.product((1, 5), ("corpus", "speaker")):
        run(store, {"m": 20}, shots=shots, normalisation=how)
    run(store, {"m": 20}, suite="demo", synthetic=True, tables="d")
    found = content.titles(leaderboard(store, intervals=False))
    assert len(set(found)) == 5
    assert found[0] == "bc, 1 shot, transductive, normalisation corpus"
    assert found[-1] == "demo, 5 shots, transductive, normalisation corpus (synthetic speech)"


def test_cards_tell_what_is_known(store):
    notes = {"m": MethodNote(assumes_prior="uniform", note="a note")}
    run(store, {"m": 20}, notes=notes, parameters=(("a", 1), ("b", "x")))
    run(store, {"m": 20}, notes=notes, parameters=(("a", 2), ("b", "x")), shots=1, version=2)
    tables = leaderboard(store, intervals=False)
    versions = method_versions(store, [table.lines[0].slice for table in tables])
    text = MethodText(name="m", summary="Does things.")
    (card,) = method_cards(store, tables, versions=versions, texts=[text])
    assert (card.name, card.prior, card.notes) == ("m", "uniform", ("a note",))
    assert card.versions == (1, 2)
    assert card.text is text
    assert [(item.text, item.where) for item in card.settings] == [
        ("a=2, b=x", "table 1: B→C, C→B"),
        ("a=1, b=x", "table 2: B→C, C→B"),
    ]
    (card,) = method_cards(store, tables[:1], versions={})
    assert [(item.text, item.where) for item in card.settings] == [("a=2, b=x", "everywhere")]


def test_the_forest_is_to_scale(store):
    run(store, {"logistic": 12, "good": 22, "bad": 4}, seeds=6, pairs=TWELVE)
    (table,) = leaderboard(store, resamples=100)
    picture = forest(table)
    ticks = {float(text.replace("−", "-")): x for x, text in picture.ticks}
    assert ticks[0.0] == picture.zero
    per_point = (max(ticks.values()) - min(ticks.values())) / (max(ticks) - min(ticks))
    assert [(mark.name, mark.kind) for mark in picture.marks] == [
        ("good", "better"),
        ("bad", "worse"),
    ]
    for mark, line in zip(picture.marks, (table.lines[0], table.lines[2]), strict=True):
        interval = line.difference.interval
        for place, value in (
            (mark.x, interval.estimate),
            (mark.low, interval.low),
            (mark.high, interval.high),
        ):
            assert place == pytest.approx(picture.zero + per_point * value, abs=0.1)
    assert forest(dataclasses.replace(table, lines=())) is None
