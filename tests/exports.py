"""Exported results of all kinds, for tests of what travels as Parquet."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pyarrow as pa
from pyarrow import parquet

from clser_bench.problem import SkippedFile
from clser_bench.report.render import render
from clser_bench.store import parquet as files
from clser_bench.store import pooling
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests import boards
from tests.records import answer_key, hole, right, trial

METHODS = {"logistic": 12, "sere": 18, "within-target": 22, "chance": 8}
NOTES = {
    "chance": MethodNote(role="bound"),
    "within-target": MethodNote(role="reference", note="<script>$|"),
    "sere": MethodNote(assumes_prior="none/uniform", note="from the abstract"),
}
TRACE = "Traceback (most recent call last):\n  File '/home/me/x.py'\nValueError: too few"
NAME = b"clser-bench"


read = files.read


def stored(path, *records, pairs=boards.PAIRS):
    """A results file of records that are one plan."""
    with Store(path) as store:
        store.plan({}, [record.trial for record in records], pairs=pairs)
        store.put(records)
    return path


def sent(results, **options):
    """The export of a results file, written beside it."""
    path = results.with_suffix(".parquet")
    files.write(results, path, **options)
    return path


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
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


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
        key = answer_key([0, 0, 1])
        records = [
            hole(trial("dann"), reason=TRACE),
            hole(trial("dann", "C→B"), "not_applicable", "needs \x1b[31m 9 shots"),
            *(right(trial("lacking", str(pair), seed=9), key) for pair in boards.PAIRS),
        ]
        store.plan({"corpora": "/home/me"}, [r.trial for r in records], pairs=boards.PAIRS)
        store.put(records)
        store.put_skipped([SkippedFile(corpus="B", name="a.wav", reason="silent")])
    sent(path)


def rewrite(file, *, changes=(), heading=None, drop=(), add=()):
    """Write a changed file beside an exported one.

    Args:
        changes: rows and what they have in place of their values.
        heading: changes the dictionary at the head of the file.
        drop: names of columns.
        add: names of columns and their types.
    """
    table = parquet.read_table(file)
    head = json.loads(parquet.read_metadata(file).metadata[NAME])
    rows = table.to_pylist()
    for row, values in changes:
        rows[row].update(values)
    if heading:
        heading(head)
    fields = [field for field in table.schema if field.name not in drop]
    fields += [pa.field(name, kind) for name, kind in add]
    path = file.with_name("changed.parquet")
    schema = pa.schema(fields, metadata={NAME: json.dumps(head).encode()})
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path
