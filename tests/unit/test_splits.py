"""Problems and answer keys: rows, statistics, priors; draws, and what of them is held out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.corpora.definitions import classes_of
from clser_bench.corpora.model import Corpus, rows_of_part
from clser_bench.errors import CorpusError
from clser_bench.problem import Labelled, Table
from clser_bench.protocol import EMOTIONS, Condition
from clser_bench.splits import (
    Fold,
    build,
    draw,
    holdout,
    labelled_rows,
    speaker_folds,
    target_rows,
)
from tests.fake_corpora import content_tables, memory_corpus

CLASSES = ("anger", "fear", "sadness")
SOURCE = memory_corpus("S", {"anger": 9, "boredom": 8, "fear": 7, "sadness": 11})
TARGET = memory_corpus("T", {"anger": 20, "disgust": 6, "fear": 20, "sadness": 12})
TRANSDUCTIVE, INDUCTIVE = Condition(), Condition(setting="inductive")
COUNTS = {"anger": 20, "disgust": 12, "fear": 20, "neutral": 30, "sadness": 13}
CORPUS = memory_corpus("X", COUNTS)
FOUR = ("anger", "fear", "neutral", "sadness")


def folds(condition: Condition = TRANSDUCTIVE, **more: Any) -> tuple[Fold, ...]:
    given = {"classes": CLASSES, "shots": 3, "seed": 0, "tables": content_tables(), **more}
    return build(SOURCE, TARGET, condition=condition, **given)


def rows_of(seed: int, condition: Condition, target: Corpus = TARGET) -> np.ndarray:
    return target_rows(target, classes=CLASSES, seed=seed, condition=condition)


def counts_of(rows: np.ndarray, target: Corpus = TARGET) -> np.ndarray:
    return np.array([np.sum(target.emotions[rows] == emotion) for emotion in CLASSES])


def test_transductive():
    [fold] = folds()
    problem, key = fold.problem, fold.key
    assert problem.classes == key.classes == CLASSES
    source_rows, _ = labelled_rows(SOURCE, CLASSES)
    target, y = labelled_rows(TARGET, CLASSES)
    np.testing.assert_array_equal(rows_of(7, TRANSDUCTIVE), target)
    together = np.concatenate([problem.labelled.rows, problem.unlabelled])
    np.testing.assert_array_equal(np.sort(fold.order[0][together]), source_rows)
    np.testing.assert_array_equal(problem.adapt, problem.scored)
    scored = fold.order[1][problem.scored]
    np.testing.assert_array_equal(np.sort(scored), target)
    np.testing.assert_array_equal(key.y, y[np.searchsorted(target, scored)])
    first = TARGET.utterances[scored[0]]
    assert (key.names[0], key.speakers[0]) == (first.name, first.speaker)
    for rows in (problem.unlabelled, problem.adapt, problem.scored):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
    assert len(folds(shots="all")[0].problem.unlabelled) == 0


def test_inductive_halves_change_places():
    asked = []
    plain = content_tables()

    def tables(source: Corpus, target: Corpus, rows: np.ndarray, _: object) -> object:
        asked.append((target.spec.code, rows))
        return plain(source, target, rows)

    first, second = folds(INDUCTIVE, tables=tables)
    np.testing.assert_array_equal(first.problem.adapt, second.problem.scored)
    np.testing.assert_array_equal(first.problem.scored, second.problem.adapt)
    everything, _ = labelled_rows(TARGET, CLASSES)
    together = np.concatenate([first.problem.scored, second.problem.scored])
    np.testing.assert_array_equal(first.order[1], second.order[1])
    np.testing.assert_array_equal(np.sort(first.order[1][together]), everything)
    assert not set(first.key.speakers) & set(second.key.speakers)
    for fold, (code, rows) in zip((first, second), asked, strict=True):
        assert code == "T"
        speakers = set(TARGET.speakers[rows])
        assert not speakers & set(fold.key.speakers)
        # every utterance of those speakers, of other classes too
        np.testing.assert_array_equal(rows, np.flatnonzero(np.isin(TARGET.speakers, [*speakers])))


def test_halves_are_balanced_and_depend_on_the_corpus_only():
    genders = {f"f{i}": "female" for i in range(5)} | {f"m{i}": "male" for i in range(3)}
    one, two = speaker_folds(memory_corpus("T", {"anger": 16, "fear": 16}, genders))
    assert (len(one), len(two)) == (4, 4)
    assert not one & two
    for half in (one, two):
        count = Counter(genders[speaker] for speaker in half)
        assert count["female"] in (2, 3)
        assert count["male"] in (1, 2)
    assert speaker_folds(memory_corpus("T", {"anger": 16, "sadness": 30}, genders)) == (one, two)


def test_targets_without_halves_or_classes():
    with pytest.raises(CorpusError, match="has one speaker"):
        speaker_folds(memory_corpus("T", {"anger": 2, "fear": 2}, {"ulla": "female"}))
    corpus = memory_corpus("T", {"anger": 4, "fear": 4, "neutral": 4}, {"a": "male", "b": "male"})
    apart = [
        item for item in corpus.utterances if (item.speaker == "b") == (item.emotion == "neutral")
    ]
    target = replace(corpus, utterances=tuple(apart))
    assert set(target.speakers) == {"a", "b"}
    given: dict[str, Any] = {"shots": 1, "seed": 0, "tables": content_tables()}
    with pytest.raises(CorpusError, match="a half of its speakers has no utterance"):
        build(SOURCE, target, classes=("anger", "fear"), condition=INDUCTIVE, **given)
    with pytest.raises(CorpusError, match=r"Toy T \(T\) in .* has no utterance of boredom"):
        target_rows(TARGET, classes=("anger", "boredom"), seed=0, condition=TRANSDUCTIVE)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_dirichlet_prior(seed, concentration):
    condition = Condition(prior=f"dirichlet:{concentration}")
    rows = rows_of(seed, condition)
    counts = counts_of(rows)
    assert (np.diff(rows) > 0).all()
    assert len(rows) == counts.sum()
    assert (counts >= 2).all()
    assert (counts <= [20, 20, 12]).all()
    assert (counts == [20, 20, 12]).any(), "as large as possible"
    np.testing.assert_array_equal(rows, rows_of(seed, condition))


def test_dirichlet_shares_have_the_right_spread():
    """With concentration 1 and three classes a share has mean 1/3 and variance 1/18."""
    big = memory_corpus("T", dict.fromkeys(CLASSES, 2000))
    condition = Condition(prior="dirichlet:1")
    counts = np.array([counts_of(rows_of(seed, condition, big), big) for seed in range(300)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.mean(shares, axis=0), 1 / 3, atol=0.05)
    np.testing.assert_allclose(np.var(shares, axis=0), 1 / 18, atol=0.012)


def test_extreme_concentrations():
    """Small ones give shares of 0 and of 1e-310, where a quotient overflows; large ones balance."""
    small, large = Condition(prior="dirichlet:0.003"), Condition(prior="dirichlet:1e9")
    for seed in range(300):
        assert (counts_of(rows_of(seed, small)) >= 2).all()
    assert set(counts_of(rows_of(0, large))) <= {11, 12}


@pytest.mark.parametrize("setting", ["transductive", "inductive", "held-out"])
def test_statistics_are_those_of_the_resampled_target(setting):
    """The corpus that an imbalanced target was drawn from would give away what it lacks."""
    asked = []
    plain = content_tables()

    def tables(source: Corpus, target: Corpus, rows: np.ndarray, _: object) -> object:
        asked.append(rows)
        first, second = plain(source, target, rows)
        if setting != "held-out":
            return first, second
        instants = np.concatenate([second.instants, first.instants])
        return first, Table("both", instants, np.concatenate([second.summary, first.summary]))

    condition = Condition(prior="dirichlet:1", setting=setting)
    made = folds(condition, tables=tables, seed=3)
    for fold, rows in zip(made, asked, strict=True):
        np.testing.assert_array_equal(rows, np.sort(fold.order[1][fold.problem.adapt]))
    chosen = rows_of(3, condition)
    assert len(chosen) < len(labelled_rows(TARGET, CLASSES)[0])
    np.testing.assert_array_equal(np.sort(np.concatenate(asked)), chosen)


def test_parts_of_a_corpus():
    """Halves of speakers and of sentences cover the corpus once, with both genders in each half."""
    items = [
        replace(item, speaker=f"s{row % 8}", gender="female" if row % 8 < 4 else "male", text=text)
        for row, (item, text) in enumerate(zip(TARGET.utterances, "abcdefgh" * 9, strict=False))
    ]
    for one, other in (("first", "second"), ("a", "b"), ("female", "male")):
        rows = [rows_of_part(items, f"T.{word}") for word in (one, other)]
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(len(items)))
    first, second = (rows_of_part(items, f"T.{half}") for half in ("first", "second"))
    assert {items[row].speaker for row in first}.isdisjoint(items[row].speaker for row in second)
    for half in (first, second):
        assert Counter(items[row].gender for row in half).keys() == {"female", "male"}
    both = rows_of_part(items, "T.first.a")
    np.testing.assert_array_equal(both, np.intersect1d(first, rows_of_part(items, "T.a")))
    assert len(rows_of_part(items, "T")) == len(items)


@pytest.mark.real_speech
def test_counts_per_pair(read_real):
    for source, target, *counts in (
        ("B", "C", 5, 408, 1000),
        ("B", "O", 6, 454, 504),
        ("C", "O", 6, 1200, 504),
        ("B", "R", 6, 454, 1055),
        ("C", "R", 6, 1200, 1055),
        ("O", "R", 7, 588, 1247),  # a sad recording of RAVDESS is a copy of another
    ):
        corpora = read_real(source), read_real(target)
        shared = classes_of(corpora[0].spec, corpora[1].spec)
        sizes = [len(labelled_rows(corpus, shared)[0]) for corpus in corpora]
        assert [len(shared), *sizes] == counts


def by_class(shots: int, seed: int, classes: tuple[str, ...] = FOUR) -> dict[str, list[int]]:
    drawn = draw(CORPUS, classes=classes, shots=shots, seed=seed)
    return {name: drawn.rows[drawn.y == index].tolist() for index, name in enumerate(classes)}


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 13))
def test_k_of_each_class_without_repetition(seed, shots):
    for emotion, rows in by_class(shots, seed).items():
        assert len(set(rows)) == len(rows) == shots
        assert {CORPUS.utterances[row].emotion for row in rows} == {emotion}


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_fewer_shots_lie_within_more(seed, one, other):
    few, many = by_class(min(one, other), seed), by_class(max(one, other), seed)
    for emotion in FOUR:
        assert many[emotion][: len(few[emotion])] == few[emotion]


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.sets(st.sampled_from(sorted(COUNTS)), min_size=1))
def test_a_class_s_draw_does_not_depend_on_the_others(seed, chosen):
    classes = tuple(emotion for emotion in EMOTIONS if emotion in chosen)
    whole = by_class(5, seed, tuple(sorted(COUNTS)))
    for emotion, rows in by_class(5, seed, classes).items():
        assert rows == whole[emotion]


def test_seeds_and_corpora_differ():
    draws = {str(by_class(5, seed)) for seed in range(20)}
    assert len(draws) == 20
    other = draw(memory_corpus("Y", COUNTS), classes=FOUR, shots=5, seed=0)
    assert other.rows.tolist() != draw(CORPUS, classes=FOUR, shots=5, seed=0).rows.tolist()


def test_every_utterance_is_drawn_as_often():
    drawn = np.concatenate([by_class(5, seed)["anger"] for seed in range(400)])
    _, times = np.unique(drawn, return_counts=True)
    assert len(times) == 20
    assert np.abs(times - 100).max() < 45  # 5 standard deviations of 8.7


def test_all_takes_all_by_row_whatever_the_seed():
    first, second = (draw(CORPUS, classes=FOUR, shots="all", seed=seed) for seed in (0, 1))
    rows, y = labelled_rows(CORPUS, FOUR)
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
        (FOUR, 14, r"14 labelled utterances per class .*, but sadness has 13; ask for fewer"),
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
