"""Contrastive losses and ECAN: loops, hand-worked cases, invariances, degenerate input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clser_bench import registry
from clser_bench.nn import losses
from clser_bench.nn.backbone import SharedClassifier
from clser_bench.train.contract import Batch, Embedded, Snapshot, Trained, View
from tests import tools
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
    found = ECAN.neighbour_contrast(u, near, others, apart, 0.3)
    assert float(found) == pytest.approx(neighbour_contrast_by_loops(u, near, others, apart))
    assert torch.autograd.gradcheck(
        lambda u: ECAN.neighbour_contrast(u, near, others, apart, 0.3),
        (u.requires_grad_(),),
    )


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
    u, label = rand(7, 4), [0, 1, 0, 2, 1, 0, 3]
    found = ECAN.supervised_contrast(u, torch.tensor(label), 0.3)
    assert float(found) == pytest.approx(supervised_contrast_by_loops(u, label))
    assert torch.autograd.gradcheck(
        lambda u: ECAN.supervised_contrast(u, torch.tensor(label), 0.3),
        (u.requires_grad_(),),
    )


def test_supervised_contrast_without_pairs_is_zero_with_zero_gradient() -> None:
    u = rand(3, 4).float().requires_grad_()
    loss = ECAN.supervised_contrast(u, torch.arange(3), 0.1)
    assert float(loss.detach()) == 0.0
    (gradient,) = torch.autograd.grad(loss, u)
    assert not gradient.any()
    lone = ECAN.supervised_contrast(rand(1, 4), torch.tensor([0]), 0.1)
    assert float(lone) == 0.0


def test_concentration_by_hand_and_its_gradient() -> None:
    p = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
    expected = 0.7 * math.log(0.7) + 0.3 * math.log(0.3)
    assert float(losses.concentration(p.log() + 5)) == pytest.approx(expected)
    least = losses.concentration(torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
    assert float(least) == pytest.approx(-math.log(2), rel=1e-6)
    assert torch.autograd.gradcheck(losses.concentration, (rand(4, 3).requires_grad_(),))
    sure = torch.tensor([[1e4, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.concentration(sure), sure)
    assert torch.isfinite(gradient).all()


def target_batch(method: Trained, network: SharedClassifier, rows: list[int]) -> Batch:
    """Rows of ten target utterances, with the state that the method keeps of them."""
    whole = View(rand(10, 0, 3), rand(10, 8))
    none = View(*(part[:0] for part in whole))
    described = Embedded(network.embed(whole).detach(), network(whole).detach())
    rng = np.random.default_rng(0)
    state = method.update_pseudo_labels(Snapshot(described, torch.arange(0), described, 0.5, rng))
    target = View(*(part[rows] for part in whole))
    kept = {name: value[rows] for name, value in state.items()}
    return Batch(none, torch.arange(0), none, target, none, none, kept, torch.zeros(0))


def test_ecan_loss_of_the_target_by_loops() -> None:
    """A batch that holds a row twice; neither its copy nor a neighbour is kept away from it."""
    weights = {"neighbour_weight": 0.5, "class_weight": 2.0}
    method: Any = registry.create("ecan", {**weights, "temperature": 0.3, "neighbours": 2})
    torch.manual_seed(0)
    network = SharedClassifier(3, 5, 3).double()
    rows = [0, 4, 4, 7, 8, 9]
    batch = target_batch(method, network, rows)
    u = network.embed(batch.target).detach()
    near = batch.state["near_row"].tolist()
    apart = torch.tensor(
        [[float(j != i and j not in near[a]) for j in rows] for a, i in enumerate(rows)]
    )
    assert float(apart.sum()) < len(rows) * (len(rows) - 1) - 2
    local = neighbour_contrast_by_loops(u, batch.state["near"], u, apart)
    between = supervised_contrast_by_loops(u, batch.state["label"].tolist())
    mean = network.head(u).detach().softmax(-1).mean(0)
    expected = float((mean * mean.log()).sum()) + 0.5 * local + 2.0 * between
    assert float(method.target_loss(network, batch).detach()) == pytest.approx(expected)


def test_ecan_adapts_without_the_source() -> None:
    method = registry.create("ecan")
    assert isinstance(method, Trained)
    first, second = method.phases()
    assert first.uses == ("labelled",)
    assert second.uses == ("target",)
    assert second.start == first.stop
