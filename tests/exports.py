"""Exported results of all kinds, for tests of what travels as Parquet."""

from __future__ import annotations

import sqlite3

from pyarrow import parquet

from clser_bench.problem import SkippedFile
from clser_bench.report.render import render
from clser_bench.store import parquet as files
from clser_bench.store import pooling
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests import boards
from tests.records import answer_key, hole, ok, trial

METHODS = {"logistic": 12, "sere": 18, "within-target": 22, "chance": 8}
NOTES = {
    "chance": MethodNote(role="bound"),
    "within-target": MethodNote(role="reference", note="<script>$|"),
    "sere": MethodNote(assumes_prior="none/uniform", note="from the abstract"),
}
TRACE = "Traceback (most recent call last):\n  File '/home/me/x.py'\nValueError: too few"
NAME = b"clser-bench"


read = files.read


def take(results, *paths):
    """Read files and merge them into a results file."""
    return pooling.merge(results, [read(path) for path in paths])


def shown(path, format_="csv"):
    """The tables of a results file, with all they can have."""
    with Store(path, create=False) as store:
        tables = boards.tables_of(store, with_=("time", "point"))
    return render(tables, format_)


def cleaned(text):
    """Tables as they are once a reason has lost what steers a terminal."""
    for escape in ("\x1b", r"\x1b", r"\u001b"):
        text = text.replace(escape, "\N{REPLACEMENT CHARACTER}")
    return text


def dump(path):
    """Everything in a results file."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def export(path):
    """Store and export methods of all kinds, several rules and suites, and holes of every kind."""
    with Store(path) as store:
        boards.run(store, METHODS, notes=NOTES, seeds=3)
        boards.run(store, {"sere": 19}, notes=NOTES, left_out={("sere", "B→C", 1)}, shots="all")
        boards.run(store, {"sere": 17}, features="egemaps", selection="other-pairs")
        boards.run(store, {"sere": 15}, features="egemaps", selection="other-pairs/1", version=2)
        boards.run(
            store, {"sere": 17}, suite="other", fixed4=True, classes=("anger", "fear", "sadness")
        )
        failed, bad = trial("dann"), trial("dann", "C→B")
        sure = [
            ok(trial("lacking", str(pair), seed=9), [0, 0, 1], answer_key([0, 0, 1]))
            for pair in boards.PAIRS
        ]
        trials = [failed, bad, *(record.trial for record in sure)]
        store.plan({"corpora": "/home/me"}, trials, pairs=boards.PAIRS)
        holes = [hole(failed, reason=TRACE), hole(bad, "not_applicable", "needs \x1b[31m 9 shots")]
        store.put([*holes, *sure])
        store.put_skipped([SkippedFile(corpus="B", name="a.wav", reason="silent")])
    files.write(path, path.with_suffix(".parquet"))


def row_of(file, status="ok"):
    """The place of the first row with a status."""
    return parquet.read_table(file)["status"].to_pylist().index(status)
