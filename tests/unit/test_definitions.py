"""The shipped definitions, and what is said about wrong ones."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from pathlib import Path

import pytest

from clser_bench.corpora import definitions
from clser_bench.corpora.definitions import corpus_specs, suites
from clser_bench.errors import SpecError

REAL = ("B", "C", "E", "N", "O", "R", "T", "U")


@pytest.fixture
def own_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Definitions from an empty folder instead of the shipped ones."""
    monkeypatch.setattr(importlib.resources, "files", lambda name: tmp_path)
    definitions._corpus_specs.cache_clear()
    definitions._suites.cache_clear()
    yield tmp_path
    definitions._corpus_specs.cache_clear()
    definitions._suites.cache_clear()


def test_every_corpus_is_complete() -> None:
    specs = corpus_specs()
    assert set(REAL) <= set(specs)
    for code in REAL:
        spec = specs[code]
        assert set(spec.counts) == set(spec.emotions), code
        assert spec.speakers > 0
        assert spec.licence
        assert spec.citation
        assert not spec.synthetic


def test_genders_name_every_speaker() -> None:
    specs = corpus_specs()
    for code in ("B", "C", "N", "R", "T"):
        assert len(specs[code].genders) == specs[code].speakers, code


def test_suites() -> None:
    assert list(suites()) == ["bceo", "bcro", "dev", "demo"]
    for suite in suites().values():
        assert set(suite.corpora) <= set(corpus_specs())
    assert len(suites()["bcro"].pairs()) == 12
    assert len(suites()["dev"].pairs()) == 6
    assert {str(pair) for pair in suites()["dev"].pairs("speaker")} == {"N→T", "T→N"}


def test_the_tables_are_copies() -> None:
    corpus_specs().clear()
    assert corpus_specs()


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
        (GOOD + 'colour = "red"', "x.toml: colour: Extra inputs"),
        (GOOD.replace('title = "X"', ""), "x.toml: title: Field required"),
        (GOOD + '[labels]\nA = "angry"', "unknown emotion 'angry'; did you mean 'anger'"),
        (GOOD.replace("<emotion>", "<label>"), "x.toml: pattern has no group named emotion"),
        (GOOD.replace("(?P<speaker>a)", "("), "x.toml: .* is no regular expression"),
    ],
)
def test_wrong_definitions(own_tasks: Path, text: str, message: str) -> None:
    (own_tasks / "x.toml").write_text(text)
    with pytest.raises(SpecError, match=message):
        corpus_specs()


def test_a_code_taken_twice(own_tasks: Path) -> None:
    (own_tasks / "x.toml").write_text(GOOD)
    (own_tasks / "y.toml").write_text(GOOD)
    with pytest.raises(SpecError, match=r"'X' is taken by x.toml and y.toml"):
        corpus_specs()


def test_a_wrong_suite(own_tasks: Path) -> None:
    (own_tasks / "suites.toml").write_text('[[suite]]\nname = "a"\ncorpora = ["B"]')
    with pytest.raises(SpecError, match=r"suites.toml: use: Field required"):
        suites()
