"""Leaderboards: cells, means, holes, the latest plan, ranks, verdicts."""

from __future__ import annotations

import dataclasses
import re
import statistics

import pytest

from clser_bench.errors import SpecError
from clser_bench.report.tables import leaderboard, render
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, TWELVE, row, rows_of, run
from tests.records import hole, ok, trial


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "clser.sqlite") as opened:
        yield opened


def test_cells_and_means_by_hand(store):
    # UAR of B→C: 100 and 0; of C→B: 100 and 50
    values = {("B→C", 0): 24, ("B→C", 1): 0, ("C→B", 0): 24, ("C→B", 1): 12}
    trials = [trial("m", pair, seed=seed) for pair, seed in values]
    even = KEY.y.copy()
    even[::2] = (even[::2] + 1) % 3
    wrong = (KEY.y + 1) % 3
    guess = {24: KEY.y, 12: even, 0: wrong}
    store.plan({}, trials, pairs=PAIRS)
    pairs = zip(trials, values.values(), strict=True)
    store.put([ok(of, guess[right], KEY) for of, right in pairs])
    rows = rows_of(leaderboard(store, intervals=False))
    first, mean = row(rows, "m", "B→C"), row(rows, "m", "mean")
    assert (first["uar_mean"], first["n"]) == (50, 2)
    assert first["uar_std"] == pytest.approx(statistics.stdev([100, 0]), abs=1e-4)
    assert mean["uar_mean"] == pytest.approx((50 + 75) / 2)
    assert mean["uar_std"] == pytest.approx(statistics.stdev([100, 25]), abs=1e-4)
    assert (mean["n"], mean["status"], mean["reason"]) == (2, "ok", "")


def test_rows_have_the_documented_fields(store):
    run(store, {"m": 20}, shots="all")
    keys = ["suite", "features", "normalisation", "setting", "prior", "selection", "shots",
            "method", "kind", "pair", "n", "uar_mean", "uar_std", "status", "reason"]  # fmt: skip
    rows = rows_of(leaderboard(store))
    assert list(rows[0]) == keys
    assert list(rows[-1]) == [*keys, "interval_low", "interval_high"]
    assert {item["shots"] for item in rows} == {"all"}
    assert list(rows_of(leaderboard(store, intervals=False))[-1]) == keys
    assert rows_of(leaderboard(store, with_=("time",)))[0]["seconds"] == 0.5


def test_joules_are_means_over_the_trials_that_have_them(store):
    # B→C: 1 and 4 J; C→B: 8 J and one that was not measured; the mean of pairs is (2.5 + 8) / 2
    joules = {("B→C", 0): 1.0, ("B→C", 1): 4.0, ("C→B", 0): 8.0, ("C→B", 1): None}
    trials = [trial("m", pair, seed=seed) for pair, seed in joules]
    trials += [trial("plain", pair, seed=seed) for pair, seed in joules]
    store.plan({}, trials, pairs=PAIRS)
    measured = [*joules.values(), *[None] * 4]
    pairs = zip(trials, measured, strict=True)
    store.put([dataclasses.replace(ok(of, KEY.y, KEY), energy=value) for of, value in pairs])
    tables = leaderboard(store, intervals=False, with_=("time", "energy"))
    rows = rows_of(tables)
    found = {(item["method"], item["pair"]): item["energy"] for item in rows}
    assert found == {
        ("m", "B→C"): 2.5,
        ("m", "C→B"): 8.0,
        ("m", "mean"): 5.25,
        ("plain", "B→C"): None,
        ("plain", "C→B"): None,
        ("plain", "mean"): None,
    }
    text = render(tables)
    assert re.search(r"s per trial +J/trial", text)
    assert re.search(r"^m .* 0\.50 +5\.25 ", text, re.MULTILINE)
    assert re.search(r"^plain .* 0\.50 +– ", text, re.MULTILINE)
    assert "energy" not in render(leaderboard(store, with_=("time",)), "csv")


def test_the_joules_of_a_failed_trial_do_not_count(store):
    trials = [trial("m", "B→C", seed=seed) for seed in range(2)]
    store.plan({}, trials, pairs=PAIRS[:1])
    store.put([dataclasses.replace(ok(trials[0], KEY.y, KEY), energy=3.0)])
    store.put([dataclasses.replace(hole(trials[1]), energy=100.0)])
    rows = rows_of(leaderboard(store, intervals=False, with_=("energy",)))
    assert [item["energy"] for item in rows] == [3.0, 3.0]


