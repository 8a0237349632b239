"""What is odd about corpora stands below their tables: after the run, later, and elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clser_bench.problem import Finding
from clser_bench.report.provenance import make_card
from clser_bench.report.render import render
from clser_bench.run.execute import run as run_request
from clser_bench.run.request import Request
from clser_bench.store import parquet, pooling
from clser_bench.store.sqlite import Store
from tests.boards import run, tables_of
from tests.tiny import write_corpora
from tests.unit.test_card import MACHINE, REQUEST, SOFTWARE

COPIES = Finding(kind="copies", corpus="B", sentence="EMO-DB (B): 2 recording(s) are copies")
SHARED = Finding(kind="shared", corpus="B→C", sentence="B→C: 1 recording(s) are in both")
OTHER = Finding(kind="gender", corpus="R", sentence="RAVDESS (R): 01 has several genders")
STRAY = Finding(kind="stray", corpus="", sentence="x: 3 recording(s) \x1b[2J belong to no corpus")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "r.sqlite") as opened:
        run(opened, {"logistic": 12, "sere": 14})
        opened.put_findings(opened.runs()[-1].id, [COPIES, SHARED, OTHER, STRAY, COPIES])
        yield opened


def remarks(store: Store) -> list[tuple[str, ...]]:
    return [table.remarks for table in tables_of(store, intervals=False)]


def test_a_table_has_those_of_its_corpora_and_pairs_once(store):
    stray = r"x: 3 recording(s) \x1b[2J belong to no corpus"
    (table,) = tables_of(store, intervals=False)
    assert table.remarks == (COPIES.sentence, SHARED.sentence, stray)
    about: dict[str, Any] = {"software": SOFTWARE, "machine": MACHINE, "requests": [REQUEST]}
    assert make_card(store, table, commands=[], **about).remarks == table.remarks


def test_the_latest_run_of_a_plan_has_the_last_word_of_this_plan_only(store):
    store.put_findings(store.runs()[-1].id, [SHARED])
    assert remarks(store) == [(SHARED.sentence,)]
    run(store, {"logistic": 12}, suite="other")
    store.put_findings(store.runs()[-1].id, [COPIES])
    assert remarks(store) == [(SHARED.sentence,), (COPIES.sentence,)]


def test_they_travel_with_an_export(store, tmp_path):
    parquet.write(store.path, tmp_path / "r.parquet")
    pooling.merge(tmp_path / "pool.sqlite", [parquet.read(tmp_path / "r.parquet")])
    with Store(tmp_path / "pool.sqlite") as pool:
        [found] = remarks(pool)
    assert {COPIES.sentence, SHARED.sentence} <= set(found)
    assert not any("\x1b" in remark for remark in found)


def test_a_file_without_the_table_of_findings_is_read(store):
    for name in ("findings", "sums"):  # which came later
        store.query(f"DROP TABLE {name}")
    store.query("PRAGMA user_version = 3")
    with Store(store.path, create=False, read_only=True) as older:
        assert remarks(older) == [()]


def test_a_run_stores_what_it_has_seen(tmp_path):
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    for name in ("copy.wav", "shared.wav"):
        shutil.copy(manifest.parent / "X-ann-anger-0.wav", manifest.parent / name)
    with manifest.open("a", encoding="utf-8") as file:
        file.write("copy.wav,X-ann,anger,qax,female,X\nshared.wav,Y-ann,anger,qay,male,Y\n")
    said: list[str] = []
    asked = Request(
        manifests=(manifest,),
        methods=("chance",),
        shots=("all",),
        seeds=1,
        results=tmp_path / "r.sqlite",
        scheduler="local",
        workers=1,
    )
    run_request(asked, say=said.append)
    with Store(asked.results) as store:
        later = " ".join(render(tables_of(store, intervals=False)).split())
    for part in (
        "X (X): 1 recording(s) are copies of others and are left out, such as copy.wav = X-ann",
        "Y (Y): Y-ann has several genders; it is taken as unknown",
        "X→Y: 1 recording(s) are in source and target, such as",
    ):
        assert any(part in line for line in said), said
        assert part in later
