import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clser_bench.features.columns import pool


def test_a_multiple_of_the_spans_is_cut_without_overlap():
    frames = np.arange(8, dtype=np.float32)[:, None]
    assert pool(frames, 4)[:, 0].tolist() == [0.5, 2.5, 4.5, 6.5]


def test_other_counts_overlap_and_keep_spans_equal_in_length():
    # 6 frames, 4 spans of 2, starting at 0, 1, 2, 4
    frames = np.array([[0], [1], [2], [10], [20], [40]], np.float32)
    assert pool(frames, 4)[:, 0].tolist() == [0.5, 1.5, 6.0, 30.0]


def test_fewer_frames_than_spans_are_repeated_in_order():
    frames = np.array([[1], [2]], np.float32)
    assert pool(frames, 4)[:, 0].tolist() == [1, 1, 1, 2]
    assert pool(frames[:1], 4)[:, 0].tolist() == [1, 1, 1, 1]


@given(count=st.integers(1, 300), spans=st.integers(1, 40))
def test_every_frame_counts_and_a_constant_stays_exact(count: int, spans: int):
    pooled = pool(np.eye(count, dtype=np.float32), spans)
    assert pooled.shape == (spans, count)
    assert (pooled.sum(axis=0) > 0).all()
    constant = np.full((count, 1), 0.1, np.float32)
    assert (pool(constant, spans) == np.float32(0.1)).all()
    places = pooled @ np.arange(count)
    assert (np.diff(places) >= 0).all()
