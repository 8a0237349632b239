"""`clser-bench leaderboard --html`: the folder it writes, and what the page is told of methods."""

from __future__ import annotations

import csv
import json
import re

import pytest
import typer
from typer.testing import CliRunner

from clser_bench.cli import main
from clser_bench.report.card_reading import read_card
from clser_bench.run.request import Request
from clser_bench.store.sqlite import Store
from tests.boards import PAIRS, run

HOSTILE = "<script>alert(1)</script>"
METHODS = {"logistic": 12, "near": 20, HOSTILE: 8}
OWN = '''"""The nearest <b>prototype</b> wins.

Reference: Nobody & Noone, *Near*, 1999: equation 1,
with `weight` 2.

A paragraph of its own.

Departures: <img src=x onerror=alert(1)>
none.
"""

raise RuntimeError("this file must be read, not run")


@register("near", version=1)
class Near:
    pass
'''

app = typer.Typer(cls=main._Guarded, rich_markup_mode=None)
app.command("leaderboard")(main.tables.leaderboard)
app.command("status")(main.tables.status)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two tables, of which one was planned with options that can be told again."""
    file = tmp_path_factory.mktemp("results") / "clser.sqlite"
    with Store(file) as store:
        trials = run(store, METHODS, shots=5)
        config = Request(suite="bc", methods=tuple(METHODS), seeds=2).as_json()
        store.plan("bc", trials, pairs=PAIRS, config=config)
        run(store, {"logistic": 12}, shots=1)
    return file


@pytest.fixture
def call(results, tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "near.py").write_text(OWN, encoding="utf-8")
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))

    def called(*arguments):
        options = ["--html", str(tmp_path / "site"), *arguments, "--results", str(results)]
        return CliRunner().invoke(app, ["leaderboard", *options])

    return called


def test_the_folder_holds_the_page_the_numbers_and_cards(call, tmp_path):
    result = call()
    assert result.exit_code == 0, result.output
    card = "card-bc-acoustic-corpus-transductive-natural-default-5.json"
    files = [str(tmp_path / "site" / name) for name in ("index.html", "leaderboard.csv", card)]
    assert result.stdout.splitlines() == files
    assert sorted(map(str, (tmp_path / "site").iterdir())) == sorted(files)
    assert "bc, 1 shot, transductive: the site has no provenance card of it" in result.stderr
    told = read_card(tmp_path / "site" / card)
    assert {method.method for method in told.methods} == set(METHODS)
    assert told.requests[0].shots == 5
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'href="([^"#]+)" download', page) == [card, "leaderboard.csv"]
    numbers = (tmp_path / "site" / "leaderboard.csv").read_text(encoding="utf-8")
    assert {row["shots"] for row in csv.DictReader(numbers.splitlines())} == {"1", "5"}


def test_the_page_compares_and_tells_of_methods(call, tmp_path):
    assert call("--shots", "5", "--format", "csv", "--transpose").exit_code == 0
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "comparison of methods" in page
    assert "Wins/ties/losses" in page
    assert "The nearest &lt;b&gt;prototype&lt;/b&gt; wins." in page
    assert "Nobody &amp; Noone, *Near*, 1999: equation 1, with <code>weight</code> 2." in page
    assert "&lt;img src=x onerror=alert(1)&gt; none." in page
    assert "A paragraph of its own" not in page
    assert "Logistic regression" in page


def test_hostile_names_stay_text_and_nothing_is_loaded(call, tmp_path):
    assert call("--shots", "5").exit_code == 0
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert len(re.findall("<script", page)) == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<img" not in page
    assert not re.search(r"https?:", page)
    data = re.search('<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert HOSTILE in [row["method"] for row in json.loads(data[1])["tables"][0]["rows"]]


def test_nothing_to_show_is_an_error(call, tmp_path):
    result = call("--suite", "other")
    assert result.exit_code == main.MISUSED
    assert "there are no results to show" in result.stderr
    assert not (tmp_path / "site").exists()
