"""Breakdowns: against stored metrics and hand-worked numbers."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from clser_bench.report.breakdown_text import render
from clser_bench.report.table import leaderboard
from tests.boards import KEY, PAIRS, run
from tests.breakdowns import ONE, broken, facts, means, part, put
from tests.records import answer_key, ok, trial


def test_recalls_are_those_of_the_stored_metrics(store):
    run(store, {"m": 15}, seeds=3)
    found = broken(store, "emotion")
    by_draw = {seed: [] for seed in range(3)}
    for record in store.records():
        by_draw[record.trial.seed].append(record.metrics.recalls)
    for place, emotion in enumerate(found.groups):
        draws = [statistics.mean(row[place] for row in rows) for rows in by_draw.values()]
        (value,) = [value for value in part(found).values if value.group == emotion]
        assert value.mean == pytest.approx(statistics.mean(draws))
        assert value.std == pytest.approx(statistics.stdev(draws))
        assert (value.n, value.count) == (3, 8 * 3 * len(PAIRS))
    assert found.groups == ("anger", "happiness", "sadness")


def test_confusions_are_those_of_the_stored_metrics(store):
    run(store, {"m": 15}, seeds=3)
    found = broken(store, "confusion")
    total = np.zeros((3, 3))
    for record in store.records():
        if record.trial.pair == PAIRS[0]:
            total += np.array(record.metrics.confusion)
    values = part(found, pair=PAIRS[0]).values
    assert [value.count for value in values] == total.ravel().tolist()
    shares = 100 * total / total.sum(axis=1, keepdims=True)
    assert [value.mean for value in values] == pytest.approx(shares.ravel().tolist())
    recalls = means(part(broken(store, "emotion")))
    diagonal = {v.group: v.mean for v in part(found).values if v.group == v.predicted}
    assert diagonal == pytest.approx(recalls)


def test_an_emotion_that_a_pair_lacks_is_left_out_of_its_mean(store):
    two = answer_key([0, 0, 1, 1], classes=("anger", "sadness"))
    three = answer_key([0, 1, 2, 2])
    trials = [
        trial("m", "B→C", classes=two.classes),
        trial("m", "C→B", classes=three.classes),
    ]
    store.plan({}, trials, pairs=PAIRS)
    store.put([ok(trials[0], [0, 1, 1, 1], two), ok(trials[1], [1, 1, 2, 0], three)])
    pooled = means(part(broken(store, "emotion")))
    assert pooled == pytest.approx({"anger": 25, "happiness": 100, "sadness": 75})
    found = broken(store, "confusion")
    assert {v.predicted for v in part(found, pair=PAIRS[0]).values} == {"anger", "sadness"}
    shares = {(v.group, v.predicted): v.mean for v in part(found).values}
    assert shares["anger", "happiness"] == pytest.approx(50)  # 0 and 100
    for emotion in found.groups:
        assert sum(shares[emotion, other] for other in found.groups) == pytest.approx(100)


def test_a_single_group_has_the_uar_of_the_leaderboard(store):
    run(store, {"m": 15, "other": 9}, seeds=3, pairs=ONE)
    (table,) = leaderboard(store.frame(), store, intervals=False)
    found = broken(store, "gender", facts=facts(["female"] * 24, "gender"))
    for line in table.lines:
        (value,) = part(found, line.method).values
        assert (value.mean, value.std) == pytest.approx((line.mean.mean, line.mean.std))
        assert part(found, line.method).gaps == []


def test_what_is_left_out_does_not_shift_predictions(store):
    key = answer_key([0, 0, 1, 1, 2, 2])
    put(store, [[1, 0, 1, 2, 0, 2]], key)
    found = broken(store, "gender", facts=facts(["", "male", "male", "", "", "male"], "gender"))
    assert means(part(found)) == {"male": 100}
    assert found.remarks == ("C: left out, of unknown gender: 3 utterances",)


def test_thirds_by_hand(store):
    put(store, [KEY.y])
    lengths = [float(row) for row in range(23)] + [None]
    found = broken(store, "length", facts=facts(lengths, "length"))
    # a third of 0..22 is at 7.33, two at 14.67
    sizes = {value.group: value.count for value in part(found).values}
    assert sizes == {"short": 8, "middle": 7, "long": 8}
    assert found.remarks == (
        "C: short ≤ 7.33 s < middle ≤ 14.67 s < long",
        "C: left out, of unknown length: 1 utterances",
    )
    assert found.groups == ("short", "middle", "long")


def test_groups_of_recognition_rates_by_hand(store):
    put(store, [KEY.y])
    rates = [79.9, 80.0, 89.9, 90.0, 99.9, 100.0] * 4
    values = part(broken(store, "human", facts=facts(rates, "human"))).values
    found = {value.group: value.count // 4 for value in values}
    assert found == {"below 80 %": 1, "80 to <90 %": 2, "90 to <100 %": 2, "100 %": 1}


def test_pairs_whose_target_is_unknown_are_left_out(store):
    run(store, {"m": 20})
    found = broken(store, "gender", facts=facts(["male", "female"] * 12, "gender"))
    assert found.pairs == ONE
    assert list(dict.fromkeys(one.pair for one in found.figures)) == [ONE[0], None]
    assert "mean over 1 pairs (B→C)" in render([found])


def test_draws_may_score_different_utterances(store):
    keys = [answer_key([0, 0, 1]), answer_key([0, 1, 1, 2])]
    put(store, [[0, 1, 1], [0, 1, 0, 2]], keys=keys)
    one = part(broken(store, "emotion"))
    assert means(one) == {"anger": 75, "happiness": 75, "sadness": 100}
    assert [value.count for value in one.values] == [3, 3, 1]
