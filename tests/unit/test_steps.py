"""Which rows a step of training sees, and the stacked optimiser against torch's own."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from clser_bench import registry
from clser_bench.hashing import generator
from clser_bench.train.batches import batches, draws
from clser_bench.train.check import example_problem
from clser_bench.train.engine import StackedAdam, rate_scale


@given(n=st.integers(1, 50), size=st.integers(1, 60), steps=st.integers(1, 20))
def test_batches_cover_rows_evenly(n, size, steps):
    found = batches(generator("test", n, size), n, size=size, steps=steps)
    assert found.shape == (steps, size)
    assert found.min() >= 0
    assert found.max() < n
    if n >= size:
        assert all(len(set(row)) == size for row in found)
    else:
        counts = np.bincount(found.reshape(-1), minlength=n)
        assert counts.max() - counts.min() <= 1


@given(shots=st.integers(1, 6), wanted=st.integers(1, 9))
def test_labelled_part_is_class_balanced(shots, wanted):
    problem = example_problem(shots=shots)
    method = registry.create("source-only", {"steps": 3, "labelled_batch": wanted})
    drawn = draws(method, problem, 5, bank=100)
    y = problem.labelled.y[drawn.labelled]
    for row in y:
        assert np.bincount(row).tolist() == [min(shots, wanted)] * 3


def test_parts_have_generators_of_their_own():
    problem = example_problem()
    few = draws(registry.create("source-only", {"target_batch": 5}), problem, 5, bank=100)
    many = draws(registry.create("source-only", {"target_batch": 9}), problem, 5, bank=100)
    np.testing.assert_array_equal(few.labelled, many.labelled)
    np.testing.assert_array_equal(few.source, many.source)
    assert (draws(registry.create("source-only"), problem, 6, bank=100).target[0] != 0).any()


def test_the_stacked_optimiser_equals_torch_for_each_trial():
    draw = torch.Generator().manual_seed(0)
    rates, decays = [1e-3, 1e-2, 1e-2, 0.5, 1e-2], [0.0, 0.1, 0.1, 1.0, 0.1]
    flat = torch.randn(5, 7, generator=draw, dtype=torch.float64)
    theirs = [torch.nn.Parameter(row.clone()) for row in flat]
    optimiser = torch.optim.Adam([{"params": [parameter]} for parameter in theirs])
    ours = StackedAdam([flat], rates, decays)
    for step in range(25):
        gradient = torch.randn(5, 7, generator=draw, dtype=torch.float64)
        scale, penalised = rate_scale("cosine", step / 25), step % 3 != 2
        ours.step({0: gradient}, scale, penalised=penalised)
        for group, row, rate, decay in zip(
            optimiser.param_groups, gradient, rates, decays, strict=True
        ):
            group["params"][0].grad = row.clone()
            group["lr"], group["weight_decay"] = rate * scale, decay * penalised
        optimiser.step()
    torch.testing.assert_close(flat, torch.stack(list(theirs)).detach(), rtol=0, atol=1e-12)


def test_cosine_goes_from_one_to_zero():
    assert rate_scale("cosine", 0.0) == 1.0
    assert abs(rate_scale("cosine", 0.5) - 0.5) < 1e-12
    assert abs(rate_scale("cosine", 1.0)) < 1e-12
    assert rate_scale("none", 0.7) == 1.0
