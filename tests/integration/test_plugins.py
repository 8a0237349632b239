"""Methods, definitions and feature sets of the user's own, from files and from packages."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from clser_bench.cli.main import app
from clser_bench.cli.options import FORMER as SPELLINGS
from clser_bench.errors import FeatureError
from clser_bench.features import sets
from clser_bench.features.extract import feature_table
from clser_bench.features.sets import feature_set
from clser_bench.run.request import Request
from clser_bench.store.sqlite import Store
from tests.fake_corpora import define, toy_spec
from tests.tiny import EMOTIONS, write_corpora, write_method

ROOT = Path(__file__).parents[2]
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.delenv("CLSER_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)

    def go(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == code, done.output
        return done

    return go


def test_a_new_method_passes_its_checks_and_runs(call, tmp_path):
    assert call("new", "method", "my-own").stdout == "my_own.py\n"
    assert "passes every check" in call("check-method", "my_own.py").stderr
    manifest = str(write_corpora(tmp_path / "corpora", codes="XY"))
    place = ("--manifest", manifest, "--shots", "1", "--seeds", "1", "--scheduler", "local")
    done = call("run", *place, "--plugin", "my_own.py", "--methods", "my-own")
    assert "2 of 2 trials stored" in done.stderr
    assert "my-own" in call("list", "methods", "--plugin", "my_own.py").stdout
    assert "factor of the distances" in call("show", "my-own", "--plugin", "my_own.py").stdout


def test_resume_knows_the_plugin_and_the_definitions(call, tmp_path, monkeypatch):
    own = tmp_path / "own"
    for code, language in (("X", "de"), ("Y", "it")):
        write_corpora(tmp_path / "two" / code, codes=code)
        pattern = rf"{code}-(?P<speaker>[a-z]+)-(?P<emotion>[a-z]+)-[0-9]"
        more = {"language": language, "folders": [code], "pattern": pattern}
        define(own, toy_spec(f"{code}1", EMOTIONS, **more))
    suite = '[[suite]]\nname = "pair"\ncorpora = ["X1", "Y1"]\nuse = "a test"\n'
    (own / "suites.toml").write_text(suite, encoding="utf-8")
    plugin = write_method(tmp_path / "methods", "near")
    rules = ("--tasks", "own", "--plugin", str(plugin), "--corpora", "two", "--suite", "pair")
    call("run", *rules, "--methods", "near", "--shots", "1", "--seeds", "1", "--scheduler", "local")
    for name in ("CLSER_TASKS", "CLSER_PLUGINS"):
        monkeypatch.setenv(name, "")
    with Store(tmp_path / "results" / "clser.sqlite") as store:
        run = store.runs()[-1].request
    assert (run["tasks"], run["plugins"]) == ([str(own)], [str(plugin)])
    assert "2 were there before" in call("resume").stderr


def test_the_example_of_the_documentation_passes_its_checks(call):
    text = (ROOT / "docs" / "own-method.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python[^\n]*\n(.*?)```", text, re.DOTALL)
    Path("class_mean.py").write_text(example, encoding="utf-8")
    assert "passes every check" in call("check-method", "class_mean.py").stderr


def test_a_method_that_breaks_the_contract_is_named_and_nothing_is_overwritten(call):
    call("new", "method", "mine")
    assert "is there already" in call("new", "method", "mine", code=2).stderr
    file = Path("mine.py")
    file.write_text(file.read_text("utf-8").replace("Departures:", "And:"), encoding="utf-8")
    done = call("check-method", "mine.py", code=1)
    (line,) = done.stdout.splitlines()
    name, check, text = line.split("\t")
    assert (name, check) == ("mine", "card")
    assert "has no 'Departures:'" in text


@pytest.mark.slow
def test_the_contract_suite_takes_methods_outside_the_tree(tmp_path):
    write = CliRunner().invoke(app, ["new", "method", "stray", "--out", str(tmp_path / "own")])
    assert write.exit_code == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/contract", "-k", "stray"],
        cwd=ROOT,
        env={**os.environ, "CLSER_METHODS": str(tmp_path / "own")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution that brings a feature set and a method by entry points."""
    module = """
    import numpy as np
    from clser_bench.features.sets import FeatureSet

    SET = FeatureSet(
        name="energy", version=1, about="mean square", parameters=(),
        instants=("energy",), summary=("mean_energy",), module=__name__,
    )

    def check(name):
        pass

    def extract(name, samples, rate):
        parts = np.array_split(np.square(samples), 32)
        instants = np.array([[part.mean()] for part in parts], np.float32)
        return instants, instants.mean(axis=0)
    """
    (tmp_path / "outside_features.py").write_text(textwrap.dedent(module), encoding="utf-8")
    folder = tmp_path / "outside-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    points = "[clser_bench.features]\nenergy = outside_features:SET\nabsent = outside_features:NO\n"
    (folder / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sets.installed_sets.cache_clear()
    yield
    sets.installed_sets.cache_clear()
    sys.modules.pop("outside_features", None)


@pytest.mark.usefixtures("installed")
def test_a_package_brings_a_feature_set(call, tmp_path, own_cache):
    from clser_bench.corpora.locate import load_corpora

    assert importlib.metadata.entry_points(group=sets.ENTRY_POINTS)
    corpora = load_corpora(None, [write_corpora(tmp_path / "corpora", codes="XY")])
    table = feature_table(corpora["X"], feature_set("energy"), cache=own_cache)
    assert table.summary.shape == (12, 1)
    assert np.ptp(table.summary) > 0
    joined = feature_set("energy+mfcc")
    assert joined.summary[0] == "mean_energy"
    with pytest.raises(FeatureError, match="entry point absent = 'outside_features:NO'"):
        feature_set("absent")


def test_methods_are_grouped_with_what_they_use(call):
    listed = call("list", "methods", "--by", "kind").stdout
    lines = [line.split("\t") for line in listed.splitlines()]
    kinds = {name: (kind, marks) for kind, name, marks, _ in lines}
    assert kinds["logistic"] == ("fitted", "L")
    assert kinds["ot"] == ("fitted", "LSTP")
    assert kinds["chance"][0] == "bound"
    assert kinds["sere-no-dual"][0] == "ablation"
    order = [kind for kind, *_ in lines]
    assert order == sorted(order, key=["fitted", "trained", "ablation", "bound", "routine"].index)


def test_the_help_of_run_is_in_groups_and_the_first_fits_a_screen(call):
    lines = call("run", "--help").stdout.splitlines()
    places = [lines.index(f"{name}:") for name in ("What", "How", "Where", "Output")]
    assert places == sorted(places)
    assert places[1] <= 40, "usage, examples and what is run: one screen"
    former = re.compile("|".join(rf"{name}(?![\w-])" for name in SPELLINGS))
    for command in ("run", "sweep", "leaderboard", "compare", "draws", "figures"):
        assert not former.search(call(command, "--help").stdout), command


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--inductive",), "setting", "inductive"),
        (("--fixed4",), "classes", "fixed4"),
        (("--select", "oracle"), "selection", "oracle"),
    ],
)
def test_former_spellings_still_work(call, monkeypatch, words, field, value):
    asked: list[Request] = []
    monkeypatch.setattr("clser_bench.cli.run.go", lambda request, **_: asked.append(request))
    for spelling in (words, (f"--{field}", value)):
        call("run", *spelling)
        assert getattr(asked[-1].condition, field) == value
    call("run", "--corrupt", "noise:20")
    assert asked[-1].corruptions == ("noise:20",)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run --nor", {"--normalise"}),
        ("leaderboard --normalise sp", {"speaker"}),
        ("leaderboard --setting ind", {"inductive"}),
        ("leaderboard --format la", {"latex"}),
        ("leaderboard --by fam", {"family"}),
        ("run --methods dann,ser", {"dann,sere", "dann,sere-no-dual"}),
        ("leaderboard --methods within", {"within-target"}),
        ("run --suite bc", {"bceo", "bcro"}),
        ("run --features pros", {"prosody"}),
        ("features plot DE", {"DE"}),
        ("run --unlabelled DE,IT", {"DE,IT"}),
        ("show dann", {"dann"}),
    ],
)
def test_the_shell_completes(words, offered):
    environment = {
        "_CLSER_BENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": f"clser-bench {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    done = CliRunner().invoke(app, [], prog_name="clser-bench", env=environment)
    assert offered <= set(done.stdout.split())
    assert all(name.startswith(words.rsplit(maxsplit=1)[-1]) for name in done.stdout.split())
