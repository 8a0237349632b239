"""Two tables one below the other, in the cache."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clser_bench.errors import FeatureError
from clser_bench.features import cache as module
from clser_bench.features.cache import concatenated
from clser_bench.problem import open_table
from clser_bench.train.check import example_table

FIRST, SECOND = example_table("first", n=7), example_table("second", n=5)


def test_rows_of_the_first_then_those_of_the_second(tmp_path: Path) -> None:
    both = concatenated(FIRST, SECOND, cache=tmp_path)
    assert len(both) == 12
    for name in ("instants", "summary"):
        expected = np.concatenate([getattr(FIRST, name), getattr(SECOND, name)])
        assert getattr(both, name).tobytes() == expected.tobytes()
        assert getattr(both, name).dtype == np.float32


def test_it_is_written_once_and_again_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = concatenated(FIRST, SECOND, cache=tmp_path)
    whole = first.summary.tobytes()
    with monkeypatch.context() as patch:
        patch.setattr(module, "new_table", lambda *_, **__: pytest.fail("written twice"))
        again = concatenated(FIRST, SECOND, cache=tmp_path)
    assert (again.key, again.summary.tobytes()) == (first.key, whole)
    assert first.folder
    (first.folder / "summary.npy").write_bytes(b"nothing")
    open_table.cache_clear()
    assert concatenated(FIRST, SECOND, cache=tmp_path).summary.tobytes() == whole


def test_order_and_tables_are_in_the_key(tmp_path: Path) -> None:
    other = replace(SECOND, key="other")
    pairs = [(FIRST, SECOND), (SECOND, FIRST), (FIRST, other), (FIRST, FIRST)]
    keys = {concatenated(*pair, cache=tmp_path).key for pair in pairs}
    assert len(keys) == 4
    assert not keys & {FIRST.key, SECOND.key}


def test_it_travels_as_its_folder(tmp_path: Path) -> None:
    both = concatenated(example_table("big", n=4000), SECOND, cache=tmp_path)
    sent = pickle.dumps(both)
    assert len(sent) < 1000
    assert pickle.loads(sent).summary.tobytes() == both.summary.tobytes()


@pytest.mark.parametrize("sizes", [{"d": 4}, {"t": 6}, {"f": 9}])
def test_features_of_other_sizes_are_refused(tmp_path: Path, sizes: dict[str, int]) -> None:
    other = example_table("other", n=5, **sizes)
    message = "tables first.* and other.* different sizes.* one feature set, or an alignment"
    with pytest.raises(FeatureError, match=message):
        concatenated(FIRST, other, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
