"""With labels of the source held out, a method sees neither these nor any of the target."""

from __future__ import annotations

import functools
import pickle
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench import registry
from clser_bench import splits as building
from clser_bench.corpora.model import Corpus
from clser_bench.features.cache import concatenated
from clser_bench.problem import AnswerKey, Labelled, Outcome, Problem, Rows, Table
from clser_bench.protocol import Condition, Shots
from clser_bench.splits import Fold, Tables, build, draw, holdout
from clser_bench.train.check import example_problem, job
from clser_bench.train.execute import execute
from tests.fake_corpora import content_tables, memory_corpus, permuted

CLASSES, ARRAYS = ("anger", "fear", "sadness"), ("instants", "summary")
COUNTS = {"anger": 40, "disgust": 25, "fear": 30, "sadness": 20}
SOURCE = memory_corpus("S", COUNTS, {"sofia": "female", "simon": "male"})
TARGET = memory_corpus("T", {**COUNTS, "fear": 33})
RULES = Condition(setting="held-out")
NAMES = sorted(registry.entries())
NO_BOUNDS = [name for name in NAMES if registry.load(name).role != "bound"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The source's table, and the target's above the source's, as `run.prepare` makes them."""
    folder = tmp_path_factory.mktemp("tables")
    plain = content_tables(folder)

    def both(source: Corpus, target: Corpus, rows: Rows | None, _: object) -> tuple[Table, Table]:
        own, other = plain(source, target, rows)
        return own, concatenated(other, own, cache=folder)

    return both


def fold_of(
    tables: Tables, source: Corpus = SOURCE, target: Corpus = TARGET, *, shots: Shots = 10
) -> Fold:
    rules: Any = {"classes": CLASSES, "shots": shots, "condition": RULES, "tables": tables}
    [fold] = build(source, target, seed=0, **rules)
    return fold


def seen(problem: Problem) -> list[bytes]:
    """Every byte that a method can read; a pickle would name a folder instead of its arrays."""
    tables = (problem.source, problem.target)
    arrays: list[np.ndarray] = [problem.labelled.rows, problem.labelled.y, problem.unlabelled]
    arrays += [problem.adapt, problem.scored]
    arrays += [array for table in tables for array in (table.instants, table.summary)]
    names = [*problem.classes, *(f"{table.key} {table.folder}" for table in tables)]
    assert {field.name for field in fields(problem)} == set(vars(problem)), "nothing hangs on it"
    return [array.tobytes() for array in arrays] + [n.encode() for n in names]


def held_out(fold: Fold) -> np.ndarray:
    """The source's utterances that are scored."""
    return fold.order[1][fold.problem.scored] - (len(fold.order[1]) - len(fold.order[0]))


def utterances(fold: Fold, rows: Rows) -> list[int]:
    """The source's utterances in some rows of its table."""
    return fold.order[0][rows].tolist()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_permuting_the_target_s_labels_changes_nothing_at_all(tables: Tables, seed: int) -> None:
    before, after = fold_of(tables), fold_of(tables, target=permuted(TARGET, CLASSES, seed))
    assert seen(before.problem) == seen(after.problem)
    assert before.key.y.tobytes() == after.key.y.tobytes()
    assert before.key.names == after.key.names


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(1, 10**6), shots=st.sampled_from([5, 10, 20, "all"]))
def test_other_labels_of_the_held_out_rows_change_the_key_only(
    tables: Tables, seed: int, shots: Shots
) -> None:
    """The draw is what it was (it is stratified); the corpus says other things of these rows."""
    before = fold_of(tables, shots=shots)
    changed = list(SOURCE.utterances)
    for row in held_out(before).tolist():
        label = CLASSES.index(changed[row].emotion)
        changed[row] = replace(changed[row], emotion=CLASSES[(label + 1 + seed % 2) % 3])
    drawn = draw(SOURCE, classes=CLASSES, shots=shots, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "draw", lambda *_, **__: drawn)
        after = fold_of(tables, replace(SOURCE, utterances=tuple(changed)), shots=shots)
    assert seen(before.problem) == seen(after.problem)
    assert not np.any(before.key.y == after.key.y)


@pytest.mark.parametrize("shots", [2, 5, 10, 20, "all"])
def test_held_out_rows_are_not_labelled_and_all_else_of_the_draw_is(tables, shots) -> None:
    fold = fold_of(tables, shots=shots)
    problem, scored = fold.problem, held_out(fold)
    drawn = draw(SOURCE, classes=CLASSES, shots=shots, seed=0)
    known, rest = utterances(fold, problem.labelled.rows), utterances(fold, problem.unlabelled)
    assert not set(scored) & set(known)
    assert set(scored) | set(known) == set(drawn.rows)
    assert set(scored) <= set(rest), "the same to a method as any without a label"
    inside = np.flatnonzero(np.isin(SOURCE.emotions, CLASSES))
    assert sorted(rest) == sorted(set(inside) - set(known))
    for rows in (problem.unlabelled, problem.scored):
        assert (np.diff(rows) > 0).all(), "by row, not by class"
    truth = [CLASSES.index(SOURCE.utterances[row].emotion) for row in known]
    assert problem.labelled.y.tolist() == truth


