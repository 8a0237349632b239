"""IRF and TRIC: hand-worked cases, plain formulas, invariances, degenerate input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clser_bench.nn import resonance as irf
from clser_bench.nn.balance import balance, balancing_offsets


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_prototypes_by_hand() -> None:
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    y = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    c = irf.prototypes(u, y)
    half = math.sqrt(0.5)
    torch.testing.assert_close(c, torch.tensor([[half, half], [0.0, 1.0], [0.0, 0.0]]))


def test_highlight_by_hand() -> None:
    """Two instants, one class: z = h, cosines 1 and 0, temperature 0.5."""
    h = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])
    a = irf.highlight(h, torch.eye(2), torch.tensor([[1.0, 0.0]]), 0.5)
    share = math.exp(2) / (math.exp(2) + 1)
    torch.testing.assert_close(a, torch.tensor([[share, 1 - share]]))


def test_highlight_equals_the_formula_with_z() -> None:
    h, w, c = rand(3, 5, 4), rand(6, 4, seed=1), rand(2, 6, seed=2)
    c = torch.nn.functional.normalize(c, dim=-1)
    z = h @ w.T
    r = torch.nn.functional.cosine_similarity(z[:, :, None, :], c, dim=-1)
    expected = torch.softmax(torch.logsumexp(r / 0.2, dim=-1), dim=-1)
    torch.testing.assert_close(irf.highlight(h, w, c, 0.2), expected)


def test_highlight_gradient() -> None:
    h, w = rand(2, 3, 4), rand(3, 4, seed=1).requires_grad_()
    c = torch.nn.functional.normalize(rand(2, 3, seed=2), dim=-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w, c: irf.highlight(h, w, c, 0.3), (w, c))


@given(st.floats(0.05, 5.0), st.floats(0.1, 10.0))
def test_highlight_ignores_loudness_of_z_and_sums_to_one(temperature: float, scale: float) -> None:
    h, w, c = rand(2, 6, 4), rand(5, 4, seed=1), rand(3, 5, seed=2)
    c = torch.nn.functional.normalize(c, dim=-1)
    a = irf.highlight(h, w, c, temperature)
    torch.testing.assert_close(a.sum(-1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(irf.highlight(scale * h, w, c, temperature), a)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(irf.highlight(h[:, order], w, c, temperature), a[:, order])


def test_highlight_of_silence_is_uniform() -> None:
    a = irf.highlight(torch.zeros(1, 4, 3), torch.eye(3), torch.eye(3), 0.1)
    torch.testing.assert_close(a, torch.full((1, 4), 0.25))


def test_differences_by_hand() -> None:
    h = torch.tensor([[[1.0], [4.0], [2.0]]])
    torch.testing.assert_close(
        irf.with_differences(h), torch.tensor([[[1.0, 0.0], [4.0, 3.0], [2.0, -2.0]]])
    )
    assert irf.with_differences(torch.ones(2, 1, 3)).shape == (2, 1, 6)


def test_one_neighbour_is_the_nearest() -> None:
    u = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    r = irf.neighbours(u, count=1, temperature=0.1)
    torch.testing.assert_close(r, torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 1, 0]]))


def test_neighbours_by_formula_and_without_gradient() -> None:
    u = rand(7, 4).requires_grad_()
    r = irf.neighbours(u, count=3, temperature=0.2)
    assert not r.requires_grad
    for i in range(7):
        near = torch.cosine_similarity(u[i].detach(), u.detach())
        cosines = {m: float(near[m]) for m in range(7) if m != i}
        best = sorted(cosines, key=lambda m: -cosines[m])[:3]
        total = sum(math.exp(cosines[m] / 0.2) for m in best)
        for m in range(7):
            expected = math.exp(cosines[m] / 0.2) / total if m in best else 0.0
            assert float(r[i, m]) == pytest.approx(expected, abs=1e-12)


def test_more_neighbours_than_utterances_and_a_lone_one() -> None:
    torch.testing.assert_close(
        irf.neighbours(rand(4, 3), count=99, temperature=1.0).sum(-1),
        torch.ones(4, dtype=torch.float64),
    )
    torch.testing.assert_close(
        irf.neighbours(torch.ones(1, 3), count=5, temperature=1.0), torch.zeros(1, 1)
    )


def test_organise_by_hand_one_step() -> None:
    """Balancing leaves q alone when the shares already are the prior's."""
    p = torch.tensor([[0.8, 0.2], [0.2, 0.8]])
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    q = irf.organise(p, swap, torch.tensor([0.5, 0.5]), steps=1, coupling=0.25, sharpness=1.0)
    torch.testing.assert_close(q, torch.tensor([[0.65, 0.35], [0.35, 0.65]]))
    sharp = irf.organise(p, swap, torch.tensor([0.5, 0.5]), steps=1, coupling=0.25, sharpness=2.0)
    torch.testing.assert_close(sharp[0, 0], torch.tensor(0.65**2 / (0.65**2 + 0.35**2)))