def test_one_draw_has_no_deviation(store):
    run(store, {"m": 20}, seeds=1)
    assert {item["uar_std"] for item in rows_of(leaderboard(store))} == {None}
    text = render(leaderboard(store))
    assert re.search(r"^m +\d+\.\d  \[", text, re.MULTILINE)
    assert "holds for this one draw only" in text


def test_a_planned_trial_that_was_not_run_is_a_hole(store):
    run(store, {"m": 20}, left_out={("m", "B→C", seed) for seed in range(2)})
    rows = rows_of(leaderboard(store))
    cell, mean = row(rows, "m", "B→C"), row(rows, "m", "mean")
    assert (cell["status"], cell["reason"], cell["n"]) == ("failed", "not run yet", 0)
    assert cell["uar_mean"] is None
    assert (mean["uar_mean"], mean["status"]) == (None, "failed")
    assert mean["reason"] == "no result for 1 of 2 pairs: B→C"
    assert "[1] m: not run yet" in render(leaderboard(store))


def test_a_hole_in_one_draw_is_a_hole_in_the_cell(store):
    trials = run(store, {"m": 20}, left_out={("m", "B→C", 1)})
    rows = rows_of(leaderboard(store))
    assert row(rows, "m", "B→C")["reason"] == "not run yet (1 of 2 draws)"
    store.put([hole(trials[1], reason="Traceback (most recent call last):\n x\nValueError: NaN")])
    cell = row(rows_of(leaderboard(store)), "m", "B→C")
    assert (cell["reason"], cell["n"]) == ("ValueError: NaN (1 of 2 draws)", 1)


def test_what_does_not_apply_says_so(store):
    trials = [trial("m", str(pair)) for pair in PAIRS]
    store.plan({}, trials, pairs=PAIRS)
    store.put([hole(of, "not_applicable", "needs 10 shots") for of in trials])
    rows = rows_of(leaderboard(store))
    assert [item["status"] for item in rows] == ["not_applicable"] * 3
    assert "m: not applicable: needs 10 shots" in render(leaderboard(store))


def test_a_pair_that_the_latest_plan_left_out_is_a_hole(store):
    run(store, {"m": 20, "other": 12})
    run(store, {"m": 20}, pairs=PAIRS[:1], version=2)
    rows = rows_of(leaderboard(store))
    assert "latest run" in row(rows, "m", "C→B")["reason"]
    assert row(rows, "other", "mean")["status"] == "ok"


def test_the_latest_plan_decides_which_version_is_shown(store):
    run(store, {"m": 12})
    run(store, {"m": 24}, version=2)
    assert row(rows_of(leaderboard(store)), "m", "mean")["uar_mean"] == 100
    run(store, {"m": 12})
    assert row(rows_of(leaderboard(store)), "m", "mean")["uar_mean"] < 100


def test_an_older_protocol_is_not_mixed_in(store):
    run(store, {"old": 20}, protocol_version=1)
    run(store, {"new": 20}, protocol_version=2)
    (table,) = leaderboard(store)
    assert [line.method for line in table.lines] == ["new"]
    assert "older protocol version made them (run again): old" in render([table])


def test_methods_that_saw_different_features_are_marked(store):
    run(store, {"a": 20})
    run(store, {"b": 20}, tables="u")
    assert "cannot be compared (run them again): B→C, C→B" in render(leaderboard(store))


def test_every_set_of_rules_has_its_own_table(store):
    for shots, rules in ((1, {}), ("all", {}), (10, {}), (5, {"normalisation": "speaker"})):
        run(store, {"m": 20}, shots=shots, **rules)
    run(store, {"m": 20}, fixed4=True)
    run(store, {"m": 20}, suite="other")
    found = [(t.rules.suite, t.rules.normalisation, t.rules.shots) for t in leaderboard(store)]
    assert found == [
        ("bc", "corpus", "1"),
        ("bc", "corpus", "10"),
        ("bc", "corpus", "all"),
        ("bc", "speaker", "5"),
        ("bc:fixed4", "corpus", "5"),
        ("other", "corpus", "5"),
    ]
    assert len(leaderboard(store, wanted={"suite": "bc"})) == 5
    assert len(leaderboard(store, wanted={"suite": "bc", "shots": "10"})) == 1
    assert len(leaderboard(store, wanted={"normalisation": "speaker", "features": "acoustic"})) == 1
    assert leaderboard(store, wanted={"suite": "none"}) == ()
    assert render(()) == "No results to show.\n"


