"""Row-sparse regression and JDAR: other solvers, loops, hand-worked cases, invariances."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import MultiTaskLasso

from clser_bench import registry
from clser_bench.problem import Table
from clser_bench.train.check import example_problem
from clser_bench.train.contract import Fitted

JDAR = importlib.import_module("clser_bench.methods.jdar")


def data(n: int = 30, f: int = 8, c: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, f))
    y = x[:, :3] @ rng.standard_normal((3, c)) + 0.1 * rng.standard_normal((n, c))
    return x, y


def solved(x: np.ndarray, y: np.ndarray, penalty: float, steps: int = 2000) -> np.ndarray:
    return JDAR.row_sparse_regression(x.T @ x, x.T @ y, penalty, iterations=steps)


@pytest.mark.parametrize(
    ("penalty", "n", "f"), [(0.5, 30, 8), (5.0, 30, 8), (40.0, 30, 8), (3.0, 10, 25)]
)
def test_row_sparse_regression_equals_scikit_learn(penalty: float, n: int, f: int) -> None:
    x, y = data(n=n, f=f)
    model = MultiTaskLasso(penalty / (2 * len(x)), fit_intercept=False, tol=1e-12, max_iter=100_000)
    assert_allclose(solved(x, y, penalty), model.fit(x, y).coef_.T, atol=1e-6)


def test_row_sparse_regression_does_not_depend_on_the_start() -> None:
    x, y = data()
    start = np.random.default_rng(2).standard_normal((8, 3))
    again = JDAR.row_sparse_regression(x.T @ x, x.T @ y, 4.0, start=start)
    assert_allclose(again, solved(x, y, 4.0), atol=1e-6)


def test_row_sparse_regression_by_hand() -> None:
    """With A = I each row of B is shortened by half the penalty."""
    b = np.array([[3.0, 4.0], [0.0, 1.0], [0.3, 0.4]])
    found = JDAR.row_sparse_regression(np.eye(3), b, 2.0)
    assert_allclose(found, [[2.4, 3.2], [0.0, 0.0], [0.0, 0.0]], atol=1e-9)
    x, y = data()
    assert_allclose(solved(x, y, 0.0), np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-5)
    nothing = JDAR.row_sparse_regression(np.zeros((3, 3)), np.zeros((3, 2)), 1.0)
    assert not nothing.any()


def test_class_means_by_hand() -> None:
    means, known = JDAR.class_means(np.array([[1.0], [3.0], [7.0]]), np.array([2, 2, 0]), 3)
    assert_allclose(means, [[7.0], [0.0], [2.0]])
    assert known.tolist() == [True, False, True]


def corpora(n: int = 60) -> dict[str, np.ndarray]:
    """Two classes told by value 0, which jumps by 4 in the target, and by value 1, which does not.

    Value 1 is the noisier one, so the source alone prefers value 0.
    """
    rng = np.random.default_rng(0)
    side = {}
    for name, jump in (("x", 0.0), ("target", 4.0)):
        y = np.arange(n) % 2
        values = rng.standard_normal((n, 4)) * [0.3, 0.6, 1.0, 1.0]
        values[:, :2] += (2 * y - 1)[:, None]
        values[:, 0] += jump
        side[name] = values
    return {**side, "y": y}


def fitted(
    side: dict[str, np.ndarray], mean: np.ndarray | None = None, **options: float
) -> tuple[np.ndarray, np.ndarray]:
    settings = {"alignment": 60.0, "sparsity": 1.2, "rounds": 20, **options}
    mean = side["x"].mean(axis=0) if mean is None else mean
    p, b = JDAR.Jdar(**settings).regression(**side, source_mean=mean, classes=2)
    return p, b


def papers_objective(
    side: dict[str, np.ndarray], p: np.ndarray, b: np.ndarray, label: np.ndarray
) -> float:
    """Loops over utterances; the summed error, lambda 60, mu 1.2."""
    x, y, target = side["x"], side["y"], side["target"]
    rows = zip(x, y, strict=True)
    total = sum(((k == j) - row @ p[:, j] - b[j]) ** 2 for row, k in rows for j in range(2))
    marginal = sum(row @ p for row in x) / len(x) - sum(row @ p for row in target) / len(target)
    total += 60 * float((marginal**2).sum())
    for k in range(2):
        ours, theirs = x[y == k] @ p, target[label == k] @ p
        total += 60 * float(((sum(ours) / len(ours) - sum(theirs) / len(theirs)) ** 2).sum())
    return total + 1.2 * sum(math.sqrt(sum(v * v for v in row)) for row in p)


def test_jdar_minimises_the_papers_objective_given_its_own_labels() -> None:
    side = corpora()
    p, b = fitted(side)
    label = (side["target"] @ p + b).argmax(axis=1)
    assert len(set(label)) == 2
    least = papers_objective(side, p, b, label)
    for change in np.random.default_rng(0).standard_normal((40, 5, 2)):
        size = 1e-4 * change[:4] * (np.linalg.norm(p, axis=1, keepdims=True) > 0)
        level = 1e-4 * change[4]
        up, down = (papers_objective(side, p + s * size, b + s * level, label) for s in (1, -1))
        assert min(up, down) > least
        assert abs(up - down) < 1e-2 * (up + down - 2 * least) + 1e-9


def test_jdar_leaves_out_what_differs_between_corpora() -> None:
    side = corpora()
    alone, joint = fitted(side, alignment=0.0), fitted(side, alignment=600.0)
    right = [
        float(np.mean((side["target"] @ p + b).argmax(axis=1) == side["y"]))
        for p, b in (alone, joint)
    ]
    assert right[0] < 0.75
    assert right[1] > 0.9
    gap = side["x"].mean(axis=0) - side["target"].mean(axis=0)
    assert np.abs(gap @ joint[0]).max() < 0.1 * np.abs(gap @ alone[0]).max()


def test_jdar_weighs_classes_alike() -> None:
    """Three copies of every labelled row of one class change nothing but the sum of the error."""
    side = corpora()
    index = np.concatenate([np.arange(60), *[np.flatnonzero(side["y"] == 1)] * 2])
    more = {**side, "x": side["x"][index], "y": side["y"][index]}
    copied = fitted(more, side["x"].mean(axis=0), alignment=120.0, sparsity=2.4)
    for found, expected in zip(copied, fitted(side), strict=True):
        assert_allclose(found, expected, atol=1e-5)


def test_jdar_with_a_class_that_has_no_label_or_is_never_predicted() -> None:
    side = corpora()
    only = side["y"] == 0
    p, b = fitted({**side, "x": side["x"][only], "y": side["y"][only]})
    assert np.isfinite(p).all()
    assert not p.any()
    assert_allclose(b, [1, 0])


def test_jdar_has_no_gap_for_a_class_that_is_never_predicted() -> None:
    """The target is like class 1 alone; a gap of class 0 would be the mean of class 0."""
    side = corpora()
    x, y = side["x"], side["y"]
    noise = np.random.default_rng(1).standard_normal((30, 4))
    side["target"] = np.array([1.3, 1.2, 0.3, 0.0]) + 0.1 * noise
    p, b = fitted(side, alignment=2.4)
    assert set((side["target"] @ p + b).argmax(axis=1)) == {1}
    target = side["target"].mean(axis=0)
    gaps = math.sqrt(2.4) * np.stack([x.mean(axis=0) - target, x[y == 1].mean(axis=0) - target])
    augmented = np.concatenate([x - x.mean(axis=0), gaps])
    wanted = np.concatenate([np.eye(2)[y] - 0.5, np.zeros((2, 2))])
    assert_allclose(p, solved(augmented, wanted, 1.2), atol=1e-5)


def test_jdar_does_not_adapt_to_other_rows_that_it_scores() -> None:
    problem = example_problem()
    problem = replace(problem, adapt=problem.adapt[:20], scored=problem.scored[20:])
    changed = np.array(problem.target.summary)
    changed[20] += 5
    other = replace(problem, target=Table("other", problem.target.instants, changed))
    method = registry.create("jdar")
    assert isinstance(method, Fitted)
    rng = np.random.default_rng(0)
    before, after = method.fit_predict(problem, rng), method.fit_predict(other, rng)
    assert not np.array_equal(before[0], after[0])
    assert_allclose(before[1:], after[1:], rtol=1e-12)
