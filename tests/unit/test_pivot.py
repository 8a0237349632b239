"""Tables by groups of pairs, and across shots or feature sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import FAMILIES, family
from clser_bench.report.formats import MISSING, write_tables
from clser_bench.report.render import across, grouped
from clser_bench.store.sqlite import Store
from tests.boards import TWELVE, run, tables_of

LANGUAGES = {"B": "Germanic", "C": "Sinitic", "R": "Germanic", "O": "Romance"}


@pytest.fixture
def tables(tmp_path: Path):
    with Store(tmp_path / "results.sqlite") as store:
        run(store, {"logistic": 12, "sere": 18}, pairs=TWELVE, suite="bcro", shots=5)
        run(store, {"logistic": 14, "late": 10}, pairs=TWELVE, suite="bcro", shots=20)
        return tables_of(store)


def test_groups_of_pairs_by_hand(tables) -> None:
    table = tables[0]
    layout = grouped(table, "family", LANGUAGES)
    assert "Germanic→Germanic (2)" in layout.names
    assert "Germanic→Sinitic (2)" in layout.names
    assert "Sinitic→Romance (1)" in layout.names
    (line,) = [item for item in table.lines if item.method == "sere"]
    (row,) = [cells for cells in layout.cells if cells[0].startswith("sere")]
    within = [
        c.mean
        for p, c in zip(table.pairs, line.cells, strict=True)
        if {p.source, p.target} == {"B", "R"}
    ]
    assert row[layout.names.index("Germanic→Germanic (2)")] == f"{np.mean(within):.1f}"
    assert row[1].startswith(f"{line.mean.mean:.1f} [")


def test_by_source_and_by_target(tables) -> None:
    for what, name in (("source", "B→ (3)"), ("target", "→B (3)")):
        assert name in grouped(tables[0], what, {}).names


def test_a_group_with_a_missing_cell_is_missing(tmp_path: Path) -> None:
    with Store(tmp_path / "results.sqlite") as store:
        run(store, {"logistic": 12}, pairs=TWELVE, suite="bcro", left_out={("logistic", "B→C", 1)})
        (table,) = tables_of(store)
    layout = grouped(table, "family", LANGUAGES)
    row = dict(zip(layout.names, layout.cells[-1], strict=True))
    assert row["Germanic→Sinitic (2)"] == row["mean"] == MISSING
    assert row["Germanic→Germanic (2)"] != MISSING


def test_across_shots(tables) -> None:
    (layout,) = across(tables, "shots")
    assert layout.names == ("method", "5", "20")
    rows = {cells[0]: cells[1:] for cells in layout.cells}
    assert set(rows) == {"logistic", "sere", "late"}
    assert rows["sere"][1] == rows["late"][0] == MISSING
    for number, table in enumerate(tables):
        (line,) = [item for item in table.lines if item.method == "logistic"]
        assert rows["logistic"][number].startswith(f"{line.mean.mean:.1f} [")
    assert "shots" not in layout.header[0]
    assert layout.header[1].endswith("95 % interval; 2 draws")
    text = write_tables([layout], "md")
    assert text.count("| logistic") == 1


def test_what_cannot_be(tables) -> None:
    with pytest.raises(SpecError, match="cannot be 'csv'"):
        write_tables(across(tables, "shots"), "csv")


def test_a_language_has_one_family() -> None:
    members = [tag for tags in FAMILIES.values() for tag in tags]
    assert len(members) == len(set(members))
    assert family("pt-BR") == family("it") == "Romance"
    assert family("xx") == "xx"