def test_draws_with_fewer_shots_lie_within_those_with_more(tables: Tables) -> None:
    seen: set[int] = set()
    for shots in (5, 10, 15, 20):
        fold = fold_of(tables, shots=shots)
        rows = {*utterances(fold, fold.problem.labelled.rows), *held_out(fold).tolist()}
        assert len(rows) == 3 * shots
        assert seen < rows
        assert np.bincount(fold.key.y).tolist() == [shots // 5] * 3
        seen = rows


def test_the_joined_table_has_the_target_s_rows_and_the_source_s(tables: Tables) -> None:
    fold = fold_of(tables)
    own, other = content_tables()(SOURCE, TARGET, None)
    for name in ARRAYS:
        both = np.concatenate([getattr(other, name), getattr(own, name)])
        found = getattr(fold.problem.target, name)
        assert found.tobytes() == both[fold.order[1]].tobytes()
        found = getattr(fold.problem.source, name)
        assert found.tobytes() == getattr(own, name)[fold.order[0]].tobytes()


def test_scored_rows_are_the_right_source_utterances_with_their_answers(tables: Tables) -> None:
    fold = fold_of(tables)
    problem, places = fold.problem, np.argsort(fold.order[0])[held_out(fold)]
    found = [SOURCE.utterances[row] for row in held_out(fold)]
    answers = zip(fold.key.names, fold.key.speakers, fold.key.y, strict=True)
    assert [(u.name, u.speaker, u.emotion) for u in found] == [
        (name, speaker, CLASSES[y]) for name, speaker, y in answers
    ]
    np.testing.assert_array_equal(
        problem.target.summary[problem.scored], problem.source.summary[places]
    )


def test_the_target_is_adapted_to_as_ever_and_not_scored(tables: Tables) -> None:
    fold = fold_of(tables)
    inside = np.flatnonzero(np.isin(TARGET.emotions, CLASSES))
    assert sorted(fold.order[1][fold.problem.adapt]) == inside.tolist()
    assert held_out(fold).min() >= 0


def test_nothing_leads_to_names_speakers_or_answers(tables: Tables) -> None:
    every = (*SOURCE.utterances, *TARGET.utterances)
    problem = fold_of(tables).problem
    sent = pickle.dumps(problem)
    assert not [
        item for item in every for word in (item.name, item.speaker) if word.encode() in sent
    ]
    assert not any(isinstance(value, AnswerKey | Fold | Corpus) for value in vars(problem).values())


def test_labelled_rows_are_those_that_hold_out_leaves(tables: Tables) -> None:
    """The target and the method have no say in what is held out."""
    drawn = draw(SOURCE, classes=CLASSES, shots=10, seed=0)
    train, test = holdout(drawn, source="S", seed=0)
    for other in (memory_corpus("U", COUNTS), TARGET):
        fold = fold_of(tables, target=other)
        assert utterances(fold, fold.problem.labelled.rows) == train.rows.tolist()
        assert sorted(held_out(fold)) == sorted(test.rows)
    assert len(train.rows) == 24


def held_out_problem() -> Problem:
    """Three classes; the target's table has the source's rows below its own."""
    problem = example_problem(shots=5)
    own, other = problem.source, problem.target
    instants, summary = (np.concatenate([getattr(t, n) for t in (other, own)]) for n in ARRAYS)
    train, test = holdout(problem.labelled, source="a", seed=0)
    return replace(
        problem,
        target=Table("both", instants, summary),
        labelled=Labelled(train.rows, train.y),
        unlabelled=np.setdiff1d(np.arange(len(own)), train.rows),
        adapt=problem.adapt[:-4],  # not all rows of the target take part
        scored=len(other) + np.sort(np.concatenate([test.rows, problem.unlabelled[:5]])),
    )


PARTS = (np.arange(3), np.arange(3, 8), np.arange(0, 8, 2), np.array([4]))
"""Some of the scored rows: the first, the last, every other, one."""


def moved(problem: Problem) -> Problem:
    """Other features in the scored rows but one."""
    others = np.setdiff1d(np.arange(36, len(problem.target)), problem.scored[:1])
    instants, summary = (np.array(getattr(problem.target, name)) for name in ARRAYS)
    for array in (instants, summary):
        array[others] += 5
    return replace(problem, target=Table("moved", instants, summary))


@functools.cache
def outcomes(name: str) -> list[Outcome]:
    """Of the problem, of its parts and with other features, in one pack."""
    whole = held_out_problem()
    before = seen(whole)
    parts = [replace(whole, scored=whole.scored[chosen]) for chosen in PARTS]
    found = execute([job(name, problem) for problem in (whole, *parts, moved(whole))])
    assert seen(whole) == before
    return found


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("name", NAMES)
def test_every_method_answers_or_says_why_not(name: str) -> None:
    outcome = outcomes(name)[0]
    assert outcome.status in ("ok", "not_applicable"), outcome.reason
    if outcome.status == "ok":
        assert outcome.scores.shape == (8, 3)
        assert np.isfinite(outcome.scores).all()
    else:
        assert outcome.reason


@pytest.mark.parametrize("name", NO_BOUNDS)
def test_a_row_s_scores_do_not_depend_on_the_other_scored_rows(name: str) -> None:
    whole, *some, _ = outcomes(name)
    if whole.status != "ok":
        pytest.skip(whole.reason)
    for chosen, part in zip(PARTS, some, strict=True):
        np.testing.assert_allclose(part.scores, whole.scores[chosen], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NO_BOUNDS)
def test_what_the_source_s_rows_below_hold_is_not_adapted_to(name: str) -> None:
    """With other features in the scored rows but one, that one's scores stay as they are."""
    same, *_, other = outcomes(name)
    assert other.status == same.status
    if same.status == "ok":
        np.testing.assert_allclose(other.scores[0], same.scores[0], rtol=1e-4, atol=1e-4)
