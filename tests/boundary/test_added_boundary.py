"""Added corpora are speech without labels: never an answer, never scored, never what both have."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.corpora.model import Corpus
from clser_bench.hashing import generator
from clser_bench.problem import Table
from clser_bench.protocol import Condition, Pair
from clser_bench.splits import Fold, build, sides
from tests.fake_corpora import content_tables, memory_corpus
from tests.records import trial

CLASSES = ("anger", "fear", "sadness")
COUNTS = {"anger": 12, "disgust": 8, "fear": 10, "sadness": 9}
SOURCE = memory_corpus("M", COUNTS, language="de")
TARGET = memory_corpus("T", COUNTS, language="pl")
ADDED = (
    memory_corpus("A", COUNTS, language="pl"),  # stands before the target, which it joins
    memory_corpus("G", {"boredom": 7, "fear": 3}, language="de"),
    memory_corpus("Z", COUNTS, language="tr"),
)
CONDITIONS = [Condition(setting=s) for s in ("transductive", "inductive", "held-out")]


def folds_of(condition: Condition, added: tuple[Corpus, ...] = ADDED) -> tuple[Fold, ...]:
    def tables(*asked: Any) -> tuple[Table, Table]:
        own, other = content_tables()(*asked)
        if condition.setting != "held-out":
            return own, other
        names, both = ("instants", "summary"), (other, own)
        arrays = {name: np.concatenate([getattr(t, name) for t in both]) for name in names}
        return own, replace(other, **arrays)

    return build(
        SOURCE, TARGET, classes=CLASSES, shots=5, seed=0, condition=condition, tables=tables,
        added=added,
    )  # fmt: skip


def relabelled(corpus: Corpus, seed: int) -> Corpus:
    """Emotions, speakers, genders and names of a corpus put in another order."""
    order = generator("test", seed).permutation(len(corpus.utterances))
    moved = zip(corpus.contents, (corpus.utterances[place] for place in order), strict=True)
    return replace(corpus, utterances=tuple(replace(item, content=own) for own, item in moved))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.setting)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_labels_and_speakers_of_added_corpora_change_nothing(condition, seed) -> None:
    before = folds_of(condition)
    after = folds_of(condition, tuple(relabelled(corpus, seed) for corpus in ADDED))
    for one, other in zip(before, after, strict=True):
        assert pickle.dumps(one.problem) == pickle.dumps(other.problem)
        assert (one.key.y == other.key.y).all()
        assert one.key.names == other.key.names


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.setting)
def test_every_row_is_where_it_belongs(condition: Condition) -> None:
    """By content: labelled and answers are those without added speech, which is unlabelled only."""
    first, second = sides(SOURCE, TARGET, ADDED)
    codes = [[corpus.spec.code for corpus in side.corpora] for side in (first, second)]
    assert codes == [["G", "M", "Z"], ["A", "T"]]
    ours = [item.content for item in first.utterances]
    theirs = [item.content for item in (*second.utterances, *first.utterances)]
    plain = folds_of(condition, ())
    for fold, own in zip(folds_of(condition), plain, strict=True):
        problem, order = fold.problem, [ours, theirs]
        contents = [[order[side][row] for row in fold.order[side]] for side in (0, 1)]
        drawn = [SOURCE.utterances[row].content for row in own.order[0][own.problem.labelled.rows]]
        assert [contents[0][row] for row in problem.labelled.rows] == drawn
        assert problem.labelled.y.tolist() == own.problem.labelled.y.tolist()
        unlabelled = {SOURCE.utterances[r].content for r in own.order[0][own.problem.unlabelled]}
        found = [contents[0][row] for row in problem.unlabelled]
        assert set(found) - unlabelled == set(ADDED[1].contents) | set(ADDED[2].contents)
        assert set(found) > unlabelled
        rest = [content for content in found if content not in unlabelled]
        assert [contents[0][row] for row in problem.added] == rest
        assert len(set(found)) == len(found)
        adapted = {TARGET.utterances[r].content for r in own.order[1][own.problem.adapt]}
        assert {contents[1][row] for row in problem.adapt} == adapted | set(ADDED[0].contents)
        answers, plain_ones = (
            sorted(zip(key.names, key.y.tolist(), strict=True)) for key in (fold.key, own.key)
        )
        assert answers == plain_ones
        corpus = SOURCE if condition.setting == "held-out" else TARGET
        scored = [contents[1][row] for row in problem.scored]
        named = {item.content: item.name for item in corpus.utterances}
        assert [named[content] for content in scored] == list(fold.key.names)
        for rows in (problem.unlabelled, problem.added, problem.adapt, problem.scored):
            assert (np.diff(rows) > 0).all()


def test_rows_hold_the_features_of_their_corpus() -> None:
    [fold] = folds_of(Condition())
    own = content_tables()(SOURCE, TARGET, None, ADDED)
    for side, table in enumerate((fold.problem.source, fold.problem.target)):
        np.testing.assert_array_equal(table.summary, own[side].summary[fold.order[side]])


def test_what_source_or_target_or_another_added_corpus_has_is_left_out() -> None:
    items, there = ADDED[2].utterances, (SOURCE.contents[:4], ADDED[0].contents[:3])
    both = zip(items[:12], (*TARGET.contents[:5], *there[0], *there[1]), strict=True)
    copies = [replace(item, content=content) for item, content in both]
    mixed = replace(ADDED[2], utterances=(*copies, *items[12:]))
    first, second = sides(SOURCE, TARGET, (ADDED[0], mixed))
    left = [first.utterances[row].content for row in first.added]
    assert left == [item.content for item in items[12:]]
    assert len(second.added) == len(ADDED[0].utterances)


def test_of_one_language_all_is_added_to_the_source() -> None:
    same = memory_corpus("S", COUNTS, language="pl")
    first, second = sides(same, TARGET, ADDED)
    assert len(first.corpora) == 4
    assert second.corpora == (TARGET,)
    assert len(second.added) == 0


def test_a_trial_without_added_speech_has_the_id_that_it_had() -> None:
    """The hash of version 1 rules; a table that adds corpora shows the same trial."""
    plain = trial("logistic", "B->C", protocol_version=1)
    assert plain.id == "3c4ad68dae9ab7982daad9eda98a0766cd9644227676030192e22431278c8b8e"
    asked = replace(plain, condition=plain.condition.replace(unlabelled=("N", "O")))
    assert asked.id == plain.id
    added = [replace(asked, added=codes) for codes in (("N:1", "O:2"), ("N:1",), ("N:1", "O:3"))]
    assert len({one.id for one in (plain, *added)}) == 4
    assert plain.pair == Pair("B", "C")
