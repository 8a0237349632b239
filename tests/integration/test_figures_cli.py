"""`clser-bench figures`: the files it writes, and what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
import typer
from typer.testing import CliRunner

from clser_bench.cli.figures import figures, file_name
from clser_bench.errors import ClserError, SpecError
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import run
from tests.drawn import RULES


@pytest.fixture
def call(tmp_path):
    app = typer.Typer()
    app.command()(figures)

    def called(results, *arguments: str):
        given = [str(tmp_path / "out"), *arguments, "--results", str(results)]
        return CliRunner().invoke(app, given)

    return called


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A results file that the command only reads."""
    file = tmp_path_factory.mktemp("results") / "s.sqlite"
    methods, notes = {"chance": 8, "logistic": 12, "sere": 20}, {"chance": MethodNote(role="bound")}
    with Store(file) as store:
        for shots in (1, 5):
            run(store, methods, shots=shots, notes=notes, synthetic=True)
    return file


RULED = "bc-acoustic-corpus-transductive-natural-default"


def test_the_command_writes_figures_and_tells_where(call, filled, tmp_path):
    result = call(filled, "--formats", "svg, PDF,svg", "--methods", "sere,logistic", "--shots", "1")
    assert result.exit_code == 0, result.output
    names = [f"{what}-{RULED}-1" for what in ("forest", "heat-map", "ranks", "confusion")]
    files = [str(tmp_path / "out" / f"{name}.{kind}") for name in names for kind in ("svg", "pdf")]
    assert result.stdout.splitlines() == files
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(files)
    assert "figures: 4" in result.stderr


def test_several_shots_make_a_curve(call, filled, tmp_path):
    wanted = ("--suite", "bc", "--methods", "chance", "--shots", "1,5")
    result = call(filled, "--formats", "svg", *wanted)
    assert result.exit_code == 0, result.output
    kinds = ("forest", "heat-map", "confusion")
    names = [f"{kind}-{RULED}-{shots}.svg" for shots in (1, 5) for kind in kinds]
    made = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(made) == sorted([*names, f"shots-{RULED}.svg"])


def test_files_stay_in_their_folder_and_no_two_are_one(call, tmp_path):
    suites = ("../../x", "..//..\\x", "X", "$(rm)\n<b>" + "é" * 300)
    with Store(tmp_path / "s.sqlite") as store:
        for suite in suites:
            run(store, {"m": 20}, suite=suite, seeds=1)
    result = call(tmp_path / "s.sqlite", "--formats", "svg")
    assert result.exit_code == 0, result.output
    made = list((tmp_path / "out").iterdir())
    assert len(made) == 2 * len(suites)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "s.sqlite"}
    for path in made:
        assert set(path.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert len(path.name) < 160


def test_names_of_files():
    long = dataclasses.replace(RULES, features="f" * 200)
    assert file_name("forest", RULES) == "forest-bc-acoustic-corpus-transductive-natural-default-5"
    assert file_name("shots", RULES, shots=False).endswith("-natural-default")
    assert len(file_name("forest", long)) == 129
    others = [dataclasses.replace(RULES, features=f) for f in ("A b", "a b", "a-b", "a:b")]
    assert len({file_name("forest", rules).lower() for rules in others}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--formats", "pgn"), "--formats: a figure cannot be a 'pgn'.*png"),
        (("--formats", ","), "--formats is empty; choose of png, svg, pdf"),
        (("--suite", "other"), "no results are what was asked for"),
        (("--methods", "sere,nobody"), "no results of nobody"),
        (("--against", "ser"), "no results of 'ser'.*sere"),
    ],
)
def test_the_command_says_what_is_wrong(call, filled, tmp_path, arguments, message):
    error = call(filled, *arguments).exception
    assert isinstance(error, SpecError)
    with pytest.raises(SpecError, match=message):
        raise error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_an_error_with_a_remedy(call, filled, tmp_path):
    (tmp_path / "out").write_text("")
    error = call(filled).exception
    assert isinstance(error, ClserError)
    assert "choose another OUT_DIR" in str(error)


def test_methods_with_holes_are_left_out_of_the_ranks(call, tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        run(store, {"a": 20, "b": 12, "c": 9}, left_out={("c", "B→C", 0)})
    assert call(tmp_path / "s.sqlite", "--formats", "svg").exit_code == 0
    (path,) = (tmp_path / "out").glob("ranks-*.svg")
    comments = path.read_text(encoding="utf-8")
    assert "1 methods with holes left out" in comments.replace("\n", " ")
    assert "<!-- c " not in comments
