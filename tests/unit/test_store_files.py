"""Files of results: what is refused, what older versions wrote, read-only places."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from clser_bench.errors import StoreError
from clser_bench.problem import SkippedFile
from clser_bench.protocol import Pair
from clser_bench.store import schema
from clser_bench.store.sqlite import Store
from tests.records import answer_key, hole, ok, trial

KEY = answer_key([0, 0, 1, 1, 2])
PAIRS = (Pair("B", "C"), Pair("C", "B"))


@pytest.mark.parametrize("name", [":memory:", "file:r.sqlite", "r?mode=memory.sqlite", "r%20.x"])
def test_any_name_is_that_of_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store(Path(name)) as store:
        store.put([ok(trial(), [0, 0, 1, 1, 2], KEY)])
    assert {path.name for path in tmp_path.iterdir()} == {name}
    with Store(Path(name), create=False, read_only=True) as store:
        assert store.stored([trial().id])


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    note, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    note.write_text("these are my notes, and they are longer than a header of SQLite. " * 20)
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE birds (name)")
    for place, problem in ((note, r"is no results database.*--results"), (other, "something else")):
        before = place.read_bytes()
        with pytest.raises(StoreError, match=rf"{place.name}: .*{problem}"):
            Store(place)
        assert place.read_bytes() == before


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        (schema.SCHEMA_VERSION + 1, r"newer clser-bench.*upgrade"),
        (0, r"is damaged \(schema 0\); take the file from a backup"),
        (-5, r"is damaged \(schema -5\)"),
    ],
)
def test_a_database_of_another_version_is_refused(path, version, problem):
    Store(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    for options in ({}, {"create": False, "read_only": True}):
        with pytest.raises(StoreError, match=problem):
            Store(path, **options)


def test_bytes_that_are_no_text_in_the_schema_are_damage(path):
    with Store(path) as store:
        store.put([ok(trial(), [0, 0, 1, 1, 2], KEY)])
        known = everything(store)
    content = path.read_bytes()
    start = content.index(b"CREATE TABLE trials")
    refused = 0
    for place in range(start, start + 200, 5):
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        for options in ({}, {"create": False, "read_only": True}):
            try:
                with Store(path, **options) as store:
                    assert everything(store) == known
            except StoreError as error:
                refused += "is damaged" in str(error)
    assert refused > 20


OLD = Path(__file__).parents[1] / "golden" / "results_schema_2.sql"


def make_old(path, version=2):
    """The results file of an earlier version, written by that version and kept as SQL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
        if version == 1:
            connection.execute("ALTER TABLE records DROP COLUMN energy")
            connection.execute("PRAGMA user_version = 1")


def everything(store):
    """All that reading commands take from a store."""
    return (
        store.frame(candidates=True).drop(columns="tables").to_csv(),
        store.lines(),
        [(run.suite, run.pairs, run.request, run.methods, run.trials) for run in store.runs()],
        [(record.trial, record.metrics, record.scores.tolist()) for record in store.records()],
        store.skipped(),
    )


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_is_read_as_it_is_and_migrated_by_the_first_that_writes(path, version):
    make_old(path, version)
    before = path.read_bytes()
    with Store(path, create=False, read_only=True) as store:
        old = everything(store)
        assert store.verify() == ()
    assert path.read_bytes() == before
    with Store(path) as store:
        assert everything(store) == old
        assert store.verify() == ()
        store.put([dataclasses.replace(ok(trial("new"), [0, 0, 1, 1, 2], KEY), energy=2.5)])
    with Store(path, create=False, read_only=True) as store:
        assert len(list(store.records())) == len(old[3]) + 1
    for run in old[2]:
        assert run[2]["seeds"] in (1, 2)
    assert schema_of(path) == schema_of(path.with_name("new.sqlite"))


def schema_of(path):
    with Store(path) as store:
        return {
            (name, *column[1:4])
            for (name,) in store.query("SELECT name FROM sqlite_master WHERE type = 'table'")
            for column in store.query(f"PRAGMA table_info({name})")
        }


