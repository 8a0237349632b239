"""`clser-bench compare`: what is asked for is compared; `test_comparison` pins the numbers."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from clser_bench.cli.main import MISUSED, app
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import TWELVE, run

HOSTILE = "<script>alert(1)</script>|$x$"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two tables; in that of 5 shots a bound and a method with a hole besides three others."""
    file = tmp_path_factory.mktemp("results") / "clser.sqlite"
    methods = {"logistic": 12, "good": 22, HOSTILE: 12, "chance": 8, "holed": 16}
    notes = {"chance": MethodNote(role="bound")}
    with Store(file) as store:
        run(store, methods, pairs=TWELVE, notes=notes, left_out={("holed", "B→C", 0)})
        run(store, {"logistic": 12, "good": 20}, shots=1)
    return file


def call(results, *arguments):
    return CliRunner().invoke(app, ["compare", *arguments, "--results", str(results)])


def rows(results, *arguments):
    result = call(results, "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_text_holds_differences_wins_and_directions(results):
    result = call(results, "--shots", "5")
    assert result.exit_code == 0, result.output
    for part in (
        "bc, 5 shots, transductive: comparison of methods",
        "rank",
        "Differences of means over the pairs",
        "+41.7",
        "Wins/ties/losses over the pairs of corpora",
        "Directions: UAR(s→t) - UAR(t→s)",
        "not compared, since a pair has no result: holed",
    ):
        assert part in result.stdout, part
    assert "\n\n\n" not in result.stdout
    assert "chance" not in result.stdout
    assert HOSTILE in result.stdout
    latex = call(results, "--shots", "5", "--format", "latex").stdout
    assert latex.count("\\begin{tabular}") == latex.count("\\label{") == 4


def test_what_is_asked_for_is_compared(results):
    everything = rows(results)
    assert {row["shots"] for row in everything} == {1, 5}
    chosen = rows(results, "--shots", "5", "--methods", "good,logistic")
    assert {row["method"] for row in chosen if row["row"] == "method"} == {"good", "logistic"}
    assert {row["shots"] for row in chosen} == {5}
    for name in ("suite", "features", "normalise", "setting", "target-prior", "selection"):
        nothing = call(results, f"--{name}", "other")
        assert (nothing.exit_code, nothing.stdout) == (MISUSED, "")
        assert "there are no results of " in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "csv"), "there is no format 'csv'"),
        (("--methods", "good,logistik"), "no results of 'logistik'; did you mean 'logistic'?"),
    ],
)
def test_what_is_wrong_is_said(results, arguments, message):
    result = call(results, *arguments)
    assert result.exit_code == MISUSED
    assert message in result.stderr
