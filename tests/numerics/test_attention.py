"""Transformer layers: torch's own with the same weights."""

from __future__ import annotations

from typing import Any

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
