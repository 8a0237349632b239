"""The shipped definitions, and what is said about wrong ones."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from clser_bench.corpora import definitions
from clser_bench.corpora.definitions import corpus_specs, suites
from clser_bench.errors import SpecError
from clser_bench.problem import Trial
from clser_bench.protocol import Condition, Pair, Suite

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
    assert list(suites()) == ["bceo", "bcro", "dev", "wide", "demo"]
    for suite in suites().values():
        assert set(suite.corpora) <= set(corpus_specs())
    assert len(suites()["bcro"].pairs()) == 12
    assert len(suites()["dev"].pairs()) == 6
    assert {str(pair) for pair in suites()["dev"].pairs("speaker")} == {"N→T", "T→N"}


def test_wide_has_every_source_and_three_targets() -> None:
    wide = suites()["wide"]
    pairs = wide.pairs()
    assert len(pairs) == 18
    assert {pair.target for pair in pairs} == set("NTU")
    assert {pair.source for pair in pairs} == set("BCORNTU")
    assert {pair.target for pair in wide.pairs("speaker")} == set("NT")
    assert len(wide.pairs("speaker")) == 10


def test_a_target_must_be_a_corpus_of_the_suite() -> None:
    with pytest.raises(ValidationError, match="'Z' is not among the corpora of suite s"):
        Suite(name="s", corpora=("A", "B"), targets=("Z",), use="")


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


def test_a_trial_keeps_its_id() -> None:
    """The id of a stored result; it changes with the protocol version alone."""
    condition = Condition(
        suite="bcro",
        corruption="noise:10",
        setting="inductive",
        selection="other-pairs",
        protocol_version=1,
    )
    trial = Trial(
        pair=Pair("B", "C"),
        classes=("anger", "fear"),
        seed=1,
        method="m",
        version=2,
        parameters=(("c", 0.5),),
        condition=condition,
        source_key="s",
        target_key="t",
        engine_version=3,
    )
    assert trial.id == "06ddaaa1f0ead5619ad8f2e02103e683c5abb8d4ae30451ab5a8d977f7cd352f"
    same = dataclasses.replace(trial, condition=condition.replace(suite="", selection="default"))
    assert same.id == trial.id
    for change in ({"corruption": ""}, {"unlabelled": ("N",)}, {"shots": 1}):
        other = dataclasses.replace(trial, condition=condition.replace(**change))
        assert other.id != trial.id


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"suite": "bcro", "shots": "all", "unlabelled": "N+T"}, True),
        ({"corruption": "clean"}, True),
        ({"corruption": "noise:10"}, False),
        ({"shots": "5"}, False),
    ],
)
def test_a_condition_matches_texts(wanted: dict[str, str], fits: bool) -> None:
    condition = Condition(suite="bcro", shots="all", unlabelled=("N", "T"))
    assert condition.matches(wanted) is fits


def test_conditions_are_sorted_by_number_of_shots_with_all_last() -> None:
    every = [Condition(shots=shots) for shots in ("all", 10, 5)]
    assert [item.shots for item in sorted(every, key=Condition.order)] == [5, 10, "all"]
