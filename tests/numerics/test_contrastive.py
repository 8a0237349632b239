"""Contrastive losses and ECAN: loops, hand-worked cases, invariances, degenerate input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from clser_bench import registry
from clser_bench.nn import losses
from tests import tools
from tests.oracles import at, batch, gradient, pseudo_labels, small_network, view
from tests.tools import rand

ECAN = tools.method("ecan")


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_neighbourhood_by_loops() -> None:
    bank, scores = rand(9, 4), rand(9, 3, seed=1)
    found = losses.neighbourhood(bank, scores, count=3)
    p = scores.softmax(-1)
    for i in range(9):
        others = sorted((m for m in range(9) if m != i), key=lambda m: -cosine(bank[i], bank[m]))
        assert found.rows[i].tolist() == others[:3]
        assert int(found.label[i]) == int(p[[i, *others[:3]]].sum(0).argmax())


def test_neighbourhood_of_two_rows_and_of_one() -> None:
    two = losses.neighbourhood(rand(2, 4), rand(2, 3), count=3)
    assert two.rows.tolist() == [[1, 1, 1], [0, 0, 0]]
    one = losses.neighbourhood(rand(1, 4), torch.tensor([[0.0, 2.0]]), count=2)
    assert one.rows.tolist() == [[0, 0]]
    assert one.label.tolist() == [1]


def test_neighbour_contrast_by_hand() -> None:
    """A neighbour at cosine 1, one other row at cosine 0, temperature 0.5."""
    u, near = torch.tensor([[2.0, 0.0]]), torch.tensor([[[5.0, 0.0]]])
    others = torch.tensor([[0.0, 3.0], [1.0, 0.0]])
    found = ECAN.neighbour_contrast(u, near, others, torch.tensor([[1.0, 0.0]]), 0.5)
    assert float(found) == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)


def neighbour_contrast_by_loops(u: Tensor, near: Tensor, others: Tensor, apart: Tensor) -> float:
    total = 0.0
    for i in range(len(u)):
        close = [math.exp(cosine(u[i], n) / 0.3) for n in near[i]]
        far = [math.exp(cosine(u[i], o) / 0.3) for o, a in zip(others, apart[i], strict=True) if a]
        total += sum(-math.log(v / (sum(close) + sum(far))) for v in close) / len(close)
    return total / len(u)


def test_neighbour_contrast_equals_loops_and_its_gradient() -> None:
    u, near, others = rand(5, 4), rand(5, 3, 4, seed=1), rand(6, 4, seed=2)
    apart = (rand(5, 6, seed=3) > -0.5).double()
    assert 0 < float(apart.mean()) < 1
    rest = (near, others, apart)
    found = ECAN.neighbour_contrast(u, *rest, 0.3)
    assert float(found) == pytest.approx(neighbour_contrast_by_loops(u, *rest))
    u.requires_grad_()
    assert torch.autograd.gradcheck(lambda u: ECAN.neighbour_contrast(u, *rest, 0.3), u)


def supervised_contrast_by_loops(u: Tensor, label: list[int]) -> float:
    losses = []
    for i in range(len(u)):
        others = [m for m in range(len(u)) if m != i]
        total = sum(math.exp(cosine(u[i], u[m]) / 0.3) for m in others)
        alike = [m for m in others if label[m] == label[i]]
        each = [-math.log(math.exp(cosine(u[i], u[m]) / 0.3) / total) for m in alike]
        losses += [sum(each) / len(each)] if each else []
    return sum(losses) / len(losses)


def test_supervised_contrast_equals_loops_and_its_gradient() -> None:
    u, label = rand(7, 4), torch.tensor([0, 1, 0, 2, 1, 0, 3])
    found = ECAN.supervised_contrast(u, label, 0.3)
    assert float(found) == pytest.approx(supervised_contrast_by_loops(u, label.tolist()))
    u.requires_grad_()
    assert torch.autograd.gradcheck(lambda u: ECAN.supervised_contrast(u, label, 0.3), u)


def test_supervised_contrast_without_pairs_is_zero_with_zero_gradient() -> None:
    u = rand(3, 4).float().requires_grad_()
    loss = ECAN.supervised_contrast(u, torch.arange(3), 0.1)
    assert float(loss.detach()) == 0.0
    assert not gradient(loss, u).any()
    assert float(ECAN.supervised_contrast(rand(1, 4), torch.tensor([0]), 0.1)) == 0.0


def test_concentration_by_hand_and_its_gradient() -> None:
    p = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
    expected = 0.7 * math.log(0.7) + 0.3 * math.log(0.3)
    assert float(losses.concentration(p.log() + 5)) == pytest.approx(expected)
    least = losses.concentration(torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
    assert float(least) == pytest.approx(-math.log(2), rel=1e-6)
    assert torch.autograd.gradcheck(losses.concentration, (rand(4, 3).requires_grad_(),))
    sure = torch.tensor([[1e4, 0.0]], requires_grad=True)
    assert torch.isfinite(gradient(losses.concentration(sure), sure)).all()


def test_ecan_loss_of_the_target_by_loops() -> None:
    """A batch that holds a row twice; neither its copy nor a neighbour is kept away from it."""
    weights = {"neighbour_weight": 0.5, "class_weight": 2.0}
    method: Any = registry.create("ecan", {**weights, "temperature": 0.3, "neighbours": 2})
    network, whole, rows = small_network(), view(10), [0, 4, 4, 7, 8, 9]
    state = {key: each[rows] for key, each in pseudo_labels(method, network, whole).items()}
    u, near = network.embed(at(whole, rows)).detach(), state["near_row"].tolist()
    apart = torch.tensor(
        [[float(j != i and j not in near[a]) for j in rows] for a, i in enumerate(rows)]
    )
    assert float(apart.sum()) < len(rows) * (len(rows) - 1) - 2
    local = neighbour_contrast_by_loops(u, state["near"], u, apart)
    between = supervised_contrast_by_loops(u, state["label"].tolist())
    mean = network.head(u).detach().softmax(-1).mean(0)
    expected = float((mean * mean.log()).sum()) + 0.5 * local + 2.0 * between
    found = method.target_loss(network, batch(target=at(whole, rows), state=state))
    assert float(found.detach()) == pytest.approx(expected)
