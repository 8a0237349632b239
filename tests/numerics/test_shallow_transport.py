"""OT, JDOT and KMM: POT, skada and general solvers as references; `test_shallow_methods` has the
methods as a whole."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.optimize import LinearConstraint
from skada._ot import solve_jdot_classification
from sklearn.linear_model import LogisticRegression

from clser_bench.shallow import sides
from clser_bench.shallow.sides import sides_of
from clser_bench.train.check import example_problem
from tests import tools
from tests.oracles import solved
from tests.tools import fit

OT, JDOT, KMM = map(tools.method, ("ot_mapping", "jdot", "kmm"))


def sample(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_masses_by_hand() -> None:
    found = sides.balanced_masses(np.array([0, 3, 3, 0, 0, 3, 3]))
    np.testing.assert_allclose(found, [1 / 6, 1 / 8, 1 / 8, 1 / 6, 1 / 6, 1 / 8, 1 / 8])


def test_distances_by_hand() -> None:
    found = sides.scaled_distances(np.array([[0.0, 0], [1, 0]]), np.array([[0.0, 2], [1, 0]]))
    np.testing.assert_allclose(found, [[4 / 5, 1 / 5], [1.0, 0.0]])
    np.testing.assert_array_equal(sides.scaled_distances(np.ones((2, 3)), np.ones((1, 3))), 0)


@pytest.mark.parametrize("regularisation", [0.02, 0.1, 1.0])
def test_sinkhorn_equals_pot(regularisation: float) -> None:
    cost = sides.scaled_distances(sample(7, 3), sample(9, 3, seed=1))
    a, b = sides.balanced_masses(np.arange(7) % 3), np.full(9, 1 / 9)
    solver = OT.Sinkhorn(a, b, regularisation=regularisation)
    found = solver.plan(cost, iterations=100_000, tolerance=1e-13)
    precise = {"method": "sinkhorn_log", "numItermax": 100_000, "stopThr": 1e-13}
    expected = ot.sinkhorn(a, b, cost, regularisation, **precise)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-12)


def test_sinkhorn_goes_on_to_the_plan_of_another_cost() -> None:
    a, b = np.full(6, 1 / 6), np.full(8, 1 / 8)
    first, second = (np.abs(sample(6, 8, seed=seed)) for seed in (2, 3))
    solver = OT.Sinkhorn(a, b, regularisation=0.1)
    solver.plan(first, iterations=100, tolerance=1e-9)
    found = solver.plan(second, iterations=100_000, tolerance=1e-13)
    expected = ot.sinkhorn(a, b, second, 0.1, numItermax=100_000, stopThr=1e-13)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_little_entropy_comes_near_the_exact_plan() -> None:
    """A kernel exp(-C / r) without absorption is zero here in double precision."""
    cost = sides.scaled_distances(sample(5, 3), 3 + sample(6, 3, seed=1))
    a, b = np.full(5, 1 / 5), np.full(6, 1 / 6)
    solver = OT.Sinkhorn(a, b, regularisation=1e-3)
    found = solver.plan(cost, iterations=20_000, tolerance=1e-10)
    assert np.exp(-cost / 1e-3).max() < 1e-40
    assert np.sum(found * cost) == pytest.approx(ot.emd2(a, b, cost), abs=5e-3)
    np.testing.assert_allclose(found.sum(axis=1), a, atol=1e-8)
    np.testing.assert_allclose(found.sum(axis=0), b, atol=1e-12)


@pytest.mark.parametrize("group", [0.05, 0.2])
def test_class_regularised_plan_equals_pot(group: float) -> None:
    y = np.array([0, 2, 2, 0, 1, 1, 2, 0, 0, 1])
    cost = sides.scaled_distances(sample(10, 4), sample(12, 4, seed=1))
    found = OT.class_regularised_plan(
        cost, y, entropy=0.3, group=group, rounds=10, iterations=10_000, tolerance=1e-12
    )
    expected = ot.da.sinkhorn_lpl1_mm(
        sides.balanced_masses(y), y, np.full(12, 1 / 12), cost, 0.3, eta=group,
        numInnerItermax=10_000, stopInnerThr=1e-11,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (4.0, 5.0), (9.0, 20.0), (2.5, 2.5)])
def test_projection_is_nearest(bounds: tuple[float, float]) -> None:
    z = 2 * sample(8, seed=4)
    found = KMM.project(z, bound=1.5, low=bounds[0], high=bounds[1])
    expected = solved(
        lambda p: 0.5 * np.sum((p - z) ** 2), np.full(8, sum(bounds) / 16), lambda p: p - z,
        most=1.5, constraints=LinearConstraint(np.ones((1, 8)), *bounds),
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-5)


def matching(m: int, *, width: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    x, target = sample(m, 3), 0.8 + 0.5 * sample(40, 3, seed=1)
    kernel = np.exp(-np.sum((x[:, None] - x) ** 2, axis=-1) / (2 * width**2))
    across = np.exp(-np.sum((x[:, None] - target) ** 2, axis=-1) / (2 * width**2))
    return kernel, across.mean(axis=1)


@pytest.mark.parametrize(("bound", "slack"), [(1000.0, 0.7), (2.0, 0.1), (1.2, 0.0)])
def test_matching_weights_reach_what_a_general_solver_reaches(bound: float, slack: float) -> None:
    m = 15
    kernel, mean = matching(m)

    def value(w: np.ndarray) -> float:
        return float(0.5 * w @ kernel @ w - m * w @ mean)

    found = KMM.matching_weights(kernel, mean, bound=bound, slack=slack, iterations=5000)
    least, most = m * (1 - slack), m * (1 + slack)
    assert found.min() >= 0
    assert found.max() <= bound
    assert least - 1e-9 <= found.sum() <= most + 1e-9
    reference = solved(
        value, np.ones(m), lambda w: kernel @ w - m * mean,
        most=bound, constraints=LinearConstraint(np.ones((1, m)), least, most),
    )  # fmt: skip
    assert value(found) <= value(reference) + 1e-6
    assert value(found) < value(np.ones(m)) - 1e-2


def test_transported_labels_by_loops_and_by_hand() -> None:
    labels = JDOT.transported_labels
    by_hand = labels(np.array([[0.0, 1, 1], [1, 0, 1]]), np.zeros((3, 2)), np.array([0, 1]))
    np.testing.assert_allclose(by_hand, [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], atol=1e-9)
    y, distance = np.array([0, 2, 0, 2, 1]), np.abs(sample(5, 6))
    scores = -np.abs(sample(6, 3, seed=1))
    cost = np.array([[distance[i, j] - scores[j, y[i]] for j in range(6)] for i in range(5)])
    masses = np.array([1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 3])
    plan = ot.emd(masses, np.full(6, 1 / 6), cost)
    expected = np.zeros((6, 3))
    for i, j in np.ndindex(5, 6):
        expected[j, y[i]] += 6 * plan[i, j]
    np.testing.assert_allclose(labels(distance, scores, y), expected, atol=1e-9)


def test_jdot_equals_skada() -> None:
    """The weights of skada's two costs are turned into alpha; masses are equal for both."""
    problem = example_problem(f=4, n_target=30)
    sides = sides_of(problem, front="axes")
    x, target = sides.known, sides.target
    distance = np.sum((x[:, None] - target) ** 2, axis=-1)
    # (1 - a) d / mean + a · loss is alpha · d / max + loss up to a factor.
    alpha = float(distance.max() / distance.mean())
    base = LogisticRegression(C=0.05, class_weight="balanced", max_iter=500)
    with pytest.warns(UserWarning, match="Maximum number of iterations"):
        estimator, *_ = solve_jdot_classification(
            base, x, problem.labelled.y, target, alpha=0.5, n_iter_max=3, tol=0.0
        )
    found = fit("jdot", problem, alpha=alpha, strength=0.05, rounds=3)
    np.testing.assert_allclose(found, estimator.predict_log_proba(target), atol=1e-3)
