"""Breakdowns in words: holes, marks, hostile names, formats."""

from __future__ import annotations

import csv
import io
import json

import pytest

from clser_bench.errors import SpecError
from clser_bench.report.breakdown import Facts, break_down
from clser_bench.report.breakdown_text import render
from clser_bench.report.table import leaderboard
from clser_bench.store.records import MethodNote
from tests.boards import KEY, PAIRS, run
from tests.breakdowns import ONE, broken, facts, part
from tests.records import hole, ok, trial


def test_holes_keep_their_reasons(store):
    trials = run(store, {"m": 20, "other": 12}, left_out={("m", "B→C", 1)})
    store.put([hole(trials[1], "not_applicable", "needs 10 shots")])
    for by in ("emotion", "confusion", "speaker"):
        found = broken(store, by)
        cell, pooled = part(found, pair=PAIRS[0]), part(found)
        assert (cell.values, cell.status) == ([], "not_applicable")
        assert cell.reason == "needs 10 shots (1 of 2 draws)"
        assert pooled.reason == "no result for 1 of 2 pairs: B→C"
        assert part(found, pair=PAIRS[1]).values
        text = render([found], each_pair=True)
        assert "[1] m: not applicable: no result for 1 of 2 pairs: B→C" in text
        assert "[1] m: not applicable: needs 10 shots (1 of 2 draws)" in text
    table = list(csv.DictReader(io.StringIO(render([found], "csv"))))
    assert {row["reason"] for row in table if row["status"] != "ok"} == {cell.reason, pooled.reason}


def test_a_method_without_any_result(store):
    run(store, {"m": 20}, left_out={("m", str(p), seed) for p in PAIRS for seed in range(2)})
    for by in ("emotion", "confusion", "speaker"):
        assert {one.status for one in broken(store, by).figures} == {"failed"}
        assert "not run yet" in render([broken(store, by)], each_pair=True)


def test_rows_have_the_figures(store):
    run(store, {"m": 20}, pairs=ONE, shots="all", seeds=1)
    found = broken(store, "human", facts=facts([80.0, 100.0] * 12, "human"))
    rows = json.loads(render([found], "json"))
    assert {row["figure"] for row in rows} == {"uar", "gap", "rho", "rho_within"}
    assert {row["pair"] for row in rows} == {"B→C", "mean"}
    assert {(row["by"], row["shots"], row["method"]) for row in rows} == {("human", "all", "m")}
    assert len({tuple(row) for row in rows}) == 1
    value = next(row for row in rows if row["figure"] == "uar")
    assert (value["n"], value["std"], value["count"], value["classes"]) == (1, None, 12, 3)
    assert render([found], "csv").splitlines()[0] == ",".join(rows[0])


def test_references_and_synthetic_speech_are_marked(store):
    run(
        store,
        {"m": 20, "best": 24},
        notes={"m": MethodNote(), "best": MethodNote(role="reference")},
    )
    text = render([broken(store, "emotion")])
    assert "best (reference)" in text
    assert "synthetic" not in text
    of = [trial("s", str(pair), synthetic=True, suite="demo") for pair in PAIRS]
    store.plan({}, of, pairs=PAIRS)
    store.put([ok(one, KEY.y, KEY) for one in of])
    frame = store.frame({"suite": "demo"})
    (table,) = leaderboard(frame, store, intervals=False)
    assert "(synthetic speech)" in render([break_down(store, frame, table, by="emotion")], "md")


def test_what_cannot_be_broken_down(store):
    run(store, {"m": 20}, pairs=ONE)
    with pytest.raises(SpecError, match="no breakdown by 'speakers'; did you mean 'speaker'"):
        broken(store, "speakers")
    with pytest.raises(SpecError, match="the length of the utterances is not known in C"):
        broken(store, "length")
    other = {"C": {"elsewhere/000.wav": Facts(length=1.0)}}
    with pytest.raises(SpecError, match=r"C: the length of none of .* '000.wav'.* copy of the"):
        broken(store, "length", facts=other)
    with pytest.raises(SpecError, match="no format 'xml'"):
        render([broken(store, "emotion")], "xml")
    assert render([]) == "No results to show.\n"
    assert json.loads(render([], "json")) == []
