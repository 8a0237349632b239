"""Frames pooled to a fixed number of spans."""

from __future__ import annotations

import numpy as np

from clser_bench.problem import Floats


def pool(frames: Floats, spans: int) -> Floats:
    """Average frames over spans of equal length that cover them all, in order.

    A span has `ceil(m / spans)` frames. Their starts are spread evenly, so neighbours overlap
    where `m` is no multiple of `spans`; with fewer frames than spans, frames are repeated.

    Args:
        frames: [m, d], m at least 1.
        spans: t.

    Returns:
        float32 [t, d].

    Raises:
        ValueError: there is no frame.
    """
    count = len(frames)
    if not count:
        raise ValueError("pool needs at least one frame")
    length = -(-count // spans)
    starts = np.arange(spans) * (count - length) // max(spans - 1, 1)
    members = starts[:, None] + np.arange(length)
    means: Floats = frames[members].mean(axis=1, dtype=np.float64).astype(np.float32)
    return means