def test_bounds_come_first_and_oracles_last(store):
    notes = {"chance": MethodNote(role="bound"), "best": MethodNote(role="oracle")}
    run(store, {"weak": 10, "chance": 8, "best": 24, "strong": 20, "alike": 20}, notes=notes)
    (table,) = leaderboard(store, intervals=False)
    names = [line.method for line in table.lines]
    assert (names[0], names[-1], names[-2]) == ("chance", "best", "weak")
    assert [line.kind for line in table.lines] == ["bound", *["ranked"] * 3, "oracle"]


def test_a_selection_by_the_oracle_is_never_ranked(store):
    run(store, {"m": 20}, selection="oracle")
    (table,) = leaderboard(store)
    assert (table.lines[0].kind, table.lines[0].rank) == ("oracle", None)


def test_ranks_count_the_significantly_better(store):
    run(store, {"best": 23, "good": 22, "bad": 4}, seeds=6, pairs=TWELVE)
    (table,) = leaderboard(store, methods=["best", "bad", "good"])
    ranks = {line.method: line.rank for line in table.lines}
    assert ranks["best"] == 1
    assert ranks["bad"] == 3
    assert ranks["good"] in (1, 2)


def test_differences_are_paired_and_corrected(store):
    run(store, {"base": 12, "good": 22, "same": 12}, seeds=6, pairs=TWELVE)
    (table,) = leaderboard(store, against="base")
    found = {line.method: line.difference for line in table.lines}
    assert found["base"] is None
    assert found["good"].interval.low > 0
    assert found["good"].p < 0.05 < found["same"].p
    assert found["good"].p >= found["good"].interval.p
    text = render([table])
    assert re.search(r"good .*\+\d+\.\d \[\+\d+\.\d, \+\d+\.\d\]\*", text)
    mean = row(rows_of([table]), "good", "mean")
    assert mean["difference"] == pytest.approx(found["good"].interval.estimate, abs=1e-4)


def test_the_table_says_who_beats_logistic(store):
    methods = {"logistic": 12, "good": 22, "same": 12, "bad": 4, "chance": 8, "best": 24}
    notes = {name: MethodNote() for name in methods}
    notes |= {"chance": MethodNote(role="bound"), "best": MethodNote(role="oracle")}
    run(store, methods, seeds=6, pairs=TWELVE, notes=notes)
    tables = leaderboard(store)
    verdicts = {line.method: line.verdict for line in tables[0].lines}
    assert verdicts == {
        "chance": "",
        "good": "better",
        "same": "not separable",
        "logistic": "",
        "bad": "worse",
        "best": "",
    }
    rows = rows_of(tables)
    assert row(rows, "good", "mean")["verdict"] == "better"
    assert row(rows, "good", "mean")["reference"] == "logistic"
    assert row(rows, "best", "mean")["verdict"] is None
    assert "difference" not in row(rows, "good", "mean")
    assert "verdict" not in row(rows, "good", "B→C")
    for how in ("table", "md"):
        text = render(tables, how)
        assert "vs logistic: better or worse where p < 0.05" in text.replace("\n  ", " ")
        assert re.search(r"same .* not separable", text)
    (against,) = leaderboard(store, against="good")
    verdicts = {line.method: line.verdict for line in against.lines if line.kind == "ranked"}
    assert verdicts == {"good": "", "same": "worse", "logistic": "worse", "bad": "worse"}
    differences = [line.difference for line in against.lines if line.method == "bad"]
    assert differences[0].interval.estimate < 0


def test_verdicts_are_corrected_for_their_number(store):
    run(store, {"logistic": 12, "good": 22, **{f"m{n}": 12 for n in range(4)}}, pairs=TWELVE)
    (table,) = leaderboard(store)
    for line in table.lines:
        if line.method != "logistic":
            assert line.difference.p >= line.difference.interval.p
            assert (line.verdict == "not separable") == (line.difference.p >= 0.05)


def test_there_is_no_verdict_without_a_whole_reference(store):
    run(store, {"logistic": 12, "m": 20}, left_out={("logistic", "B→C", 0)})
    assert leaderboard(store)[0].reference == ""
    assert leaderboard(store, intervals=False)[0].reference == ""
    assert "vs logistic" not in render(leaderboard(store, methods=["m"]))


def test_an_oracle_with_one_draw_is_compared_on_all_draws(store):
    """It depends on no draw, so its one result stands for each of them."""
    notes = {"logistic": MethodNote(), "best": MethodNote(role="oracle")}
    run(store, {"logistic": 12}, seeds=4, pairs=TWELVE, notes=notes)
    run(store, {"best": 22}, seeds=1, pairs=TWELVE, notes=notes)
    (table,) = leaderboard(store, against="logistic")
    base, best = table.lines
    gain = best.mean.mean - base.mean.mean
    assert best.difference.interval.estimate == pytest.approx(gain)
    assert best.interval.low < best.mean.mean < best.interval.high
    assert "this one draw only" not in render([table])


