"""The k-shot draws, nested and independent of all else, and the fifth of them that is held out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.errors import CorpusError
from clser_bench.problem import Labelled
from clser_bench.protocol import EMOTIONS
from clser_bench.splits import draw, holdout, labelled_rows
from tests.fake_corpora import memory_corpus

COUNTS = {"anger": 20, "disgust": 12, "fear": 20, "neutral": 30, "sadness": 13}
CORPUS = memory_corpus("X", COUNTS)
CLASSES = ("anger", "fear", "neutral", "sadness")

seeds = st.integers(0, 10**6)


def by_class(shots: int, seed: int, classes: tuple[str, ...] = CLASSES) -> dict[str, list[int]]:
    drawn = draw(CORPUS, classes=classes, shots=shots, seed=seed)
    return {name: drawn.rows[drawn.y == index].tolist() for index, name in enumerate(classes)}


@settings(max_examples=50)
@given(seeds, st.integers(1, 13))
def test_k_of_each_class_without_repetition(seed, shots):
    for emotion, rows in by_class(shots, seed).items():
        assert len(set(rows)) == len(rows) == shots
        assert {CORPUS.utterances[row].emotion for row in rows} == {emotion}


@settings(max_examples=50)
@given(seeds, st.integers(1, 12), st.integers(1, 12))
def test_fewer_shots_lie_within_more(seed, one, other):
    few, many = by_class(min(one, other), seed), by_class(max(one, other), seed)
    for emotion in CLASSES:
        assert many[emotion][: len(few[emotion])] == few[emotion]


@settings(max_examples=50)
@given(seeds, st.sets(st.sampled_from(sorted(COUNTS)), min_size=1))
def test_a_class_s_draw_does_not_depend_on_the_others(seed, chosen):
    classes = tuple(emotion for emotion in EMOTIONS if emotion in chosen)
    whole = by_class(5, seed, tuple(sorted(COUNTS)))
    for emotion, rows in by_class(5, seed, classes).items():
        assert rows == whole[emotion]


def test_seeds_and_corpora_differ():
    draws = {str(by_class(5, seed)) for seed in range(20)}
    assert len(draws) == 20
    other = draw(memory_corpus("Y", COUNTS), classes=CLASSES, shots=5, seed=0)
    assert other.rows.tolist() != draw(CORPUS, classes=CLASSES, shots=5, seed=0).rows.tolist()


def test_every_utterance_is_drawn_as_often():
    drawn = np.concatenate([by_class(5, seed)["anger"] for seed in range(400)])
    _, times = np.unique(drawn, return_counts=True)
    assert len(times) == 20
    assert np.abs(times - 100).max() < 45  # 5 standard deviations of 8.7


def test_all_takes_all_by_row_whatever_the_seed():
    first, second = (draw(CORPUS, classes=CLASSES, shots="all", seed=seed) for seed in (0, 1))
    rows, y = labelled_rows(CORPUS, CLASSES)
    assert len(rows) == 83
    assert (np.diff(rows) > 0).all()
    for drawn in (first, second):
        np.testing.assert_array_equal(drawn.rows, rows)
        np.testing.assert_array_equal(drawn.y, y)


def test_a_draw_is_what_it_always_was():
    """Pins the permutation: a change would move every few-shot number there is."""
    assert by_class(3, 0)["anger"] == [79, 84, 0]


@pytest.mark.parametrize(
    ("classes", "shots", "message"),
    [
        (CLASSES, 14, r"14 labelled utterances per class .*, but sadness has 13; ask for fewer"),
        (("anger", "boredom"), "all", r"boredom has 0; complete the corpus"),
    ],
)
def test_too_few(classes, shots, message):
    with pytest.raises(CorpusError, match=message):
        draw(CORPUS, classes=classes, shots=shots, seed=0)


def labelled(counts: list[int], *, order: int = 0) -> Labelled:
    y = np.repeat(np.arange(len(counts)), counts)
    rows = np.random.default_rng(order).choice(10_000, len(y), replace=False)
    return Labelled(rows.astype(np.int64), y.astype(np.int64))


def test_of_a_draw_a_fifth_of_each_class_is_held_out_and_the_rest_stays_in_order():
    drawn = labelled([1, 2, 5, 9, 10, 14, 15, 20])
    train, held = holdout(drawn, source="B", seed=0)
    assert np.bincount(held.y).tolist() == [0, 1, 1, 1, 2, 2, 3, 4]
    truth = dict(zip(drawn.rows.tolist(), drawn.y.tolist(), strict=True))
    for part in (train, held):
        assert [truth[row] for row in part.rows.tolist()] == part.y.tolist()
    assert train.rows.tolist() == [row for row in truth if row not in held.rows]


def test_held_out_rows_depend_on_source_draw_and_their_own_class_alone():
    drawn = labelled([20, 20])
    first = holdout(drawn, source="B", seed=0)[1]
    assert holdout(drawn, source="B", seed=0)[1].rows.tolist() == first.rows.tolist()
    assert holdout(drawn, source="B", seed=1)[1].rows.tolist() != first.rows.tolist()
    assert holdout(drawn, source="C", seed=0)[1].rows.tolist() != first.rows.tolist()
    alone = holdout(Labelled(drawn.rows[20:], drawn.y[20:]), source="B", seed=0)[1]
    assert first.rows[first.y == 1].tolist() == alone.rows.tolist()


def test_every_utterance_is_held_out_as_often():
    """2 of 10, 400 draws: 80 each, binomial deviation 8; five deviations."""
    drawn = labelled([10])
    held = np.concatenate([holdout(drawn, source="B", seed=seed)[1].rows for seed in range(400)])
    times = [int(np.sum(held == row)) for row in drawn.rows]
    assert sum(times) == 800
    assert all(abs(count - 80) < 40 for count in times)
