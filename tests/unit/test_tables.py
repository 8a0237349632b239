"""Leaderboards: cells, means, missing cells, the latest plan, ranks, verdicts."""

from __future__ import annotations

import dataclasses
import re
import statistics

import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import Condition
from clser_bench.report.comparison import compare
from clser_bench.report.render import across, render
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, TWELVE, row, rows_of, run, tables_of
from tests.records import answer_key, hole, ok, trial


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
    rows = rows_of(tables_of(store, intervals=False))
    first, mean = row(rows, "m", "B→C"), row(rows, "m", "mean")
    assert (first["uar_mean"], first["n"]) == (50, 2)
    assert first["uar_std"] == pytest.approx(statistics.stdev([100, 0]), abs=1e-4)
    assert mean["uar_mean"] == pytest.approx((50 + 75) / 2)
    assert mean["uar_std"] == pytest.approx(statistics.stdev([100, 25]), abs=1e-4)
    assert (mean["n"], mean["status"], mean["reason"]) == (2, "ok", "")


def test_rows_have_the_documented_fields(store):
    run(store, {"m": 20}, shots="all")
    keys = [*Condition.__dataclass_fields__, "method", "title", "kind", "uses", "standing", "pair",
            "n",
            "uar_mean", "uar_std", "status", "reason"]  # fmt: skip
    rows = rows_of(tables_of(store))
    assert list(rows[0]) == keys
    assert list(rows[-1]) == [
        *keys,
        "interval_low",
        "interval_high",
        "rank_low",
        "rank_high",
    ]
    assert {item["shots"] for item in rows} == {"all"}
    assert list(rows_of(tables_of(store, intervals=False))[-1]) == keys
    assert rows_of(tables_of(store, with_=("time",)))[0]["seconds"] == 0.5


def test_joules_are_means_over_the_trials_that_have_them(store):
    # B→C: 1 and 4 J; C→B: 8 J and one that was not measured; the mean of pairs is (2.5 + 8) / 2
    joules = {("B→C", 0): 1.0, ("B→C", 1): 4.0, ("C→B", 0): 8.0, ("C→B", 1): None}
    trials = [trial("m", pair, seed=seed) for pair, seed in joules]
    trials += [trial("plain", pair, seed=seed) for pair, seed in joules]
    store.plan({}, trials, pairs=PAIRS)
    measured = [*joules.values(), *[None] * 4]
    pairs = zip(trials, measured, strict=True)
    store.put([dataclasses.replace(ok(of, KEY.y, KEY), energy=value) for of, value in pairs])
    tables = tables_of(store, intervals=False, with_=("time", "energy"))
    rows = rows_of(tables)
    assert [item["energy"] for item in rows] == [2.5, 8.0, 5.25, None, None, None]
    text = render(tables)
    assert re.search(r"s per trial +J/trial", text)
    assert re.search(r"^m .* 0\.50 +5\.25 ", text, re.MULTILINE)
    assert re.search(r"^plain .* 0\.50 +– ", text, re.MULTILINE)
    assert "energy" not in render(tables_of(store, with_=("time",)), "csv")


def test_the_joules_of_a_failed_trial_do_not_count(store):
    trials = [trial("m", "B→C", seed=seed) for seed in range(2)]
    store.plan({}, trials, pairs=PAIRS[:1])
    store.put([dataclasses.replace(ok(trials[0], KEY.y, KEY), energy=3.0)])
    store.put([dataclasses.replace(hole(trials[1]), energy=100.0)])
    rows = rows_of(tables_of(store, intervals=False, with_=("energy",)))
    assert [item["energy"] for item in rows] == [3.0, 3.0]


def test_one_draw_has_no_deviation(store):
    run(store, {"m": 20}, seeds=1)
    assert {item["uar_std"] for item in rows_of(tables_of(store))} == {None}
    text = render(tables_of(store))
    assert re.search(r"^m +\d+\.\d  \[", text, re.MULTILINE)
    assert "holds for this one draw only" in text


def test_a_planned_trial_that_was_not_run_is_a_hole(store):
    run(store, {"m": 20}, left_out={("m", "B→C", seed) for seed in range(2)})
    rows = rows_of(tables_of(store))
    cell, mean = row(rows, "m", "B→C"), row(rows, "m", "mean")
    assert (cell["status"], cell["reason"], cell["n"]) == ("failed", "not run yet", 0)
    assert cell["uar_mean"] is None
    assert (mean["uar_mean"], mean["status"]) == (None, "failed")
    assert mean["reason"] == "no result for 1 of 2 pairs: B→C"
    assert "[1] m: not run yet" in render(tables_of(store))


