"""Published numbers beside ours; the golden `published.md` has them as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import Pair
from clser_bench.report.published import (
    Published,
    published_rows,
    published_tables,
    read_published,
)
from tests.boards import PAIRS, tables_of
from tests.records import answer_key, ok, trial

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
def tables(store) -> Any:
    """UAR 66.7 and 33.3, weighted recall 75 and 50."""
    key = answer_key([0, 0, 1, 2])
    guesses = {"sere": [0, 0, 1, 1], "logistic": [0, 0, 0, 0]}
    trials = [trial(method, str(pair)) for method in guesses for pair in PAIRS]
    store.plan({}, trials, pairs=PAIRS)
    store.put([ok(of, guesses[of.method], key) for of in trials])
    return tables_of(store, intervals=False)


def paper(folder: Path, old: str = "", new: str = "") -> tuple[Published, ...]:
    (folder / "paper.toml").write_text(PAPER.replace(old, new), encoding="utf-8")
    return read_published(folder / "paper.toml")


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


@pytest.mark.parametrize("own", ["UAR", "WAR"])
def test_numbers_are_compared_by_their_own_measure(tables, tmp_path, own) -> None:
    measure, sere, logistic = {"UAR": ("UAR", 200 / 3, 100 / 3), "WAR": ("accuracy", 75, 50)}[own]
    papers = paper(tmp_path, '"UAR"', f'"{measure}"')
    rows = list(published_rows(tables, papers))
    assert [row["method"] for row in rows] == ["sere", "sere", "logistic", "other"]
    assert [row["ours"] for row in rows[:3]] == pytest.approx([sere, sere, logistic], abs=1e-4)
    assert rows[3]["ours"] is None
    assert (rows[0]["features"], rows[0]["ours_features"]) == ("IS10", "acoustic")
    assert (rows[0]["measure"], rows[0]["ours_measure"]) == (measure, own)
    (sheet,) = published_tables(tables, papers)
    theirs, ours, _, base = (dict(zip(sheet.names, row, strict=True)) for row in sheet.cells[:4])
    assert theirs["differs"] == "encoder trained with emotion labels of C; source-free"
    assert (theirs["B→C"], ours["B→C"]) == ("50.00", f"{sere:.1f} ({sere - 50:+.1f})")
    # the pairs of their mean of sere are unknown: ours is not compared
    assert (ours["mean"], ours["measure"]) == (f"{sere:.1f}", own)
    assert base["mean"] == f"{logistic:.1f} ({logistic - 40:+.1f})"


def test_the_command_shows_them_in_every_format(tables, store, tmp_path: Path, call: Any) -> None:
    paper(tmp_path)
    shown = {}
    for words in (["--published", str(tmp_path)], ["--by", "family"], ["--by", "shots"]):
        for form in ("csv", "md"):
            found = call("leaderboard", "--results", str(store.path), "--format", form, *words)
            shown[words[1], form] = found.output
            assert found.exit_code == (2 if form == "csv" and words[0] == "--by" else 0), words
    assert shown[str(tmp_path), "csv"].startswith("published,method,pair,")
    assert shown[str(tmp_path), "csv"].count("\n") == 1 + 4
    assert "| 66.7 (+16.7) |" in shown[str(tmp_path), "md"]
    assert "Germanic→Sinitic (1) |" in shown["family", "md"]
    assert shown["shots", "md"].splitlines()[0] == "### bc, by shots"


def test_other_shots_are_not_compared(tables, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="with 10 shots, and no table here is"):
        published_tables(tables, paper(tmp_path, 'shots = "5"', 'shots = "10"'))


def test_a_file_of_another_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"paper.toml: measure: Input should be 'UAR'"):
        paper(tmp_path, '"UAR"', '"F1"')
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="no TOML file of published numbers"):
        read_published(tmp_path / "empty")
