"""The shipped definitions, the user's own, and what is said about wrong ones."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clser_bench.corpora import definitions as module
from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.locate import load_corpora
from clser_bench.corpora.outside import Supplement
from clser_bench.errors import SpecError
from clser_bench.files import read_toml, validated
from tests.documents import ROOT, Block, blocks, write_block
from tests.fake_corpora import define, toy_spec

REAL = ("B", "C", "E", "N", "O", "R", "T", "U")


@pytest.fixture
def own_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Definitions from an empty folder instead of the shipped ones."""
    monkeypatch.setattr(importlib.resources, "files", lambda name: tmp_path)
    module._read.cache_clear()
    yield tmp_path
    module._read.cache_clear()


def test_the_tables_cannot_be_changed_and_a_byte_order_mark_is_no_part_of_toml(tmp_path):
    with pytest.raises(TypeError):
        definitions().corpora["X"] = definitions().corpora["B"]  # type: ignore[index]
    (tmp_path / "a.toml").write_text("name = 'ü'", encoding="utf-8-sig")
    assert read_toml(tmp_path / "a.toml") == {"name": "ü"}


def test_every_corpus_is_complete():
    for code in REAL:
        spec = definitions().corpora[code]
        assert set(spec.counts) == set(spec.emotions), code
        assert spec.speakers > 0
        assert spec.licence
        assert spec.citation
        assert spec.verified
        assert not spec.synthetic
        assert code not in "BCNRT" or len(spec.genders) == spec.speakers, code


def test_suites():
    suites = definitions().suites
    names = "bceo bcro dev wide same-language demo gender sentences"
    assert list(suites) == names.split()
    sizes = {name: len(suites[name].pairs()) for name in ("bcro", "dev", "wide", "same-language")}
    assert sizes == {"bcro": 12, "dev": 6, "wide": 18, "same-language": 0}
    assert {str(pair) for pair in suites["dev"].pairs("speaker")} == {"N→T", "T→N"}
    assert len(suites["wide"].pairs("speaker")) == 10
    assert {pair.target for pair in suites["wide"].pairs()} == {"N", "T", "U"}


def test_the_files_of_the_documentation_are_read(tmp_path):
    names = ("mine.csv", "train.parquet.toml", "tasks/mine.toml", "tasks/suites.toml")
    for name, block in zip(names, blocks(ROOT / "docs/corpora.md"), strict=True):
        write_block(Block(block.language, name, block.text), tmp_path)
    [studio] = load_corpora(manifests=[tmp_path / "mine.csv"]).values()
    genders = {item.name: item.gender for item in studio.utterances}
    assert [genders[name] for name in sorted(genders)] == ["female", "male"]
    found = definitions([tmp_path / "tasks"])
    assert found.corpora["MINE"].emotions == ("anger", "sadness")
    assert {str(pair) for pair in found.suites["mine"].pairs()} == {"B→MINE", "O→MINE"}
    more = validated(Supplement, read_toml(tmp_path / names[1]), names[1])
    assert (more.columns, more.labels) == ({"emotion": "mood"}, {"ANG": "anger"})


GOOD = """
code = "X"
name = "x"
title = "X"
language = "de"
licence = ""
citation = ""
pattern = '(?P<speaker>a)(?P<emotion>b)'
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code = ", "x.toml: not valid TOML"),
        ("a = " + "[" * 5000, "x.toml: not valid TOML"),
        ("a = " + "9" * 5000, "x.toml: not valid TOML"),
        (GOOD + 'colour = "red"', "x.toml: unknown key 'colour'; did you mean 'columns'"),
        (GOOD.replace('title = "X"', ""), "x.toml: missing key 'title'"),
        (GOOD + '[labels]\nA = "angry"', "unknown emotion 'angry'; did you mean 'anger'"),
        (GOOD.replace("<emotion>", "<label>"), "x.toml: pattern has no group named emotion"),
        (GOOD.replace("(?P<speaker>a)", "("), "x.toml: .* is no regular expression"),
        (GOOD + 'table = "t.csv"', "x.toml: give either a pattern or a table"),
        (
            GOOD.replace("pattern = ", 'table = "t.csv" #') + '[columns]\npath = "file"',
            "x.toml: columns has no emotion and no speaker",
        ),
        (GOOD, r"'X' is taken by x.toml and y.toml"),
        ('[[suite]]\nname = "a"\ncorpora = ["B"]', r"suites.toml: missing key 'use'"),
        ('[[suite]]\nname = "a"\nuse = ""\ncorpora = ["Q"]', "'a': no corpus has the code Q"),
    ],
)
def test_wrong_definitions_and_suites(own_tasks, text, message):
    (own_tasks / ("suites.toml" if "suite" in text else "x.toml")).write_text(text)
    (own_tasks / "y.toml").write_text(GOOD)
    with pytest.raises(SpecError, match=message):
        definitions()


def test_own_folders_and_packages(tmp_path, monkeypatch):
    first = define(tmp_path / "first", toy_spec("X1"))
    second = define(tmp_path / "second", toy_spec("X2"))
    suite = '[[suite]]\nname = "mine"\ncorpora = ["X2", "B"]\nuse = "a test"'
    (second / "suites.toml").write_text(suite)
    define(tmp_path / "ours_tasks", toy_spec("X3"))
    (tmp_path / "ours_tasks" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    point = importlib.metadata.EntryPoint("ours", "ours_tasks", "clser_bench.tasks")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: [point])
    monkeypatch.setenv("CLSER_TASKS", str(first))
    module._read.cache_clear()
    assert {"B", "X1", "X2", "X3"} <= set(definitions([second]).corpora)
    assert "mine" in definitions([second]).suites
    assert {"X1", "X3"} == {"X1", "X2", "X3"} & set(definitions().corpora)
    module._read.cache_clear()
    sys.modules.pop("ours_tasks", None)
    with pytest.raises(SpecError, match="there is no such folder of definitions"):
        definitions([tmp_path / "gone"])
    module._read.cache_clear()
