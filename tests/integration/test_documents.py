"""Every command of the documentation is known, and what can be run is run."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from clser_bench.cli.main import app
from clser_bench.registry import template
from tests.documents import ROOT, blocks, write_block
from tests.fake_corpora import write_tone
from tests.tools import load

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
DEFAULT_METHODS = "chance,logistic,source-only,dann,sere"
LONG = ("README.md", "index.md", "own-method.md", "reading.md", "sweeps.md")
"""Pages whose commands take five seconds or more."""
TRAINS = ("run", "sweep", "reproduce", "resume")  # and take `--scheduler`

NOT_RUN = {
    r"make|pip|python -m venv|\. |source|git|docker|apptainer": "sets up an environment",
    r"hf |.*hf:(?!\./)|.*(hubert|wavlm|xls-r|whisper)-\w+": "needs weights of the hub",
    r".*set:(heterogeneous|isomorphic)( |$)": "needs weights of the hub",
    r"clser-bench leaderboard --published": "needs 5 shots; `test_published` tries it",
    r"ray |srun|sbatch|nodes=|head=|sleep|.*--ray-address": "needs a cluster",
    r"python tools/|python my_system": "is tested by itself, or is the reader's",
}
"""Commands that no test runs: how they begin, and why. Those of clser-bench are parsed."""

SLOW = r"clser-bench run( --suite demo.*)?$"
"""Makes the synthetic corpora: half a minute."""

SHORTER = {
    r"--shots \S*all": "--shots 1",
    r"--shots \d+": "--shots 1",
    r"--seeds \d+": "--seeds 1",
    r"--samples \d+": "--samples 2",
    r"--methods all": "--methods chance,logistic",
    r"noise:20,10,0": "noise:10",
    r"--formats png,pdf|--formats svg,pdf": "--formats svg",
}
"""Parts of commands that are made smaller, so that a page takes seconds."""

LAYOUTS = {
    "emodb": ("{0}{2}{1}a", "03 08", "W E A F N T", "a01 b02"),
    "casia": (
        *("{0}/{1}/{2}", "wangzhe liuchanhg"),
        *("angry fear happy neutral sad surprise", "201 202"),
    ),
    "emovo": ("{0}/{1}-{0}-{2}", "f1 m1", "rab dis pau gio neu tri sor", "b1 b2"),
    "ravdess": ("Actor_{0}/03-01-{1}-01-{2}-01-{0}", "01 02", "01 03 04 05 06 07 08", "01 02"),
}
"""Of each corpus: path, speakers, labels, texts."""


def commands(page):
    found = [c for block in blocks(page) if block.language == "sh" for c in block.commands()]
    return [*found, *inline(page)]


def inline(page):
    """Commands of clser-bench in running text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    return [" ".join(found.split()) for found in re.findall(r"`(clser-bench [^`]+)`", text)]


def why_not(command):
    """Why a command is not run; empty where it is."""
    return next((why for start, why in NOT_RUN.items() if re.match(start, command)), "")


def arguments(command):
    """The words after `clser-bench`, and the file that the output goes to.

    A pipe is cut off, `~` and `NAME` (of a folder that a command named) are filled in.
    """
    command, _, out = command.partition(" > ")
    words = [os.path.expanduser(word) for word in shlex.split(command.split(" | ")[0])[1:]]  # noqa: PTH111
    for place, word in enumerate(words):
        if "/NAME/" in word:
            (found,) = Path().glob(word.replace("NAME", "*"))
            words[place] = str(found)
    return words, out.strip()


ROOT_COMMAND: Any = typer.main.get_command(app)


def examples(command):
    """The examples in the help of a command and of all below it."""
    found = re.findall(r"^\s*(clser-bench .+)$", command.help or "", re.M)
    below = getattr(command, "commands", {}).values()
    return found + [example for child in below for example in examples(child)]


