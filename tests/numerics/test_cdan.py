"""CDAN: its whole loss and gradient without a reversed gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clser_bench import registry
from clser_bench.train.batches import Feeder, trial_of
from clser_bench.train.check import example_problem
from clser_bench.train.contract import Batch, Shape


def adversary_by_hand(network: Any, batch: Batch, *, weighted: bool) -> Tensor:
    """The domain loss, its gradient nowhere reversed."""
    costs = []
    for view, is_target in ((batch.source, False), (batch.target, True)):
        embedding = network.embed(view)
        p = torch.softmax(network.head(embedding), dim=-1)
        joint = torch.einsum("nk,ne->nke", p.detach(), embedding).reshape(len(p), -1)
        of_target = torch.sigmoid(network.domain(joint)).squeeze(-1)
        each = -torch.log(of_target if is_target else 1 - of_target)
        weight = 1 + torch.exp((p * torch.log(p)).sum(dim=-1)) if weighted else torch.ones(len(p))
        costs.append((weight * each).sum() / weight.sum().detach())
    return (costs[0] + costs[1]) / 2


@pytest.mark.parametrize("name", ["cdan", "cdan-e"])
def test_loss_and_gradient_without_reversal(name: str) -> None:
    """Adversary: the slope of its loss. Backbone and head: minus lambda times the ramp times it."""
    method = registry.create(name, {"adversary_weight": 0.7, "ramp": 4.0})
    problem = example_problem()
    torch.manual_seed(0)
    network = method.network(Shape.of(problem)).double()
    batch = trial_of(Feeder([method], [problem], [5], torch.float64).batch(0, {}), 0)
    names, values = zip(*network.named_parameters(), strict=True)
    loss = method.loss(network, batch._replace(progress=0.3))
    found = torch.autograd.grad(loss, values)

    emotion = nn.functional.cross_entropy(network(batch.labelled), batch.y)
    domains = adversary_by_hand(network, batch, weighted=name == "cdan-e")
    torch.testing.assert_close(loss, emotion + domains)
    one = torch.autograd.grad(emotion, values, materialize_grads=True)
    two = torch.autograd.grad(domains, values, materialize_grads=True)
    strength = 0.7 * math.tanh(4.0 * 0.3 / 2)
    for part, slope, of_emotion, of_domains in zip(names, found, one, two, strict=True):
        factor = 1.0 if part.startswith("domain") else -strength
        torch.testing.assert_close(slope, of_emotion + factor * of_domains, msg=part)
        if part.startswith("head"):
            assert bool(of_domains.any()) == (name == "cdan-e")
