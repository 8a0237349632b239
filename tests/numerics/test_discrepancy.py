"""MMD, joint and local MMD, CORAL, the ramp: formulas, cases by hand, invariances, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from torch import Tensor

from clser_bench import registry
from clser_bench.nn.backbone import sigmoid_ramp
from clser_bench.train.check import example_problem, with_target
from clser_bench.train.loop import train_one
from tests import tools
from tests.oracles import assert_formula, gradient
from tests.tools import rand

DAN, DEEP_CORAL, DSAN, JAN = map(tools.method, ("dan", "deep_coral", "dsan", "jan"))


def shares(n: int, c: int, seed: int) -> Tensor:
    return torch.softmax(2 * rand(n, c, seed=seed), dim=-1)


def bandwidth(*sides: Tensor) -> float:
    return float(pdist(torch.cat(sides), "sqeuclidean").mean())


def kernels(x: np.ndarray, middle: float) -> np.ndarray:
    """Five Gaussian kernels: the smallest bandwidth is a quarter of the middle one, then twice."""
    distance = cdist(x, x, "sqeuclidean")
    return sum(np.exp(-distance / (middle / 4 * 2**power)) for power in range(5))


def unbiased(k: np.ndarray, n: int) -> float:
    """The mean within either side but of a row with itself, minus twice that between the sides."""
    within = (k[:n, :n], k[n:, n:])
    sides = [(part.sum() - np.trace(part)) / (len(part) * (len(part) - 1)) for part in within]
    return float(sum(sides) - 2 * k[:n, n:].mean())


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (math.log(3) / 10, 0.5), (0.5, math.tanh(2.5))]
)
def test_sigmoid_ramp(progress: float, expected: float) -> None:
    for gamma in (10.0, torch.tensor(10.0, dtype=torch.float64)):
        found = sigmoid_ramp(gamma, progress, dtype=torch.float64)
        assert float(found) == pytest.approx(expected, abs=1e-12)


def test_mmd_by_hand() -> None:
    """Rows 0, 1 and 0, 1: eight of twelve ordered pairs differ by one, so the mean d^2 is 2/3."""
    rows = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    k = sum(math.exp(-1 / (2 / 3 * factor)) for factor in (0.25, 0.5, 1, 2, 4))
    found = DAN.multi_kernel_mmd(rows, rows)
    assert float(found) == pytest.approx(2 * k - (5 + k), abs=1e-12)


def test_mmd_by_its_formula() -> None:
    source, target = rand(5, 3), rand(4, 3, seed=1, shift=0.7)
    middle = bandwidth(source, target)

    def expected(source: np.ndarray, target: np.ndarray) -> float:
        # The bandwidth is a constant: it stays where the rows are moved for the differences.
        return unbiased(kernels(np.concatenate([source, target]), middle), 5)

    assert_formula(DAN.multi_kernel_mmd, expected, source, target)


def test_mmd_does_not_see_order_place_turn_or_scale() -> None:
    source, target = rand(7, 4), rand(6, 4, seed=1, shift=0.5)
    found = DAN.multi_kernel_mmd(source, target)
    turn = torch.linalg.qr(rand(4, 4, seed=2)).Q
    turned = (3 * source @ turn + 5, 3 * target @ turn + 5)
    for a, b in [(source.flip(0), target.roll(2, 0)), (target, source), turned]:
        torch.testing.assert_close(DAN.multi_kernel_mmd(a, b), found)
    assert DAN.multi_kernel_mmd(source, target + 2) > found + 0.1


def test_joint_mmd_by_its_formula() -> None:
    source, target = rand(4, 3), rand(5, 3, seed=1, shift=0.4)
    p, q = shares(4, 3, seed=2), shares(5, 3, seed=3)
    middle = bandwidth(source, target)

    def expected(*parts: np.ndarray) -> float:
        classes = np.concatenate(parts[2:])
        of_classes = np.exp(-cdist(classes, classes, "sqeuclidean") / 1.68)
        return unbiased(kernels(np.concatenate(parts[:2]), middle) * of_classes, 4)

    def loss(source: Tensor, target: Tensor, p: Tensor, q: Tensor) -> Tensor:
        return JAN.joint_mmd(source, target, p, q, torch.tensor(1.68, dtype=torch.float64))

    assert_formula(loss, expected, source, target, p, q)


def test_local_mmd_by_its_formula() -> None:
    """One-hot and soft rows in the source; the third class is nobody's likeliest in the target."""
    source, target = rand(5, 3), rand(4, 3, seed=1, shift=0.6)
    p = torch.cat([torch.eye(3, dtype=torch.float64), shares(2, 3, seed=2)])
    q = torch.tensor([[6, 3, 1], [2, 5, 3], [1, 8, 1], [7, 1, 2]], dtype=torch.float64) / 10
    middle = bandwidth(source, target)

    def expected(source: np.ndarray, target: np.ndarray) -> float:
        k = kernels(np.concatenate([source, target]), middle)
        weight = np.concatenate([p / p.sum(dim=0), -q / q.sum(dim=0)])[:, :2]
        return float(np.trace(weight.T @ k @ weight)) / 2

    assert_formula(lambda s, t: DSAN.local_mmd(s, t, p, q), expected, source, target)


