"""Data sets of other systems give the same corpus as the native layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from clser_bench.corpora.locate import load_corpora, locate
from clser_bench.corpora.model import Corpus
from clser_bench.errors import CorpusError

LETTERS = {"W": "anger", "A": "fear", "F": "happiness", "N": "neutral"}
Row = dict[str, object]


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
        }
        for path in sorted((emodb / "wav").iterdir())
    ]


@pytest.fixture
def native(emodb: Path) -> Corpus:
    return load_corpora(emodb)["B"]


def facts(corpus: Corpus) -> list[tuple[str, ...]]:
    return [(i.content, i.emotion, i.speaker, i.gender) for i in corpus.utterances]


def read(place: Path) -> Corpus:
    [corpus] = load_corpora(manifests=[place]).values()
    return corpus


def refuses(place: Path, *, match: str) -> None:
    with pytest.raises(CorpusError, match=match):
        read(place)


def same(corpus: Corpus, native: Corpus) -> None:
    assert corpus.spec == native.spec
    assert facts(corpus) == facts(native)


def write_audformat(folder: Path, rows: list[Row]) -> None:
    """By hand, as audformat writes it: the emotion in one table, who speaks in another."""
    (folder / "db.yaml").write_text(
        "name: emodb\nlanguages: [deu]\nschemes:\n  emotion: {dtype: str}\n"
        "  speaker:\n    dtype: str\n    labels:\n      '03': {gender: male}\n"
        "      '08': {gender: female}\n      '09': {gender: female}\n"
        "tables:\n  emotion:\n    type: filewise\n    columns:\n"
        "      emotion: {scheme_id: emotion}\n      emotion.confidence: {}\n"
        "  files:\n    type: filewise\n    columns:\n      speaker: {scheme_id: speaker}\n"
    )
    for table, column in (("emotion", "emotion"), ("files", "speaker")):
        lines = [f"file,{column}", *(f"{row['file']},{row[column]}" for row in rows)]
        (folder / f"db.{table}.csv").write_text("\n".join(lines))


def test_audformat(emodb: Path, rows: list[Row], native: Corpus) -> None:
    write_audformat(emodb, rows)
    same(read(emodb), native)
    same(load_corpora(emodb)["B"], native)  # as a folder, too


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_a_database_that_audformat_wrote(
    emodb: Path, rows: list[Row], native: Corpus, storage: str
) -> None:
    audformat = pytest.importorskip("audformat")
    db = audformat.Database("emodb", languages=["deu"])
    db.schemes["emotion"] = audformat.Scheme(labels=sorted(set(LETTERS.values())))
    genders = {str(row["speaker"]): {"gender": row["gender"]} for row in rows}
    db.schemes["speaker"] = audformat.Scheme(labels=genders)
    index = audformat.filewise_index([str(row["file"]) for row in rows])
    for table, column in (("emotion", "emotion"), ("files", "speaker")):
        db[table] = audformat.Table(index)
        db[table][column] = audformat.Column(scheme_id=column)
        db[table][column].set([str(row[column]) for row in rows])
    db.save(emodb, storage_format=storage)
    same(read(emodb), native)


def test_segments_of_audformat(emodb: Path, rows: list[Row]) -> None:
    write_audformat(emodb, rows)
    head = (emodb / "db.yaml").read_text().replace("filewise", "segmented", 1)
    (emodb / "db.yaml").write_text(head)
    times = ("0 days 00:00:00", "0 days 00:00:00.1"), ("0 days 00:00:00.125", "NaT")
    lines = ["file,start,end,emotion"]
    lines += [
        f"{row['file']},{start},{end},{row['emotion']}" for row in rows for start, end in times
    ]
    (emodb / "db.emotion.csv").write_text("\n".join(lines))
    corpus = read(emodb)
    assert len(corpus.utterances) == 2 * len(rows)
    assert {round(item.seconds, 4) for item in corpus.utterances} == {0.1, 0.0625}
    assert set(corpus.speakers) == {"03", "08", "09"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("deu", "deu, ita"), "no column gives the language; write emodb.toml beside it"),
        (("speaker: {scheme_id: speaker}", "other: {}"), "no column gives the speaker"),
        (("emotion: {scheme_id: emotion}", "mood: {}"), "no table has a column 'emotion'"),
        (("tables:", "sheets:"), "it has no tables"),
        (("name: emodb", "name: ["), "is not what audformat writes"),
        (("  emotion:\n    type", "  feelings:\n    type"), "pickled tables are not read"),
    ],
)
def test_what_audformat_lacks(
    emodb: Path, rows: list[Row], change: tuple[str, str], message: str
) -> None:
    write_audformat(emodb, rows)
    head = (emodb / "db.yaml").read_text().replace("name: emodb", "name: mine").replace(*change)
    if "name: [" in change:
        head = head.replace("name: mine", "name: [")
    (emodb / "db.yaml").write_text(head)
    refuses(emodb, match=message)


def test_tables_that_contradict_each_other(emodb: Path, rows: list[Row], native: Corpus) -> None:
    write_audformat(emodb, rows)
    head = (emodb / "db.yaml").read_text()
    (emodb / "db.yaml").write_text(
        head + "  desired:\n    type: filewise\n    columns:\n      emotion: {}\n"
    )
    (emodb / "db.desired.csv").write_text(f"file,emotion\n{rows[0]['file']},sadness\n")
    refuses(emodb, match="in table 'emotion' and 'sadness' in 'desired'; name the")
    (emodb.parent / "emodb.toml").write_text('tables = ["emotion"]')
    same(read(emodb), native)


def sound_table(emodb: Path, rows: list[Row]) -> pa.Table:
    names = sorted(LETTERS.values())
    return pa.table(
        {
            "audio": [
                {
                    "bytes": (emodb / str(row["file"])).read_bytes(),
                    "path": Path(str(row["file"])).name,
                }
                for row in rows
            ],
            "label": [names.index(str(row["emotion"])) for row in rows],
            "speaker_id": [row["speaker"] for row in rows],
            "gender": [row["gender"] for row in rows],
        }
    )


FEATURES = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "label": {"names": sorted(LETTERS.values()), "_type": "ClassLabel"},
}


def test_parquet_with_sound(tmp_path: Path, emodb: Path, rows: list[Row], native: Corpus) -> None:
    table = sound_table(emodb, rows).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    )
    place = tmp_path / "train.parquet"
    parquet.write_table(table, place)
    refuses(place, match=r"no column gives the language; write train.parquet.toml")
    (tmp_path / "train.parquet.toml").write_text('name = "emodb"')
    for _ in range(2):
        same(read(place), native)


@pytest.fixture
def on_disk(tmp_path: Path, emodb: Path, rows: list[Row]) -> Path:
    """By hand, as `save_to_disk` writes it: two splits."""
    folder = tmp_path / "saved"
    (folder.parent / "saved.toml").write_text('name = "emodb"')
    for split, part in (("train", rows[:8]), ("test", rows[8:])):
        (folder / split).mkdir(parents=True)
        table = sound_table(emodb, part)
        stream = str(folder / split / "data-00000-of-00001.arrow")
        with pa.OSFile(stream, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (folder / split / "state.json").write_text(json.dumps(state))
        (folder / split / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return folder


def test_datasets_on_disk(on_disk: Path, native: Corpus) -> None:
    same(read(on_disk), native)
    assert list(load_corpora(on_disk)) == ["B"]


def test_damaged_datasets_on_disk(on_disk: Path) -> None:
    stream = on_disk / "test" / "data-00000-of-00001.arrow"
    whole = stream.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no arrow" * 99):
        stream.write_bytes(content)
        refuses(on_disk, match=r"Arrow stream|as a table")
    (on_disk / "test" / "state.json").write_text("{}")
    refuses(on_disk, match="names no data files")


def test_a_folder_that_datasets_wrote(
    tmp_path: Path, emodb: Path, rows: list[Row], native: Corpus
) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=sorted(LETTERS.values()))
    features = datasets.Features(
        {
            "audio": datasets.Audio(decode=False),
            "label": names,
            "speaker_id": datasets.Value("string"),
            "gender": datasets.Value("string"),
        }
    )
    table = sound_table(emodb, rows).cast(features.arrow_schema)  # encoding wants torchcodec
    made = datasets.Dataset(datasets.table.InMemoryTable(table))
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "saved.parquet")
    for place in (tmp_path / "saved", tmp_path / "saved.parquet"):
        (tmp_path / f"{place.name}.toml").write_text('name = "emodb"')
        same(read(place), native)


def emobox_lines(rows: list[Row], dataset: str = "emodb") -> Iterator[str]:
    for row in rows:
        yield json.dumps(
            {
                "key": f"{dataset}-{Path(str(row['file'])).stem}",
                "dataset": dataset,
                "wav": f"downloads/{dataset}/{row['file']}",
                "type": "raw",
                "sample_rate": 16000,
                "emo": row["emotion"],
            }
        )


def test_emobox(tmp_path: Path, emodb: Path, rows: list[Row], native: Corpus) -> None:
    place = tmp_path / "EmoBox" / "data" / "emodb" / "emodb.jsonl"
    place.parent.mkdir(parents=True)
    shutil.copytree(emodb, tmp_path / "EmoBox" / "downloads" / "emodb")
    place.write_text("\n".join(emobox_lines(rows)))
    same(read(place), native)


def test_emobox_of_a_data_set_without_speakers(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "x.jsonl").write_text("\n".join(emobox_lines(rows, "unknown")))
    refuses(
        tmp_path / "x.jsonl", match="EmoBox names no speakers, and 'unknown' is no corpus whose"
    )
    (tmp_path / "x.jsonl").write_text('{"dataset": "emodb"}\nno json')
    refuses(tmp_path / "x.jsonl", match="is not in JSON lines")


def test_nkululeko(emodb: Path, rows: list[Row], native: Corpus) -> None:
    place = emodb / "emodb.csv"
    lines = ["file,emotion,speaker,gender,language"]
    lines += [f"{r['file']},{r['emotion']},{r['speaker']},{r['gender']},german" for r in rows]
    place.write_text("\n".join(lines))
    (emodb / "emodb.csv.toml").write_text('name = "emodb"')
    same(read(place), native)


def test_labels_and_columns_of_ones_own(emodb: Path, rows: list[Row]) -> None:
    place = emodb / "list.csv"
    lines = ["file,mood,who"]
    lines += [f"{r['file']},{str(r['emotion'])[:3].upper()},{r['speaker']}" for r in rows]
    place.write_text("\n".join(lines))
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


def test_labels_without_a_counterpart_are_counted(emodb: Path, rows: list[Row]) -> None:
    rows[0]["emotion"] = "sarcasm"
    write_audformat(emodb, rows)
    [listing] = locate(manifests=[emodb]).listings.values()
    assert listing.left_out == (("'sarcasm' is no emotion of the benchmark", 1),)
    assert len(listing.utterances) == len(rows) - 1


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    refuses(tmp_path, match="neither an audformat database")
