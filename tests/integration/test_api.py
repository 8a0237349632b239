"""The Python interface: the tutorial runs as printed."""

from __future__ import annotations

import inspect
from typing import Any

from clser_bench import api
from tests.documents import ROOT, blocks
from tests.tiny import write_corpora


def test_the_tutorial_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_corpora(tmp_path, codes="XY").rename("mine.csv")
    code = [block.text for block in blocks(ROOT / "docs" / "api.md") if block.language == "python"]
    assert len(code) == 4
    names: dict[str, Any] = {}
    for text in code:
        exec(compile(text, "docs/api.md", "exec"), names)
    assert names["table"].summary.shape[0] == 12
    assert (names["summary"].ok, names["summary"].failed) == (names["summary"].planned, 0)
    assert set(names["by_pair"].columns) == {"X→Y", "Y→X"}
    assert len(names["cells"]) > 6
    assert names["done"].trials == 12
    assert "first (submitted)" in capsys.readouterr().out


def test_every_name_is_documented_and_typed():
    for name in api.__all__:
        found = getattr(api, name)
        assert inspect.getdoc(found), name
        if inspect.isfunction(found):
            assert "return" in found.__annotations__, name
