"""Every command of the documentation is known, and what can be run is run."""

from __future__ import annotations

import functools
import itertools
import os
import re
import shlex
from pathlib import Path

import click
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
    "emodb": ("{speaker}{text}{label}a", "03 08", "W E A F N T", "a01 b02"),
    "casia": (
        *("{speaker}/{label}/{text}", "wangzhe liuchanhg"),
        *("angry fear happy neutral sad surprise", "201 202"),
    ),
    "emovo": (
        "{speaker}/{label}-{speaker}-{text}",
        "f1 m1",
        "rab dis pau gio neu tri sor",
        "b1 b2",
    ),
    "ravdess": (
        *("Actor_{speaker}/03-01-{label}-01-{text}-01-{speaker}", "01 02"),
        *("01 03 04 05 06 07 08", "01 02"),
    ),
}
"""Of each corpus: path, speakers, labels, texts."""


def commands(page: Path) -> list[str]:
    found = [c for block in blocks(page) if block.language == "sh" for c in block.commands()]
    return [*found, *inline(page)]


def inline(page: Path) -> list[str]:
    """Commands of clser-bench in running text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    return [" ".join(found.split()) for found in re.findall(r"`(clser-bench [^`]+)`", text)]


def why_not(command: str) -> str:
    """Why a command is not run; empty where it is."""
    return next((why for start, why in NOT_RUN.items() if re.match(start, command)), "")


def arguments(command: str) -> tuple[list[str], str]:
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


@functools.cache
def root_command() -> click.Command:
    return typer.main.get_command(app)


def examples() -> list[str]:
    """The examples in the help of every command."""
    found = []

    def walk(command: click.Command) -> None:
        found.extend(re.findall(r"^\s*(clser-bench .+)$", command.help or "", re.M))
        for child in getattr(command, "commands", {}).values():
            walk(child)

    walk(root_command())
    return found


def check(command: str, *, whole: bool = True) -> None:
    """Refuse a command, an option or, of a whole one, a value that clser-bench does not take."""
    words, _ = arguments(command.replace("NAME", "name"))
    place = root_command()
    while hasattr(place, "commands") and words and not words[0].startswith("-"):
        assert words[0] in place.commands, f"{command}: no command {words[0]}"
        place = place.commands[words.pop(0)]
    known = {flag for option in place.params for flag in (*option.opts, *option.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known | {"--help"}, f"{command}: no option {given - known}"
    if whole and "--help" not in words:
        place.make_context(place.name, words)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with files that `--plugin` names."""
    monkeypatch.chdir(tmp_path)
    for name in ("my-method", "mine"):
        Path(f"{name.replace('-', '_')}.py").write_text(template(name, "fitted"), encoding="utf-8")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_exist(page: Path) -> None:
    text = set(inline(page))
    for command in commands(page):
        if command.startswith("clser-bench"):
            check(command, whole=command not in text)
        elif not command.startswith("export "):
            assert why_not(command), f"{command}: say in NOT_RUN why it is not run"


@pytest.mark.usefixtures("files")
def test_examples_in_the_help_exist() -> None:
    found = examples()
    assert len(found) > 40
    for name in ("run", "resume", "leaderboard", "status", "list", "doctor", "corpus check"):
        assert any(one.startswith(f"clser-bench {name}") for one in found), name
    for command in found:
        check(command)


def test_the_matrix_of_the_readme_is_made_of_the_records() -> None:
    tool = load("front_page")
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.partition(tool.BEGIN)[2].partition(tool.END)[0]
    assert shown == tool.matrix(tool.tables_of(sorted(ROOT.glob("results/*/records-*.parquet"))))


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.M))
    assert {"docs", "demo", "test"} <= targets
    assert named <= targets


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose folder of corpora has four of tones in their own layouts."""
    folder = tmp_path_factory.mktemp("home")
    for name, (pattern, speakers, labels, texts) in LAYOUTS.items():
        for words in itertools.product(speakers.split(), labels.split(), texts.split()):
            path = pattern.format(**dict(zip(("speaker", "label", "text"), words, strict=True)))
            write_tone(folder / "corpora" / name / f"{path}.wav")
    return folder


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.name in LONG))
        for page in PAGES
        if commands(page)
    ],
)
def test_commands_of_a_page_run(
    page: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_page(page, home, tmp_path, monkeypatch, slow=False)


@pytest.mark.slow
def test_commands_on_synthetic_speech_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLSER_CORPORA", raising=False)
    for page in PAGES:
        run_page(page, home, tmp_path, monkeypatch, slow=True)


def run_page(
    page: Path, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, slow: bool
) -> None:
    """Run the commands of a page in order, in one folder, with the files that the page shows."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CLSER_CACHE", str(home / "cache"))
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.chdir(folder)
    if not slow:
        monkeypatch.setenv("CLSER_CORPORA", str(home / "corpora"))
    if page.name == "index.md":
        names = itertools.product(
            ("german", "italian", "polish"), "ab", ("ang", "hap", "sad"), "12"
        )
        for language, speaker, emotion, number in names:
            write_tone(folder / language / f"{speaker}_{emotion}_{number}.wav")
    for block in blocks(page):
        if block.title:
            write_block(block, folder)
        if block.language == "python" and not block.title and page.name != "api.md":
            exec(compile(block.text, page.name, "exec"), {"__name__": page.name})
        for command in block.commands() if block.language == "sh" else ():
            if bool(re.match(SLOW, command)) is slow:
                run_command(command, monkeypatch)


def smaller(words: list[str]) -> list[str]:
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


def run_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
