"""A problem holds no answers: not in its values, not in its order, not behind an attribute."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.corpora.definitions import classes_of
from clser_bench.corpora.model import Corpus
from clser_bench.problem import AnswerKey, Problem
from clser_bench.protocol import Condition
from clser_bench.splits import Fold, build
from tests.fake_corpora import content_tables, memory_corpus, permuted

CLASSES = ("anger", "fear", "sadness")
COUNTS = {"anger": 40, "disgust": 25, "fear": 30, "sadness": 20}
SOURCE = memory_corpus("S", COUNTS, {"sofia": "female", "simon": "male"})
TARGET = memory_corpus("T", COUNTS)
CONDITIONS = [Condition(), Condition(setting="inductive")]


def folds_of(
    source: Corpus, target: Corpus, condition: Condition, folder: Path | None = None, **more: Any
) -> tuple[Fold, ...]:
    rules = {"classes": CLASSES, "shots": 5, "seed": 0, "tables": content_tables(folder), **more}
    return build(source, target, condition=condition, **rules)


def reached(value: object, seen: dict[int, object]) -> Iterator[object]:
    """Everything that attributes, items and slots lead to, once."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    yield value
    if isinstance(value, dict):
        below: list[object] = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        below = list(value)
    elif isinstance(value, np.ndarray):
        below = [value.base]
    else:
        below = list(getattr(value, "__dict__", {}).values())
        slots = getattr(type(value), "__slots__", ())
        below += [getattr(value, name) for name in slots if hasattr(value, name)]
    for item in below:
        yield from reached(item, seen)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.setting)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_permuting_the_target_s_labels_changes_the_key_only(condition, seed) -> None:
    before = folds_of(SOURCE, TARGET, condition)
    after = folds_of(SOURCE, permuted(TARGET, CLASSES, seed), condition)
    for one, other in zip(before, after, strict=True):
        assert pickle.dumps(one.problem) == pickle.dumps(other.problem)
        assert one.key.names == other.key.names
        assert not np.array_equal(one.key.y, other.key.y)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.setting)
def test_only_the_draw_has_labels(condition: Condition) -> None:
    """Five of each class, and the rest of the source without regard to class, in row order."""
    for fold in folds_of(SOURCE, TARGET, condition):
        problem = fold.problem
        assert np.bincount(problem.labelled.y).tolist() == [5, 5, 5]
        inside = np.flatnonzero(np.isin(SOURCE.emotions[fold.order[0]], CLASSES))
        rest = set(inside.tolist()) - set(problem.labelled.rows.tolist())
        assert problem.unlabelled.tolist() == sorted(rest)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.setting)
def test_nothing_leads_to_names_speakers_or_answers(condition: Condition, tmp_path: Path) -> None:
    every = (*SOURCE.utterances, *TARGET.utterances)
    secrets = {word for item in every for word in (item.name, item.speaker)}
    for fold in folds_of(SOURCE, TARGET, condition, tmp_path):
        instants = fold.problem.target.instants
        found = list(reached(fold.problem, {}))
        assert any(value is instants for value in found)
        assert not any(isinstance(value, AnswerKey | Fold | Corpus) for value in found)
        assert not [value for value in found if isinstance(value, str) and value in secrets]
        for array in (value for value in found if isinstance(value, np.ndarray)):
            assert array.dtype.kind in "fiuVb"
            if array.shape == fold.key.y.shape:
                assert not np.array_equal(array, fold.key.y)
        sent = pickle.dumps(fold.problem)
        assert not [secret for secret in secrets if secret.encode() in sent]


def test_the_walk_would_see_a_leak() -> None:
    """The walk of the test above does find a key that hangs on an array's owner."""
    [fold] = folds_of(SOURCE, TARGET, Condition())
    object.__setattr__(fold.problem.source, "hint", [{"deep": fold.key}])
    assert any(isinstance(value, AnswerKey) for value in reached(fold.problem, {}))


def test_a_problem_on_disk_travels_light_and_arrives_whole(tmp_path: Path) -> None:
    big = memory_corpus("T", dict.fromkeys(CLASSES, 600))
    [fold] = folds_of(SOURCE, big, Condition(), tmp_path)
    sent = pickle.dumps(fold.problem)
    assert len(sent) < 200_000
    back = pickle.loads(sent)
    assert isinstance(back, Problem)
    for name in ("unlabelled", "adapt", "scored"):
        np.testing.assert_array_equal(getattr(back, name), getattr(fold.problem, name))
    np.testing.assert_array_equal(back.target.instants, fold.problem.target.instants)
    np.testing.assert_array_equal(back.labelled.rows, fold.problem.labelled.rows)


