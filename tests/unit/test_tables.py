"""Leaderboards: cells, means, missing cells, the latest plan, ranks, verdicts; pairs in groups."""

from __future__ import annotations

import dataclasses
import re
import statistics

import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import FAMILIES, family
from clser_bench.report.comparison import compare
from clser_bench.report.formats import MISSING, write_tables
from clser_bench.report.render import across, grouped, render
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests import tools
from tests.boards import KEY, PAIRS, RIGHT, TWELVE, put, row, rows_of, run, tables_of
from tests.records import answer_key, hole, ok, trial


def test_cells_and_means_by_hand(store):
    put(store, {"m": ((100, 0), (100, 50))})
    rows = rows_of(tables_of(store, intervals=False))
    first, mean = row(rows, "m", "B→C"), row(rows, "m", "mean")
    assert (first["uar_mean"], first["n"]) == (50, 2)
    assert first["uar_std"] == pytest.approx(statistics.stdev([100, 0]), abs=1e-4)
    assert mean["uar_mean"] == pytest.approx((50 + 75) / 2)
    assert mean["uar_std"] == pytest.approx(statistics.stdev([100, 25]), abs=1e-4)
    assert (mean["n"], mean["status"], mean["reason"]) == (2, "ok", "")
    assert "rank_low" not in mean