def test_organise_balances_and_keeps_order_of_rows() -> None:
    p = torch.softmax(rand(30, 3) + torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64), dim=-1)
    r = irf.neighbours(rand(30, 5, seed=1), count=4, temperature=0.3)
    prior = torch.full((3,), 1 / 3, dtype=torch.float64)
    q = irf.organise(p, r, prior, steps=2, coupling=0.5, sharpness=1.0)
    torch.testing.assert_close(q.sum(-1), torch.ones(30, dtype=torch.float64))
    assert (q.mean(0) - prior).abs().max() < 0.02 < (p.mean(0) - prior).abs().max()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    permuted = irf.organise(
        p[order], r[order][:, order], prior, steps=2, coupling=0.5, sharpness=1.0
    )
    torch.testing.assert_close(permuted, q[order])


def test_organise_with_one_class_is_certain() -> None:
    q = irf.organise(
        torch.ones(4, 1), torch.eye(4), torch.ones(1), steps=3, coupling=0.5, sharpness=2.0
    )
    torch.testing.assert_close(q, torch.ones(4, 1))


def test_balance_reaches_the_prior_and_keeps_rows_normalised() -> None:
    prior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    q = balance(rand(50, 3) * 2, prior, steps=200)
    torch.testing.assert_close(q.sum(-1), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(q.mean(0), prior, atol=1e-6, rtol=0)
    torch.testing.assert_close(balance(rand(5, 3), prior, steps=0), torch.softmax(rand(5, 3), -1))


def test_balance_equals_optimal_transport() -> None:
    """POT's Sinkhorn on the same kernel is the oracle."""
    ot = pytest.importorskip("ot")
    scores = rand(20, 4)
    plan = ot.sinkhorn(
        torch.full((20,), 1 / 20, dtype=torch.float64),
        torch.full((4,), 1 / 4, dtype=torch.float64),
        -torch.log_softmax(scores, -1),
        1.0,
        numItermax=5000,
        stopThr=1e-13,
    )
    uniform = torch.full((4,), 0.25, dtype=torch.float64)
    torch.testing.assert_close(balance(scores, uniform, steps=500), plan * 20, atol=1e-8, rtol=0)


def test_prototype_resonance_is_weighted_cross_entropy() -> None:
    logits, q = rand(4, 3), torch.softmax(rand(4, 3, seed=1), -1)
    weight = torch.tensor([1.0, 0.0, 0.5, 2.0], dtype=torch.float64)
    each = torch.nn.functional.cross_entropy(logits, q, reduction="none")
    expected = (weight * each).sum() / weight.sum()
    torch.testing.assert_close(irf.prototype_resonance(logits, q, weight), expected)


def dual_by_loops(u: Tensor, q: Tensor, weight: Tensor, temperature: float) -> float:
    n = len(u)
    total = 0.0
    for i in range(n):
        others = [m for m in range(n) if m != i]
        agree = {m: float(q[i] @ q[m] * weight[m]) for m in others}
        logit = {m: float(torch.cosine_similarity(u[i], u[m], dim=0)) / temperature for m in others}
        norm = math.log(sum(math.exp(v) for v in logit.values()))
        mass = sum(agree.values())
        total += float(weight[i]) * sum(-agree[m] / mass * (logit[m] - norm) for m in others)
    return total / float(weight.sum())


def test_dual_resonance_equals_loops_and_its_gradient() -> None:
    u, q = rand(6, 4), torch.softmax(rand(6, 3, seed=1), -1)
    weight = torch.tensor([1.0, 1.0, 0.3, 0.0, 0.7, 0.2], dtype=torch.float64)
    found = irf.dual_resonance(u, q, weight, 0.5)
    assert float(found) == pytest.approx(dual_by_loops(u, q, weight, 0.5), rel=1e-6)
    u = u.requires_grad_()
    assert torch.autograd.gradcheck(lambda u: irf.dual_resonance(u, q, weight, 0.5), (u,))


def test_dual_resonance_is_lower_where_agreeing_instances_are_near() -> None:
    u = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    ones = torch.ones(4)
    right = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    wrong = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    assert irf.dual_resonance(u, right, ones, 0.1) < irf.dual_resonance(u, wrong, ones, 0.1)


def test_dual_resonance_of_a_lone_instance_is_finite() -> None:
    assert float(irf.dual_resonance(torch.ones(1, 2), torch.ones(1, 1), torch.ones(1), 0.1)) == 0.0


def test_estimated_prior_lies_between_the_mean_and_uniform() -> None:
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    torch.testing.assert_close(irf.estimated_prior(p), torch.tensor([0.625, 0.375]))


def by_loops(u: np.ndarray, c: np.ndarray, *, rounds: int, pull: float, tau: float) -> np.ndarray:
    """Assignments without coupling: soft k-means with balanced classes, row by row."""
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    for turn in range(rounds + 1):
        q = np.array([[np.exp(row @ unit(k) / tau) for k in c] for row in u])
        for _ in range(irf.SINKHORN_STEPS):
            q = q / q.sum(axis=1, keepdims=True)
            q = q / q.sum(axis=0, keepdims=True) / len(c)
        q = q / q.sum(axis=1, keepdims=True)
        if turn < rounds:
            pulled = [unit(sum(q[i, k] * u[i] for i in range(len(u)))) for k in range(len(c))]
            c = np.array(
                [unit((1 - pull) * own + pull * p) for own, p in zip(c, pulled, strict=True)]
            )
    return q


def field(u: Tensor, c: Tensor, **changes: object) -> irf.Field:
    options = {
        "rounds": 3,
        "pull": 0.3,
        "temperature": 0.2,
        "prior": torch.full((len(c),), 1 / len(c), dtype=u.dtype),
        "resonance": torch.zeros(len(u), len(u), dtype=u.dtype),
        "steps": 0,
        "coupling": 0.0,
        "sharpness": 1.0,
    }
    return irf.self_organise(u, c, **{**options, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_self_organisation_equals_loops(rounds: int) -> None:
    u = torch.nn.functional.normalize(rand(12, 5), dim=-1)
    c = torch.nn.functional.normalize(rand(3, 5, seed=1), dim=-1)
    expected = by_loops(u.numpy(), c.numpy(), rounds=rounds, pull=0.3, tau=0.2)
    found = field(u, c, rounds=rounds)
    np.testing.assert_allclose(found.assignments.numpy(), expected, atol=1e-6)


def test_self_organisation_finds_clusters_that_lie_beside_the_prototypes() -> None:
    """The labelled prototypes lie 60 degrees off; the pulled ones end nearer to the clusters."""
    angle = torch.tensor([0.0, 120.0, 240.0], dtype=torch.float64).deg2rad()
    centres = torch.stack([angle.cos(), angle.sin()], dim=-1)
    u = torch.nn.functional.normalize(
        centres.repeat_interleave(40, dim=0) + 0.2 * rand(120, 2), dim=-1
    )
    turned = angle + torch.tensor(50.0, dtype=torch.float64).deg2rad()
    c = torch.stack([turned.cos(), turned.sin()], dim=-1)
    found = field(u, c, rounds=20)
    before, after = (irf.cosine(k, centres).diagonal() for k in (c, found.prototypes))
    assert (after > 0.97).all()
    assert (before < 0.7).all()


def test_self_organisation_leaves_prototypes_without_rounds_and_balances_by_offsets() -> None:
    u = torch.nn.functional.normalize(rand(30, 4) + 1, dim=-1)
    c = torch.nn.functional.normalize(rand(3, 4, seed=1), dim=-1)
    found = field(u, c, rounds=0)
    torch.testing.assert_close(found.prototypes, c)
    shares = (irf.cosine(u, c) / 0.2 + found.offsets).softmax(dim=-1).mean(dim=0)
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 3), atol=1e-3, rtol=0)
    assert torch.isfinite(field(u[:1], c[:1]).assignments).all()


def test_balance_is_a_softmax_with_offsets() -> None:
    log_p, prior = rand(20, 3), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    offsets = balancing_offsets(log_p, prior, steps=7)
    torch.testing.assert_close(balance(log_p, prior, steps=7), (log_p + offsets).softmax(dim=-1))
    assert not balancing_offsets(log_p, prior, steps=0).any()