def test_a_hole_in_one_draw_is_a_hole_in_the_cell(store):
    trials = run(store, {"m": 20}, left_out={("m", "B→C", 1)})
    rows = rows_of(tables_of(store))
    assert row(rows, "m", "B→C")["reason"] == "not run yet (1 of 2 draws)"
    store.put([hole(trials[1], reason="Traceback (most recent call last):\n x\nValueError: NaN")])
    cell = row(rows_of(tables_of(store)), "m", "B→C")
    assert (cell["reason"], cell["n"]) == ("ValueError: NaN (1 of 2 draws)", 1)


def test_what_does_not_apply_says_so(store):
    trials = [trial("m", str(pair)) for pair in PAIRS]
    store.plan({}, trials, pairs=PAIRS)
    store.put([hole(of, "not_applicable", "needs 10 shots") for of in trials])
    rows = rows_of(tables_of(store))
    assert [item["status"] for item in rows] == ["not_applicable"] * 3
    assert "m: not applicable: needs 10 shots" in render(tables_of(store))


def test_a_pair_that_the_latest_plan_left_out_is_a_hole(store):
    run(store, {"m": 20, "other": 12})
    run(store, {"m": 20}, pairs=PAIRS[:1], version=2)
    rows = rows_of(tables_of(store))
    assert "latest run" in row(rows, "m", "C→B")["reason"]
    assert row(rows, "other", "mean")["status"] == "ok"


def test_an_older_protocol_is_not_mixed_in(store):
    run(store, {"old": 20}, protocol_version=1)
    run(store, {"new": 20}, protocol_version=2)
    (table,) = tables_of(store)
    assert [line.method for line in table.lines] == ["new"]
    assert "they have an older protocol version (run again): old" in render([table])


def test_methods_that_saw_different_features_are_marked(store):
    run(store, {"logistic": 12})
    run(store, {"b": 20}, tables="u")
    (table,) = tables_of(store)
    assert "cannot be compared (run them again): B→C, C→B" in render([table])
    assert [(line.ranks, line.difference) for line in table.lines] == [(None, None)] * 2
    assert not compare(store, store.frame(), table).contrasts


def test_every_set_of_rules_has_its_own_table(store):
    for shots, rules in ((1, {}), ("all", {}), (10, {}), (5, {"normalisation": "speaker"})):
        run(store, {"m": 20}, shots=shots, **rules)
    run(store, {"m": 20}, fixed4=True)
    run(store, {"m": 20}, suite="other")
    rules = [table.condition for table in tables_of(store)]
    found = [(r.suite, r.classes, r.normalisation, r.shots) for r in rules]
    assert found == [
        ("bc", "shared", "corpus", 1),
        ("bc", "shared", "corpus", 10),
        ("bc", "shared", "corpus", "all"),
        ("bc", "shared", "speaker", 5),
        ("bc", "fixed4", "corpus", 5),
        ("other", "shared", "corpus", 5),
    ]
    assert len(tables_of(store, suite="bc")) == 5
    assert len(tables_of(store, suite="bc", shots=10)) == 1
    assert len(tables_of(store, normalisation="speaker", features="acoustic")) == 1
    assert tables_of(store, suite="none") == ()
    assert render(()) == "No results to show.\n"


def test_rows_beside_the_competition_move_no_interval(tmp_path):
    found = []
    for number, more in enumerate(({}, {"best": 24, "chance": 8})):
        notes = {"best": MethodNote(role="reference"), "chance": MethodNote(role="bound")}
        with Store(tmp_path / f"{number}.sqlite") as store:
            run(store, {"logistic": 12, "m": 16, "k": 14, **more}, notes=notes, seeds=4)
            (table,) = tables_of(store)
            found.append([table.line(name).difference for name in "mk"])
            assert table.standing == "exploratory"
    assert found[0] == found[1]


def test_old_names_are_shown_as_the_new_ones(store):
    run(store, {"logistic": 12, "target-oracle": 22}, notes={"target-oracle": MethodNote()})
    with store.transaction() as connection:
        connection.execute(
            "UPDATE lines SET note = replace(note, 'ranked', 'oracle') "
            "WHERE method = 'target-oracle'"
        )
    (table,) = tables_of(store, intervals=False)
    assert [(line.method, line.role) for line in table.lines][-1] == ("within-target", "reference")
    assert set(store.runs()[0].methods) == {"within-target", "logistic"}
    assert set(store.looks()["method"]) == {"logistic", "within-target"}


def test_a_selection_by_the_oracle_is_never_ranked(store):
    run(store, {"m": 20}, selection="oracle")
    (table,) = tables_of(store)
    assert (table.lines[0].role, table.lines[0].ranks) == ("reference", None)


