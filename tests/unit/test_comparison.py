"""Comparisons of methods: differences, effects, wins, directions, and how they are written."""

from __future__ import annotations

import itertools
import json
import re
import statistics

import numpy as np
import pytest

from clser_bench.report.comparison import compare, render, text_tables
from clser_bench.report.formats import write_tables
from clser_bench.report.intervals import count, evidence_of
from clser_bench.report.statistics import spread
from clser_bench.report.table import rows_of
from clser_bench.store.records import MethodNote
from tests.boards import KEY, PAIRS, TWELVE, run, tables_of
from tests.records import answer_key, ok, trial


def compared(store, **wanted):
    (table,) = tables_of(store, **wanted)
    return compare(store, store.frame(), table)


def counts_of(store, found):
    names = [line.method for line in found.lines]
    return count(store, found.table, rows_of(store.frame(), found.table), names)


def markdown(found):
    return write_tables(text_tables(found), "md")


def contrast(comparison, method, other):
    (found,) = [
        item for item in comparison.contrasts if (item.method, item.other) == (method, other)
    ]
    return found


def put(store, values, *, pairs=PAIRS, seeds=2):
    """Store methods whose UAR on each pair is 0, 50 or 100 in every draw."""
    even = KEY.y.copy()
    even[::2] = (even[::2] + 1) % 3
    guesses = {0: (KEY.y + 1) % 3, 50: even, 100: KEY.y}
    trials, records = [], []
    for method, of_pairs in values.items():
        for (pair, uar), seed in itertools.product(zip(pairs, of_pairs, strict=True), range(seeds)):
            trials.append(trial(method, str(pair), seed=seed))
            records.append(ok(trials[-1], guesses[uar], KEY))
    store.plan({}, trials, pairs=pairs)
    store.put(records)


def noisy(store, methods, *, pairs=TWELVE, seeds=3, **rules):
    """Store methods by their chance of being right, which varies with speaker, pair and draw."""
    key = answer_key([0, 1, 2] * 16, speakers="aaabbbcccddd" * 4)
    rng = np.random.default_rng(3)
    voices = {name: rng.normal(0, 0.05) for name in "abcd"}
    trials, records = [], []
    for method, chance in methods.items():
        for pair, seed in itertools.product(pairs, range(seeds)):
            trials.append(trial(method, str(pair), seed=seed, **rules))
            level = chance + rng.normal(0, 0.05)
            likely = np.array([level + voices[name] for name in key.speakers])
            wrong = rng.random(len(key.y)) > likely
            records.append(ok(trials[-1], (key.y + wrong) % 3, key))
    store.plan({}, trials, pairs=pairs)
    store.put(records)


def test_differences_are_simultaneous_and_those_of_the_table(store):
    noisy(store, {"logistic": 0.6, "a": 0.7, "b": 0.55})
    found = compared(store)
    keys = list(itertools.permutations([line.method for line in found.lines], 2))
    assert [(item.method, item.other) for item in found.contrasts] == keys
    evidence = evidence_of(store, found.table, rows_of(store.frame(), found.table))
    every = evidence.family(list(itertools.combinations(["a", "logistic", "b"], 2)))
    own = evidence.family([("a", "logistic"), ("b", "logistic")])
    assert contrast(found, "a", "b").interval == every["a", "b"]
    assert contrast(found, "a", "logistic").interval == own["a", "logistic"]
    assert found.table.line("a").difference == own["a", "logistic"]
    assert contrast(found, "a", "b").n == 3


def test_ranks_of_the_table_follow_from_the_differences(store):
    noisy(store, {"a": 0.8, "b": 0.78, "c": 0.6, "d": 0.58, "e": 0.4})
    found = compared(store)
    better = [item.other for item in found.contrasts if item.interval.verdict == "better"]
    worse = [item.other for item in found.contrasts if item.interval.verdict == "worse"]
    ranks = {line.method: line.ranks for line in found.lines}
    assert ranks == {name: (1 + better.count(name), 5 - worse.count(name)) for name in ranks}
    assert ranks["e"] == (5, 5)
    assert ranks["a"] != (1, 5)


def test_the_other_way_round_is_the_mirror(store):
    noisy(store, {"a": 0.7, "b": 0.6})
    found = compared(store)
    there, back = contrast(found, "a", "b"), contrast(found, "b", "a")
    assert back.interval.estimate == -there.interval.estimate
    assert (back.interval.low, back.interval.high) == (-there.interval.high, -there.interval.low)
    assert (back.interval.p, back.effect, back.n) == (there.interval.p, -there.effect, there.n)
    assert (back.wins, back.ties, back.losses) == (there.losses, there.ties, there.wins)


def test_effect_by_hand(store):
    # gains of 100 and 50 points: mean 75, sample deviation √1250
    put(store, {"a": (100, 50), "b": (0, 0)})
    found = contrast(compared(store), "a", "b")
    assert found.interval.estimate == pytest.approx(75)
    assert found.effect == pytest.approx(75 / statistics.stdev([100, 50]))