def test_local_mmd_gives_class_weights_no_gradient() -> None:
    p, q = shares(5, 3, seed=2).requires_grad_(), shares(4, 3, seed=3).requires_grad_()
    source = rand(5, 3).requires_grad_()
    loss = DSAN.local_mmd(source, rand(4, 3, seed=1), p, q)
    slopes = torch.autograd.grad(loss, [source, p, q], materialize_grads=True)
    assert [bool(slope.any()) for slope in slopes] == [True, False, False]


def test_local_mmd_without_a_shared_class_is_zero() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    source = rand(3, 2).requires_grad_()
    loss = DSAN.local_mmd(source, rand(3, 2, seed=1), eye[[0, 0, 0]], eye[[1, 1, 1]])
    assert float(loss.detach()) == 0.0
    assert not gradient(loss, source).any()


def test_coral_by_hand() -> None:
    """One value: variances 2 and 0, so (2 - 0)^2 / (4 · 1) = 1."""
    found = DEEP_CORAL.coral(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [3.0], [3.0]]))
    assert float(found) == 1.0


def test_coral_equals_numpy_and_the_papers_gradient() -> None:
    """Equations 4 and 5: the gradients written out by the authors."""
    source, target = rand(6, 3).requires_grad_(), (2 * rand(5, 3, seed=1)).requires_grad_()
    found = DEEP_CORAL.coral(source, target)
    s, t = source.detach().numpy(), target.detach().numpy()
    gap = np.cov(s.T) - np.cov(t.T)
    assert found.item() == pytest.approx((gap**2).sum() / (4 * 9), rel=1e-12)
    for leaf, side, sign in ((source, s, 1), (target, t, -1)):
        n = len(side)
        ones = np.ones((1, n))
        inner = (side.T - (ones @ side).T @ ones / n).T @ gap
        np.testing.assert_allclose(gradient(found, leaf), sign * inner / (9 * (n - 1)), atol=1e-12)


@pytest.mark.parametrize("rows", [1, 4, 64])
def test_rows_that_are_all_the_same_give_no_gradient(rows: int) -> None:
    x = torch.full((rows, 3), 7.1, requires_grad=True)
    q = torch.ones(rows, 1)
    for loss in (
        DAN.multi_kernel_mmd(x, x),
        JAN.joint_mmd(x, x, q, q, 1.68),
        DSAN.local_mmd(x, x, q, q),
        DEEP_CORAL.coral(x, x),
    ):
        assert torch.isfinite(loss)
        assert gradient(loss, x).abs().max() < 1e-5


def accuracy(name: str) -> float:
    """With a target whose every value is two deviations too large."""
    right = []
    for seed in range(2):
        problem = example_problem(f"m{seed}", n_source=150, n_target=150, shots=5)
        shifted = with_target(problem, lambda values: values + np.float32(2))
        scores = train_one(registry.create(name, {"steps": 100}), shifted, seed).scores
        right.append(scores.argmax(axis=1) == np.arange(150) % 3)
    return float(np.mean(right))


@pytest.mark.slow
def test_methods_undo_a_shift_of_the_target() -> None:
    without = accuracy("source-only")
    # Not deep-coral: covariances do not see a shift.
    for name in ("dan", "jan", "dsan"):
        assert accuracy(name) > without, name
