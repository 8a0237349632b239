"""Differences of groups and correlations with people: by hand, and against planted ones."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from tests.boards import KEY
from tests.breakdowns import broken, facts, means, part, put
from tests.records import answer_key


def test_speakers_by_hand(store):
    key = answer_key([0, 0, 1, 1] * 2, speakers="aaaabbbb")
    # a: recalls 100 and 50, then 100 and 100; b: 0 and 50, then 50 and 50
    put(store, [[0, 0, 1, 2, 1, 1, 1, 2], [0, 0, 1, 1, 0, 1, 1, 2]], key)
    one = part(broken(store, "speaker"))
    assert means(one) == {"C a": 87.5, "C b": 37.5}
    spreads = [statistics.stdev(draws) for draws in ([75, 100], [25, 50])]
    assert [value.std for value in one.values] == pytest.approx(spreads)
    (gap,) = one.gaps
    assert (*gap.ends, gap.mean, gap.std, gap.of) == ("C b", "C a", 50, 0, 2)


def test_a_speaker_without_a_hard_emotion_is_not_the_best(store):
    key = answer_key([0, 1, 0, 1, 0, 0], speakers="aabbcc")
    put(store, [[0, 2, 1, 2, 0, 0]], key)
    one = part(broken(store, "speaker"))
    assert means(one) == {"C a": 50, "C b": 0, "C c": 100}
    assert [value.classes for value in one.values] == [2, 2, 1]
    assert [(gap.ends, gap.of) for gap in one.gaps] == [(("C b", "C a"), 2)]


@pytest.mark.parametrize("planted", [False, True])
def test_a_gap_of_speakers_is_set_against_chance(store, planted):
    rng = np.random.default_rng(3)
    y = np.tile([0, 1, 2], 200)
    speakers = np.repeat(list("abcdef"), 100)
    right = rng.random(600) < (np.where(speakers == "a", 0.9, 0.5) if planted else 0.5)
    key = answer_key(y.tolist(), speakers=speakers.tolist())
    put(store, [np.where(right, y, (y + 1) % 3)], key)
    (gap,) = part(broken(store, "speaker")).gaps
    # of six shares of 100 with deviation 5, the range is 2.53 deviations on average (Tippett)
    assert gap.shuffled == pytest.approx(2.53 * 100 * math.sqrt(right.var() / 100), rel=0.15)
    assert (gap.mean > 2 * gap.shuffled) == planted


def test_utterances_are_shuffled_within_their_emotion(store):
    # one emotion always right, the other never: every shuffle leaves every UAR at 50
    key = answer_key([0] * 9 + [1] * 3 + [0] * 3 + [1] * 9, speakers="a" * 12 + "b" * 12)
    put(store, [[0] * 24], key)
    (gap,) = part(broken(store, "speaker")).gaps
    assert (gap.mean, gap.shuffled) == (0, 0)


def test_a_difference_of_groups_has_an_interval(store):
    rng = np.random.default_rng(5)
    key = answer_key([0, 1, 2] * 80, speakers="abcdefgh" * 30)
    loud = np.arange(240) % 2 == 0
    draws = []
    for _ in range(4):
        right = rng.random(240) < np.where(loud, 0.8, 0.4)
        draws.append(np.where(right, key.y, (key.y + 1) % 3))
    put(store, draws, key)
    levels = np.where(loud, -10.0, -30.0)
    (gap,) = part(broken(store, "loudness", facts=facts(levels.tolist(), "loudness"))).gaps
    assert gap.ends == ("quiet", "middle")  # ties leave the loud third empty
    assert 0 < gap.low < gap.mean < gap.high
    assert gap.high - gap.low < 40


def test_correlation_with_people_by_hand(store):
    # two draws; shares right 1, 1, ½, 0 of class 0 and 0, ½, 1, 1 of class 1
    key = answer_key([0, 0, 0, 0, 1, 1, 1, 1], speakers="abababab")
    put(store, [[0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1]], key)
    rates = [100, 95, 90, 80, 100, 95, 90, 80]
    one = part(broken(store, "human", facts=facts([float(rate) for rate in rates], "human")))
    over_all, within = one.correlations
    assert (over_all.kind, over_all.count, within.kind) == ("rho", 8, "rho_within")
    assert over_all.mean == pytest.approx(0, abs=1e-12)
    # ranks of class 0: people 4 3 2 1, shares 3½ 3½ 2 1: 4½ / √(5 · 4½); class 1 is its mirror
    assert within.mean == pytest.approx(0, abs=1e-12)
    people = [float(rate) for rate in [100, 95, 90, 80, 80, 90, 95, 100]]
    one = part(broken(store, "human", facts=facts(people, "human")))
    assert one.correlations[1].mean == pytest.approx(4.5 / math.sqrt(5 * 4.5))


def test_the_interval_of_a_correlation_leaves_speakers_out(store):
    key = answer_key([0] * 12, speakers="aaaabbbbcccc")
    right = [1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0]
    put(store, [[0 if good else 1 for good in right]], key)
    people = [100.0, 95, 90, 85, 95, 80, 100, 90, 85, 90, 80, 95]
    found = part(broken(store, "human", facts=facts(people, "human"))).correlations[0]

    def spearman(kept):
        ranks = []
        for values in (people, right):
            chosen = [values[row] for row in kept]
            ranks.append([
                sum(v < value for v in chosen) + (sum(v == value for v in chosen) + 1) / 2
                for value in chosen
            ])  # fmt: skip
        return statistics.correlation(*ranks)

    whole = spearman(range(12))
    left = [spearman([row for row in range(12) if row // 4 != out]) for out in range(3)]
    error = math.sqrt(2 / 3 * sum((rho - statistics.mean(left)) ** 2 for rho in left))
    assert found.mean == pytest.approx(whole)
    # t of 2 degrees of freedom at 97.5 %
    assert found.low == pytest.approx(max(-1, whole - 4.302653 * error), abs=1e-5)
    assert found.high == pytest.approx(min(1, whole + 4.302653 * error), abs=1e-5)


def test_no_correlation_where_nothing_varies(store):
    put(store, [KEY.y])
    found = part(broken(store, "human", facts=facts([80.0, 100.0] * 12, "human")))
    assert [item.mean for item in found.correlations] == [None, None]
