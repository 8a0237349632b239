"""Pseudo-labels, consistency, label propagation, majority: loops, hand-worked cases, limits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import kneighbors_graph
from torch.nn import functional

from clser_bench import registry
from clser_bench.nn import losses
from clser_bench.problem import Labelled, Table
from clser_bench.shallow.sides import sides_of, unit_rows
from clser_bench.train.check import example_problem
from clser_bench.train.contract import Shape, Support, Trained
from clser_bench.train.loop import train_one
from tests import tools
from tests.oracles import assert_same, batch, gradient, view
from tests.tools import fit, rand

MEAN_TEACHER, PSEUDO_LABEL, PROPAGATION = map(
    tools.method, ("mean_teacher", "pseudo_label", "label_propagation")
)


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.1, 0.0), (0.35, 0.5), (0.6, 1.0), (0.99, 1.0)]
)
def test_linear_ramp(progress: float, expected: float) -> None:
    found = PSEUDO_LABEL.linear_ramp(progress, 0.1, torch.tensor(0.5), dtype=torch.float32)
    assert float(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.0, math.exp(-5)), (0.2, math.exp(-1.25)), (0.4, 1.0), (0.9, 1.0)],
)
def test_gaussian_ramp(progress: float, expected: float) -> None:
    found = MEAN_TEACHER.gaussian_ramp(progress, 0.4, dtype=torch.float64)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_pseudo_label_loss_equals_torch() -> None:
    """The choice of the class itself has no gradient."""
    logits = rand(7, 4).requires_grad_()
    expected = functional.cross_entropy(logits, logits.argmax(dim=1))
    assert_same(PSEUDO_LABEL.pseudo_label_loss(logits), expected, logits)


def test_thresholded_loss_equals_torch() -> None:
    weak, strong = 2 * rand(9, 3), rand(9, 3, seed=1).requires_grad_()
    q = weak.softmax(dim=1)
    sure = (q.max(dim=1).values >= 0.7).double()
    assert 0 < sure.sum() < 9
    each = functional.cross_entropy(strong, q.argmax(dim=1), reduction="none")
    assert_same(losses.thresholded_loss(weak, strong, 0.7), (sure * each).mean(), strong)


def test_thresholded_loss_at_its_limits() -> None:
    even, strong = (torch.zeros(2, 2).double().requires_grad_() for _ in range(2))
    at_threshold = losses.thresholded_loss(even, strong, torch.tensor(0.5))
    assert float(at_threshold.detach()) == pytest.approx(math.log(2))
    at_threshold.backward()
    assert even.grad is None
    above = losses.thresholded_loss(even, strong, 0.51)
    assert float(above.detach()) == 0
    assert not gradient(above, strong).any()


def test_squared_consistency_equals_torch() -> None:
    student, teacher = rand(5, 3).requires_grad_(), rand(5, 3, seed=1).requires_grad_()
    found = MEAN_TEACHER.squared_consistency(student, teacher)
    expected = functional.mse_loss(student.softmax(dim=1), teacher.detach().softmax(dim=1))
    assert_same(found, expected, student)
    found.backward()
    assert teacher.grad is None


def teacher_after(updates: list[float], averaging: float) -> float:
    """The teacher's first bias after the student's took these values, from zero."""
    method = registry.create("mean-teacher", {"averaging": averaging})
    network = method.network(Shape.of(example_problem()))
    bias = network.head.bias
    with torch.no_grad():
        bias.zero_()
        carry = method.initial_carry(network)
        for value in updates:
            bias.fill_(value)
            carry = method.update_carry(network, batch(carry=carry))
    return float(carry["head.bias"][0])


def test_the_teacher_is_a_plain_average_and_then_a_moving_one() -> None:
    assert teacher_after([6.0], 0.99) == pytest.approx(3.0)
    assert teacher_after([6.0, 3.0, 3.0], 0.99) == pytest.approx((0 + 6 + 3 + 3) / 4)
    # 1 - 1 / (step + 1) is 1/2, then 2/3, which the cap of 0.6 holds down.
    assert teacher_after([6.0, 3.0], 0.6) == pytest.approx(0.6 * 3 + 0.4 * 3)
    assert teacher_after([6.0, 3.0, 10.0], 0.6) == pytest.approx(0.6 * 3 + 0.4 * 10)


def test_the_teacher_gives_the_scores() -> None:
    method = registry.create("mean-teacher")
    torch.manual_seed(0)
    shape, rows = Shape.of(example_problem()), view(4)
    student, teacher = (method.network(shape).double() for _ in range(2))
    support = Support(rows, torch.zeros(4), method.initial_carry(teacher))
    found = method.embed(student, rows, support, target=True)
    torch.testing.assert_close(found.scores, teacher(rows))
    torch.testing.assert_close(found.embedding, teacher.embed(rows))
    assert not torch.allclose(found.scores, student(rows))


def nearest(x: np.ndarray, count: int) -> np.ndarray:
    """Symmetric zeros and ones [n, n]: either is among the other's nearest."""
    links = kneighbors_graph(x, count).toarray()
    return np.maximum(links, links.T)


