"""Transformer layers: torch's own with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from tests import tools
from tests.tools import rand

PARTS = tools.method("adversarial_transformer")


def test_attention_of_large_logits_is_finite() -> None:
    x = torch.tensor([[300.0, 0.0], [0.0, 300.0]])
    torch.testing.assert_close(PARTS.attention(x, x, x), x)


def pair(width: int, heads: int, hidden: int) -> tuple[nn.Module, nn.TransformerEncoderLayer]:
    """Ours and torch's with the same weights."""
    torch.manual_seed(1)
    ours = PARTS.EncoderLayer(width, heads, hidden).double()
    theirs = nn.TransformerEncoderLayer(
        width, heads, hidden, dropout=0.0, batch_first=True, norm_first=True
    ).double()
    names = {
        "attention.inputs.weight": "self_attn.in_proj_weight",
        "attention.inputs.bias": "self_attn.in_proj_bias",
        "attention.output.weight": "self_attn.out_proj.weight",
        "attention.output.bias": "self_attn.out_proj.bias",
        "before_attention.weight": "norm1.weight",
        "before_attention.bias": "norm1.bias",
        "before_maps.weight": "norm2.weight",
        "before_maps.bias": "norm2.bias",
        "up.weight": "linear1.weight",
        "up.bias": "linear1.bias",
        "down.weight": "linear2.weight",
        "down.bias": "linear2.bias",
    }
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert set(names) == set(own)
    assert set(names.values()) == set(other)
    with torch.no_grad():
        for mine, its in names.items():
            # Start values of zero and one would hide a bias or a scale in the wrong place.
            value = 0.3 * rand(*own[mine].shape, seed=len(mine))
            own[mine].copy_(value)
            other[its].copy_(value)
    theirs.names = names  # type: ignore[assignment]
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
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    for mine, its in theirs.names.items():  # type: ignore[union-attr, operator]
        torch.testing.assert_close(own[mine].grad, other[its].grad, msg=lambda m, n=mine: n + m)


def test_encoder_layer_under_vmap_equals_a_loop() -> None:
    layers = [pair(8, 2, 12)[0] for _ in range(2)]
    with torch.no_grad():
        layers[1].up.weight.mul_(2)
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
