"""Each definition reads the file names that its corpus is published with."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from fake_corpora import write_tone

from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.locate import load_corpora, locate

LAYOUTS: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "layouts.toml").read_text(encoding="utf-8")
)
TREES, TABLES = LAYOUTS["trees"], LAYOUTS["tables"]


def unverified() -> list[str]:
    return [code for code, spec in definitions().corpora.items() if not spec.verified]


def test_every_definition_that_was_not_checked_is_tried_here() -> None:
    assert set(TREES) | set(TABLES) == set(unverified())
    assert len(unverified()) >= 20


@pytest.mark.parametrize("code", TREES)
def test_made_trees(code: str, tmp_path: Path) -> None:
    folder, files = TREES[code]["folder"], TREES[code]["files"]
    for name in files:
        write_tone(tmp_path / folder / f"{name}.wav")
    located = locate(tmp_path)
    assert list(located.listings) == [code]
    assert located.findings == ()
    corpus = load_corpora(codes=[code], located=located)[code]
    facts = {item.name: [item.emotion, item.speaker, item.gender] for item in corpus.utterances}
    offset = len(f"{folder}/") if corpus.root == tmp_path else 0
    inner = corpus.root.relative_to(tmp_path / folder).as_posix() if not offset else ""
    prefix = "" if inner in ("", ".") else f"{inner}/"
    assert {f"{prefix}{name[offset:]}": fact for name, fact in facts.items()} == {
        f"{name}.wav": fact for name, fact in files.items()
    }


@pytest.mark.parametrize("code", TABLES)
def test_made_tables(code: str, tmp_path: Path) -> None:
    table, text, files = (TABLES[code][key] for key in ("table", "text", "files"))
    place = tmp_path / "some" / "folder"
    (place / table).parent.mkdir(parents=True)
    (place / table).write_text(text)
    for name in files:
        write_tone(place / name)
    corpus = load_corpora(tmp_path)[code]
    facts = {item.name: [item.emotion, item.speaker, item.gender] for item in corpus.utterances}
    assert facts == files
    left_out = sum(count for _, count in corpus.left_out)
    assert left_out == text.count("\n") - 1 - len(files)


def test_both_halves_of_esd(tmp_path: Path) -> None:
    for speaker in ("0001", "0011"):
        for number in range(3):
            write_tone(tmp_path / "x" / speaker / "Angry" / f"{speaker}_00000{number}.wav")
    corpora = load_corpora(tmp_path)
    assert {code: len(corpus.utterances) for code, corpus in corpora.items()} == {
        "ESDen": 3,
        "ESDzh": 3,
    }
    assert corpora["ESDzh"].left_out == (("the other language of ESD", 3),)


def test_a_ravdess_without_folders_is_no_other_corpus(tmp_path: Path) -> None:
    write_tone(tmp_path / "RAVDESS" / "03-01-05-01-01-01-01.wav")
    assert not locate(tmp_path).listings
