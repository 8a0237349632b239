"""Published numbers beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import Pair
from clser_bench.report.published import published_rows, published_tables, read_published
from clser_bench.store.sqlite import Store
from tests.boards import run, tables_of

FOLDER = Path(__file__).parents[2] / "results" / "published"
PAPER = """title = "P"
source = "S"
measure = "UAR"
shots = "5"
features = "IS10"
corpora = "B C"
draws = "3"
heard = ["C"]
differs = ["source-free"]
numbers = [
  {method = "sere", pair = "B→C", value = 50}, {method = "sere", value = 47.75},
  {method = "logistic", pair = "mean", pairs = ["B→C"], value = 40},
  {method = "other", pair = "X→B", value = 40.5},
]
"""


@pytest.fixture
def tables(tmp_path: Path):
    with Store(tmp_path / "results.sqlite") as store:
        run(store, {"logistic": 12, "sere": 18})
        return tables_of(store, intervals=False)


def paper(tmp_path: Path, text: str = PAPER):
    (tmp_path / "paper.toml").write_text(text, encoding="utf-8")
    return read_published(tmp_path / "paper.toml")


def test_papers_of_the_project_can_be_read_and_their_means_follow_from_their_pairs() -> None:
    papers = read_published(FOLDER)
    assert len(papers) == 6
    for item in papers:
        values = {(n.method, n.pair): n.value for n in item.numbers}
        for number in item.numbers:
            if number.pair != "mean":
                Pair.parse(number.pair)
            elif number.pairs:
                own = [values[number.method, pair] for pair in number.pairs]
                assert sum(own) / len(own) == pytest.approx(number.value, abs=0.006)


def test_theirs_and_ours_are_rows_of_one_table_with_their_conditions(tables, tmp_path) -> None:
    (sheet,) = published_tables(tables, paper(tmp_path))
    assert sheet.names == (
        *("method", "from", "mean", "measure", "shots", "features", "corpora", "draws"),
        *("B→C", "X→B", "C→B", "differs"),
    )
    theirs, ours, base, own_base, other, absent = sheet.cells
    line, cell = tables[0].line("sere"), tables[0].line("sere").cells[0]
    assert theirs[:8] == ("sere", "paper", "47.75", "UAR", "5", "IS10", "B C", "3")
    assert theirs[8] == "50.00"
    assert theirs[-1] == "encoder trained with emotion labels of C; source-free"
    # the pairs of their mean are unknown: ours is not compared
    assert ours[:8] == (
        *("sere", "here", f"{line.mean.mean:.1f}", "UAR", "5", "acoustic", "B C", "2"),
    )
    assert ours[8] == f"{cell.mean:.1f} ({cell.mean - 50:+.1f})"
    first = tables[0].line("logistic").cells[0].mean
    assert (base[2], own_base[2]) == ("40.00", f"{first:.1f} ({first - 40:+.1f})")
    assert (other[0], absent[0]) == ("other", "other: not in our table")
    rows = list(published_rows(tables, paper(tmp_path)))
    assert rows[0]["ours"] == pytest.approx(cell.mean, abs=1e-4)
    assert (rows[0]["features"], rows[0]["ours_features"]) == ("IS10", "acoustic")


def test_accuracy_is_compared_with_weighted_recall(tables, tmp_path) -> None:
    (sheet,) = published_tables(tables, paper(tmp_path, PAPER.replace("UAR", "accuracy")))
    assert sheet.cells[1][3] == "WAR"
    war = tables[0].line("sere").cells[0].war
    assert sheet.cells[1][8] == f"{war:.1f} ({war - 50:+.1f})"


def test_other_shots_are_not_compared(tables, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="with 10 shots, and no table here is"):
        published_tables(tables, paper(tmp_path, PAPER.replace('shots = "5"', 'shots = "10"')))


def test_a_file_of_another_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"paper.toml: measure: Input should be 'UAR'"):
        paper(tmp_path, PAPER.replace('"UAR"', '"F1"'))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="no TOML file of published numbers"):
        read_published(tmp_path / "empty")