def test_differences_to_a_chosen_method_are_of_the_family_of_all_pairs(store):
    run(store, {"logistic": 12, "good": 22, "same": 12, "base": 14}, seeds=6, pairs=TWELVE)
    (table,) = tables_of(store, against="base")
    frame = store.frame()
    found = compare(store, frame, table)
    for item in found.contrasts:
        if item.other == "base":
            assert table.line(item.method).difference == item.interval
    (usual,) = tables_of(store)
    for item in found.contrasts:
        if item.other == "logistic":
            assert usual.line(item.method).difference == item.interval
    for line in table.lines:
        if line.difference:
            interval = line.difference
            assert (interval.p < 0.05) == (interval.low > 0 or interval.high < 0)


def test_the_table_says_which_methods_are_better_than_logistic(store):
    methods = {"logistic": 12, "good": 22, "same": 12, "bad": 4, "chance": 8, "best": 24}
    notes = {name: MethodNote() for name in methods}
    notes |= {"chance": MethodNote(role="bound"), "best": MethodNote(role="reference")}
    run(store, methods, seeds=6, pairs=TWELVE, notes=notes)
    tables = tables_of(store)
    verdicts = {line.method: line.verdict for line in tables[0].lines}
    assert verdicts == {
        "chance": "",
        "good": "better",
        "same": "not separable",
        "logistic": "",
        "bad": "worse",
        "best": "",
    }
    assert (tables[0].family, tables[0].ranked) == (3, 4)
    rows = rows_of(tables)
    good = row(rows, "good", "mean")
    assert (good["verdict"], good["reference"]) == ("better", "logistic")
    assert 0 < good["difference_low"] < good["difference"] < good["difference_high"]
    assert row(rows, "best", "mean")["verdict"] is None
    assert row(rows, "best", "mean")["difference_p"] is None
    assert "verdict" not in row(rows, "good", "B→C")
    for how in ("table", "md"):
        assert re.search(r"good .*\+\d+\.\d \[\+\d+\.\d, \+\d+\.\d\]\*", render(tables, how))
    least, median, most = tables[0].detectable
    assert 0 < least <= median <= most


def test_verdicts_do_not_depend_on_the_rows_that_are_shown(store):
    run(store, {"logistic": 12, "good": 22, **{f"m{n}": 12 + n for n in range(6)}}, pairs=TWELVE)
    (whole,) = tables_of(store)
    (part,) = tables_of(store, methods=["logistic", "m5"])
    assert [line.method for line in part.lines] == ["m5", "logistic"]
    for line in part.lines:
        assert line == whole.line(line.method)
    assert (part.family, part.ranked) == (whole.family, whole.ranked) == (7, 8)
    frame = store.frame()
    contrasts = {(c.method, c.other): c.interval for c in compare(store, frame, part).contrasts}
    assert contrasts == {
        ("m5", "logistic"): whole.line("m5").difference,
        ("logistic", "m5"): whole.line("m5").difference.mirrored,
    }


def test_a_target_with_two_speakers_has_no_interval_but_a_reason(store):
    key = answer_key([0, 1, 2] * 8, speakers="ab" * 12)
    trials = [trial(m, str(p)) for m in ("logistic", "m") for p in PAIRS]
    store.plan({}, trials, pairs=PAIRS)
    store.put([ok(of, key.y, key if of.pair.target == "C" else KEY) for of in trials])
    tables = tables_of(store)
    assert tables[0].line("m").interval.low is None
    assert tables[0].line("m").difference.verdict == ""
    text = render(tables)
    assert "No intervals: C has 2 speakers; every target needs 3 speakers" in text
    assert text.index("No intervals") < text.index("\nmethod")
    assert {line.ranks for line in tables[0].lines} == {None}


def test_marks_say_what_a_method_uses(store):
    notes = {"m": MethodNote(assumes_prior="uniform"), "e": MethodNote(assumes_prior="estimated")}
    run(store, {"m": 20, "e": 20, "plain": 12}, notes=notes, normalisation="speaker")
    (table,) = tables_of(store)
    uses = {line.method: line.uses for line in table.lines}
    assert uses == {
        "m": ("speakers", "prior"),
        "e": ("speakers", "estimated prior"),
        "plain": ("speakers",),
    }
    assert re.search(r"^m .* IP ", render([table]), re.MULTILINE)


def test_an_encoder_that_was_trained_with_the_labels_is_named(store):
    run(store, {"m": 20})
    seen = {("acoustic", "C"): "labels", ("acoustic", "B"): "audio"}
    (table,) = tables_of(store, exposure=lambda features, code: seen[features, code])
    assert table.exposed == ("C",)
    assert "trained with the emotion labels of C" in " ".join(render([table]).split())
    (joined,) = across([table], "features")
    assert joined.cells[0][1].endswith(" ‡")


