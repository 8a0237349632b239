"""The Python interface: the tutorial runs as printed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from clser_bench import api
from tests.tiny import write_corpora

ROOT = Path(__file__).parents[2]


def test_the_tutorial_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpora(tmp_path, codes="XY").rename("mine.csv")
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
    assert names["table"].summary.shape[0] == 12
    assert (names["summary"].ok, names["summary"].failed) == (names["summary"].planned, 0)
    assert set(names["by_pair"].columns) == {"X→Y", "Y→X"}
    assert len(names["cells"]) > 6
    assert names["done"].trials == 12
    assert "first (submitted)" in capsys.readouterr().out


def test_every_name_is_documented_and_typed() -> None:
    for name in api.__all__:
        found = getattr(api, name)
        assert inspect.getdoc(found), name
        if inspect.isfunction(found):
            assert "return" in found.__annotations__, name
