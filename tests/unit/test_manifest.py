"""Corpora from a table: read as they stand, refused by row."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pytest
from fake_corpora import write_tone
from pyarrow import parquet

from clser_bench.corpora.manifest import read_manifest
from clser_bench.errors import CorpusError

Row = dict[str, str]


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    made = []
    for speaker, gender in (("ada", "female"), ("bob", "male")):
        for emotion in ("anger", "neutral"):
            write_tone(tmp_path / speaker / f"{emotion}.wav")
            made.append(
                {
                    "path": f"{speaker}/{emotion}.wav",
                    "speaker": speaker,
                    "emotion": emotion,
                    "language": "nl",
                    "gender": gender,
                }
            )
    return made


def write(folder: Path, rows: list[Row]) -> Path:
    path = folder / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_corpus_for_each_language(tmp_path: Path, rows: list[Row], own_cache: Path) -> None:
    rows[3]["language"] = "pt-BR"
    dutch, portuguese = read_manifest(write(tmp_path, rows), cache=own_cache)
    assert (dutch.spec.code, portuguese.spec.code) == ("nl", "pt-BR")
    assert dutch.root == tmp_path
    assert len(dutch.utterances) == 3
    assert dutch.spec.emotions == ("anger", "neutral")
    one = portuguese.utterances[0]
    assert (one.name, one.speaker, one.gender) == ("bob/neutral.wav", "bob", "male")
    assert one.path == tmp_path / "bob" / "neutral.wav"
    assert len(one.content) == 64


def test_a_corpus_for_each_name(tmp_path: Path, rows: list[Row], own_cache: Path) -> None:
    for row in rows:
        row["corpus"] = "Mijn corpus (2024), deel 1"
    [corpus] = read_manifest(write(tmp_path, rows), cache=own_cache)
    assert corpus.spec.code == "Mijn-corpus-2024"
    assert corpus.spec.title == "Mijn corpus (2024), deel 1"
    assert corpus.spec.language == "nl"


def test_parquet_is_the_same(tmp_path: Path, rows: list[Row], own_cache: Path) -> None:
    path = tmp_path / "list.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    [corpus] = read_manifest(path, cache=own_cache)
    [other] = read_manifest(write(tmp_path, rows), cache=own_cache)
    assert corpus.utterances == other.utterances


FAULTS = [
    ("path", "gone/anger.wav", "No such file"),
    ("path", "../outside.wav", "the path leaves the manifest's folder"),
    ("path", "/etc/hostname", "the path leaves the manifest's folder"),
    ("path", "nul\0.wav", "the path leaves the manifest's folder"),
    ("path", "ada/anger.wav", "the path stands in several rows"),
    ("path", "list.csv", "is not audio"),
    ("speaker", "", "speaker is empty"),
    ("emotion", "Angray", "unknown emotion 'Angray'"),
    ("emotion", "angry", "did you mean 'anger'?"),
    ("gender", "x", "write female, male, other or nothing"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[str(number) for number in range(len(FAULTS))])
def test_wrong_rows(
    tmp_path: Path, rows: list[Row], own_cache: Path, fault: tuple[str, str, str]
) -> None:
    column, value, reason = fault
    rows[2][column] = value
    path = write(tmp_path, rows)
    with pytest.raises(CorpusError) as caught:
        read_manifest(path, cache=own_cache)
    message = str(caught.value)
    assert str(path) in message
    assert "line 4: " in message
    assert reason in message
    assert "--skip-bad" in message


def test_wrong_rows_of_all_corpora_are_named_together(
    tmp_path: Path, rows: list[Row], own_cache: Path
) -> None:
    rows[0]["language"], rows[3]["language"] = "german", "fr"
    rows[1]["emotion"], rows[3]["emotion"] = "joy", "glad"
    path = write(tmp_path, rows)
    with pytest.raises(CorpusError, match=r"(?s)3 of 4 .*line 2.*BCP 47.*line 3.*joy|line 5"):
        read_manifest(path, cache=own_cache)


def test_skip_bad(tmp_path: Path, rows: list[Row], own_cache: Path) -> None:
    rows[2]["emotion"] = "joy"
    [corpus] = read_manifest(write(tmp_path, rows), cache=own_cache, skip_bad=True)
    assert len(corpus.utterances) == 3
    assert [item.name for item in corpus.skipped] == [rows[2]["path"]]


def test_missing_columns(tmp_path: Path, own_cache: Path) -> None:
    path = write(tmp_path, [{"path": "a.wav", "emotion": "anger"}])
    with pytest.raises(CorpusError, match=r"column speaker, language is missing; it has path, em"):
        read_manifest(path, cache=own_cache)


def test_a_column_name_nearly_right(tmp_path: Path, rows: list[Row], own_cache: Path) -> None:
    renamed = [{key.replace("gender", "gendre"): row[key] for key in row} for row in rows]
    with pytest.raises(CorpusError, match="column 'gendre' is unknown; did you mean 'gender'"):
        read_manifest(write(tmp_path, renamed), cache=own_cache)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "B"}, "would get the code B of EMO-DB"),
        ({"corpus": "???"}, "gives no name for a corpus"),
    ],
)
def test_unusable_names(
    tmp_path: Path, rows: list[Row], own_cache: Path, change: Row, message: str
) -> None:
    path = write(tmp_path, [{**row, **change} for row in rows])
    with pytest.raises(CorpusError, match=message):
        read_manifest(path, cache=own_cache)


def test_names_that_fall_together(tmp_path: Path, rows: list[Row], own_cache: Path) -> None:
    named = [{**row, "corpus": "a/b" if row["speaker"] == "bob" else "a b"} for row in rows]
    with pytest.raises(CorpusError, match="corpus 'a/b' would get the code a-b of 'a b'"):
        read_manifest(write(tmp_path, named), cache=own_cache)


def test_one_corpus_in_two_languages(tmp_path: Path, rows: list[Row], own_cache: Path) -> None:
    rows[0]["language"] = "fr"
    path = write(tmp_path, [{**row, "corpus": "mine"} for row in rows])
    with pytest.raises(CorpusError, match="has the languages fr, nl"):
        read_manifest(path, cache=own_cache)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "cannot be read"),
        ("a.parquet", b"no parquet", "is not a table"),
        ("a.csv", b"path,speaker\xff", "is not a table"),
        ("a.csv", b'path,"speaker\n', "is not a table|is missing"),
        ("a.csv", b"", "is missing; it has none"),
        ("a.csv", b"path,speaker,emotion,language\n", "has no rows"),
    ],
)
def test_no_table(
    tmp_path: Path, own_cache: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_manifest(tmp_path / name, cache=own_cache)
