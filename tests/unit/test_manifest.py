"""Corpora from a table: read as they stand, refused by row."""

from __future__ import annotations

import csv
import os
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from clser_bench.corpora import rows as limits
from clser_bench.corpora.assemble import shared_recordings
from clser_bench.corpora.locate import load_corpora
from clser_bench.corpora.model import Corpus
from clser_bench.errors import CorpusError
from clser_bench.hashing import generator
from tests.fake_corpora import write_tone

Row = dict[str, str]
COLUMNS = ("path", "speaker", "emotion", "language", "gender")


def read_manifest(path: Path, *, skip_bad: bool = False) -> list[Corpus]:
    return list(load_corpora(manifests=[path], skip_bad=skip_bad).values())


def refuses(path: Path, *, match: str, skip_bad: bool = False) -> None:
    with pytest.raises(CorpusError, match=match):
        read_manifest(path, skip_bad=skip_bad)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    made = []
    for speaker, gender in (("ada", "female"), ("bob", "male")):
        for emotion in ("anger", "neutral"):
            values = (f"{speaker}/{emotion}.wav", speaker, emotion, "nl", gender)
            made.append(dict(zip(COLUMNS, values, strict=True)))
            write_tone(tmp_path / values[0])
    return made


def write(folder: Path, rows: list[Row]) -> Path:
    path = folder / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_corpus_for_each_language(tmp_path: Path, rows: list[Row]) -> None:
    rows[3]["language"] = "pt-BR"
    dutch, portuguese = read_manifest(write(tmp_path, rows))
    assert (dutch.spec.code, portuguese.spec.code) == ("nl", "pt-BR")
    assert dutch.root == tmp_path
    assert len(dutch.utterances) == 3
    assert dutch.spec.emotions == ("anger", "neutral")
    one = portuguese.utterances[0]
    assert (one.name, one.speaker, one.gender) == ("bob/neutral.wav", "bob", "male")
    assert one.path == tmp_path / "bob" / "neutral.wav"
    assert len(one.content) == 64


def test_a_corpus_for_each_name(tmp_path: Path, rows: list[Row]) -> None:
    for row in rows:
        row["corpus"] = "Mijn corpus (2024), deel 1"
    [corpus] = read_manifest(write(tmp_path, rows))
    assert corpus.spec.code == "Mijn-corpus-2024"
    assert corpus.spec.title == "Mijn corpus (2024), deel 1"
    assert corpus.spec.language == "nl"


@pytest.mark.parametrize(
    "change",
    [
        lambda row, folder: {**row, "path": str(folder / row["path"])},
        lambda row, _: {**row, "path": row["path"].replace("/", "\\")},
        lambda row, _: {**row, "corpus": ""},
    ],
)
def test_the_same_corpus_written_otherwise(
    tmp_path: Path, rows: list[Row], change: Callable[[Row, Path], Row]
) -> None:
    """As Parquet, with absolute paths, with backslashes between folders, with an empty corpus."""
    expected = read_manifest(write(tmp_path, rows))
    assert read_manifest(write(tmp_path, [change(row, tmp_path) for row in rows])) == expected
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    [corpus] = read_manifest(tmp_path / "list.parquet")
    assert corpus.utterances == expected[0].utterances