def test_joules_are_means_over_the_trials_that_are_ok_and_have_them(store):
    # B→C: 1 and 4 J; C→B: 8 J and one that was not measured; the mean of pairs is (2.5 + 8) / 2
    joules = {"m": (1.0, 4.0, 8.0, None), "part": (3.0, 100.0, None, None), "plain": (None,) * 4}
    trials, records = [], []
    for method, values in joules.items():
        for place, energy in enumerate(values):
            of = trial(method, str(PAIRS[place // 2]), seed=place % 2)
            record = hole(of) if energy == 100 else ok(of, RIGHT, KEY)
            trials.append(of)
            records.append(dataclasses.replace(record, energy=energy))
    store.plan({}, trials, pairs=PAIRS)
    store.put(records)
    tables = tables_of(store, intervals=False, with_=("time", "energy"))
    found = {(item["method"], item["pair"]): item["energy"] for item in rows_of(tables)}
    assert [found["m", name] for name in ("B→C", "C→B", "mean")] == [2.5, 8.0, 5.25]
    assert [found["part", name] for name in ("B→C", "C→B", "mean")] == [3.0, None, 3.0]
    assert found["plain", "mean"] is None
    assert {item["seconds"] for item in rows_of(tables)} == {0.5}
    text = render(tables)
    assert re.search(r"s per trial +J/trial", text)
    assert re.search(r"^m .* 0\.50 +5\.25 ", text, re.MULTILINE)
    assert re.search(r"^plain .* 0\.50 +– ", text, re.MULTILINE)
    assert "energy" not in render(tables_of(store, with_=("time",)), "csv")


def test_one_draw_has_no_deviation_and_no_company(store):
    run(store, {"logistic": 12}, seeds=1)
    assert {item["uar_std"] for item in rows_of(tables_of(store))} == {None}
    text = render(tables_of(store))
    assert re.search(r"^logistic +\d+\.\d  \[", text, re.MULTILINE)
    assert "holds for this one draw only" in text
    assert "vs logistic" not in text
    assert "simultaneous over" not in text
    assert "1 draw, " in render(tables_of(store, intervals=False), "latex")


def test_a_trial_that_was_not_run_or_that_the_latest_plan_left_out_is_a_missing_cell(store):
    run(store, {"m": 20, "other": 12}, left_out={("m", "B→C", seed) for seed in range(2)})
    cell = row(rows_of(tables_of(store)), "m", "B→C")
    assert (cell["status"], cell["reason"], cell["n"]) == ("failed", "not run yet", 0)
    assert cell["uar_mean"] is None
    assert "[1] m: not run yet" in render(tables_of(store))
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
    fields = ("suite", "classes", "normalisation", "shots")
    found = [tuple(getattr(one.condition, name) for name in fields) for one in tables_of(store)]
    assert found == [
        ("bc", "shared", "corpus", 1),
        ("bc", "shared", "corpus", 10),
        ("bc", "shared", "corpus", "all"),
        ("bc", "shared", "speaker", 5),
        ("bc", "fixed4", "corpus", 5),
        ("other", "shared", "corpus", 5),
    ]
    assert len(tables_of(store, suite="bc")) == 5
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
    against = {"base": tables_of(store, against="base")[0], "logistic": tables_of(store)[0]}
    found = compare(store, store.frame(), against["base"]).contrasts
    checked = [item for item in found if item.other in against]
    assert len(checked) == 6
    for item in checked:
        assert against[item.other].line(item.method).difference == item.interval


def test_the_table_says_which_methods_are_better_than_logistic(store):
    methods = {"logistic": 12, "good": 22, "same": 12, "bad": 4, "chance": 8, "best": 24}
    notes = {name: MethodNote() for name in methods}
    notes |= {"chance": MethodNote(role="bound"), "best": MethodNote(role="reference")}
    run(store, methods, seeds=6, pairs=TWELVE, notes=notes)
    (table,) = tables_of(store)
    assert {line.method: line.verdict for line in table.lines} == {
        **dict.fromkeys(("chance", "logistic", "best"), ""),
        "good": "better",
        "same": "not separable",
        "bad": "worse",
    }
    assert (table.family, table.ranked, table.reference) == (3, 4, "logistic")
    assert table.budget == "", "that of trained methods has batches too"
    least, median, most = table.detectable
    assert 0 < least <= median <= most


def test_verdicts_do_not_depend_on_the_rows_that_are_shown(store):
    run(store, {"logistic": 12, "good": 22, **{f"m{n}": 12 + n for n in range(6)}}, pairs=TWELVE)
    (whole,) = tables_of(store)
    (part,) = tables_of(store, methods=["logistic", "m5"])
    assert part.lines == (whole.line("m5"), whole.line("logistic"))
    assert (part.family, part.ranked) == (whole.family, whole.ranked) == (7, 8)
    found = compare(store, store.frame(), part).contrasts
    assert {(item.method, item.other): item.interval for item in found} == {
        ("m5", "logistic"): whole.line("m5").difference,
        ("logistic", "m5"): whole.line("m5").difference.mirrored,
    }


def test_a_target_with_two_speakers_has_no_interval_but_a_reason(store):
    key = answer_key([0, 1, 2] * 8, speakers="ab" * 12)
    trials = [trial(m, str(p)) for m in ("logistic", "m") for p in PAIRS]
    store.plan({}, trials, pairs=PAIRS)
    keys = [key if of.pair.target == "C" else KEY for of in trials]
    store.put([ok(of, [0, 1, 2] * 8, own) for of, own in zip(trials, keys, strict=True)])
    (table,) = tables_of(store)
    assert table.line("m").interval.low is None
    assert table.line("m").difference.verdict == ""
    text = render([table])
    assert "No intervals: C has 2 speakers; every target needs 3 speakers" in text
    assert text.index("No intervals") < text.index("\nmethod")
    assert {line.ranks for line in table.lines} == {None}


def test_marks_say_what_a_method_uses(store):
    notes = {"m": MethodNote(assumes_prior="uniform"), "e": MethodNote(assumes_prior="estimated")}
    run(store, {"m": 20, "e": 20, "plain": 12}, notes=notes, normalisation="speaker")
    (table,) = tables_of(store)
    assert {line.method: line.uses for line in table.lines} == {
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


def test_a_baseline_with_missing_cells_gives_no_verdict_and_is_explained(store):
    run(store, {"logistic": 12, "m": 20}, left_out={("logistic", "B→C", 0)})
    assert tables_of(store)[0].reference == ""
    assert "vs logistic" not in render(tables_of(store))
    text = render(tables_of(store, against="logistic"))
    assert "logistic has no result on every pair" in text
    with pytest.raises(SpecError, match=r"'n'.* Known: logistic, m"):
        tables_of(store, against="n")


def test_an_oracle_with_one_draw_is_compared_on_all_draws(store):
    """It depends on no draw, so its one result stands for each of them."""
    notes = {"logistic": MethodNote(), "best": MethodNote(role="reference")}
    run(store, {"logistic": 12}, seeds=4, pairs=TWELVE, notes=notes)
    run(store, {"best": 22}, seeds=1, pairs=TWELVE, notes=notes)
    (table,) = tables_of(store, against="logistic")
    base, best = table.lines
    assert best.difference.estimate == pytest.approx(best.mean.mean - base.mean.mean)
    assert best.interval.low < best.mean.mean < best.interval.high
    assert "this one draw only" not in render([table])


def test_with_all_labels_methods_are_compared_on_the_resampled_targets_that_both_met(store):
    rules = {"shots": "all", "prior": "dirichlet:1"}
    run(store, {"fitted": 14}, seeds=1, **rules)
    run(store, {"trained": 20}, seeds=3, **rules)
    (table,) = tables_of(store, against="fitted")
    uars = store.frame({}).query("seed == 0").groupby("method").uar.mean()
    found = table.line("trained").difference.estimate
    assert found == pytest.approx(uars["trained"] - uars["fitted"])


def test_the_points_of_a_selection_are_no_tables(store):
    for number, a in enumerate((1.0, 2.0)):
        own = {"selection": f"other-pairs/{number}", "parameters": (("a", a), ("b", 3))}
        run(store, {"m": 12}, **own)
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
        assert [line for line in lines if "a=" in line] == [
            f"{start}m: a=1.0: B→C",
            f"{start}m: a=2.0: C→B",
        ]
    rows = rows_of(tables)
    assert row(rows, "m", "B→C")["point"] == "a=1.0"
    assert "point" not in row(rows, "m", "mean")
    assert "a=1.0" not in render(tables_of(store))


def test_the_point_of_a_whole_table_is_written_in_full(store):
    run(store, {"m": 20}, parameters=(("a", 1.0), ("b", 3)))
    run(store, {"plain": 20}, parameters=())
    text = render(tables_of(store, with_=("point",)))
    assert "m: a=1.0, b=3: all pairs" in text
    assert "plain:" not in text


def test_pairs_in_groups_by_hand(store):
    run(store, {"logistic": 12, "m": 18}, pairs=TWELVE, left_out={("logistic", "B→C", 1)})
    (table,) = tables_of(store)
    languages = {"B": "Germanic", "C": "Sinitic", "R": "Germanic", "O": "Romance"}
    layout = grouped(table, "family", languages)
    whole, part = (dict(zip(layout.names, cells, strict=True)) for cells in layout.cells)
    line = table.line("m")
    of_pair = {str(p): cell.mean for p, cell in zip(table.pairs, line.cells, strict=True)}
    mean = statistics.mean([of_pair["B→R"], of_pair["R→B"]])
    assert whole["Germanic→Germanic (2)"] == f"{mean:.1f}"
    assert whole["mean"].startswith(f"{line.mean.mean:.1f} [")
    assert part["Germanic→Sinitic (2)"] == part["mean"] == MISSING
    assert MISSING not in (part["Germanic→Germanic (2)"], part["Sinitic→Romance (1)"])
    for by, name in (("source", "B→ (3)"), ("target", "→B (3)")):
        assert name in grouped(table, by, {}).names


def test_tables_across_shots(store):
    run(store, {"logistic": 12, "m": 18}, shots=5)
    run(store, {"logistic": 14, "late": 10}, shots=20)
    tables = tables_of(store)
    (layout,) = across(tables, "shots")
    assert layout.names == ("method", "5", "20")
    rows = {cells[0]: cells[1:] for cells in layout.cells}
    assert rows["m"][1] == rows["late"][0] == MISSING
    means = [table.line("logistic").mean.mean for table in tables]
    for cell, mean in zip(rows["logistic"], means, strict=True):
        assert cell.startswith(f"{mean:.1f} [")
    with pytest.raises(SpecError, match="cannot be 'csv'"):
        write_tables([layout], "csv")


def test_a_language_has_one_family():
    members = [tag for tags in FAMILIES.values() for tag in tags]
    assert len(members) == len(set(members))
    assert family("pt-BR") == family("it") == "Romance"
    assert family("xx") == "xx"


def test_the_tool_for_feature_sets_has_a_row_for_each(store):
    every = {("logistic", str(pair), seed) for pair in PAIRS for seed in range(2)}
    cases = (("mel", "all", ()), ("mel", 5, ()), ("mfcc", 5, every), ("set:x", 5, {min(every)}))
    for features, shots, left_out in cases:
        run(store, {"logistic": 12}, features=features, shots=shots, left_out=left_out)
    tables = tables_of(store)
    lines = tools.load("by_features").by_features(tables).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["features", "logistic, 5, corpus", "logistic, all, corpus"]
    own = {one.condition.shots: one.lines[0] for one in tables if one.condition.features == "mel"}
    assert cells[2] == ["mel"] + [
        f"50.0 [{line.interval.low:.1f}, {line.interval.high:.1f}] n=2"
        for line in (own[5], own["all"])
    ]
    assert cells[3:] == [["mfcc", "–", ""], ["set:x", "50.0 over 1 of 2 pairs", ""]]