def check(command, *, whole=True):
    """Refuse a command, an option or, of a whole one, a value that clser-bench does not take."""
    words, _ = arguments(command.replace("NAME", "name"))
    place = ROOT_COMMAND
    while hasattr(place, "commands") and words and not words[0].startswith("-"):
        assert words[0] in place.commands, f"{command}: no command {words[0]}"
        place = place.commands[words.pop(0)]
    known = {flag for option in place.params for flag in (*option.opts, *option.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known | {"--help"}, f"{command}: no option {given - known}"
    if whole and "--help" not in words:
        place.make_context(place.name, words)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with files that `--plugin` names."""
    monkeypatch.chdir(tmp_path)
    for name in ("my-method", "mine"):
        Path(f"{name.replace('-', '_')}.py").write_text(template(name, "fitted"), encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_exist(files, page):
    text = set(inline(page))
    for command in commands(page):
        if command.startswith("clser-bench"):
            check(command, whole=command not in text)
        elif not command.startswith("export "):
            assert why_not(command), f"{command}: say in NOT_RUN why it is not run"


def test_examples_in_the_help_exist(files):
    found = examples(ROOT_COMMAND)
    assert len(found) > 40
    for name in ("run", "resume", "leaderboard", "status", "list", "doctor", "corpus check"):
        assert any(one.startswith(f"clser-bench {name}") for one in found), name
    for command in found:
        check(command)


def test_the_matrix_of_the_readme_is_made_of_the_records():
    tool = load("front_page")
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.partition(tool.BEGIN)[2].partition(tool.END)[0]
    assert tool.matrix(tool.tables_of(sorted(ROOT.glob("results/*/records-*.parquet")))) == shown


def test_targets_of_make_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.M))
    assert {"docs", "demo", "test"} <= targets
    assert named <= targets


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose folder of corpora has four of tones in their own layouts."""
    folder = tmp_path_factory.mktemp("home")
    for name, (path, *words) in LAYOUTS.items():
        for one in itertools.product(*map(str.split, words)):
            write_tone(folder / "corpora" / name / f"{path.format(*one)}.wav")
    return folder


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    """Runs the commands of a page, the slow ones or the others, as a user with that home."""
    for name, value in (("HOME", home), ("CLSER_CACHE", home / "cache"), ("PWD", tmp_path)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("CLSER_CORPORA", str(home / "corpora"))
    monkeypatch.chdir(tmp_path)
    return lambda page, slow: run_page(page, tmp_path, monkeypatch, slow=slow)


RUN = [
    pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.name in LONG))
    for page in PAGES
    if commands(page)
]


@pytest.mark.parametrize("page", RUN)
def test_commands_of_a_page_run(run, page):
    run(page, slow=False)


@pytest.mark.slow
def test_commands_on_synthetic_speech_run(run, monkeypatch):
    monkeypatch.delenv("CLSER_CORPORA")
    for page in PAGES:
        run(page, slow=True)


def run_page(page, folder, monkeypatch, *, slow):
    """Run the commands of a page in order, in one folder, with the files that the page shows."""
    if page.name == "index.md":
        languages, emotions = ("german", "italian", "polish"), ("ang", "hap", "sad")
        for language, *name in itertools.product(languages, "ab", emotions, "12"):
            write_tone(folder / language / f"{'_'.join(name)}.wav")
    for block in blocks(page):
        if block.title:
            write_block(block, folder)
        if block.language == "python" and not block.title and page.name != "api.md":
            exec(compile(block.text, page.name, "exec"), {"__name__": page.name})
        for command in block.commands() if block.language == "sh" else ():
            if bool(re.match(SLOW, command)) is slow:
                run_command(command, monkeypatch)


def smaller(words):
    """Further words with which a command that trains takes seconds."""
    if words[0] == "audit":
        return ["--shots", "1", "--pairs", "O->B"]
    if words[0] not in TRAINS:
        return []
    usual = {"--scheduler": "local"}
    if words[0] in ("run", "sweep"):
        usual |= {"--shots": "1", "--seeds": "1"}
    if words[0] == "sweep":
        usual |= {"--samples": "2", "--set": "steps=2"}
    absent = [name for name in usual if name == "--set" or name not in words]
    more = [word for name in absent for word in (name, usual[name])]
    if words[0] == "run":
        methods = words[words.index("--methods") + 1] if "--methods" in words else DEFAULT_METHODS
        for name in sorted({"dann", "sere", "source-only"} & set(methods.split(","))):
            more += ["--set", f"{name}.steps=2"]
    return more


def run_command(command, monkeypatch):
    if command.startswith("export "):
        for word in command.split()[1:]:
            name, _, value = word.partition("=")
            monkeypatch.setenv(name, str(Path(os.path.expandvars(value)).expanduser()))
        return
    if why_not(command):
        return
    for long, short in SHORTER.items():
        command = re.sub(long, short, command)
    words, out = arguments(command)
    words += smaller(words)
    if words[0] == "score":  # of the small system and the card that outside.md shows
        load("nearest_mean", folder="docs").main(["draws", words[1]])
        (card,) = (b.text for b in blocks(ROOT / "docs/outside.md") if b.language == "toml")
        Path(words[words.index("--card") + 1]).write_text(card, encoding="utf-8")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
    if out:
        Path(out).write_text(done.stdout, encoding="utf-8")