FAULTS = [
    ("path", "gone/anger.wav", "No such file"),
    ("path", "nul\0.wav", "path holds control characters"),
    ("path", "ada/anger.wav", "the path stands in several rows"),
    ("path", "./ada//anger.wav", "the path stands in several rows"),
    ("path", "bob/../ada/anger.wav", "the path stands in several rows"),
    ("speaker", "bob\x1b[2J", "speaker holds control characters"),
    ("speaker", "bob\u202e", "speaker holds control characters"),
    ("path", "list.csv", "is not audio"),
    ("speaker", "", "speaker is empty"),
    ("speaker", "nan", "speaker 'nan' stands for a missing value"),
    ("speaker", "<NA>", "speaker '<NA>' stands for a missing value"),
    ("language", "und", "language 'und' stands for a missing value"),
    ("emotion", "Angray", "unknown emotion 'Angray'"),
    ("emotion", "angry", "did you mean 'anger'?"),
    ("gender", "x", "write female, male, other or nothing"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[str(number) for number in range(len(FAULTS))])
def test_wrong_rows(tmp_path: Path, rows: list[Row], fault: tuple[str, str, str]) -> None:
    column, value, reason = fault
    rows[2][column] = value
    path = write(tmp_path, rows)
    with pytest.raises(CorpusError) as caught:
        read_manifest(path)
    assert all(part in str(caught.value) for part in (str(path), "line 4: ", reason, "--skip-bad"))


def test_wrong_rows_of_all_corpora_are_named(tmp_path: Path, rows: list[Row]) -> None:
    rows[0]["language"] = "german"
    rows[1]["emotion"] = "joy"
    path = write(tmp_path, rows)
    for code, reason in (("german", "line 2.*BCP 47"), ("nl", "line 3.*joy")):
        with pytest.raises(CorpusError, match=f"(?s){reason}"):
            load_corpora(manifests=[path], codes=[code])


def test_rows_that_are_all_bad_give_their_reason(tmp_path: Path, rows: list[Row]) -> None:
    path = write(tmp_path, [{**row, "emotion": row["emotion"].capitalize()} for row in rows])
    for skip_bad in (False, True):
        refuses(path, skip_bad=skip_bad, match=r"unknown emotion 'Anger'; did you mean 'anger'")


def test_paths_may_be_absolute_or_lead_outside(tmp_path: Path, rows: list[Row]) -> None:
    write_tone(tmp_path / "outside.wav")
    own = tmp_path / "lists"
    own.mkdir()
    rows[0]["path"] = str(tmp_path / "outside.wav")
    for row in rows[1:]:
        row["path"] = f"../{row['path']}"
    [corpus] = read_manifest(write(own, rows))
    assert corpus.root == tmp_path
    names = {item.name for item in corpus.utterances}
    assert names == {"outside.wav", "ada/neutral.wav", "bob/anger.wav", "bob/neutral.wav"}


def test_segments_are_cut(tmp_path: Path, rows: list[Row]) -> None:
    write_tone(tmp_path / "long.wav", seconds=2)
    cut = [
        {**rows[0], "path": "long.wav", "start": "0.5", "end": "0.75"},
        {**rows[2], "path": "long.wav", "start": "0.75", "end": ""},
        {**rows[1], "start": "", "end": ""},
    ]
    [corpus] = read_manifest(write(tmp_path, cut))
    lengths = {item.name: item.seconds for item in corpus.utterances}
    assert lengths == {
        "long.wav#t=0.5,0.75": 0.25,
        "long.wav#t=0.75": 1.25,
        "ada/neutral.wav": 0.15,
    }
    assert corpus.findings == ()


def test_segments_that_overlap_are_a_finding(tmp_path: Path, rows: list[Row]) -> None:
    write_tone(tmp_path / "long.wav", seconds=2)
    cut = [
        {**rows[0], "path": "long.wav", "start": start, "end": end}
        for start, end in (("0", "1"), ("0.9", "1.5"), ("1.5", "2"))
    ]
    [corpus] = read_manifest(write(tmp_path, cut))
    [finding] = corpus.findings
    assert (finding.kind, finding.files) == ("overlap", ("long.wav#t=0,1", "long.wav#t=0.9,1.5"))
    [other] = read_manifest(write(tmp_path, [{**cut[2], "start": "1.9", "end": "2"}]))
    [finding] = shared_recordings(other, corpus)
    assert (finding.kind, finding.files) == ("overlap", ("long.wav#t=1.9,2",))
    assert "1 segment(s) of one file overlap in source and target" in finding.sentence


@pytest.mark.parametrize("end", ["0.1000000014901161193847656", "1e-1", "0.10"])
def test_seconds_as_programs_write_floats(tmp_path: Path, rows: list[Row], end: str) -> None:
    [corpus] = read_manifest(write(tmp_path, [{**rows[0], "start": "1e-05", "end": end}]))
    assert corpus.utterances[0].seconds == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (("1", "0.5"), "ends at 0.5 s and starts at 1 s"),
        (("a", "1"), "start 'a': write seconds"),
        (("-1", "1"), "start '-1': write seconds"),
        (("nan", ""), "start 'nan': write seconds"),
        (("0", "601"), "lasts 601 s; at most 600 s are read"),
        (("0", "9"), "it lasts 0.15 s"),
    ],
)
def test_wrong_segments(
    tmp_path: Path, rows: list[Row], segment: tuple[str, str], reason: str
) -> None:
    start, end = segment
    path = write(tmp_path, [{**rows[0], "start": start, "end": end}])
    refuses(path, match=reason)


