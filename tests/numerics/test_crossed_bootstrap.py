"""The crossed bootstrap: by hand, against a slow loop, and its coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import t as student

from clser_bench.protocol import Pair
from clser_bench.report.resampling import Counts, _weights, resample, stacks
from clser_bench.report.statistics import (
    crossed_bootstrap,
    holm,
    mean_interval,
    paired_difference,
)

BC = Pair("B", "C")


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


def random_counts(rng, *, pair=BC, speakers=4, classes=3, draws=3, seeds=None):
    total = rng.integers(0, 6, size=(speakers, classes, 1)) * np.ones((1, 1, draws))
    return counts(rng.binomial(total.astype(int), 0.5), total, pair=pair, seeds=seeds)


def test_two_speakers_by_hand():
    # UAR 60 and 40; both speakers, or twice the same one: variance (60 - 40)²/8 over resamples,
    # twice that after the correction for two clusters, which is s²/m
    found = mean_interval([counts([[[6]], [[4]]])], resamples=20_000)
    assert found.estimate == pytest.approx(50)
    assert found.error == pytest.approx(10, rel=0.02)
    assert found.freedom == pytest.approx(1)
    half = found.error * student.ppf(0.975, 1)
    assert (found.low, found.high) == (pytest.approx(50 - half), pytest.approx(50 + half))
    assert found.p == pytest.approx(2 * student.sf(50 / found.error, 1))


def test_draws_of_one_speaker_by_hand():
    # the speaker cannot be resampled; draws of UAR 20, 40, 60: s²/m = 400/3
    found = mean_interval([counts([[[2, 4, 6]]])], resamples=20_000)
    assert found.estimate == pytest.approx(40)
    assert found.error == pytest.approx(math.sqrt(400 / 3), rel=0.02)
    assert found.freedom == pytest.approx(2)


def test_one_speaker_and_one_draw_give_no_interval():
    found = mean_interval([counts([[[4]]])])
    assert (found.estimate, found.low, found.high, found.p) == (pytest.approx(40), None, None, None)


def test_one_draw_leaves_only_the_speakers():
    rng = np.random.default_rng(0)
    spread = crossed_bootstrap({"a": [random_counts(rng, draws=1)]})
    assert spread.crossed[0, 0] == pytest.approx(spread.parts[0, 0, 0])
    assert spread.parts[1, 0, 0] == pytest.approx(0)


def test_components_join_by_satterthwaite():
    # speakers differ by 20 points, draws by 10, additively: variances 100 and 25 of the mean
    found = mean_interval([counts([[[6.0, 5.0]], [[4.0, 3.0]]])], resamples=20_000)
    assert found.error == pytest.approx(math.sqrt(125), rel=0.03)
    assert found.freedom == pytest.approx(125**2 / (100**2 + 25**2), rel=0.05)


def naive(item: Counts, speakers, draws):
    """UAR of one resample, cluster by cluster."""
    values = []
    for draw, times in enumerate(draws):
        recalls = []
        for label in range(item.correct.shape[1]):
            total = sum(w * item.total[s, label, draw] for s, w in enumerate(speakers))
            right = sum(w * item.correct[s, label, draw] for s, w in enumerate(speakers))
            recalls += [100 * right / total] if total else []
        values += [sum(recalls) / len(recalls)] * int(times)
    return sum(values) / len(values)


def test_resamples_equal_a_loop():
    rng = np.random.default_rng(1)
    column = [random_counts(rng) for _ in range(3)]
    column[1] = counts(column[1].correct.clip(max=column[0].total), column[0].total)
    speakers = _weights("speakers", "C", column[0].speakers, 40)
    draws = _weights("draws", "B", column[0].seeds, 40)
    for stack in stacks(column):
        made = resample(stack, 40)
        for place, row in enumerate(stack.rows):
            item = column[row]
            ones = np.ones(4), np.ones(3)
            assert made.estimate[place] == pytest.approx(naive(item, *ones))
            both = [naive(item, s, d) for s, d in zip(speakers, draws, strict=True)]
            assert made.crossed[place] == pytest.approx(np.array(both))
            assert made.speakers[place] == pytest.approx(
                np.array([naive(item, s, ones[1]) for s in speakers])
            )
            assert made.draws[place] == pytest.approx(
                np.array([naive(item, ones[0], d) for d in draws])
            )


def test_a_class_absent_from_a_resample_is_dropped_and_counted():
    # only the first speaker has the second class: it is absent in a quarter of the resamples
    spread = crossed_bootstrap(
        {"a": [counts([[[5], [5]], [[5], [0]]], [[[10], [10]], [[10], [0]]])]}, resamples=4000
    )
    assert spread.dropped / 4000 == pytest.approx(0.25, abs=0.03)
    assert spread.of == 8000
    assert spread.crossed[0, 0] == pytest.approx(0, abs=1e-12)  # both recalls are always a half


def test_a_class_absent_from_the_key_is_not_counted():
    spread = crossed_bootstrap(
        {"a": [counts([[[5], [0]], [[5], [0]]], [[[10], [0]], [[10], [0]]])]}
    )
    assert spread.estimates[0] == pytest.approx(50)
    assert spread.dropped == 0


def test_a_resample_without_utterances_says_nothing():
    # the second speaker has none of the classes: drawn twice, the plain value stands
    spread = crossed_bootstrap(
        {"a": [counts([[[4, 8]], [[0, 0]]], [[[10, 10]], [[0, 0]]])]}, resamples=4000
    )
    assert spread.estimates[0] == pytest.approx(60)
    assert spread.parts[0, 0, 0] == pytest.approx(0, abs=1e-12)
    assert spread.crossed[0, 0] == pytest.approx(spread.parts[1, 0, 0])
    assert spread.dropped > 0


def test_all_pairs_of_a_target_share_its_speakers():
    rng = np.random.default_rng(2)
    one = random_counts(rng, draws=1)
    two = Counts(**{**vars(one), "pair": Pair("O", "C")})
    alone = crossed_bootstrap({"a": [one]})
    both = crossed_bootstrap({"a": [one, two]})
    assert both.crossed == pytest.approx(alone.crossed)


def test_pairs_without_a_common_corpus_are_independent():
    rng = np.random.default_rng(3)
    one = random_counts(rng, draws=1, speakers=8)
    two = Counts(**{**vars(one), "pair": Pair("O", "E")})
    alone, both = (crossed_bootstrap({"a": items}, resamples=8000) for items in ([one], [one, two]))
    assert both.crossed[0, 0] == pytest.approx(alone.crossed[0, 0] / 2, rel=0.08)


def test_a_method_does_not_differ_from_itself():
    item = random_counts(np.random.default_rng(4))
    found = paired_difference([item], [item])
    assert (found.estimate, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_differences_are_antisymmetric_and_know_no_company():
    rng = np.random.default_rng(5)
    total = np.full((5, 3, 4), 8.0)
    a, b, c = (counts(rng.binomial(8, p, total.shape), total) for p in (0.4, 0.5, 0.6))
    there, back = paired_difference([a], [b]), paired_difference([b], [a])
    assert (there.estimate, there.low) == (pytest.approx(-back.estimate), pytest.approx(-back.high))
    assert there.p == pytest.approx(back.p)
    company = crossed_bootstrap({"c": [c], "b": [b], "a": [a]})
    assert company.difference("a", "b").low == pytest.approx(there.low)
    assert company.mean("c").low == pytest.approx(mean_interval([c]).low)


def test_resampling_is_the_same_every_time():
    items = [random_counts(np.random.default_rng(6))]
    assert mean_interval(items) == mean_interval(items)


def test_a_deterministic_method_may_have_one_draw():
    rng = np.random.default_rng(7)
    total = np.full((4, 3, 5), 8.0)
    trained = counts(rng.binomial(8, 0.6, total.shape), total)
    fitted = counts(rng.binomial(8, 0.4, (4, 3, 1)), np.full((4, 3, 1), 8.0))
    found = paired_difference([trained], [fitted])
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({}, "no method"),
        ({"a": []}, "each once"),
        ({"a": [counts([[[1]]])] * 2}, "each once"),
        ({"a": [counts([[[1]]])], "b": [counts([[[1]]], pair=Pair("B", "O"))]}, "alike for all"),
        ({"a": [counts([[[1]]])], "b": [counts([[[1]], [[1]]])]}, "same speakers"),
    ],
)
def test_what_does_not_belong_together_is_refused(methods, message):
    with pytest.raises(ValueError, match=message):
        crossed_bootstrap(methods)


def test_counts_must_have_the_shape_they_claim():
    with pytest.raises(ValueError, match="do not fit 1 speakers and 2 draws"):
        counts([[[1]]], seeds=(0, 1))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1, 1)
    assert holm([]) == ()


def simulated(rng, speakers, draws):
    """Two methods that are equal on average, in a crossed design with random effects.

    Recall = 0.45 + speaker + speaker x class + draw + draw x class + the same per pair; of each
    effect's variance the methods share four fifths, and half of an utterance's fate is the same
    in all draws. The effects are of the size seen on real speech: draws move a mean of 12 pairs
    by 1.5 points.
    """
    classes, size = 5, 12

    def effect(sd, *shape):
        common = rng.normal(0, sd * math.sqrt(0.8), shape)
        return common + rng.normal(0, sd * math.sqrt(0.2), (2, *shape))

    voices = {c: effect(0.07, n, 1, 1) + effect(0.08, n, classes, 1) for c, n in speakers.items()}
    shots = {c: effect(0.05, 1, 1, draws) + effect(0.1, 1, classes, draws) for c in speakers}
    methods = [], []
    for s, t in itertools.permutations(speakers, 2):
        n = speakers[t]
        chance = 0.45 + voices[t] + shots[s]
        chance = chance + effect(0.04, n, classes, 1) + effect(0.04, 1, classes, draws)
        fate = rng.random((n, classes, 1, size))
        for method, recall in zip(methods, chance, strict=True):
            luck = rng.random((n, classes, draws, size))
            drawn = np.where(rng.random(luck.shape) < 0.5, fate, luck) < recall[..., None]
            shape = np.full(recall.shape, float(size))
            method.append(counts(drawn.sum(axis=-1), shape, pair=Pair(s, t)))
    return methods


def coverage(speakers, draws, simulations, resamples):
    """Percent of intervals that hold the truth: of the mean, and of the difference."""
    rng = np.random.default_rng(20240)
    hits = np.zeros(2)
    for _ in range(simulations):
        one, other = simulated(rng, dict(zip("BCRO", speakers, strict=True)), draws)
        spread = crossed_bootstrap({"one": one, "other": other}, resamples=resamples)
        mean, difference = spread.mean("one"), spread.difference("one", "other")
        hits += mean.low <= 45 <= mean.high, difference.low <= 0 <= difference.high
    return 100 * hits / simulations


def test_intervals_cover_what_they_say():
    mean, difference = coverage((10, 6, 24, 6), 5, 200, 250)
    assert 92 <= mean <= 98
    assert 92 <= difference <= 98


@pytest.mark.slow
@pytest.mark.parametrize(
    ("speakers", "draws"),
    [((10, 4, 24, 6), 5), ((10, 4, 24, 6), 10), ((6, 6, 6, 6), 5), ((4, 4, 4, 4), 5)],
)
def test_intervals_cover_what_they_say_in_many_simulations(speakers, draws, record_property):
    mean, difference = coverage(speakers, draws, 3000, 600)
    record_property("coverage", f"{speakers}, {draws} draws: {mean:.1f} and {difference:.1f}")
    assert 92 <= mean <= 98
    assert 92 <= difference <= 98
