import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clser_bench.errors import FeatureError
from clser_bench.features.cache import (
    ROWS,
    Part,
    Shard,
    cache_size,
    divide,
    drop_folder,
    existing_table,
    new_table,
    read_shard,
    remove_partial_files,
    shard_path,
    write_file,
    write_shard,
)
from clser_bench.features.columns import INSTANTS
from clser_bench.features.sets import feature_set
from clser_bench.hashing import digest

FEATURES = feature_set("acoustic")
CONTENTS = tuple(sorted(digest(number) for number in range(5)))


def some_shard() -> Shard:
    rng = np.random.default_rng(0)
    count = len(CONTENTS)
    return Shard(
        contents=CONTENTS,
        instants=rng.normal(size=(count, INSTANTS, len(FEATURES.instants))).astype(np.float32),
        summary=rng.normal(size=(count, len(FEATURES.summary))).astype(np.float32),
    )


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 500, 1248])
def test_division_is_complete_sorted_and_of_about_the_wanted_size(count: int):
    contents = [digest(["utterance", number]) for number in range(count)]
    shards = divide(contents + contents[: count // 2])
    assert [content for shard in shards for content in shard] == sorted(contents)
    assert all(shards)
    assert len(shards) <= max(1, 2 * count / ROWS + 1)


def test_a_shard_is_read_as_it_was_written_or_named_as_damaged(tmp_path: Path, caplog):
    path, shard = shard_path(tmp_path, FEATURES, CONTENTS), some_shard()
    assert read_shard(path, FEATURES, CONTENTS) is None
    write_shard(path, shard)
    first = path.read_bytes()
    write_shard(path, shard)
    assert path.read_bytes() == first
    assert [left.name for left in path.parent.iterdir()] == [path.name]
    read = read_shard(path, FEATURES, CONTENTS)
    assert read is not None
    assert read.contents == CONTENTS
    np.testing.assert_array_equal(read.instants, shard.instants)
    np.testing.assert_array_equal(read.summary, shard.summary)
    assert not caplog.records, "an absent or whole one is no damage"
    assert read_shard(path, FEATURES, CONTENTS[1:]) is None
    assert read_shard(path, feature_set("egemaps"), CONTENTS) is None
    path.write_bytes(first[:-1])  # tests of the inventory cut and flip anything
    assert read_shard(path, FEATURES, CONTENTS) is None
    assert caplog.text.count(f"{path} is damaged") == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch, number: int):
    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(number, os.strerror(number))

    def parts() -> Iterator[Part]:
        yield np.array([0]), np.zeros((1, 2, 3), np.float32), np.zeros((1, 4), np.float32)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FeatureError, match="the disk is full; make room, or set CLSER_CACHE"):
        write_file(tmp_path / "file", b"content")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FeatureError, match="the disk is full"):
        new_table(tmp_path, "key", instants=(2, 2, 3), summary=(2, 4), parts=parts())
    assert not list((tmp_path / "tables").iterdir())


def test_a_cache_that_may_not_be_written_is_named(tmp_path: Path):
    (tmp_path / "shards").write_text("a file where a folder is needed")
    with pytest.raises(FeatureError, match="cannot be written"):
        write_file(tmp_path / "shards" / "x" / "file", b"")


def test_a_table_written_out_of_order_is_memory_mapped_and_right(tmp_path: Path):
    rng = np.random.default_rng(1)
    long = rng.normal(size=(3, 2, 3)).astype(np.float32)
    short = rng.normal(size=(3, 4)).astype(np.float32)
    parts = [(rows, long[rows], short[rows]) for rows in (np.array([2, 0]), np.array([1]))]
    stamps = set()
    for _ in range(2):  # what is there stays
        table = new_table(tmp_path, "key", instants=(3, 2, 3), summary=(3, 4), parts=parts)
        assert table.folder == tmp_path / "tables" / "key"
        stamps.add((table.folder / "summary.npy").stat().st_mtime_ns)
    assert len(stamps) == 1
    np.testing.assert_array_equal(table.instants, long)
    np.testing.assert_array_equal(table.summary, short)
    assert isinstance(table.instants.base, np.memmap)
    assert existing_table(tmp_path, "key", rows=3) is not None
    assert [entry.name for entry in (tmp_path / "tables").iterdir()] == ["key"]


def test_old_leftovers_are_swept_and_young_ones_stay(tmp_path: Path):
    old, young, kept = tmp_path / ".part-old", tmp_path / ".part-young", tmp_path / "table"
    for path in (old, young, kept):
        path.mkdir()
    (tmp_path / ".part-file").write_text("")
    for path in (old, tmp_path / ".part-file"):
        os.utime(path, (0, 0))
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-young", "table"]


def test_size_in_all(tmp_path: Path):
    assert cache_size(tmp_path / "absent") == 0
    write_file(tmp_path / "shards" / "a" / "one", b"12345")
    write_file(tmp_path / "shards" / "b" / "two", b"123")
    write_file(tmp_path / "tables" / "t", b"1")
    write_file(tmp_path / "index.json", b"{}")
    assert cache_size(tmp_path) == 11
    for _ in range(2):  # a folder that is dropped may be absent
        drop_folder(tmp_path / "shards")
    assert cache_size(tmp_path) == 3