def test_the_tables_of_an_older_file_stay(path):
    make_old(path)
    with Store(path, create=False, read_only=True) as store:
        found = store.frame()
    wanted = pd.read_csv(OLD.with_suffix(".csv"), dtype=str).query("pair != 'mean'")
    assert len(found) == 16
    means = found[found.status == "ok"].groupby(["corruption", "method", "pair"]).uar.mean()
    shown = {round(float(value), 2) for value in wanted["uar_mean"].dropna()}
    assert {round(value, 2) for value in means} >= shown
    assert set(found.corruption) == {"", "noise:-2.5"}
    assert set(found.role) == {"bound", "ranked"}


def test_a_field_that_a_file_lacks_has_its_default(path, monkeypatch):
    """A rule that is added later: older files have it as clean speech has corruptions."""
    with Store(path) as store:
        store.plan({}, [trial()], pairs=PAIRS)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in ("trials", "lines"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN corruption")
    for options in ({"read_only": True}, {}):
        with Store(path, create=False, **options) as store:
            (line,) = store.lines()
            assert line.condition.corruption == ""
            assert store.trials(line.id) == (trial(),)


def test_joules_of_another_attempt_replace_those_of_the_failed_one(path):
    with Store(path) as store:
        store.put([dataclasses.replace(hole(trial()), energy=1.0)])
        store.put([dataclasses.replace(ok(trial(), [0, 0, 1, 1, 2], KEY), energy=3.0)])
        store.put([dataclasses.replace(ok(trial(), [0, 0, 1, 1, 2], KEY), energy=9.0)])
        assert [record.energy for record in store.records()] == [3.0]


def test_absent_results_are_named_and_an_empty_file_becomes_a_database(path):
    with pytest.raises(StoreError, match="no results yet"):
        Store(path, create=False)
    assert not path.exists()
    path.parent.mkdir(exist_ok=True)
    path.touch()
    for read_only in (True, False):
        with pytest.raises(StoreError, match="no results yet"):
            Store(path, create=False, read_only=read_only)
    with Store(path) as store:
        assert store.runs() == ()


def test_a_folder_a_pipe_or_a_place_below_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="no regular file"):
        Store(tmp_path / "pipe", read_only=True)
    with pytest.raises(StoreError, match="is a folder"):
        Store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "clser.sqlite")


def refusing(opened, *, unless):
    """SQLite on a medium that cannot be written; permissions do not stop the superuser."""

    def connect(where, *rest, **options):
        if unless in str(where):
            return opened(where, *rest, **options)
        return opened("/proc/none/results.sqlite", *rest, **options)

    return connect


def test_a_read_only_place_is_refused_for_writing_and_read(path, monkeypatch):
    with Store(path) as store:
        store.put([ok(trial(), [0, 0, 1, 1, 2], KEY)])
    monkeypatch.setattr(schema.sqlite3, "connect", refusing(sqlite3.connect, unless="immutable"))
    with pytest.raises(StoreError, match=r"cannot be opened for writing.*writable place"):
        Store(path)
    with Store(path, create=False, read_only=True) as store:
        assert store.progress() == store.progress()
        assert len(list(store.records())) == 1
        with pytest.raises(StoreError, match="cannot be written"):
            store.put([hole(trial(seed=1))])
    path.with_name(f"{path.name}-wal").write_bytes(b"x" * 100)  # it was not closed
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path, create=False, read_only=True)


def test_a_reader_writes_nothing(path):
    with Store(path) as store:
        store.put([hole(trial())])
    before = sorted(path.parent.iterdir()), path.read_bytes()
    with Store(path, create=False, read_only=True) as store:
        assert len(list(store.records())) == 1
        with pytest.raises(StoreError, match="cannot be written"):
            store.put_skipped([SkippedFile(corpus="B", name="a", reason="x")])
    assert (sorted(path.parent.iterdir()), path.read_bytes()) == before