def test_there_is_no_verdict_without_a_whole_reference(store):
    run(store, {"logistic": 12, "m": 20}, left_out={("logistic", "B→C", 0)})
    assert tables_of(store)[0].reference == ""
    assert tables_of(store, intervals=False)[0].reference == ""
    assert "vs logistic" not in render(tables_of(store))


def test_the_reference_alone_is_compared_with_nothing(store):
    run(store, {"logistic": 12}, seeds=1)
    text = render(tables_of(store))
    assert "vs logistic" not in text
    assert "simultaneous over" not in text
    assert "1 draw, " in render(tables_of(store, intervals=False), "latex")


def test_an_oracle_with_one_draw_is_compared_on_all_draws(store):
    """It depends on no draw, so its one result stands for each of them."""
    notes = {"logistic": MethodNote(), "best": MethodNote(role="reference")}
    run(store, {"logistic": 12}, seeds=4, pairs=TWELVE, notes=notes)
    run(store, {"best": 22}, seeds=1, pairs=TWELVE, notes=notes)
    (table,) = tables_of(store, against="logistic")
    base, best = table.lines
    gain = best.mean.mean - base.mean.mean
    assert best.difference.estimate == pytest.approx(gain)
    assert best.interval.low < best.mean.mean < best.interval.high
    assert "this one draw only" not in render([table])


def test_the_points_of_a_selection_are_no_tables(store):
    run(store, {"m": 12}, selection="other-pairs/0", parameters=(("a", 1.0), ("b", 3)))
    run(store, {"m": 20}, selection="other-pairs/1", parameters=(("a", 2.0), ("b", 3)))
    assert tables_of(store) == ()
    chosen = [
        trial("m", str(pair), seed=seed, selection="other-pairs", parameters=(("a", a), ("b", 3)))
        for pair, a in zip(PAIRS, (1.0, 2.0), strict=True)
        for seed in range(2)
    ]
    store.plan({}, chosen, pairs=PAIRS)
    tables = tables_of(store, with_=("point",))
    assert [table.condition.selection for table in tables] == ["other-pairs"]
    for how, start in (("table", ""), ("md", "- ")):
        lines = render(tables, how).splitlines()
        assert [f"{start}m: a=1.0: B→C", f"{start}m: a=2.0: C→B"] == [
            line for line in lines if "a=" in line
        ]
    rows = rows_of(tables)
    assert row(rows, "m", "B→C")["point"] == "a=1.0"
    assert "point" not in row(rows, "m", "mean")
    assert "a=1.0" not in render(tables_of(store))


def test_the_point_of_a_whole_table_is_told_in_full(store):
    run(store, {"m": 20, "plain": 20}, parameters=(("a", 1.0), ("b", 3)))
    run(store, {"plain": 20}, parameters=())
    text = render(tables_of(store, with_=("point",)))
    assert "m: a=1.0, b=3: all pairs" in text
    assert "plain:" not in text


def test_the_budget_of_trained_methods_is_told(store):
    def given(method, steps, target):
        budget = {"labelled_batch": 8, "source_batch": 64, "steps": steps, "target_batch": target}
        run(store, {method: 20}, parameters=(("rate", 1.0), *budget.items()))

    run(store, {"logistic": 12}, parameters=(("steps", 5),))
    assert tables_of(store)[0].budget == ""
    for method, steps, target in (("b", 200, 64), ("c", 200, 64), ("a", 100, 96), ("d", 200, 32)):
        given(method, steps, target)
    tables = tables_of(store)
    assert tables[0].budget == (
        "budget: 200 steps of 8 labelled per class + 64 source + 64 target; a: 100 steps, "
        "96 target; d: 32 target"
    )
    assert tables[0].budget in render(tables, "md")


def test_a_baseline_with_holes_is_explained(store):
    run(store, {"base": 12, "m": 20}, left_out={("base", "B→C", 0)})
    assert "base has no result on every pair" in render(tables_of(store, against="base"))
    with pytest.raises(SpecError, match=r"'n'.* Known: base, m"):
        tables_of(store, against="n")


def test_with_all_labels_methods_are_compared_on_the_resampled_targets_that_both_met(store):
    rules = {"shots": "all", "prior": "dirichlet:1"}
    run(store, {"fitted": 14}, seeds=1, **rules)
    run(store, {"trained": 20}, seeds=3, **rules)
    (table,) = tables_of(store, against="fitted")
    (line,) = [line for line in table.lines if line.method == "trained"]
    uars = store.frame({}).query("seed == 0").groupby("method").uar.mean()
    assert line.difference.estimate == pytest.approx(uars["trained"] - uars["fitted"])
