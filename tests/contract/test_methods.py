"""The contract, over every registered method: a new one is covered with no new test."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_corpora import content_tables, memory_corpus, permuted
from typer.testing import CliRunner

from clser_bench import registry
from clser_bench.cli.main import app
from clser_bench.hashing import digest_array
from clser_bench.problem import Job, Labelled, Outcome, Problem, Table
from clser_bench.protocol import Condition, Setting
from clser_bench.splits import build
from clser_bench.train.contract import POINTS, Fitted, Trained
from clser_bench.train.execute import execute
from clser_bench.train.loop import train_one
from clser_bench.train.pack import train_pack
from clser_bench.train.packing import group_key, pack_limit
from tests.problems import random_problem

COUNTS = {"anger": 14, "disgust": 5, "fear": 12, "sadness": 10}
SOURCE = memory_corpus("S", COUNTS, {"sofia": "female", "simon": "male"})
TARGET = memory_corpus("T", COUNTS)

NAMES = sorted(registry.entries())
SHORT = {"steps": 6, "target_batch": 12, "source_batch": 12}


def make(name: str) -> Fitted | Trained:
    cls = registry.load(name)
    method: Fitted | Trained = registry.create(name, SHORT if issubclass(cls, Trained) else {})
    return method


def job(name: str, problem: Problem, *, seed: int = 3, label: str = "job") -> Job:
    return Job(
        id=label, method=name, parameters=make(name).parameters(), problem=problem, seed=seed
    )


def run(name: str, problem: Problem, *, seed: int = 3) -> Outcome:
    return execute([job(name, problem, seed=seed)])[0]


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes_and_inputs_unchanged(name: str) -> None:
    problem = random_problem()
    before = [
        digest_array(t.instants) + digest_array(t.summary) for t in (problem.source, problem.target)
    ]
    first, second = run(name, problem), run(name, problem)
    assert first.status == "ok", first.reason
    assert first.scores.shape == (36, 3)
    assert first.scores.dtype == np.float32
    assert first.scores.tobytes() == second.scores.tobytes()
    after = [
        digest_array(t.instants) + digest_array(t.summary) for t in (problem.source, problem.target)
    ]
    assert before == after


@pytest.mark.parametrize("name", NAMES)
def test_deterministic_methods_say_so_truly(name: str) -> None:
    problem = random_problem()
    same = (
        run(name, problem, seed=1).scores.tobytes() == run(name, problem, seed=2).scores.tobytes()
    )
    assert same == make(name).deterministic


@pytest.mark.parametrize("name", [n for n in NAMES if registry.load(n).kind == "trained"])
def test_pack_equals_loop(name: str) -> None:
    method = make(name)
    assert isinstance(method, Trained)
    methods = [replace(method, learning_rate=rate) for rate in (1e-3, 1e-2, 3e-3)]
    problems = [random_problem("a"), random_problem("b"), random_problem("b")]
    packed = train_pack(methods, problems, [1, 2, 3], dtype=torch.float64)
    for one, problem, seed, result in zip(methods, problems, [1, 2, 3], packed, strict=True):
        alone = train_one(one, problem, seed, dtype=torch.float64)
        np.testing.assert_allclose(result.scores, alone.scores, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in NAMES if registry.load(n).role != "bound"])
def test_permuted_target_rows_give_permuted_scores(name: str) -> None:
    """A row number says nothing: the same utterances at other rows get the same scores.

    `adapt` names the moved rows in their old order, so that a trained method's batches hold the
    same utterances; a fitted method is also given them in the new order.
    """
    problem = random_problem()
    order = np.random.default_rng(0).permutation(36)
    place = np.argsort(order)
    table = problem.target
    moved = Table("moved", np.array(table.instants)[order], np.array(table.summary)[order])
    scores = run(name, problem).scores
    followed = run(name, replace(problem, target=moved, adapt=place, scored=place)).scores
    np.testing.assert_allclose(followed, scores, rtol=1e-4, atol=1e-4)
    if registry.load(name).kind == "fitted":
        mixed = run(name, replace(problem, target=moved)).scores
        np.testing.assert_allclose(mixed, scores[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_a_poisoned_answer_key_changes_nothing(name: str, setting: Setting) -> None:
    """All the way from the corpora: the target's labels are shuffled, the scores are the same."""
    scores = []
    for target in (TARGET, permuted(TARGET, ("anger", "fear", "sadness"), 1)):
        folds = build(
            SOURCE,
            target,
            classes=("anger", "fear", "sadness"),
            shots=3,
            seed=0,
            condition=Condition(setting=setting),
            tables=content_tables(),
        )
        outcomes = [run(name, fold.problem) for fold in folds]
        assert [outcome.status for outcome in outcomes] == ["ok"] * len(folds), outcomes[0].reason
        assert [len(outcome.scores) for outcome in outcomes] == [len(fold.key.y) for fold in folds]
        scores.append([outcome.scores.tobytes() for outcome in outcomes])
    assert scores[0] == scores[1]