def test_there_is_no_effect_where_pairs_do_not_vary(store):
    put(store, {"a": (100, 100), "b": (0, 0), "c": (0, 0)})
    found = compared(store)
    assert contrast(found, "a", "b").effect is None
    same = contrast(found, "b", "c")
    assert (same.effect, same.interval.estimate, same.interval.p) == (None, 0, 1)
    assert (same.wins, same.ties, same.losses) == (0, 2, 0)
    gain = contrast(found, "a", "b")
    assert (gain.wins, gain.ties, gain.losses) == (2, 0, 0)


def test_a_single_pair_has_no_effect(store):
    put(store, {"a": (50,), "b": (0,)}, pairs=PAIRS[:1])
    found = compared(store)
    assert contrast(found, "a", "b").effect is None
    assert found.directions == ()
    assert "d_z" in markdown(found)


def test_wins_are_cells_whose_own_interval_excludes_zero(store):
    noisy(store, {"a": 0.8, "b": 0.65, "c": 0.6})
    found = compared(store)
    counts = counts_of(store, found)
    outcomes = set()
    for item in found.contrasts:
        cells = [
            spread({"one": [one], "other": [other]}).difference("one", "other")
            for one, other in zip(counts[item.method], counts[item.other], strict=True)
        ]
        wins = sum(cell.low > 0 for cell in cells)
        losses = sum(cell.high < 0 for cell in cells)
        assert (item.wins, item.losses) == (wins, losses)
        assert item.wins + item.ties + item.losses == 12
        gains = [cell.estimate for cell in cells]
        assert item.effect == pytest.approx(statistics.mean(gains) / statistics.stdev(gains))
        outcomes |= {(wins > 0, losses > 0, item.ties > 0)}
    assert len(outcomes) > 1


def test_directions_are_differences_of_two_pairs(store):
    noisy(store, {"a": 0.8, "b": 0.6}, pairs=PAIRS)
    found = compared(store)
    (direction,) = found.directions
    assert (direction.pair, direction.n) == (PAIRS[0], 3)
    own = spread(counts_of(store, found), weights=(1, -1))
    for interval, line in zip(direction.methods, found.lines, strict=True):
        there, back = (cell.mean for cell in line.cells)
        assert interval.estimate == pytest.approx(there - back)
        assert interval == own.mean(line.method)
    assert direction.mean == own.average()


def test_the_mean_direction_of_two_like_methods_is_that_of_one(store):
    put(store, {"a": (100, 50), "b": (100, 50)})
    (direction,) = compared(store).directions
    assert direction.mean == pytest.approx(direction.methods[0])
    assert direction.mean.estimate == pytest.approx(50)


def test_methods_are_compared_on_the_draws_that_both_have(store):
    run(store, {"a": 20, "b": 12}, seeds=4)
    run(store, {"c": 16}, seeds=2)
    found = compared(store)
    assert contrast(found, "a", "b").n == 4
    assert contrast(found, "a", "c").n == 2
    assert found.directions[0].n == 2


def test_methods_without_a_common_draw_are_not_compared(store):
    run(store, {"a": 20, "b": 12}, seeds=1)
    late = [trial("c", str(pair), seed=7) for pair in PAIRS]
    store.plan({}, late, pairs=PAIRS)
    store.put([ok(of, KEY.y, KEY) for of in late])
    found = compared(store)
    keys = [(item.method, item.other) for item in found.contrasts]
    assert keys == [("a", "b"), ("b", "a")]
    assert found.directions == ()
    assert "2 pairs of methods share no draw, so they are not compared" in found.remarks
    assert any("holds for this one draw only" in remark for remark in found.remarks)
    assert "Directions" not in markdown(found)


def test_with_all_labels_one_draw_is_compared_with_many(store):
    run(store, {"a": 20}, seeds=1, shots="all")
    run(store, {"b": 12}, seeds=3, shots="all")
    found = compared(store)
    item = contrast(found, "a", "b")
    assert item.n == 1
    assert item.interval.low < item.interval.estimate < item.interval.high
    assert found.directions[0].n == 1
    assert not any("this one draw" in remark for remark in found.remarks)


def test_a_table_without_ranked_methods_is_empty(store):
    run(store, {"chance": 8}, notes={"chance": MethodNote(role="bound")})
    found = compared(store)
    assert (found.lines, found.contrasts, found.directions) == ((), (), ())
    assert "Differences" not in markdown(found)
    assert json.loads(render([found], "json")) == []


def test_a_single_method_is_compared_with_none(store):
    run(store, {"a": 20})
    found = compared(store)
    assert (found.lines[0].ranks, found.contrasts) == ((1, 1), ())
    assert "Differences" not in markdown(found)


def test_zero_has_no_sign(store):
    put(store, {"a": (100, 50), "b": (100, 50)})
    written = markdown(compared(store))
    assert re.search(r"\| +0\.0 \[0\.0, 0\.0\] \|", written)
    assert not re.search(r"[+-]0\.0", written)
