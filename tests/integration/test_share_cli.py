"""`export` and `import`: what they print where, and how they end."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from clser_bench.cli.main import app
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests import boards
from tests.exports import rewrite, stored
from tests.records import ok, trial

NOTES = {"within-target": MethodNote(role="reference")}


@pytest.fixture
def call(tmp_path, monkeypatch):
    """The command line, in a folder of its own; `code` is the status that it ends with."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, code=0):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == code, done.output
        return done

    return invoke


@pytest.fixture
def ours(tmp_path):
    """A results file at the usual place."""
    path = tmp_path / "results" / "clser.sqlite"
    with Store(path) as store:
        boards.run(store, {"logistic": 12, "sere": 18, "within-target": 20}, notes=NOTES)
    return path


def change(path, statement):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def test_tables_are_the_same_after_a_journey_and_no_run_is_to_resume(ours, call):
    done = call("export", "ours.parquet")
    assert done.stdout == ""
    assert "12 trials of 3 methods, 12 with a result." in done.stderr
    theirs = ("--results", "theirs.sqlite")
    done = call("import", "ours.parquet", *theirs)
    assert done.stdout == ""
    assert "12 results added to theirs.sqlite; 0 were there before." in done.stderr
    table = call("leaderboard", "--format", "csv").stdout
    assert call("leaderboard", "--format", "csv", *theirs).stdout == table
    assert table.count("\n") == 10
    other = call("leaderboard", "--by", "sources", code=2)
    assert "--by 'sources' is unknown; did you mean 'source'?" in other.stderr
    assert "0 results added" in call("import", "ours.parquet", *theirs).stderr
    assert "no run is stored in it" in call("resume", *theirs, code=2).stderr
    card = json.loads(call("card", *theirs).stdout)
    assert (len(card["methods"]), card["requests"]) == (3, [])
    assert "ours.parquet" in json.dumps(card)


def test_what_an_import_adds_leaves_out_and_cannot_show_is_said(ours, call):
    call("export", "plain.parquet")
    call("export", "full.parquet", "--scores")
    call("import", "plain.parquet", "--results", "pool.sqlite")
    done = call("import", "full.parquet", "--results", "pool.sqlite")
    added = "0 results added to pool.sqlite; 12 were there before; 12 of these had no scores and"
    assert added in done.stderr
    stored(Path("theirs.sqlite"), ok(trial("sere"), [0] * 24, boards.KEY))
    done = call("import", "plain.parquet", "--results", "theirs.sqlite", code=1)
    row = ["plain.parquet", "sere", "B→C", "5", "0", "acoustic", "33.33", "75.00"]
    assert done.stdout == "\t".join(row) + "\n"
    assert "11 results added" in done.stderr
    assert "1 differ from what is there and were left out." in done.stderr
    with Store(Path("newer.sqlite")) as store:
        boards.run(store, {"sere": 18}, version=2)
    done = call("import", "plain.parquet", "--results", "newer.sqlite")
    assert "not shown in tables: sere, bc, 5 shots: the file has another version" in done.stderr


def test_what_is_refused_is_said_without_a_traceback(ours, call):
    call("export", "ours.parquet")
    roles = parquet.read_table("ours.parquet")["role"].to_pylist()
    ranked = [(row, {"role": "ranked"}) for row, _ in enumerate(roles)]
    for changes, problem in (
        ([(3, {"uar": 99.0})], "row 4: uar 99.0: predictions and answers give"),
        (ranked, "within-target: role 'ranked': it uses target labels; nothing was imported"),
    ):
        path = rewrite(Path("ours.parquet"), changes=changes)
        done = call("import", "ours.parquet", str(path), "--results", "theirs.sqlite", code=2)
        assert done.stderr.startswith("Error: changed.parquet: ")
        assert problem in done.stderr
        assert not Path("theirs.sqlite").exists()


@pytest.mark.parametrize(("pair", "synthetic"), [("B→C", True), ("DE→HU", False)])
def test_synthetic_speech_cannot_pass_for_recorded(call, pair, synthetic):
    record = ok(trial("sere", pair, synthetic=synthetic), [0] * 24, boards.KEY)
    stored(Path("ours.sqlite"), record, pairs=[record.trial.pair])
    call("export", "ours.parquet", "--results", "ours.sqlite")
    done = call("import", "ours.parquet", "--results", "theirs.sqlite", code=2)
    assert f"row 1: synthetic {synthetic}: {pair} is" in done.stderr


def test_an_export_needs_results_and_a_file_of_its_own(ours, call):
    before = ours.read_bytes()
    done = call("export", str(ours), code=2)
    assert "name a file that ends in .parquet, such as ours.parquet" in done.stderr
    assert ours.read_bytes() == before
    Store(Path("empty.sqlite")).close()
    for file, problem in (("absent", "there are no results yet"), ("empty", "has no results to")):
        done = call("export", "ours.parquet", "--results", f"{file}.sqlite", code=2)
        assert problem in done.stderr
    assert not Path("ours.parquet").exists()


def test_verify_finds_a_changed_metric_and_the_leaderboard_refuses_it(ours, call):
    done = call("results", "verify")
    assert done.stdout == ""
    assert "12 results verified, no faults." in done.stderr
    change(ours, "UPDATE records SET uar = 99.9 WHERE rowid = 1")
    done = call("results", "verify", code=1)
    assert "uar is 99.9, and its predictions give" in done.stdout
    assert "1 fault(s); take the file from a backup" in done.stderr
    for command in (("leaderboard",), ("export", "x.parquet")):
        assert "its UAR is stored as 99.9000" in call(*command, code=2).stderr
    assert not Path("x.parquet").exists()


def test_a_damaged_request_stops_resume_and_nothing_else(ours, call):
    change(ours, "UPDATE requests SET request = '{'")
    call("leaderboard")
    assert "the request of plan 1 is damaged" in call("resume", code=2).stderr
    assert "the request is damaged" in call("results", "verify", code=1).stdout
