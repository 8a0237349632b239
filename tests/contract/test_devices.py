"""Losses, carries and batches stay on the pack's device: shown on torch's `meta` device.

A meta tensor has a shape and no values, and refuses to be mixed with one of the CPU, as a tensor of
a GPU does. So this finds what would stop a method on a GPU, without one; not what it computes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clser_bench import registry
from clser_bench.train.check import example_problem
from clser_bench.train.contract import Batch, State, Trained
from clser_bench.train.engine import StackedAdam, _Pack


def methods() -> list[str]:
    return [
        name
        for name in registry.entries()
        if isinstance(made := registry.create(name), Trained) and made.packable
    ]


@pytest.fixture(autouse=True)
def _on_the_cpu_what_needs_values(shapes_unchecked, monkeypatch) -> None:
    """The optimiser and the looks at the whole target are torch's and the CPU's business."""
    monkeypatch.setattr(StackedAdam, "step", lambda *_, **__: None)
    refresh = _Pack._refresh

    def on_cpu(self: Any, index: int, step: int) -> State:
        one = (self.methods[index : index + 1], self.problems[:1], self.seeds[:1])
        return refresh(_Pack(*one, self.dtype, "cpu"), 0, step)

    monkeypatch.setattr(_Pack, "_refresh", on_cpu)


def step_on_meta(method: Trained) -> None:
    problem = example_problem()
    pack = _Pack([method] * 2, [problem] * 2, [0, 1], torch.float32, "meta")
    for step in (0, method.steps // 2, method.steps - 1):
        pack.step(step)
    assert {part.device.type for part in pack.stack.values.values()} == {"meta"}
    assert {value.device.type for value in pack.carry.values()} <= {"meta"}


@pytest.mark.parametrize("name", methods())
def test_a_step_stays_on_its_device(name: str) -> None:
    step_on_meta(registry.create(name))


def test_a_loss_that_leaves_the_device_is_found() -> None:
    class Leaves(type(registry.create("source-only"))):  # type: ignore[misc]
        def loss(self, network: Any, batch: Batch) -> Tensor:
            weight = torch.ones(len(batch.y))
            losses = functional.cross_entropy(network(batch.labelled), batch.y, reduction="none")
            return (losses * weight).mean()

    with pytest.raises(RuntimeError, match="meta"):
        step_on_meta(Leaves())
