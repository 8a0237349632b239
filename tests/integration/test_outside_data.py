"""Data sets of other systems give the same corpus as the native layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from clser_bench.corpora.locate import load_corpora, locate
from clser_bench.corpora.model import Corpus
from clser_bench.errors import CorpusError

LETTERS = {"W": "anger", "A": "fear", "F": "happiness", "N": "neutral"}
Row = dict[str, str]


@pytest.fixture
def emodb(tmp_path: Path) -> Path:
    """EMO-DB in its own layout: three speakers, four emotions."""
    root = tmp_path / "emodb"
    (root / "wav").mkdir(parents=True)
    random = np.random.default_rng(0)
    for speaker in ("03", "08", "09"):
        for letter in LETTERS:
            samples = random.integers(-9000, 9000, 3000).astype(np.int16)
            soundfile.write(root / "wav" / f"{speaker}a01{letter}a.wav", samples, 16_000)
    return root


@pytest.fixture
def rows(emodb: Path) -> list[Row]:
    return [
        {
            "file": f"wav/{path.name}",
            "emotion": LETTERS[path.stem[5]],
            "speaker": path.stem[:2],
            "gender": "male" if path.stem[:2] == "03" else "female",
            "language": "german",
        }
        for path in sorted((emodb / "wav").iterdir())
    ]


@pytest.fixture
def native(emodb: Path) -> Corpus:
    return load_corpora(emodb)["B"]


def read(place: Path) -> Corpus:
    [corpus] = load_corpora(manifests=[place]).values()
    return corpus


def refuses(place: Path, *, match: str) -> None:
    with pytest.raises(CorpusError, match=match):
        read(place)


def same(corpus: Corpus, native: Corpus) -> None:
    def facts(corpus: Corpus) -> list[tuple[str, ...]]:
        return [(i.content, i.emotion, i.speaker, i.gender) for i in corpus.utterances]

    assert corpus.spec == native.spec
    assert facts(corpus) == facts(native)


def write_csv(path: Path, rows: list[Row], names: str) -> Path:
    lines = [names, *(",".join(row[name] for name in names.split(",")) for row in rows)]
    path.write_text("\n".join(lines))
    return path


def call_it_emodb(place: Path) -> Path:
    """Write the file beside it that gives its name."""
    (place.parent / f"{place.name}.toml").write_text('name = "emodb"')
    return place


# Writers: each puts the data set into the folder of EMO-DB or beside it, and returns the place.


def audformat_by_hand(emodb: Path, rows: list[Row]) -> Path:
    """As audformat writes it: the emotion in one table, who speaks in another."""
    (emodb / "db.yaml").write_text(
        "name: emodb\nlanguages: [deu]\nschemes:\n  emotion: {dtype: str}\n"
        "  speaker:\n    dtype: str\n    labels:\n      '03': {gender: male}\n"
        "      '08': {gender: female}\n      '09': {gender: female}\n"
        "tables:\n  emotion:\n    type: filewise\n    columns:\n"
        "      emotion: {scheme_id: emotion}\n      emotion.confidence: {}\n"
        "  files:\n    type: filewise\n    columns:\n      speaker: {scheme_id: speaker}\n"
    )
    write_csv(emodb / "db.emotion.csv", rows, "file,emotion")
    write_csv(emodb / "db.files.csv", rows, "file,speaker")
    return emodb


def audformat_itself(emodb: Path, rows: list[Row], storage: str = "csv") -> Path:
    audformat = pytest.importorskip("audformat")
    db = audformat.Database("emodb", languages=["deu"])
    db.schemes["emotion"] = audformat.Scheme(labels=sorted(LETTERS.values()))
    genders = {row["speaker"]: {"gender": row["gender"]} for row in rows}
    db.schemes["speaker"] = audformat.Scheme(labels=genders)
    index = audformat.filewise_index([row["file"] for row in rows])
    for table, column in (("emotion", "emotion"), ("files", "speaker")):
        db[table] = audformat.Table(index)
        db[table][column] = audformat.Column(scheme_id=column)
        db[table][column].set([row[column] for row in rows])
    db.save(emodb, storage_format=storage)
    return emodb


def audformat_in_parquet(emodb: Path, rows: list[Row]) -> Path:
    return audformat_itself(emodb, rows, "parquet")


NAMES = sorted(LETTERS.values())
FEATURES = {
    "audio": {"sampling_rate": 16000, "decode": False, "_type": "Audio"},
    "label": {"names": NAMES, "_type": "ClassLabel"},
    "speaker_id": {"dtype": "string", "_type": "Value"},
    "gender": {"dtype": "string", "_type": "Value"},
}


def sound_table(emodb: Path, rows: list[Row]) -> pa.Table:
    """As the library `datasets` writes it, with its features in the head."""
    sounds = [((emodb / row["file"]).read_bytes(), Path(row["file"]).name) for row in rows]
    columns = {
        "audio": [{"bytes": content, "path": path} for content, path in sounds],
        "label": [NAMES.index(row["emotion"]) for row in rows],
        "speaker_id": [row["speaker"] for row in rows],
        "gender": [row["gender"] for row in rows],
    }
    head = json.dumps({"info": {"features": FEATURES}})
    return pa.table(columns).replace_schema_metadata({"huggingface": head})


def parquet_with_sound(emodb: Path, rows: list[Row]) -> Path:
    place = emodb.parent / "train.parquet"
    parquet.write_table(sound_table(emodb, rows), place)
    refuses(place, match=r"no column gives the language; write train.parquet.toml")
    return call_it_emodb(place)


def dataset_on_disk_by_hand(emodb: Path, rows: list[Row]) -> Path:
    """As `save_to_disk` writes it: two splits."""
    folder, name = emodb.parent / "saved", "data-00000-of-00001.arrow"
    for split, part in (("train", rows[:8]), ("test", rows[8:])):
        (folder / split).mkdir(parents=True)
        table = sound_table(emodb, part)
        with (
            pa.OSFile(str(folder / split / name), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        state = {"_data_files": [{"filename": name}]}
        (folder / split / "state.json").write_text(json.dumps(state))
        (folder / split / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return call_it_emodb(folder)


def dataset_of_the_library(emodb: Path, rows: list[Row]) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset(datasets.table.InMemoryTable(sound_table(emodb, rows)))


def dataset_on_disk(emodb: Path, rows: list[Row]) -> Path:
    dataset_of_the_library(emodb, rows).save_to_disk(emodb.parent / "saved")
    return call_it_emodb(emodb.parent / "saved")


def dataset_in_parquet(emodb: Path, rows: list[Row]) -> Path:
    dataset_of_the_library(emodb, rows).to_parquet(emodb.parent / "saved.parquet")
    return call_it_emodb(emodb.parent / "saved.parquet")


def emobox(emodb: Path, rows: list[Row], dataset: str = "emodb") -> Path:
    place = emodb.parent / "EmoBox" / "data" / "emodb" / f"{dataset}.jsonl"
    place.parent.mkdir(parents=True)
    shutil.copytree(emodb, emodb.parent / "EmoBox" / "downloads" / "emodb")
    entries = [
        {
            "key": f"{dataset}-{Path(row['file']).stem}",
            "dataset": dataset,
            "wav": f"downloads/{dataset}/{row['file']}",
            "type": "raw",
            "sample_rate": 16000,
            "emo": row["emotion"],
        }
        for row in rows
    ]
    place.write_text("\n".join(map(json.dumps, entries)))
    return place


def nkululeko(emodb: Path, rows: list[Row]) -> Path:
    names = "file,emotion,speaker,gender,language"
    return call_it_emodb(write_csv(emodb / "emodb.csv", rows, names))


WRITERS = [
    audformat_by_hand, audformat_itself, audformat_in_parquet, parquet_with_sound,
    dataset_on_disk_by_hand, dataset_on_disk, dataset_in_parquet, emobox, nkululeko,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
def test_the_corpus_is_that_of_the_native_layout(emodb, rows, native, write):
    place = write(emodb, rows)
    for _ in range(2):
        same(read(place), native)
    if write in {audformat_by_hand, dataset_on_disk_by_hand}:  # as a folder of corpora, too
        same(load_corpora(place)["B"], native)


def test_segments_of_audformat(emodb, rows):
    audformat_by_hand(emodb, rows)
    head = (emodb / "db.yaml").read_text().replace("filewise", "segmented", 1)
    (emodb / "db.yaml").write_text(head)
    first = {"start": "0 days 00:00:00", "end": "0 days 00:00:00.1"}
    second = {"start": "0 days 00:00:00.125", "end": "NaT"}
    segments = [row | times for row in rows for times in (first, second)]
    write_csv(emodb / "db.emotion.csv", segments, "file,start,end,emotion")
    corpus = read(emodb)
    assert len(corpus.utterances) == 2 * len(rows)
    assert {round(item.seconds, 4) for item in corpus.utterances} == {0.1, 0.0625}
    assert set(corpus.speakers) == {"03", "08", "09"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("deu", "deu, ita", "no column gives the language; write emodb.toml beside it"),
        ("speaker: {scheme_id: speaker}", "other: {}", "no column gives the speaker"),
        ("emotion: {scheme_id: emotion}", "mood: {}", "no table has a column 'emotion'"),
        ("tables:", "sheets:", "it has no tables"),
        ("name: mine", "name: [", "is not what audformat writes"),
        ("  emotion:\n    type", "  feelings:\n    type", "pickled tables are not read"),
    ],
)
def test_an_audformat_database_that_lacks_something(emodb, rows, old, new, message):
    audformat_by_hand(emodb, rows)
    head = (emodb / "db.yaml").read_text().replace("name: emodb", "name: mine")
    (emodb / "db.yaml").write_text(head.replace(old, new))
    refuses(emodb, match=message)


def test_tables_that_contradict_each_other_and_labels_without_a_counterpart(emodb, rows, native):
    audformat_by_hand(emodb, rows)
    with (emodb / "db.yaml").open("a") as head:
        head.write("  desired:\n    type: filewise\n    columns:\n      emotion: {}\n")
    write_csv(emodb / "db.desired.csv", [{**rows[0], "emotion": "sadness"}], "file,emotion")
    refuses(emodb, match="in table 'emotion' and 'sadness' in 'desired'; name the")
    (emodb.parent / "emodb.toml").write_text('tables = ["emotion"]')
    same(read(emodb), native)
    rows[0]["emotion"] = "sarcasm"
    write_csv(emodb / "db.emotion.csv", rows, "file,emotion")
    [listing] = locate(manifests=[emodb]).listings.values()
    assert listing.left_out == (("'sarcasm' is no emotion of the benchmark", 1),)
    assert len(listing.utterances) == len(rows) - 1


def test_damaged_datasets_on_disk(emodb, rows):
    place = dataset_on_disk_by_hand(emodb, rows)
    stream = place / "test" / "data-00000-of-00001.arrow"
    whole = stream.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no arrow" * 99):
        stream.write_bytes(content)
        refuses(place, match=r"Arrow stream|as a table")
    (place / "test" / "state.json").write_text("{}")
    refuses(place, match="names no data files")


def test_places_that_hold_no_data_set(tmp_path, emodb, rows):
    refuses(tmp_path, match="neither an audformat database")
    place = emobox(emodb, rows, "unknown")
    refuses(place, match="EmoBox names no speakers, and 'unknown' is no corpus whose")
    place.write_text('{"dataset": "emodb"}\nno json')
    refuses(place, match="is not in JSON lines")


def test_labels_and_columns_of_ones_own(emodb, rows):
    own = [{**row, "mood": row["emotion"][:3].upper(), "who": row["speaker"]} for row in rows]
    place = write_csv(emodb / "list.csv", own, "file,mood,who")
    refuses(place, match=r"no column gives|has no rows that can be used")
    (emodb / "list.csv.toml").write_text(
        'language = "de"\nname = "mine"\n[columns]\nemotion = "mood"\nspeaker = "who"\n'
        '[labels]\nANG = "anger"\nFEA = "fear"'
    )
    corpus = read(place)
    assert (corpus.spec.code, corpus.spec.language) == ("mine", "de")
    assert set(corpus.emotions) == {"anger", "fear", "happiness", "neutral"}  # HAP, NEU are known
    assert corpus.left_out == ()
    (emodb / "list.csv.toml").write_text('[columns]\nmood = "emotion"')
    refuses(place, match="'mood' is no column of a manifest")
