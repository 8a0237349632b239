"""Published numbers below a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from clser_bench.errors import SpecError
from clser_bench.report.published import beside, read_published
from clser_bench.report.tables import leaderboard, render
from clser_bench.store.sqlite import Store
from tests.boards import run

FILE = Path(__file__).parents[2] / "results" / "published" / "sere.toml"


@pytest.fixture
def tables(tmp_path: Path):
    with Store(tmp_path / "results.sqlite") as store:
        run(store, {"logistic": 12, "sere": 18})
        return leaderboard(store, resamples=50)


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "paper.toml").write_text(text, encoding="utf-8")
    return tmp_path / "paper.toml"


def test_the_difference_is_ours_minus_theirs(tables) -> None:
    (table,) = beside(tables, read_published(FILE))
    (line,) = [line for line in table.lines if line.method == "sere"]
    assert f"published: sere, mean: 47.75; here {line.mean.mean:.2f} (" in render([table], "md")
    assert f"({line.mean.mean - 47.75:+.2f})" in render([table], "table")
    assert "it differs: the full text could not be had" in render([table], "table", width=500)
    # never a row: nothing is ranked with it
    assert render([table], "csv") == render(tables, "csv")


def test_a_pair_and_a_method_that_is_not_here(tables, tmp_path: Path) -> None:
    paper = read_published(
        written(
            tmp_path,
            'title = "P"\nsource = "S"\nmeasure = "UAR"\nshots = "5"\ndiffers = []\n'
            '[[numbers]]\nmethod = "sere"\npair = "B→C"\nvalue = 50\n'
            '[[numbers]]\nmethod = "other"\nvalue = 40.5\n',
        )
    )
    (table,) = beside(tables, paper)
    (line,) = [line for line in table.lines if line.method == "sere"]
    cell = line.cells[[str(pair) for pair in table.pairs].index("B→C")]
    text = render([table], "md")
    assert f"sere, B→C: 50.00; here {cell.mean:.2f} ({cell.mean - 50:+.2f})" in text
    assert "other, mean: 40.50; not in this table" in text


def test_other_shots_are_not_compared(tables, tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8").replace('shots = "5"', 'shots = "10"')
    with pytest.raises(SpecError, match="UAR with 10 shots, and no table here is"):
        beside(tables, read_published(written(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "not valid TOML"),
        ('title = "P"', "source: Field required"),
        (FILE.read_text(encoding="utf-8") + "value = 3", "not valid TOML"),
        (FILE.read_text(encoding="utf-8").replace("47.75", "147.75"), r"numbers\.0\.value: Input"),
        (FILE.read_text(encoding="utf-8") + 'run = "rm"', r"numbers\.0\.run: Extra inputs"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=rf"paper\.toml: .*{said}|paper\.toml: {said}"):
        read_published(written(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.toml: cannot be read"):
        read_published(tmp_path / "nowhere.toml")