def neighbours(labels: np.ndarray) -> float:
    """Share of neighbouring rows with the same label."""
    return float(np.mean(labels[1:] == labels[:-1]))


def assert_independent(labels: np.ndarray) -> None:
    """Neighbours alike as often as by chance, and no class earlier than another: 4 deviations."""
    _, counts = np.unique(labels, return_counts=True)
    share = np.sum(counts * (counts - 1)) / (len(labels) * (len(labels) - 1))
    deviation = np.sqrt(share * (1 - share) / len(labels))
    assert abs(neighbours(labels) - share) < 4 * deviation
    places = np.arange(len(labels)) / len(labels)
    for label in np.unique(labels):
        own = places[labels == label]
        assert abs(own.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(own))


def test_row_and_label_are_independent_though_paths_and_labels_agree() -> None:
    corpus = memory_corpus("T", dict.fromkeys(CLASSES, 700))
    by_path = sorted(corpus.utterances, key=lambda item: item.name)
    assert neighbours(np.array([item.emotion for item in by_path])) > 0.99
    assert_independent(corpus.emotions)
    [fold] = folds_of(SOURCE, corpus, Condition())
    assert_independent(fold.key.y)


def test_a_row_number_of_one_pair_means_nothing_in_another() -> None:
    """As a source, as another's target, and as a target with fewer classes the order is another."""
    third = memory_corpus("X", dict.fromkeys(("anger", "fear"), 20))
    [one], [back] = (folds_of(*pair, Condition()) for pair in ((SOURCE, TARGET), (TARGET, SOURCE)))
    [other] = folds_of(third, TARGET, Condition(), classes=("anger", "fear"))
    for first, second in ((one.order[1], back.order[0]), (one.order[1], other.order[1])):
        assert np.mean(first == second) < 0.1, "by chance one of 115 rows keeps its place"
    every = [one, back, other]
    assert len({table.key for f in every for table in (f.problem.source, f.problem.target)}) == 6


def test_rows_hold_the_utterance_that_the_answers_name(tmp_path: Path) -> None:
    stored = content_tables(tmp_path)(SOURCE, TARGET, None)
    [fold] = folds_of(SOURCE, TARGET, Condition(), tmp_path)
    names = [TARGET.utterances[row].name for row in fold.order[1][fold.problem.scored]]
    assert list(fold.key.names) == names
    tables = (fold.problem.source, fold.problem.target)
    for table, own, order in zip(tables, stored, fold.order, strict=True):
        np.testing.assert_array_equal(table.summary, own.summary[order])
        np.testing.assert_array_equal(table.instants, own.instants[order])
        assert sorted(order.tolist()) == list(range(len(table)))
    labelled = fold.problem.labelled
    emotions = SOURCE.emotions[fold.order[0][labelled.rows]]
    assert emotions.tolist() == [CLASSES[y] for y in labelled.y]


def test_all_draws_of_a_pair_share_their_tables() -> None:
    sides = content_tables()(SOURCE, TARGET, None)
    problems = []
    for seed, shots in ((0, 5), (1, 5), (0, 10)):
        rules: dict[str, Any] = {"seed": seed, "shots": shots, "tables": lambda *_: sides}
        problems.append(folds_of(SOURCE, TARGET, Condition(), **rules)[0].problem)
    assert len({id(problem.source) for problem in problems}) == 1
    assert len({id(problem.target) for problem in problems}) == 1
    first, second = pickle.loads(pickle.dumps(problems[:2]))
    assert first.target is second.target
    np.testing.assert_array_equal(first.target.summary, problems[0].target.summary)


@pytest.mark.real_speech
@pytest.mark.parametrize("code", ["B", "C", "O", "R"])
def test_row_and_label_are_independent_on_real_speech(read_real, code: str) -> None:
    corpus = read_real(code)
    assert_independent(corpus.emotions)
    assert_independent(corpus.speakers)
    by_path = sorted(corpus.utterances, key=lambda item: item.name)
    listed = zip(*((item.emotion, item.speaker) for item in by_path), strict=True)
    assert max(neighbours(np.array(words)) for words in listed) > 0.8, "in path order alike"


@pytest.mark.real_speech
def test_permuting_real_labels(read_real: Callable[[str], Corpus]) -> None:
    source, target = read_real("B"), read_real("O")
    classes = classes_of(source.spec, target.spec)
    for condition in CONDITIONS:
        before = folds_of(source, target, condition, classes=classes)
        after = folds_of(source, permuted(target, classes, 0), condition, classes=classes)
        for one, other in zip(before, after, strict=True):
            assert pickle.dumps(one.problem) == pickle.dumps(other.problem)
            assert not np.array_equal(one.key.y, other.key.y)
