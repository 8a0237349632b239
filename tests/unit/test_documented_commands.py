"""Every command of the documentation is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from clser_bench.cli.main import app
from clser_bench.registry import template

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[str]:
    """The lines of shell blocks that call clser-bench, those that go on joined."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if re.match(r"\s*(\w+=\S+ )*clser-bench ", line)]


EVERY = [(page.name, line) for page in PAGES for line in commands(page)]


def test_the_pages_have_commands() -> None:
    assert len(EVERY) > 30


@pytest.mark.parametrize(("page", "line"), EVERY)
def test_a_documented_command_is_understood(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my-method", "mine"):  # files of --plugin
        file = tmp_path / f"{name.replace('-', '_')}.py"
        file.write_text(template(name, "fitted"), encoding="utf-8")
    words = shlex.split(line, comments=True)
    words = words[words.index("clser-bench") + 1 :]
    words = words[: words.index(">")] if ">" in words else words
    words = words[: words.index("|")] if "|" in words else words
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"{page}: {line}"
        command, words = command.commands[words[0]], words[1:]
    if not {"--help", "-h"} & set(words):
        command.make_context(command.name, words)
