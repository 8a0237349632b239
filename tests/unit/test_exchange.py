"""Results that travel as Parquet, and files of several laboratories in one results file."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from clser_bench.errors import SpecError, StoreError
from clser_bench.protocol import PROTOCOL_VERSION
from clser_bench.store import parquet as files
from clser_bench.store.parquet import FaultyError
from clser_bench.store.sqlite import Store
from tests import boards
from tests.exports import cleaned, dump, read, shown, take
from tests.records import answer_key, hole, ok, trial


def test_tables_are_the_same_where_they_are_imported_and_so_is_their_export(ours, file, tmp_path):
    take(tmp_path / "theirs.sqlite", file)
    for format_ in ("csv", "md", "json"):
        text = shown(tmp_path / "theirs.sqlite", format_)
        assert text == cleaned(shown(ours, format_))
        assert text.count("sere") > 10
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


def test_halves_by_method_give_the_whole(ours, tmp_path):
    halves = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    names = [("sere", "dann"), ("logistic", "chance", "within-target", "lacking")]
    for path, methods in zip(halves, names, strict=True):
        files.write(ours, path, methods=methods)
        assert {entry.trial.method for entry in read(path).entries} == set(methods)
    whole = cleaned(shown(ours))
    for order in itertools.permutations(halves):
        pool = tmp_path / f"{order[0].stem}.sqlite"
        take(pool, *order)
        assert shown(pool) == whole


@pytest.mark.parametrize("by", ["pair", "seed"])
def test_halves_of_a_method_are_pooled_in_one_row(tmp_path, by):
    rng = np.random.default_rng(1)
    records = [
        ok(trial("sere", str(pair), seed=seed), boards.guesses(9 + 3 * seed, rng), boards.KEY)
        for pair, seed in itertools.product(boards.PAIRS, range(4))
    ]
    parts = {"whole": records}
    for record in records:
        side = record.trial.pair.source if by == "pair" else str(record.trial.seed % 2)
        parts.setdefault(side, []).append(record)
    for name, members in parts.items():
        with Store(tmp_path / f"{name}.sqlite") as store:
            store.plan({}, [item.trial for item in members], pairs=boards.PAIRS)
            store.put(members)
        files.write(tmp_path / f"{name}.sqlite", tmp_path / f"{name}.parquet")
    own, *others = [name for name in parts if name != "whole"]
    merged = take(tmp_path / f"{own}.sqlite", *(tmp_path / f"{name}.parquet" for name in others))
    assert not merged.apart
    assert shown(tmp_path / f"{own}.sqlite") == shown(tmp_path / "whole.sqlite")


def test_another_result_is_listed_and_never_overwrites(ours, file, tmp_path):
    theirs = tmp_path / "theirs.sqlite"
    mine = ok(trial("sere"), [0] * 24, boards.KEY)
    with Store(theirs) as store:
        store.plan({}, [mine.trial], pairs=boards.PAIRS)
        store.put([mine])
    merged = take(theirs, file)
    (conflict,) = merged.conflicts
    assert conflict.trial.id == mine.trial.id
    assert conflict.here == pytest.approx(100 / 3)
    with Store(ours) as store, Store(theirs) as pool:
        assert conflict.there == store.uars([mine.trial.id])[mine.trial.id]
        assert pool.uars([mine.trial.id]) == {mine.trial.id: conflict.here}
        assert merged.added + merged.missing + 1 == store.frame()["trial"].nunique()
    assert take(theirs, file).conflicts == merged.conflicts
    files.write(ours, tmp_path / "scores.parquet", scores=True)
    assert len(take(theirs, tmp_path / "scores.parquet").conflicts) == 1
    with Store(theirs) as pool:  # whose own scores stay
        assert np.array_equal(next(pool.records([mine.trial.id])).scores, mine.scores)


def test_a_result_fills_a_hole_and_a_hole_no_result(tmp_path):
    full, empty = tmp_path / "full.sqlite", tmp_path / "empty.sqlite"
    of = trial("sere")
    for path, record in ((full, ok(of, [1] * 24, boards.KEY)), (empty, hole(of))):
        with Store(path) as store:
            store.plan({}, [of], pairs=boards.PAIRS)
            store.put([record])
        files.write(path, path.with_suffix(".parquet"))
    assert take(full, empty.with_suffix(".parquet")).known == 1
    assert take(empty, full.with_suffix(".parquet")).added == 1
    with Store(full) as one, Store(empty) as other:
        assert one.uars([of.id]) == other.uars([of.id]) == {of.id: pytest.approx(100 / 3)}


@pytest.mark.parametrize("change", [{"version": 2}, {"parameters": (("c", 1.0),)}, {"tables": "u"}])
def test_what_does_not_go_together_is_not_pooled_but_listed(tmp_path, change):
    own, other = tmp_path / "own.sqlite", tmp_path / "other.sqlite"
    for path, fields, seeds in ((own, {}, 2), (other, change, 4)):
        with Store(path) as store:
            boards.run(store, {"logistic": 10}, seeds=seeds)
            boards.run(store, {"sere": 18}, seeds=seeds, **fields)
    before = [row for row in shown(own).splitlines() if ",sere," in row]
    files.write(other, tmp_path / "other.parquet")
    merged = take(own, tmp_path / "other.parquet")
    assert [method for _, method in merged.apart] == ["sere"]
    after = [row for row in shown(own).splitlines() if ",sere," in row]
    kept = [row.split(",")[:13] for row in after]
    assert kept == [row.split(",")[:13] for row in before]
    assert not take(own, tmp_path / "other.parquet").added


def test_other_answers_to_the_same_problem_are_refused(ours, tmp_path):
    path = tmp_path / "forged.sqlite"
    key = answer_key([0] * 12 + [1] * 6 + [2] * 6, speakers="aabbcc" * 4)
    with Store(path) as store:
        store.plan({}, [trial("mine")], pairs=boards.PAIRS)
        store.put([ok(trial("mine"), key.y.tolist(), key)])
    forged = tmp_path / "forged.parquet"
    files.write(path, forged)
    before = dump(ours)
    with pytest.raises(FaultyError, match=r"row 1: other answers to the same problem \(B→C"):
        take(ours, forged)
    assert dump(ours) == before
    files.write(ours, tmp_path / "ours.parquet")
    with pytest.raises(FaultyError, match="other answers to the same problem"):
        take(tmp_path / "new.sqlite", tmp_path / "ours.parquet", forged)
    assert not (tmp_path / "new.sqlite").exists()


def test_results_without_scores_take_them_from_a_later_file(tmp_path):
    results, pool = tmp_path / "ours.sqlite", tmp_path / "pool.sqlite"
    with Store(results) as store:
        boards.run(store, {"sere": 18})
    plain, full = tmp_path / "plain.parquet", tmp_path / "full.parquet"
    files.write(results, plain)
    files.write(results, full, scores=True)
    assert take(pool, plain).scored == 0
    with Store(pool) as store:
        assert {len(record.scores) for record in store.records()} == {0}
        assert store.verify() == ()
    merged = take(pool, full)
    assert (merged.added, merged.known, merged.scored) == (0, 4, 4)
    with Store(results) as store, Store(pool) as copy:
        for record, twin in zip(store.records(), copy.records(), strict=True):
            assert np.array_equal(record.scores, twin.scores)
    before = dump(pool)
    assert [take(pool, path).scored for path in (full, plain)] == [0, 0]
    assert dump(pool) == before