def test_blank_rows_are_passed_over(tmp_path: Path, rows: list[Row]) -> None:
    path = write(tmp_path, rows)
    path.write_text(path.read_text() + ",,,,\n  ,,,,\n\n")
    [corpus] = read_manifest(path)
    assert len(corpus.utterances) == 4


def test_a_row_cut_short_says_so(tmp_path: Path, rows: list[Row]) -> None:
    path = write(tmp_path, rows)
    path.write_text(path.read_text() + "ada/more.wav,ada\n")
    refuses(path, match=r"line 6: has 2 cells, the header \d")
    [corpus] = read_manifest(path, skip_bad=True)
    assert (len(corpus.utterances), len(corpus.skipped)) == (4, 1)


@pytest.mark.parametrize(("on_disk", "listed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_do_not_matter(
    tmp_path: Path, rows: list[Row], on_disk: str, listed: str
) -> None:
    write_tone(tmp_path / unicodedata.normalize(on_disk, "zoë.wav"))
    rows[0] |= {"path": unicodedata.normalize(listed, "zoë.wav"), "speaker": "zoe\u0308"}
    rows[1]["speaker"] = "zo\xeb"
    [corpus] = read_manifest(write(tmp_path, rows))
    assert {item.speaker for item in corpus.utterances} == {"bob", "zo\xeb"}
    assert "zo\xeb.wav" in {item.name for item in corpus.utterances}


def test_one_recording_of_two_emotions(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "ada" / "neutral.wav").unlink()
    os.link(tmp_path / "ada" / "anger.wav", tmp_path / "ada" / "neutral.wav")
    path = write(tmp_path, rows)
    refuses(path, match=r"is neutral, and the same audio as ada/anger\.wav, wh")
    [corpus] = read_manifest(path, skip_bad=True)
    assert [item.name for item in corpus.skipped] == ["ada/anger.wav", "ada/neutral.wav"]


def test_copies_and_links_are_kept_once(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "ada" / "link.wav").symlink_to(tmp_path / "ada" / "anger.wav")
    shutil.copy(tmp_path / "ada" / "anger.wav", tmp_path / "bob" / "copy.wav")
    rows += [{**rows[0], "path": "ada/link.wav"}, {**rows[0], "path": "bob/copy.wav"}]
    [corpus] = read_manifest(write(tmp_path, rows))
    assert len(corpus.utterances) == 4
    [finding] = corpus.findings
    assert finding.kind == "copies"
    assert finding.files == ("ada/link.wav", "ada/anger.wav", "bob/copy.wav", "ada/anger.wav")


@pytest.mark.parametrize(
    ("column", "values", "files", "words"),
    [
        ("language", ("nl", "NL", "dut", "nld"), (), "NL and dut and nl and nld; all are nl"),
        ("gender", ("female", "male", "male", ""), ("anger", "neutral"), "ada has several genders"),
        ("speaker", ("01", "1", "A ", "\uff21"), (), "several: '01' and '1'; 'A' and '\uff21'"),
    ],
)
def test_what_is_odd_in_a_column(  # noqa: PLR0917
    tmp_path: Path,
    rows: list[Row],
    column: str,
    values: Sequence[str],
    files: Sequence[str],
    words: str,
) -> None:
    for row, value in zip(rows, values, strict=True):
        row[column] = value
    [corpus] = read_manifest(write(tmp_path, rows))
    assert (corpus.spec.code, len(corpus.utterances)) == ("nl", 4)
    [finding] = corpus.findings
    assert (finding.kind, finding.files) == (column, tuple(f"ada/{name}.wav" for name in files))
    assert words in finding.sentence
    if column == "gender":
        genders = {item.speaker: item.gender for item in corpus.utterances}
        assert genders == {"ada": "", "bob": "male"}


@pytest.mark.parametrize("level", [0.0, 1e-6, 0.5])
def test_recordings_without_sound(tmp_path: Path, rows: list[Row], level: float) -> None:
    soundfile.write(tmp_path / "ada" / "anger.wav", np.full(4000, level), 8000, subtype="FLOAT")
    [corpus] = read_manifest(write(tmp_path, rows))
    [finding] = corpus.findings
    assert (finding.kind, finding.files) == ("silent", ("ada/anger.wav",))


def words(path: Path, seed: int, gain: float = 1.0, *, how: str = "WAV PCM_16") -> Path:
    """Write noise as loud as words are, over time."""
    rng = generator("words", seed)
    loud = np.interp(np.arange(16_000), np.arange(0, 16_001, 500), rng.uniform(0.02, 0.5, 33))
    kind, subtype = how.split()
    samples = gain * loud * rng.uniform(-1, 1, 16_000)
    soundfile.write(path, samples, 16_000, format=kind, subtype=subtype)
    return path


@pytest.mark.parametrize("how", ["WAV PCM_16", "WAV ULAW", "OGG VORBIS", "OGG OPUS"])
def test_copies_of_another_gain_or_encoding(tmp_path: Path, rows: list[Row], how: str) -> None:
    for seed, row in enumerate(rows):
        words(tmp_path / row["path"], seed)
    words(tmp_path / "copy", 0, 0.3, how=how)
    copy = {**rows[0], "path": "copy"}
    [corpus] = read_manifest(write(tmp_path, [*rows, copy]))
    [finding] = corpus.findings
    assert (finding.kind, finding.files) == ("alike", ("ada/anger.wav", "copy"))
    assert "1 pair(s) of recordings look like copies at another gain" in finding.sentence
    assert len(corpus.utterances) == 5
    copy["language"] = "de"
    other, corpus = read_manifest(write(tmp_path, [*rows, copy]))
    assert corpus.findings == other.findings == ()
    for source, target, names in ((other, corpus, ("copy",)), (corpus, other, ("ada/anger.wav",))):
        [finding] = shared_recordings(source, target)
        assert (finding.kind, finding.files) == ("alike", names)


@pytest.mark.parametrize("kind", [">i2", "<f4"])
def test_samples_read_as_another_kind(tmp_path: Path, rows: list[Row], kind: str) -> None:
    file = tmp_path / "ada" / "anger.wav"
    samples, rate = soundfile.read(file)
    scale = 32767 if kind == ">i2" else 1
    other = np.frombuffer((samples * scale).astype(kind).tobytes(), "<i2")
    soundfile.write(file, other, rate)
    [corpus] = read_manifest(write(tmp_path, rows))
    [finding] = corpus.findings
    assert (finding.kind, finding.files) == ("scale", ("ada/anger.wav",))
    assert "at full scale all along, as no speech is" in finding.sentence


def test_samples_beyond_full_scale_and_short_ones(tmp_path: Path, rows: list[Row]) -> None:
    write_tone(tmp_path / "ada" / "anger.wav", seconds=0.05)
    samples, rate = soundfile.read(tmp_path / "bob" / "anger.wav")
    soundfile.write(tmp_path / "bob" / "anger.wav", samples * 32768, rate, subtype="FLOAT")
    [corpus] = read_manifest(write(tmp_path, rows))
    short, loud = corpus.findings
    assert (short.kind, short.files) == ("short", ("ada/anger.wav",))
    assert (loud.kind, loud.files) == ("scale", ("bob/anger.wav",))
    assert "float samples beyond full scale" in loud.sentence


def test_missing_values_of_parquet(tmp_path: Path, rows: list[Row]) -> None:
    table = pa.table(
        {
            "path": [row["path"] for row in rows],
            "speaker": [1.0, 1.0, 2.0, None],
            "emotion": [row["emotion"] for row in rows],
            "language": pa.array(["nl"] * 4).dictionary_encode(),
            "gender": pa.nulls(4),
        }
    )
    parquet.write_table(table, tmp_path / "m.parquet")
    refuses(tmp_path / "m.parquet", match="row 4: speaker is empty")
    [corpus] = read_manifest(tmp_path / "m.parquet", skip_bad=True)
    assert sorted(corpus.speakers.tolist()) == ["1", "1", "2"]


def test_limits_are_checked_first(
    tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet.write_table(pa.table({"path": ["x"] * 3_000_000}), tmp_path / "m.parquet")
    refuses(tmp_path / "m.parquet", match="has 3000000 rows; at most 500000 are read")
    long = {name: ["x" * 50_000 if name == "path" else "nl"] * 9 for name in rows[0]}
    parquet.write_table(pa.table(long), tmp_path / "m.parquet")
    refuses(tmp_path / "m.parquet", match="a value of column 'path' has 50000 bytes")
    for value in ([["x"]] * 4, [{"x": 1}] * 4, [b"x"] * 4):
        texts = {name: [row[name] for row in rows] for name in rows[0]}
        parquet.write_table(pa.table({**texts, "speaker": value}), tmp_path / "m.parquet")
        refuses(tmp_path / "m.parquet", match=r"'speaker' holds .*; write texts or numbers")
    (tmp_path / "m.csv").write_text(",".join(map(str, range(200_000))) + "\n1\n")
    refuses(tmp_path / "m.csv", match="has 200000 columns; at most 10000 are read")
    monkeypatch.setattr(limits, "MOST_ROWS", 3)
    refuses(write(tmp_path, rows), match="has more than 3 rows")
    monkeypatch.setattr(limits, "MOST_BYTES", 100)
    refuses(write(tmp_path, rows), match="bytes; at most 100 are read")


@pytest.mark.parametrize("place", ["/dev/zero", "fifo"])
def test_regular_files_only(tmp_path: Path, place: str) -> None:
    path = Path(place)
    if place == "fifo":
        path = tmp_path / place
        os.mkfifo(path)
    refuses(path, match="is not a regular file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: {"path": r["path"], "emotion": r["emotion"]},
            "speaker, language is missing; it",
        ),
        (lambda r: {**r, "gendre": ""}, "column 'gendre' is unknown; did you mean 'gender'"),
        (lambda r: {**r, "corpus": "B"}, "would get the code B of EMO-DB"),
        (lambda r: {**r, "corpus": "???"}, "gives no name for a corpus"),
        (lambda r: {**r, "corpus": f"a{'/ '[r['speaker'] == 'ada']}b"}, "code a-b of 'a b'"),
        (
            lambda r: {**r, "corpus": "mine", "language": r["speaker"][:2]},
            "has the languages ad, bo",
        ),
    ],
)
def test_unusable_columns_and_names(
    tmp_path: Path, rows: list[Row], change: Callable[[Row], Row], message: str
) -> None:
    changed = [change(row) for row in rows]
    if "gendre" in changed[0]:
        changed = [{name: row[name] for name in row if name != "gender"} for row in changed]
    refuses(write(tmp_path, changed), match=message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "cannot be read"),
        ("a.parquet", b"no parquet", "is not a table"),
        ("a.csv", b"path,speaker\xff", "is not a table"),
        ("a.csv", b'path,"speaker\n', "is not a table|is missing"),
        ("a.csv", b"", "is missing; it has none"),
        ("a.csv", b"path,speaker,emotion,language\n", "has no rows"),
        ("a.csv", b"path;speaker;emotion;language\n", "separated by semicolons; write commas"),
        ("a.csv", b"path\tspeaker\temotion\tlanguage\n", "separated by tabs; write commas"),
        ("a.csv", b"path,path,speaker,emotion,language\n", "column 'path' is there 2 times"),
        ("a.csv", b"path,speaker,emotion,language\na,b,c,de,e\n", "line 2 has 5 cells, the header"),
    ],
)
def test_no_table(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refuses(tmp_path / name, match=message)
