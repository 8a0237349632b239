"""The contract, over every registered method: a new one is covered with no new test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from clser_bench import registry
from clser_bench.hashing import digest_array
from clser_bench.train.contract import Fitted, Trained
from clser_bench.train.execute import execute
from clser_bench.train.loop import train_one
from clser_bench.train.pack import train_pack
from clser_bench.train.packing import group_key, pack_limit
from clser_bench.trial import Job, Labelled, Outcome, Problem, Table
from tests.problems import random_problem

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


@pytest.mark.parametrize("name", [n for n in NAMES if registry.load(n).kind == "fitted"])
def test_permuted_target_rows_give_permuted_scores(name: str) -> None:
    if registry.load(name).role == "bound":
        pytest.skip("a bound of random scores looks at no row")
    problem = random_problem()
    order = np.random.default_rng(0).permutation(36)
    table = problem.target
    moved = Table("moved", np.array(table.instants)[order], np.array(table.summary)[order])
    scores = run(name, replace(problem, target=moved)).scores
    np.testing.assert_allclose(scores, run(name, problem).scores[order], rtol=1e-4, atol=1e-4)


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
def test_the_card_is_complete(name: str) -> None:
    found = registry.entry(name)
    text = found.file.read_text(encoding="utf-8")
    for word in ("Reference:", "Departures:"):
        assert word in text
    assert found.summary
    method = make(name)
    assert method.assumes_prior in ("none", "uniform", "estimated")
    assert all(span.about for span in method.ranges().values())
