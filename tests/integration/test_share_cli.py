"""`export` and `import`: what they print where, and how they end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from clser_bench.cli.main import app
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests import boards
from tests.records import ok, trial

Call = Callable[..., Result]
NOTES = {"within-target": MethodNote(role="reference")}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A results file at the usual place."""
    path = tmp_path / "results" / "clser.sqlite"
    with Store(path) as store:
        boards.run(store, {"logistic": 12, "sere": 18, "within-target": 20}, notes=NOTES)
    return path


def changed(file: Path, change: Callable[[dict, list[dict]], None]) -> str:
    table = parquet.read_table(file)
    heading = json.loads(parquet.read_metadata(file).metadata[b"clser-bench"])
    rows = table.to_pylist()
    change(heading, rows)
    metadata = {b"clser-bench": json.dumps(heading).encode()}
    schema = table.schema.with_metadata(metadata)
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), "changed.parquet")
    return "changed.parquet"


def test_tables_are_the_same_after_a_journey(ours: Path, call: Call) -> None:
    done = call("export", "ours.parquet")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "12 trials of 3 methods, 12 with a result." in done.stderr
    done = call("import", "ours.parquet", "--results", "theirs.sqlite")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "12 results added to theirs.sqlite; 0 were there before." in done.stderr
    tables = [
        call("leaderboard", "--format", "csv", "--results", path).stdout
        for path in (str(ours), "theirs.sqlite")
    ]
    assert tables[0] == tables[1]
    assert tables[0].count("\n") == 10
    other = call("leaderboard", "--by", "sources")
    assert "--by 'sources' is unknown; did you mean 'source'?" in other.stderr
    again = call("import", "ours.parquet", "--results", "theirs.sqlite")
    assert (again.exit_code, "0 results added" in again.stderr) == (0, True)


def test_what_an_import_adds_leaves_out_and_cannot_show_is_said(
    ours: Path, call: Call, tmp_path: Path
) -> None:
    call("export", "plain.parquet")
    call("export", "full.parquet", "--scores")
    call("import", "plain.parquet", "--results", "pool.sqlite")
    done = call("import", "full.parquet", "--results", "pool.sqlite")
    added = "0 results added to pool.sqlite; 12 were there before; 12 of these had no scores and"
    assert (done.exit_code, added in done.stderr) == (0, True)
    other = ok(trial("sere"), [0] * 24, boards.KEY)
    with Store(tmp_path / "theirs.sqlite") as store:
        store.plan({}, [other.trial], pairs=boards.PAIRS)
        store.put([other])
    done = call("import", "plain.parquet", "--results", "theirs.sqlite")
    assert done.exit_code == 1
    row = ["plain.parquet", "sere", "B→C", "5", "0", "acoustic", "33.33", "75.00"]
    assert done.stdout == "\t".join(row) + "\n"
    assert "11 results added" in done.stderr
    assert "1 differ from what is there and were left out." in done.stderr
    with Store(tmp_path / "newer.sqlite") as store:
        boards.run(store, {"sere": 18}, version=2)
    done = call("import", "plain.parquet", "--results", "newer.sqlite")
    assert done.exit_code == 0
    assert "not shown in tables: sere, bc, 5 shots: the file has another version" in done.stderr


def test_imported_results_are_no_run_to_resume_and_their_card_names_the_file(
    ours: Path, call: Call
) -> None:
    call("export", "ours.parquet")
    call("import", "ours.parquet", "--results", "theirs.sqlite")
    assert call("resume", "--results", "theirs.sqlite").exit_code == 2
    done = call("card", "--results", "theirs.sqlite", "--out", "card.json")
    assert done.exit_code == 0, done.output
    card = json.loads(Path("card.json").read_text(encoding="utf-8"))
    assert (len(card["methods"]), card["requests"]) == (3, [])
    assert "ours.parquet" in json.dumps(card)


def test_what_is_refused_is_said_without_a_traceback(ours: Path, call: Call) -> None:
    call("export", "ours.parquet")

    def rank(_: dict, rows: list[dict]) -> None:
        for row in rows:
            row["role"] = "ranked"

    for change, problem in (
        (lambda _, rows: rows[3].update(uar=99.0), "row 4: uar 99.0: predictions and answers give"),
        (rank, "within-target: role 'ranked': it uses target labels; nothing was imported"),
    ):
        path = changed(Path("ours.parquet"), change)
        done = call("import", "ours.parquet", path, "--results", "theirs.sqlite")
        assert done.exit_code == 2
        assert done.stderr.startswith("Error: changed.parquet: ")
        assert problem in done.stderr
        assert not Path("theirs.sqlite").exists()


@pytest.mark.parametrize(("pair", "synthetic"), [("B→C", True), ("DE→HU", False)])
def test_synthetic_speech_cannot_pass_for_recorded(
    call: Call, tmp_path: Path, pair: str, synthetic: bool
) -> None:
    record = ok(trial("sere", pair, synthetic=synthetic), [0] * 24, boards.KEY)
    with Store(tmp_path / "ours.sqlite") as store:
        store.plan({}, [record.trial], pairs=[record.trial.pair])
        store.put([record])
    assert call("export", "ours.parquet", "--results", "ours.sqlite").exit_code == 0
    done = call("import", "ours.parquet", "--results", "theirs.sqlite")
    assert done.exit_code == 2
    assert f"row 1: synthetic {synthetic}: {pair} is" in done.stderr


def test_an_export_needs_results_and_a_file_of_its_own(ours: Path, call: Call) -> None:
    before = ours.read_bytes()
    done = call("export", str(ours))
    assert done.exit_code == 2
    assert "name a file that ends in .parquet, such as ours.parquet" in done.stderr
    assert ours.read_bytes() == before
    Store(Path("empty.sqlite")).close()
    for file, problem in (("absent", "there are no results yet"), ("empty", "has no results to")):
        done = call("export", "ours.parquet", "--results", f"{file}.sqlite")
        assert (done.exit_code, problem in done.stderr) == (2, True)
    assert not Path("ours.parquet").exists()


def test_verify_finds_a_changed_metric_and_the_leaderboard_refuses_it(
    ours: Path, call: Call
) -> None:
    done = call("results", "verify")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "12 results verified, no faults." in done.stderr
    with sqlite3.connect(ours) as connection:
        connection.execute("UPDATE records SET uar = 99.9 WHERE rowid = 1")
    connection.close()
    done = call("results", "verify")
    assert done.exit_code == 1
    assert "uar is 99.9, and its predictions give" in done.stdout
    assert "1 fault(s); take the file from a backup" in done.stderr
    for command in (("leaderboard",), ("export", "x.parquet")):
        done = call(*command)
        assert done.exit_code == 2
        assert "its UAR is stored as 99.9000" in done.stderr
    assert not Path("x.parquet").exists()


def test_a_damaged_request_stops_resume_and_nothing_else(ours: Path, call: Call) -> None:
    with sqlite3.connect(ours) as connection:
        connection.execute("UPDATE requests SET request = '{'")
    connection.close()
    assert call("leaderboard").exit_code == 0
    done = call("resume")
    assert done.exit_code == 2
    assert "the request of plan 1 is damaged" in done.stderr
    assert "the request is damaged" in call("results", "verify").stdout
