"""Which rows a step sees."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clser_bench import registry
from clser_bench.hashing import generator
from clser_bench.train.batches import batches, draws
from clser_bench.train.check import example_problem


@given(n=st.integers(1, 50), size=st.integers(1, 60), steps=st.integers(1, 20))
def test_batches_cover_rows_evenly(n: int, size: int, steps: int) -> None:
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
def test_labelled_part_is_class_balanced(shots: int, wanted: int) -> None:
    problem = example_problem(shots=shots)
    method = registry.create("source-only", {"steps": 3, "labelled_batch": wanted})
    drawn = draws(method, problem, 5, bank=100)
    y = problem.labelled.y[drawn.labelled]
    for row in y:
        assert np.bincount(row).tolist() == [min(shots, wanted)] * 3


def test_parts_have_generators_of_their_own() -> None:
    problem = example_problem()
    few = draws(registry.create("source-only", {"target_batch": 5}), problem, 5, bank=100)
    many = draws(registry.create("source-only", {"target_batch": 9}), problem, 5, bank=100)
    np.testing.assert_array_equal(few.labelled, many.labelled)
    np.testing.assert_array_equal(few.source, many.source)
    assert (draws(registry.create("source-only"), problem, 6, bank=100).target[0] != 0).any()