@pytest.mark.parametrize("alpha", [0.2, 0.99])
@pytest.mark.parametrize("unlabelled_source", [False, True])
def test_label_propagation_equals_the_limit(alpha: float, unlabelled_source: bool) -> None:
    """F* = (I - alpha S)^-1 Y, rows made to sum to one, over each class's labelled rows."""
    problem = example_problem("spread")
    rows, y = problem.labelled.rows[:-2], problem.labelled.y[:-2]
    problem = replace(problem, labelled=Labelled(rows, y))
    values = {"alpha": alpha, "neighbours": 4, "unlabelled_source": unlabelled_source}
    found = fit("label-propagation", problem, **values)
    sides = sides_of(problem, front="within")
    rest = sides.source[sides.unlabelled] if unlabelled_source else sides.source[:0]
    x = np.concatenate([sides.known, sides.target, rest])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    w = nearest(x, 4)
    degree = w.sum(axis=1)
    s = w / np.sqrt(degree[:, None] * degree[None, :])
    start = np.zeros((len(x), 3))
    start[np.arange(len(y)), y] = 1
    limit = np.linalg.solve(np.eye(len(x)) - alpha * s, start)
    limit = limit[len(y) : len(y) + len(problem.target)]
    shares = limit / limit.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, shares / np.bincount(y), atol=1e-4)


def test_neighbour_graph() -> None:
    x = np.random.default_rng(3).standard_normal((12, 4))
    graph = PROPAGATION.neighbour_graph(x, x, count=3)
    np.testing.assert_array_equal(graph.toarray(), nearest(x, 3))
    new = x[[5, 2]] + 1e-6
    found = PROPAGATION.neighbour_graph(x, new, count=1).toarray()
    np.testing.assert_array_equal(found, np.eye(12)[:, [5, 2]])
    assert PROPAGATION.neighbour_graph(x, x, count=99).sum() == 12 * 11


def test_new_rows_get_the_mean_of_their_neighbours() -> None:
    rows = np.arange(36)
    problem = replace(example_problem(), adapt=rows[:20], scored=rows)
    values = {"neighbours": 2, "alpha": 0.9, "unlabelled_source": False}
    found = fit("label-propagation", problem, **values)
    old = fit("label-propagation", replace(problem, scored=rows[:20]), **values)
    np.testing.assert_array_equal(found[:20], old)
    sides = sides_of(problem, front="within")
    target, known = unit_rows(sides.scored), unit_rows(sides.known)
    for i in rows[20:]:
        distance = np.linalg.norm(np.concatenate([known, target[:20]]) - target[i], axis=1)
        near = np.argsort(distance)[:2]
        if near.min() >= len(known):
            counts = np.bincount(problem.labelled.y)
            expected = (old[near - len(known)] * counts).sum(axis=0)
            np.testing.assert_allclose(found[i], expected / expected.sum() / counts, atol=1e-9)


def test_rows_that_no_label_reaches() -> None:
    """Two islands, labels on one: the other is scored zero, in the graph and out of it."""
    problem = example_problem()
    far = Table("far", problem.target.instants, np.array(problem.target.summary) + np.float32(1e4))
    problem = replace(problem, target=far, adapt=np.arange(20), scored=np.arange(36))
    found = fit("label-propagation", problem, neighbours=2)
    np.testing.assert_array_equal(found, 0.0)


def test_majority() -> None:
    problem = example_problem()
    assert fit("majority", problem).argmax(axis=1).tolist() == [0] * 36
    labelled = Labelled(np.array([0, 1, 2, 5, 8]), np.array([0, 1, 2, 2, 1]))
    scores = fit("majority", replace(problem, labelled=labelled))
    np.testing.assert_array_equal(scores, np.tile([0.0, 1.0, 0.0], (36, 1)))


def surety(method: Trained) -> float:
    """Mean probability of the likeliest class of the target."""
    scores = train_one(method, example_problem("sure", n_target=60), 1).scores
    return float(torch.from_numpy(scores).softmax(dim=-1).max(dim=-1).values.mean())


@pytest.mark.parametrize(
    ("name", "weight"), [("pseudo-label", "pseudo_weight"), ("entropy-min", "entropy_weight")]
)
def test_training_on_its_own_answers_makes_the_network_surer(name: str, weight: str) -> None:
    budget = {"steps": 40, "target_batch": 30, "learning_rate": 1e-3}
    without = registry.create(name, {**budget, weight: 0.0})
    assert surety(registry.create(name, {**budget, weight: 2.0})) > surety(without) + 0.02


def steadiness(weight: float) -> float:
    """Share of target utterances whose class stays under strong noise, over three seeds."""
    clean = example_problem("steady", n_target=80)
    rng, same = np.random.default_rng(5), []
    summary, instants = np.array(clean.target.summary), np.array(clean.target.instants)
    noisy = summary + 0.5 * rng.standard_normal(summary.shape)
    noisy *= rng.random(summary.shape) > 0.25
    shaken = instants + 0.5 * rng.standard_normal((80, 1, 3))
    both = (np.concatenate(pair) for pair in ((instants, shaken), (summary, noisy)))
    instants, summary = (values.astype(np.float32) for values in both)
    table = Table("both", instants, summary)
    problem = replace(clean, target=table, scored=np.arange(160))
    budget = {"steps": 80, "target_batch": 40, "learning_rate": 1e-3, "threshold": 0.5}
    method = registry.create("fixmatch", {**budget, "unlabelled_weight": weight})
    for seed in range(3):
        label = train_one(method, problem, seed).scores.argmax(axis=1)
        same.append(np.mean(label[:80] == label[80:]))
    return float(np.mean(same))


@pytest.mark.slow
def test_fixmatch_makes_answers_steady_under_noise() -> None:
    assert steadiness(5.0) > steadiness(0.0) + 0.05


def test_consistency_makes_the_teacher_less_extreme() -> None:
    """A student that may not follow the noise learns a smoother function."""
    budget = {"steps": 40, "target_batch": 30, "learning_rate": 3e-3}
    strict = registry.create("mean-teacher", {**budget, "consistency_weight": 300.0})
    free = registry.create("mean-teacher", {**budget, "consistency_weight": 0.0})
    assert surety(strict) < surety(free) - 0.02
