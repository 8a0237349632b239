"""Labels that are kept back: a fifth of each class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.problem import Labelled
from clser_bench.splits import holdout

quick = settings(max_examples=60, deadline=None)


def labelled(counts: list[int], *, order: int = 0) -> Labelled:
    y = np.repeat(np.arange(len(counts)), counts)
    rows = np.random.default_rng(order).choice(10_000, len(y), replace=False)
    return Labelled(rows.astype(np.int64), y.astype(np.int64))


counts = st.lists(st.integers(1, 40), min_size=2, max_size=6)


@quick
@given(counts, st.integers(0, 50))
def test_parts_are_disjoint_whole_and_keep_their_labels(sizes, seed):
    drawn = labelled(sizes, order=seed)
    truth = dict(zip(drawn.rows.tolist(), drawn.y.tolist(), strict=True))
    train, kept = holdout(drawn, source="B", seed=seed)
    assert not set(train.rows) & set(kept.rows)
    found = {
        row: y
        for part in (train, kept)
        for row, y in zip(part.rows.tolist(), part.y.tolist(), strict=True)
    }
    assert found == truth
    places = [drawn.rows.tolist().index(row) for row in train.rows]
    assert places == sorted(places), "the rest stays in its order"


@quick
@given(counts)
def test_a_fifth_of_each_class_but_one_of_two_and_none_of_one(sizes):
    _, kept = holdout(labelled(sizes), source="B", seed=0)
    expected = [0 if size == 1 else max(1, size // 5) for size in sizes]
    assert np.bincount(kept.y, minlength=len(sizes)).tolist() == expected


@pytest.mark.parametrize(
    ("shots", "kept"), [(1, 0), (2, 1), (5, 1), (9, 1), (10, 2), (14, 2), (15, 3), (20, 4)]
)
def test_counts_by_hand(shots, kept):
    assert len(holdout(labelled([shots]), source="B", seed=0)[1].y) == kept


def test_what_is_kept_back_depends_on_source_and_draw_alone():
    drawn = labelled([20, 20])
    first = holdout(drawn, source="B", seed=0)[1].rows.tolist()
    assert holdout(drawn, source="B", seed=0)[1].rows.tolist() == first
    assert holdout(drawn, source="B", seed=1)[1].rows.tolist() != first
    assert holdout(drawn, source="C", seed=0)[1].rows.tolist() != first


def test_a_class_s_part_does_not_depend_on_the_other_classes():
    drawn = labelled([20, 20])
    second = Labelled(drawn.rows[20:], drawn.y[20:])
    both, alone = (holdout(item, source="B", seed=4)[1] for item in (drawn, second))
    assert both.rows[both.y == 1].tolist() == alone.rows.tolist()


def test_every_utterance_has_the_same_chance():
    """2 of 10, 400 draws: 80 each, binomial deviation 8; five deviations."""
    drawn = labelled([10])
    kept = [holdout(drawn, source="B", seed=seed)[1].rows for seed in range(400)]
    times = [int(np.sum(np.concatenate(kept) == row)) for row in drawn.rows]
    assert sum(times) == 800
    assert all(abs(count - 80) < 40 for count in times)
