"""Few-shot classifiers and self-training against loops, autograd, POT, SciPy and scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from clser_bench import registry
from clser_bench.hashing import generator
from clser_bench.nn.resonance import balancing_offsets
from clser_bench.problem import Problem
from clser_bench.shallow import classifiers
from clser_bench.shallow.classifiers import class_offsets, logistic_model, logistic_scores
from clser_bench.shallow.sides import places, sides_of, unit_rows
from clser_bench.train.check import example_problem
from tests import tools
from tests.oracles import solved
from tests.tools import fit

LAPLACIAN, SELF_TRAINING = map(tools.method, ("laplacian_shot", "self_training"))

RNG = generator("few-shot tests")
CENTRES = 1.5 * RNG.standard_normal((3, 5))
Y = np.repeat([0, 1, 2], [2, 4, 3])
KNOWN = unit_rows(CENTRES[Y] + RNG.standard_normal((9, 5)))
TARGET = unit_rows(CENTRES[np.arange(20) % 3] + 0.5 + RNG.standard_normal((20, 5)))
LABEL = np.eye(3)[Y]
MEANS = np.stack([KNOWN[k == Y].mean(axis=0) for k in range(3)])
ROWS = classifiers.Episode(KNOWN, Y, TARGET, TARGET, np.arange(3), 3)


def logits(x: torch.Tensor, w: torch.Tensor, temperature: float) -> torch.Tensor:
    return -temperature / 2 * torch.cdist(x, w) ** 2


def test_squared_distances_equal_scipy() -> None:
    found = classifiers.squared_distances(TARGET, MEANS)
    np.testing.assert_allclose(found, cdist(TARGET, MEANS, "sqeuclidean"), atol=1e-12)


def test_rectified_prototypes_by_loops() -> None:
    shift = KNOWN.mean(axis=0) - TARGET.mean(axis=0)
    sums, totals = np.zeros((3, 5)), np.zeros(3)
    for weight, row in [(1.0, x) for x in KNOWN] + [(2.0 * 9 / 20, x + shift) for x in TARGET]:
        cosine = [row @ m / np.linalg.norm(row) / np.linalg.norm(m) for m in MEANS]
        share = np.exp(4 * np.array(cosine)) / np.exp(4 * np.array(cosine)).sum()
        k = int(np.argmax(cosine))
        sums[k] += weight * share[k] * row
        totals[k] += weight * share[k]
    found, moved = registry.create("bd-cspn", {"scale": 4.0, "mass": 2.0}).rectified(ROWS)
    np.testing.assert_allclose(moved, shift)
    np.testing.assert_allclose(found, sums / totals[:, None], atol=1e-12)


@pytest.mark.slow
def test_tim_ends_where_the_papers_objective_is_flat() -> None:
    """The gradient of the augmented objective vanishes, and equation 4 has become smaller."""
    values = {"temperature": 5.0, "supervised": 0.5, "conditional": 0.2, "iterations": 20_000}
    w = registry.create("tim", values).prototypes(ROWS)
    x, t, at = (torch.tensor(v) for v in (KNOWN, TARGET, w))
    at.requires_grad_()
    log_known, log_p = (logits(v, at, 5.0).log_softmax(dim=1) for v in (x, t))
    power = log_p.detach().exp() ** 1.2
    q = power / power.sum(dim=0) ** 0.5
    q = q / q.sum(dim=1, keepdim=True)
    cross = -(log_known[torch.arange(9), torch.tensor(Y)]).mean()
    (0.5 * cross - 1.2 * (q * log_p).sum(dim=1).mean()).backward()
    assert at.grad is not None
    assert float(at.grad.abs().max()) < 1e-4

    def objective(prototypes: np.ndarray) -> float:
        p = softmax(classifiers.tim_logits(TARGET, prototypes, 5.0), axis=1)
        own = log_softmax(classifiers.tim_logits(KNOWN, prototypes, 5.0), axis=1)
        shares, cross = p.mean(axis=0), -own[np.arange(9), Y].mean()
        entropy = -(p * np.log(p)).sum(axis=1).mean()
        return float(0.5 * cross + (shares * np.log(shares)).sum() + 0.2 * entropy)

    assert objective(w) < objective(MEANS) - 1e-3


def test_alpha_tim_equals_torchs_adam_on_the_papers_loss() -> None:
    w = torch.tensor(MEANS, requires_grad=True)
    x, t = torch.tensor(KNOWN), torch.tensor(TARGET)
    adam = torch.optim.Adam([w], lr=0.01)
    for _ in range(30):
        p = logits(t, w, 5.0).softmax(dim=1)
        cross = torch.nn.functional.cross_entropy(logits(x, w, 5.0), torch.tensor(Y))
        shares = (1 - (p.mean(dim=0) ** 3).sum()) / 2
        rows = ((1 - (p**3).sum(dim=1)) / 2).mean()
        adam.zero_grad()
        (0.7 * cross - shares + rows).backward()
        adam.step()
    values = {"temperature": 5.0, "alpha": 3.0, "supervised": 0.7, "learning_rate": 0.01}
    found = registry.create("alpha-tim", {**values, "iterations": 30}).prototypes(ROWS)
    np.testing.assert_allclose(found, w.detach().numpy(), atol=1e-7)


def test_transported_prototypes_equal_pots_plan_and_means_in_turn() -> None:
    mu = MEANS
    for _ in range(4):
        cost = cdist(TARGET, mu, "sqeuclidean")
        plan = ot.sinkhorn(np.full(20, 1 / 20), np.full(3, 1 / 3), cost, 1 / 6, stopThr=1e-13)
        q, each = 20 * plan, 0.5 * 9 / 20
        total = LABEL.sum(axis=0) + each * q.sum(axis=0)
        estimate = (LABEL.T @ KNOWN + each * q.T @ TARGET) / total[:, None]
        mu = mu + 0.3 * (estimate - mu)
    values = {"scale": 6.0, "rate": 0.3, "mass": 0.5, "rounds": 4}
    found, offset = registry.create("pt-map", values).prototypes(ROWS)
    np.testing.assert_allclose(found, mu, atol=1e-4)
    q = softmax(offset - 6 * cdist(TARGET, mu, "sqeuclidean"), axis=1)
    np.testing.assert_allclose(q.sum(axis=0), 20 / 3, atol=1e-3)


def test_description_length_prototypes_by_the_papers_updates() -> None:
    w, v = MEANS, np.zeros(3)
    for _ in range(3):
        u = np.exp(
            [[-4 / 2 * ((x - w[k]) ** 2).sum() + 0.6 * v[k] for k in range(3)] for x in TARGET]
        )
        u /= u.sum(axis=1, keepdims=True)
        v = np.log(u.mean(axis=0) + 1e-6) + 1
        mass = 2 * 9 / 20 * u
        sums = [KNOWN[k == Y].sum(axis=0) + mass[:, k] @ TARGET for k in range(3)]
        w = np.array(sums) / (np.bincount(Y) + mass.sum(axis=0))[:, None]
    values = {"temperature": 4.0, "complexity": 0.6, "mass": 2.0, "iterations": 3}
    found, offset = registry.create("paddle", values).prototypes(ROWS)
    np.testing.assert_allclose(found, w, atol=1e-12)
    np.testing.assert_allclose(offset, 0.6 * v, atol=1e-12)


def test_laplacian_assignments_by_loops() -> None:
    cost = cdist(TARGET, MEANS, "sqeuclidean")
    neighbours = np.argsort(cdist(TARGET, TARGET) + 9 * np.eye(20), axis=1)[:, :2]
    y = softmax(-cost, axis=1)
    for _ in range(5):
        pulls = [0.8 * sum(y[j] for j in neighbours[i]) for i in range(20)]
        y = np.stack([softmax(pull - own) for pull, own in zip(pulls, cost, strict=True)])
    method = registry.create("laplacian-shot", {"smoothness": 0.8, "iterations": 5})
    found = method.assignments(cost, neighbours)
    np.testing.assert_allclose(found, y, atol=1e-12)


def test_adjusted_templates_by_loops() -> None:
    weights, offsets = logistic_model(KNOWN, Y, strength=1.0)
    groups: list[list[tuple[float, np.ndarray]]] = [[], [], []]
    for x in TARGET:
        p = softmax(weights @ x + offsets)
        groups[int(p.argmax())].append((float(-(p * np.log(p)).sum()), x))
    expected = []
    for k, group in enumerate(groups):
        rows = [weights[k], *(x for _, x in sorted(group, key=lambda pair: pair[0])[:3])]
        mean = np.mean([x / np.linalg.norm(x) for x in rows], axis=0)
        expected.append(mean / np.linalg.norm(mean))
    found = registry.create("t3a", {"members": 3}).templates(TARGET, weights, offsets)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_model_gives_scikit_learns_probabilities(classes: int) -> None:
    few = classes > Y
    model = LogisticRegression(C=0.5, class_weight="balanced", max_iter=500)
    expected = model.fit(KNOWN[few], Y[few]).predict_log_proba(TARGET)
    found = logistic_scores(KNOWN[few], Y[few], TARGET, classes=classes, strength=0.5)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("imagined", [0.0, 4.0])
def test_estimated_shares_are_the_likeliest(imagined: float) -> None:
    """max sum_i log sum_k p_ik pi_k + imagined · sum_k log pi_k over the simplex, by SLSQP."""
    scores = log_softmax(3 * RNG.standard_normal((200, 3)) + [1, 0, 0], axis=1)
    p = np.exp(scores)
    expected = solved(
        lambda pi: -np.log(p @ pi).sum() - imagined * np.log(pi).sum(), np.full(3, 1 / 3),
        least=1e-9, most=1, constraints=LinearConstraint(np.ones((1, 3)), 1, 1),
    )  # fmt: skip
    method = registry.create("prior-em", {"prior_rows": imagined, "iterations": 10_000})
    found = method.shares(scores, tolerance=1e-10)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.max() > 0.4


def test_calibration_is_the_likeliest_of_held_out_labels() -> None:
    x = np.concatenate([KNOWN, KNOWN]) + 0.8 * RNG.standard_normal((18, 5))
    y = np.concatenate([Y, Y])
    model = LogisticRegression(C=0.5, class_weight="balanced", max_iter=500)
    held = cross_val_predict(model, x, y, cv=StratifiedKFold(4), method="predict_log_proba")
    weight = 1 / (np.bincount(y)[y] * 3)

    def loss(point: np.ndarray) -> float:
        log_p = log_softmax(np.exp(point[0]) * held + point[1:], axis=1)
        bias = point[1:] @ point[1:] / 36
        return float(bias - (weight * log_p[np.arange(18), y]).sum())

    precise: Any = {"maxiter": 10_000, "xatol": 1e-7, "fatol": 1e-12}
    best = minimize(loss, np.zeros(4), method="Nelder-Mead", options=precise).x
    temperature, bias = registry.create("prior-em", {"strength": 0.5}).calibration(x, y, 3)
    np.testing.assert_allclose(temperature, np.exp(-best[0]), rtol=1e-2)
    np.testing.assert_allclose(bias, best[1:] - best[1:].mean(), atol=1e-2)


def test_offsets_of_confident_scores_equal_those_on_the_logarithms() -> None:
    scores = 30 * RNG.standard_normal((40, 3))
    even = torch.full((3,), 1 / 3, dtype=torch.float64)
    expected = balancing_offsets(torch.from_numpy(scores), even, steps=200).numpy()
    np.testing.assert_allclose(class_offsets(scores), expected - expected.mean(), atol=1e-6)


def test_the_front_keeps_distances_up_to_one_scale() -> None:
    problem = example_problem(f=6)
    plain, front = sides_of(problem), sides_of(problem, front="axes")
    before = cdist(plain.known, plain.target)
    ratio = cdist(front.known, front.target) / before
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    both = np.concatenate([front.source, front.target])
    np.testing.assert_allclose(both.var(axis=0).sum(), 100)
    np.testing.assert_array_equal(front.known, front.source[problem.labelled.rows])
    assert (np.diff(both.var(axis=0)) <= 0).all()


@pytest.mark.parametrize("front", ["within", "axes-within"])
def test_the_front_within_gives_the_labelled_rows_the_stated_covariance(front: str) -> None:
    problem = example_problem(f=6, shots=8)
    before = sides_of(problem, front="axes" if front == "axes-within" else "none")
    rows, moved = before.known, sides_of(problem, front=front)  # type: ignore[arg-type]
    y, k = before.y, rows.shape[1]
    each = [np.cov(rows[y == c].T, ddof=0) for c in range(3)]
    covariance = sum(each) / 3
    a = 0.2 * 21 / (21 + k)
    stated = (1 - a) * np.trace(covariance) / k * np.eye(k) + a * covariance
    mahalanobis = cdist(rows, before.target, "mahalanobis", VI=np.linalg.inv(stated))
    ratio = cdist(moved.known, moved.target) / mahalanobis
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    assert (front == "within") == bool(np.isclose(ratio[0, 0], 1))
    alone = example_problem(f=6, shots=1)
    np.testing.assert_array_equal(sides_of(alone, front="within").target, sides_of(alone).target)


def test_the_front_treats_scored_rows_as_it_does_those_adapted_to() -> None:
    problem = example_problem(f=6)
    whole = sides_of(problem, front="axes").scored
    fewer = replace(problem, scored=problem.scored[[3, 30]])
    np.testing.assert_allclose(sides_of(fewer, front="axes").scored, whole[[3, 30]], atol=1e-12)
    assert sides_of(problem, front="axes").source is sides_of(fewer, front="axes").source
    assert not sides_of(problem).target.flags.writeable


@pytest.mark.parametrize("scored", [np.arange(36), np.array([35, 2, 30])])
def test_neighbours_by_loops(scored: np.ndarray) -> None:
    adapt = np.random.default_rng(1).permutation(36)[:33]
    problem = replace(example_problem(), adapt=adapt, scored=scored)
    place = places(problem)
    rows = [row if row in adapt else -1 for row in scored]
    assert [adapt[at] if at >= 0 else -1 for at in place] == rows
    sides = sides_of(problem, front="axes")
    found = LAPLACIAN.target_neighbours(problem, front="axes", count=4)
    inside = zip(sides.target, found.inside, np.arange(33), strict=True)
    for x, near, own in (*inside, *zip(sides.scored, found.scored, place, strict=True)):
        cosine = unit_rows(sides.target) @ x / np.linalg.norm(x)
        order = [at for at in np.argsort(-cosine) if at != own]
        assert set(near) == set(order[:4])


@pytest.mark.parametrize("name", ["bd-cspn", "tim", "alpha-tim", "pt-map", "paddle"])
def test_the_target_moves_the_answers(name: str) -> None:
    """Without its target a method would be the nearest prototype."""
    problem = example_problem(f=6, shots=2)
    alone = replace(problem, adapt=problem.adapt[:3], scored=problem.scored)
    moved = fit(name, problem) - fit(name, alone)
    assert np.abs(moved - moved.mean(axis=1, keepdims=True)).max() > 1e-3


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
    assert SELF_TRAINING.surest(confidence, label, 0.5).tolist() == [0, 2, 5]
    assert SELF_TRAINING.surest(confidence, label, 0.51).tolist() == [0, 2, 3, 4, 5]
    assert SELF_TRAINING.surest(confidence, label, 1.0).tolist() == [0, 1, 2, 3, 4, 5]
    assert SELF_TRAINING.surest(confidence, label, 0.0).tolist() == []


@pytest.mark.parametrize("number", range(1, 6))
def test_surest_rounds_up_only_what_is_no_whole_number(number: int) -> None:
    label = np.zeros(5, dtype=np.int64)
    assert len(SELF_TRAINING.surest(np.arange(5.0), label, 1.0 * number / 5)) == number


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
