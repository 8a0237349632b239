"""Intervals: against a slow transcription of the estimator, by hand, and their coverage."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student

from clser_bench.protocol import Pair
from clser_bench.report.intervals import Evidence, rank_intervals
from clser_bench.report.statistics import SIGNIFICANT, Counts, Interval, simultaneous, spread
from tests.tools import load

BC = Pair("B", "C")
coverage = load("coverage", folder="benchmarks")


def counts(correct, total=None, *, pair=BC, seeds=None):
    """Counts [speakers, classes, draws] with ten utterances a cell unless they are given."""
    right = np.asarray(correct, np.float64)
    return Counts(
        pair=pair,
        seeds=tuple(range(right.shape[2])) if seeds is None else seeds,
        speakers=tuple(f"s{row}" for row in range(right.shape[0])),
        correct=right,
        total=np.full(right.shape, 10.0) if total is None else np.asarray(total, np.float64),
    )


def mean_of(*items, **more) -> Any:
    """The interval of one method, whose ends may be None."""
    return spread({"a": items}, **more).mean("a")


def suite(rng, speakers, draws, *, skill=0.5, classes=3):
    """Counts of one method on all pairs of some corpora, with unequal sizes of speakers."""
    made = []
    for s, t in itertools.permutations(speakers, 2):
        size = np.random.default_rng(ord(t)).integers(1, 9, (speakers[t], classes, 1))
        total = size * np.ones((1, 1, draws))
        made.append(counts(rng.binomial(total.astype(int), skill), total, pair=Pair(s, t)))
    return made


def slow(items, others=None, weights=None, drawn=("source",)):
    """Estimate, error and freedom as `statistics` defines them, loop by loop."""

    def influence(item):
        whole = item.total.sum(0)
        recall = (item.correct.sum(0) / whole).mean(1)
        share = item.total / whole
        e = 100 * (item.correct - recall[None, :, None] * item.total) / whole / whole.shape[0]
        return 100 * recall.mean(), e, 1 / np.sqrt(np.maximum(1 - share, 0.25))

    estimate, inter = 0.0, 0.0
    weights = weights or [1 / len(items)] * len(items)
    voices: dict[str, Any] = defaultdict(float)
    shots: dict[tuple[str, str], Any] = defaultdict(float)
    targets: dict[Any, Any] = defaultdict(float)
    shares: dict[str, Any] = defaultdict(list)
    for place, item in enumerate(items):
        uar, e, lever = influence(item)
        if others is not None:
            uar, e = uar - influence(others[place])[0], e - influence(others[place])[1]
        m = e.shape[2]
        w = weights[place]
        estimate += w * uar
        s, t = item.pair.source, item.pair.target
        voices[t] += w * (e * lever).mean(2).sum(1)
        for of in drawn:
            shots[of, s if of == "source" else t] += w * e.sum((0, 1)) / m
        shares[t].append((1 - lever.mean(2) ** -2).mean(1))
        targets[t if "target" in drawn else (s, t)] += w * e.sum(1) / m
        if len(drawn) == 2 and m > 1:
            b = w * e.sum((0, 1)) / m
            inter += ((b - b.mean()) ** 2).sum() * m / (m - 1)
    for cells in targets.values() if drawn and m > 1 else ():
        n = len(cells)
        x = cells - cells.mean(0) - cells.mean(1, keepdims=True) + cells.mean()
        inter += (x**2).sum() * n / (n - 1) * m / (m - 1)
    parts = []
    for t, a in voices.items():
        h = np.mean(shares[t], axis=0)
        freedom = max((h**2).sum() ** 2 / (h**4).sum() - 1, 1)
        parts.append((((a - a.mean()) ** 2).sum(), freedom))
    ways = {"speakers": sum(v for v, _ in parts)}
    for (of, _), b in shots.items():
        m = len(b)
        if m > 1:
            parts.append((((b - b.mean()) ** 2).sum() * m / (m - 1), m - 1))
            ways[of] = ways.get(of, 0) + parts[-1][0]
    plus = sum(v for v, _ in parts)
    v = max(plus - inter, *ways.values())
    freedom = max(v * plus / sum(x * x / k for x, k in parts), min(k for _, k in parts))
    return estimate, math.sqrt(v), freedom


def agrees(found: Interval, expected):
    estimate, error, freedom = expected
    half = error * student.ppf(0.975, freedom)
    p = 2 * student.sf(abs(estimate) / error, freedom)
    values = [found.estimate, found.error, found.freedom, found.low, found.high, found.p]
    assert values == pytest.approx([*expected, estimate - half, estimate + half, p])


@pytest.mark.parametrize("drawn", [("source",), ("source", "target"), ("target",), ()])
@pytest.mark.parametrize("draws", [1, 2, 5])
def test_means_and_differences_equal_a_loop(draws, drawn):
    rng = np.random.default_rng(draws)
    speakers = {"B": 10, "C": 4, "R": 24, "O": 6}
    one, other = (suite(rng, speakers, draws, skill=skill) for skill in (0.5, 0.6))
    every = {"one": one, "company": suite(rng, speakers, draws), "other": other}
    whole = spread(every, drawn=drawn)
    agrees(whole.mean("one"), slow(one, drawn=drawn))
    agrees(whole.difference("one", "other"), slow(one, other, drawn=drawn))


def test_four_speakers_by_hand():
    # UARs 60, 40, 60, 40 of equal speakers with a quarter of each class: the lever of 1 - 1/4
    # divides a variance of 4 (10/4)² by 3/4, which is s²/n; all have equal shares, so n - 1
    found = mean_of(counts([[[6]], [[4]], [[6]], [[4]]]))
    error = np.std([60, 40, 60, 40], ddof=1) / 2
    assert [found.estimate, found.error, found.freedom] == pytest.approx([50, error, 3])


def test_a_draw_effect_alone_by_hand():
    # all speakers alike; draws of UAR 20, 40, 60
    found = mean_of(counts(np.full((4, 1, 3), [2.0, 4.0, 6.0])))
    assert [found.error, found.freedom] == pytest.approx([20 / math.sqrt(3), 2])


def test_two_speakers_and_a_class_of_one_give_a_reason_instead_of_an_interval():
    whole = spread({"a": [counts([[[6]], [[4]]])], "b": [counts([[[5]], [[4]]])]})
    for found in (
        whole.mean("a"),
        whole.difference("a", "b"),
        simultaneous([(whole, [("a", "b")])])["a", "b"],
    ):
        assert (found.low, found.high, found.p, found.error) == (None, None, None, None)
        assert (found.reason, found.verdict) == ("C has 2 speakers", "")
    # the recall of a class that one speaker alone has cannot vary with the speakers
    total = np.full((3, 3, 2), 10.0)
    total[1:, 2] = 0
    found = mean_of(counts(total / 2, total))
    assert (found.low, found.reason) == (None, "C has a class of one speaker alone")


def test_means_stay_between_0_and_100():
    found = mean_of(counts([[[10]], [[10]], [[7]]]))
    assert found.high == 100
    assert 0 <= found.low < found.estimate
    assert mean_of(counts([[[0]], [[0]], [[3]]])).low == 0


def test_all_pairs_of_a_target_share_its_speakers():
    one = suite(np.random.default_rng(2), {"B": 3, "C": 6}, 1)[0]
    two, other = (dataclasses.replace(one, pair=Pair("O", target)) for target in "CE")
    alone = mean_of(one).error
    assert mean_of(one, two).error == pytest.approx(alone)
    assert mean_of(one, other).error == pytest.approx(alone / math.sqrt(2))


def test_a_class_absent_from_some_draws_counts_in_the_others():
    total = np.full((3, 2, 2), 10.0)
    total[:, 1, 1] = 0
    right = np.array([[[5, 4], [8, 0]]] * 3, np.float64)
    # draws of UAR (50 + 80)/2 and 40
    assert mean_of(counts(right, total)).estimate == pytest.approx((65 + 40) / 2)


def test_a_method_does_not_differ_from_itself():
    item = suite(np.random.default_rng(4), {"B": 4, "C": 5}, 3)
    found = spread({"a": item, "b": item}).difference("a", "b")
    assert (found.estimate, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.verdict == "not separable"


def test_a_direction_has_the_weights_1_and_minus_1():
    both = suite(np.random.default_rng(5), {"B": 5, "C": 6}, 4)
    agrees(mean_of(*both, weights=(1, -1)), slow(both, weights=(1, -1)))


def test_all_labels_leave_the_speakers_alone():
    rng = np.random.default_rng(6)
    many, single = (suite(rng, {"B": 5, "C": 6}, draws) for draws in (4, 1))
    whole = spread({"many": many, "single": single}, drawn=())
    assert len(whole.parts) == whole.ends[0] == 2
    first = [dataclasses.replace(i, correct=i.correct[..., :1].repeat(4, axis=2)) for i in many]
    single = mean_of(*(item.at((0,)) for item in first))
    assert mean_of(*first, drawn=()).error == pytest.approx(single.error)


def family(rng, methods=6, *, gain=0.0):
    speakers = {"B": 5, "C": 6, "O": 8}
    made = {f"m{n}": suite(rng, speakers, 5, skill=0.5 + gain * n) for n in range(methods)}
    return made, [(name, "m0") for name in list(made)[1:]]


def corrected(made, pairs) -> list[tuple[Any, Any]]:
    """The simultaneous and the single interval of each difference."""
    whole = spread(made)
    found = simultaneous([(whole, pairs)])
    return [(found[pair], whole.difference(*pair)) for pair in pairs]


def test_simultaneous_intervals_exclude_zero_exactly_where_p_is_small():
    verdicts = set()
    for seed in range(20):
        for found, alone in corrected(*family(np.random.default_rng(seed), gain=0.02)):
            assert (found.low > 0 or found.high < 0) == (found.p <= SIGNIFICANT)
            assert found.p >= alone.p
            assert found.high - found.low >= alone.high - alone.low
            assert found.detectable > found.high - found.estimate
            verdicts.add(found.verdict)
    assert verdicts >= {"better", "not separable"}


def test_a_family_of_one_is_a_single_difference():
    ((found, alone),) = corrected(*family(np.random.default_rng(1), 2))
    assert found.p == pytest.approx(alone.p, abs=0.02)
    assert found.low == pytest.approx(alone.low, abs=0.05 * alone.error)


def test_max_t_lies_between_one_test_and_bonferroni():
    both = corrected(*family(np.random.default_rng(2), 9))
    for found, alone in both:
        level = 2 * student.sf((found.high - found.estimate) / found.error, found.freedom)
        assert SIGNIFICANT / len(both) * 0.9 <= level < SIGNIFICANT
        assert found.p <= 1.1 * len(both) * alone.p + 0.001


def test_rank_intervals_by_hand():
    better, unclear = Interval(estimate=2.0, p=0.01), Interval(estimate=1.0, p=0.4)
    # a and c are better than b's companion d; b lies below c; the rest is open
    found = dict.fromkeys(itertools.combinations("abcd", 2), unclear)
    found |= {("a", "d"): better, ("c", "d"): better, ("b", "c"): better.mirrored}
    assert rank_intervals("abcd", found) == {"a": (1, 3), "b": (2, 4), "c": (1, 2), "d": (3, 4)}


def test_methods_are_compared_on_the_draws_that_both_have():
    rng = np.random.default_rng(8)
    made, _ = family(rng, 3)
    made["m2"] = [item.at((0, 1, 2)) for item in made["m2"]]
    found = Evidence(made, drawn=("source",))
    assert [found.draws("m0", "m1"), found.draws("m0", "m2")] == [5, 3]
    short = {name: [item.at((0, 1, 2)) for item in items] for name, items in made.items()}
    assert found.differences([("m2", "m0")])["m2", "m0"] == spread(short).difference("m2", "m0")
    compared = found.family(list(itertools.combinations(found.counts, 2)))
    assert set(compared) == set(itertools.combinations(made, 2))
    apart = {"m0": [i.at((0, 1)) for i in made["m0"]], "m1": [i.at((3, 4)) for i in made["m1"]]}
    assert Evidence(apart, drawn=("source",)).differences([("m0", "m1")]) == {}
    assert Evidence(apart, drawn=("source",)).family([("m0", "m1")]) == {}


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({}, "no method"),
        ({"a": []}, "each once"),
        ({"a": [counts([[[1]]])] * 2}, "each once"),
        ({"a": [counts([[[1]]])], "b": [counts([[[1]]], pair=Pair("B", "O"))]}, "alike for all"),
        ({"a": [counts([[[1]]])], "b": [counts([[[1]], [[1]]])]}, "same speakers"),
        ({"a": [counts([[[1]]])], "b": [counts([[[1, 2]]])]}, r"draws \(0, 1\), not \(0,\)"),
    ],
)
def test_counts_that_do_not_belong_together_are_refused(methods, message):
    with pytest.raises(ValueError, match=message):
        spread(methods)


def check(found, simulations, low=92, high=98):
    """Fail at a share that no coverage from `low` to `high` % gives more often than 1 in 2000."""
    for name, share in found.items():
        hits = round(share * simulations / 100)
        assert binom.cdf(hits, simulations, low / 100) >= 0.0005, f"{name}: {share}"
        assert binom.sf(hits - 1, simulations, high / 100) >= 0.0005, f"{name}: {share}"


def test_intervals_cover_the_truth():
    check(coverage.coverage((6, 10, 4, 24), 5, 100), 100, high=99)


@pytest.mark.slow
@pytest.mark.parametrize("draws", coverage.DRAWS)
@pytest.mark.parametrize("speakers", coverage.SPEAKERS)
def test_intervals_cover_the_truth_in_many_simulations(speakers, draws):
    check(coverage.coverage(speakers, draws, 1000), 1000, low=93.5, high=97.5)
