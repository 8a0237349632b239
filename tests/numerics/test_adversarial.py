"""Adversarial methods: transformer layers as torch has them, CDAN without a reversed gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from clser_bench import registry
from clser_bench.train.batches import Feeder, trial_of
from clser_bench.train.check import example_problem
from clser_bench.train.contract import Batch, Shape
from tests import tools
from tests.tools import rand

PARTS = tools.method("adversarial_transformer")


def test_attention_of_large_logits_is_finite() -> None:
    x = torch.tensor([[300.0, 0.0], [0.0, 300.0]])
    torch.testing.assert_close(PARTS.attention(x, x, x), x)


NAMES = {
    "attention.inputs.": "self_attn.in_proj_", "attention.output.": "self_attn.out_proj.",
    "before_attention.": "norm1.", "before_maps.": "norm2.", "up.": "linear1.", "down.": "linear2.",
}  # fmt: skip
"""Ours and torch's, each followed by `weight` or `bias`."""
NAMES = {own + part: other + part for own, other in NAMES.items() for part in ("weight", "bias")}


def pair(width: int, heads: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    """Ours and torch's with the same weights."""
    torch.manual_seed(1)
    ours = PARTS.EncoderLayer(width, heads, hidden).double()
    options: Any = {"dropout": 0.0, "batch_first": True, "norm_first": True}
    theirs = nn.TransformerEncoderLayer(width, heads, hidden, **options).double()
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert set(NAMES) == set(own)
    assert set(NAMES.values()) == set(other)
    with torch.no_grad():
        for mine, its in NAMES.items():
            # Start values of zero and one would hide a bias or a scale in the wrong place.
            value = 0.3 * rand(*own[mine].shape, seed=len(mine))
            own[mine].copy_(value)
            other[its].copy_(value)
    return ours, theirs


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_encoder_layer_equals_torch_in_value_and_gradient(heads: int) -> None:
    ours, theirs = pair(8, heads, 12)
    x, y = rand(3, 5, 8).requires_grad_(), rand(3, 5, 8).requires_grad_()
    weight = rand(3, 5, 8, seed=2)
    torch.testing.assert_close(ours(x), theirs(y))
    (ours(x) * weight).sum().backward()
    (theirs(y) * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for mine, its in NAMES.items():
        own, other = ours.get_parameter(mine), theirs.get_parameter(its)
        torch.testing.assert_close(own.grad, other.grad, msg=mine)


def test_encoder_layer_under_vmap_equals_a_loop() -> None:
    layers = [pair(8, 2, 12)[0] for _ in range(2)]
    with torch.no_grad():
        layers[1].get_parameter("up.weight").mul_(2)
    stacked, _ = stack_module_state(layers)
    x = rand(2, 3, 4, 8)

    def one(parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
        return functional_call(layers[0], parameters, (rows,))

    expected = torch.stack([layer(rows) for layer, rows in zip(layers, x, strict=True)])
    torch.testing.assert_close(vmap(one)(stacked, x), expected)


def test_spans_by_hand() -> None:
    h = torch.arange(10.0).reshape(1, 5, 2)
    torch.testing.assert_close(PARTS.spans(h, 1), h)
    torch.testing.assert_close(PARTS.spans(h, 5), h.reshape(1, 1, 10))
    expected = torch.tensor([[[0.0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]])
    torch.testing.assert_close(PARTS.spans(h, 2), expected)
    assert PARTS.spans(h, 9).shape == (1, 1, 18)
    assert PARTS.spans(h[:0], 2).shape == (0, 3, 4)


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
def test_cdan_s_loss_and_gradient_without_reversal(name: str) -> None:
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