@pytest.mark.parametrize("name", [n for n in NAMES if registry.load(n).role != "bound"])
def test_rows_that_are_only_scored_do_not_move_the_others(name: str) -> None:
    """In the inductive setting the scored rows are no data: each is answered by itself."""
    problem = replace(random_problem(), adapt=np.arange(24), scored=np.arange(24, 36))
    table = problem.target
    summary, instants = np.array(table.summary), np.array(table.instants)
    summary[30:] += 3
    instants[30:] += 3
    other = replace(problem, target=Table("other", instants, summary))
    np.testing.assert_allclose(
        run(name, other).scores[:6], run(name, problem).scores[:6], rtol=1e-4, atol=1e-4
    )


def one_class(problem: Problem) -> Problem:
    only = problem.labelled.y == 0
    labelled = Labelled(problem.labelled.rows[only], problem.labelled.y[only])
    return replace(problem, classes=("anger",), labelled=labelled)


def two_utterances(problem: Problem) -> Problem:
    return replace(problem, adapt=problem.adapt[:2], scored=problem.scored[:2])


def with_target(problem: Problem, *, factor: float) -> Problem:
    table = problem.target
    instants = np.array(table.instants) * np.float32(factor)
    return replace(
        problem, target=Table("x", instants, np.array(table.summary) * np.float32(factor))
    )


HARD = {
    "one class": one_class,
    "two utterances": two_utterances,
    "constant target": lambda problem: with_target(problem, factor=0.0),
    "huge values": lambda problem: with_target(problem, factor=1e18),
    "one shot": lambda problem: random_problem(shots=1),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", sorted(HARD))
def test_hard_problems_give_finite_scores_or_a_reason(name: str, case: str) -> None:
    outcome = run(name, HARD[case](random_problem()))
    if outcome.status == "ok":
        assert np.isfinite(outcome.scores).all()
    else:
        assert outcome.reason


@pytest.mark.parametrize("name", NAMES)
def test_other_sizes_of_target_features_are_answered(name: str) -> None:
    problem = random_problem()
    wider = random_problem(d=4, f=7)
    outcome = run(name, replace(problem, target=wider.target))
    if not make(name).unequal_sizes and registry.load(name).role == "ranked":
        assert outcome.status == "not_applicable"
        assert "same size" in outcome.reason


@pytest.mark.parametrize("name", NAMES)
def test_packing_is_stable(name: str) -> None:
    a, b = job(name, random_problem("a")), job(name, random_problem("b"), label="other")
    assert group_key(a) == group_key(b)
    assert group_key(a) != group_key(job(name, random_problem(c=4)))
    assert pack_limit(a) >= 1


@pytest.mark.parametrize("name", NAMES)
def test_points_of_a_selection_are_few_and_start_with_the_shipped_one(name: str) -> None:
    cls, overrides = registry.load(name), registry.entry(name).overrides
    points = cls.points(overrides)
    assert points[0] == {}
    assert len(points) <= POINTS
    made = [registry.create(name, point).parameters() for point in points]
    assert len(set(made)) == len(points), "a point stands twice, or the grid lacks the defaults"
    assert len(points) == math.prod(map(len, cls.grid().values()))
    assert cls.points(overrides, fixed=cls.grid()) == ({},)


@pytest.mark.parametrize("name", NAMES)
def test_show_prints_the_card(name: str) -> None:
    shown = CliRunner().invoke(app, ["show", name])
    assert shown.exit_code == 0, shown.output
    assert name in shown.output
    for text in ("Reference:", "Departures:", *registry.load(name).ranges()):
        assert text in shown.output


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_complete(name: str) -> None:
    found = registry.entry(name)
    text = found.file.read_text(encoding="utf-8")
    for word in ("Reference:", "Departures:"):
        assert word in text
    assert found.summary
    method = make(name)
    assert method.assumes_prior in ("none", "uniform", "estimated")
    assert all(span.about for span in method.ranges().values())
