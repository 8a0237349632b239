"""Results that travel as Parquet: whole round trips, and what travels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from clser_bench.errors import SpecError, StoreError
from clser_bench.protocol import PROTOCOL_VERSION
from clser_bench.store import parquet as files
from clser_bench.store.sqlite import Store
from tests import boards
from tests.exports import cleaned, dump, read, shown, take


def test_tables_are_the_same_where_they_are_imported(ours, file, tmp_path):
    take(tmp_path / "theirs.sqlite", file)
    for format_ in ("csv", "md", "json"):
        text = shown(tmp_path / "theirs.sqlite", format_)
        assert text == cleaned(shown(ours, format_))
        assert text.count("sere") > 10


def test_an_import_exports_the_same_bytes(file, tmp_path):
    take(tmp_path / "theirs.sqlite", file)
    files.write(tmp_path / "theirs.sqlite", tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == file.read_bytes()


def test_importing_twice_changes_nothing(ours, file, tmp_path):
    theirs = tmp_path / "theirs.sqlite"
    first = take(theirs, file)
    before = dump(theirs)
    again = take(theirs, file, file)
    assert dump(theirs) == before
    assert (first.known, again.added, again.known) == (0, 0, 2 * first.added)
    before = dump(ours)
    assert take(ours, file).added == 0
    assert dump(ours) == before


def test_only_what_is_asked_for_is_exported(ours, tmp_path):
    path = tmp_path / "some.parquet"
    written = files.write(ours, path, wanted={"suite": "other"})
    assert (written.trials, written.ok, written.methods, written.old) == (4, 4, 1, 0)
    assert {entry.trial.condition.suite for entry in read(path).entries} == {"other"}
    with pytest.raises(SpecError, match=r"no results of method 'seer'; did you mean 'sere'"):
        files.write(ours, path, methods=["seer"])
    with pytest.raises(StoreError, match="has no results to export, or none like that"):
        files.write(ours, path, wanted={"suite": "x"})


def test_neither_options_nor_tracebacks_leave_the_house(file):
    table = parquet.read_table(file)
    assert "/home/me" not in str(table.to_pydict()) + str(parquet.read_metadata(file).metadata)
    assert "ValueError: too few" in table["reason"].to_pylist()
    assert "\x1b" not in str(table["reason"].to_pylist())


def test_rows_of_an_older_protocol_are_left_out_and_counted(tmp_path):
    path = tmp_path / "old.sqlite"
    with Store(path) as store:
        boards.run(store, {"sere": 17})
        boards.run(store, {"dann": 17}, protocol_version=PROTOCOL_VERSION - 1)
    written = files.write(path, tmp_path / "x.parquet")
    assert (written.methods, written.old) == (1, 1)


def test_scores_travel_only_where_they_are_asked_for(ours, file, tmp_path):
    with_scores = tmp_path / "scores.parquet"
    files.write(ours, with_scores, scores=True)
    take(tmp_path / "theirs.sqlite", with_scores)
    with Store(ours) as store, Store(tmp_path / "theirs.sqlite") as copy:
        found = {record.trial.id: record for record in copy.records(status="ok")}
        for record in store.records(list(found), status="ok"):
            twin = found[record.trial.id]
            assert np.array_equal(twin.scores, record.scores)
            assert twin.scores.dtype == np.float32
            assert (twin.metrics.confusion, twin.names) == (record.metrics.confusion, record.names)
    assert "scores" not in parquet.read_schema(file).names


@pytest.mark.parametrize("content", [b"PAR1 no", None])
def test_a_file_that_is_no_export_is_not_replaced(ours, tmp_path, content):
    place = tmp_path / "manifest.parquet"
    if content is None:
        parquet.write_table(pa.table({"path": ["a.wav"]}), place)
    else:
        place.write_bytes(content)
    before = place.read_bytes()
    with pytest.raises(StoreError, match="is there and is no export; name another file"):
        files.write(ours, place)
    assert place.read_bytes() == before


def test_an_unfinished_export_leaves_the_older_file(ours, file, tmp_path, monkeypatch):
    before = file.read_bytes()

    def full(where, *_, **__):
        Path(where).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.parquet, "ParquetWriter", full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left.*make room"):
        files.write(ours, file)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob(".part-*"))
