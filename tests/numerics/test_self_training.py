"""Self-training: hand-worked parts, the whole method written plainly, what it may not see."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from clser_bench.nn.resonance import balancing_offsets
from clser_bench.problem import Problem
from clser_bench.shallow.classifiers import class_offsets
from clser_bench.shallow.sides import sides_of
from clser_bench.train.check import example_problem
from tests import tools
from tests.tools import fit

MODULE = tools.method("self_training")


def test_offsets_by_hand() -> None:
    """Rows alike: a class twice as likely as the other gets log 2 less."""
    scores = np.log(np.array([[2.0, 1.0], [2.0, 1.0], [4.0, 2.0]]))
    half = math.log(2) / 2
    np.testing.assert_allclose(class_offsets(scores), [-half, half], atol=1e-12)


def test_offsets_by_scaling_a_matrix() -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((40, 4)) + np.array([2.0, 0.0, -1.0, 0.0])
    p = np.exp(scores)
    for _ in range(50):
        p = p / p.sum(axis=1, keepdims=True)
        p = p / p.sum(axis=0, keepdims=True)
    p = p / p.sum(axis=1, keepdims=True)
    found = np.exp(log_softmax(scores + class_offsets(scores), axis=1))
    np.testing.assert_allclose(found, p, atol=1e-9)
    np.testing.assert_allclose(found.mean(axis=0), 0.25, atol=1e-6)
    uniform = torch.full((4,), 0.25, dtype=torch.float64)
    log_p = torch.from_numpy(scores)
    same = (log_p + balancing_offsets(log_p, uniform, steps=50)).softmax(dim=-1).numpy()
    np.testing.assert_allclose(found, same, atol=1e-12)


def test_surest_by_hand() -> None:
    confidence = np.array([0.9, 0.5, 0.7, 0.7, 0.6, 0.8])
    label = np.array([0, 0, 0, 0, 2, 2])
    assert MODULE.surest(confidence, label, 0.5).tolist() == [0, 2, 5]
    assert MODULE.surest(confidence, label, 0.51).tolist() == [0, 2, 3, 4, 5]
    assert MODULE.surest(confidence, label, 1.0).tolist() == [0, 1, 2, 3, 4, 5]
    assert MODULE.surest(confidence, label, 0.0).tolist() == []


@pytest.mark.parametrize("number", range(1, 6))
def test_surest_rounds_up_only_what_is_no_whole_number(number: int) -> None:
    label = np.zeros(5, dtype=np.int64)
    assert len(MODULE.surest(np.arange(5.0), label, 1.0 * number / 5)) == number


def plainly(problem: Problem, *, weight: float, rounds: int, strength: float) -> np.ndarray:
    """The method with scikit-learn and loops, in the order of the table."""
    sides = sides_of(problem, front="axes")
    known, y, target = sides.known, sides.y, sides.target
    x, labels, sample = list(known), list(y), [1.0] * len(y)
    c = len(problem.classes)
    for number in range(rounds + 1):
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=500, tol=1e-8)
        p = model.fit(np.array(x), labels, sample_weight=sample).predict_proba(target)
        for _ in range(50):
            p = p / p.sum(axis=0)
            p = p / p.sum(axis=1, keepdims=True)
        x, labels, sample = list(known), list(y), [1.0] * len(y)
        for k in range(c):
            mine = [i for i in range(len(target)) if p[i].argmax() == k]
            mine.sort(key=lambda i: -p[i].max())
            for i in mine[: math.ceil(len(mine) * (number + 1) / rounds)] if rounds else []:
                x.append(target[i])
                labels.append(k)
                sample.append(weight)
    return np.log(p)


@pytest.mark.parametrize(("weight", "rounds"), [(1.0, 5), (0.3, 3), (1.0, 0)])
def test_equals_the_method_written_plainly(weight: float, rounds: int) -> None:
    problem = example_problem("plain", n_target=45)
    expected = plainly(problem, weight=weight, rounds=rounds, strength=0.05)
    found = fit("self-training", problem, pseudo_weight=weight, rounds=rounds, strength=0.05)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_other_scored_rows_do_not_matter() -> None:
    """In the inductive setting each row is scored as if it stood alone."""
    rows = np.arange(36)
    problem = replace(example_problem(), adapt=rows[:20], scored=rows[20:])
    together = fit("self-training", problem)
    for position in (0, 7):
        alone = fit("self-training", replace(problem, scored=rows[20 + position : 21 + position]))
        np.testing.assert_allclose(alone[0], together[position], atol=1e-6)
    before = fit("self-training", replace(problem, scored=rows[:20]))
    every = fit("self-training", replace(problem, scored=rows))
    np.testing.assert_allclose(every, np.concatenate([before, together]), atol=1e-6)
