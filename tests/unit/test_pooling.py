import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clser_bench.features.columns import pool


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [
        (range(8), [0.5, 2.5, 4.5, 6.5]),  # a multiple of the spans: no overlap
        ([0, 1, 2, 10, 20, 40], [0.5, 1.5, 6.0, 30.0]),  # spans of 2 from 0, 1, 2 and 4
        ([1, 2], [1, 1, 1, 2]),  # fewer frames are repeated in order
        ([1], [1, 1, 1, 1]),
    ],
)
def test_spans_are_equal_in_length_and_in_order(frames, wanted):
    assert pool(np.array(frames, np.float32)[:, None], 4)[:, 0].tolist() == wanted


@given(count=st.integers(1, 300), spans=st.integers(1, 40))
def test_every_frame_counts_and_a_constant_stays_exact(count: int, spans: int):
    pooled = pool(np.eye(count, dtype=np.float32), spans)
    assert pooled.shape == (spans, count)
    assert (pooled.sum(axis=0) > 0).all()
    constant = np.full((count, 1), 0.1, np.float32)
    assert (pool(constant, spans) == np.float32(0.1)).all()
    places = pooled @ np.arange(count)
    assert (np.diff(places) >= 0).all()