def test_the_points_of_a_selection_are_no_tables(store):
    run(store, {"m": 12}, selection="other-pairs/0", parameters=(("a", 1.0), ("b", 3)))
    run(store, {"m": 20}, selection="other-pairs/1", parameters=(("a", 2.0), ("b", 3)))
    assert leaderboard(store) == ()
    chosen = [
        trial("m", str(pair), seed=seed, selection="other-pairs", parameters=(("a", a), ("b", 3)))
        for pair, a in zip(PAIRS, (1.0, 2.0), strict=True)
        for seed in range(2)
    ]
    store.plan({}, chosen, pairs=PAIRS)
    tables = leaderboard(store, with_=("point",))
    assert [table.rules.selection for table in tables] == ["other-pairs"]
    for how, start in (("table", ""), ("md", "- ")):
        lines = render(tables, how).splitlines()
        assert [f"{start}m: a=1.0: B→C", f"{start}m: a=2.0: C→B"] == [
            line for line in lines if "a=" in line
        ]
    rows = rows_of(tables)
    assert row(rows, "m", "B→C")["point"] == "a=1.0"
    assert "point" not in row(rows, "m", "mean")
    assert "a=1.0" not in render(leaderboard(store))


def test_the_point_of_a_whole_table_is_told_in_full(store):
    run(store, {"m": 20, "plain": 20}, parameters=(("a", 1.0), ("b", 3)))
    run(store, {"plain": 20}, parameters=())
    text = render(leaderboard(store, with_=("point",)))
    assert "m: a=1.0, b=3: all pairs" in text
    assert "plain:" not in text


def test_the_budget_of_trained_methods_is_told(store):
    def given(method, steps, target):
        budget = {"labelled_batch": 8, "source_batch": 64, "steps": steps, "target_batch": target}
        run(store, {method: 20}, parameters=(("rate", 1.0), *budget.items()))

    run(store, {"logistic": 12}, parameters=(("steps", 5),))
    assert leaderboard(store)[0].budget == ""
    for method, steps, target in (("b", 200, 64), ("c", 200, 64), ("a", 100, 96), ("d", 200, 32)):
        given(method, steps, target)
    tables = leaderboard(store)
    assert tables[0].budget == (
        "budget: 200 steps of 8 labelled per class + 64 source + 64 target; a: 100 steps, "
        "96 target; d: 32 target"
    )
    assert tables[0].budget in render(tables, "md")


def test_comparing_with_a_stranger_is_an_error(store):
    run(store, {"logistic": 12})
    with pytest.raises(SpecError, match=r"'logisic'; did you mean 'logistic'"):
        leaderboard(store, against="logisic")


def test_a_baseline_with_holes_is_explained(store):
    run(store, {"base": 12, "m": 20}, left_out={("base", "B→C", 0)})
    assert "base has no result on every pair" in render(leaderboard(store, against="base"))


def test_methods_with_other_draws_are_compared_on_the_common_ones(store):
    run(store, {"short": 20}, seeds=2)
    run(store, {"long": 12}, seeds=5)
    (table,) = leaderboard(store, against="short")
    (line,) = [line for line in table.lines if line.method == "long"]
    both = [row(rows_of([table]), "short", "mean")["uar_mean"]]
    draws = [item.uar for item in store.planned([line.slice]) if item.seed < 2]
    both.append(statistics.mean(draws))
    assert line.difference.interval.estimate == pytest.approx(both[1] - both[0], abs=1e-4)


def test_with_all_labels_a_single_draw_is_compared_with_many(store):
    run(store, {"fitted": 14}, seeds=1, shots="all")
    run(store, {"trained": 20}, seeds=3, shots="all")
    (table,) = leaderboard(store, against="fitted")
    means = {line.method: line.mean.mean for line in table.lines}
    (line,) = [line for line in table.lines if line.method == "trained"]
    gain = means["trained"] - means["fitted"]
    assert line.difference.interval.estimate == pytest.approx(gain)


def test_unknown_wishes_are_named(store):
    with pytest.raises(SpecError, match="there is no extra 'tme'; did you mean 'time'"):
        leaderboard(store, with_=("tme",))
    run(store, {"m": 20})
    with pytest.raises(SpecError, match="format 'jsn'; did you mean 'json'"):
        render(leaderboard(store), "jsn")
