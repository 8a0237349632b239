"""Corpora from a table: read as they stand, refused by row."""

from __future__ import annotations

import csv
import os
import shutil
import unicodedata
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
            path = f"{speaker}/{emotion}.wav"
            write_tone(tmp_path / path)
            row = {"path": path, "speaker": speaker, "emotion": emotion, "language": "nl"}
            made.append({**row, "gender": gender})
    return made


def write(folder: Path, rows: list[Row]) -> Path:
    path = folder / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_corpus_for_each_language_and_name(tmp_path, rows):
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
    named = {"corpus": "Mijn corpus (2024), deel 1", "language": "nl"}
    [corpus] = read_manifest(write(tmp_path, [row | named for row in rows]))
    names = (corpus.spec.code, corpus.spec.title, corpus.spec.language)
    assert names == ("Mijn-corpus-2024", "Mijn corpus (2024), deel 1", "nl")


def test_the_same_corpus_written_otherwise(tmp_path, rows):
    expected = read_manifest(write(tmp_path, rows))
    absolute = [row | {"path": str(tmp_path / row["path"])} for row in rows]
    backslashes = [row | {"path": row["path"].replace("/", "\\")} for row in rows]
    for other in (absolute, backslashes, [row | {"corpus": ""} for row in rows]):
        assert read_manifest(write(tmp_path, other)) == expected
    path = write(tmp_path, rows)
    path.write_text(path.read_text() + ",,,,\n  ,,,,\n\n")  # blank rows
    assert read_manifest(path) == expected
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    [corpus] = read_manifest(tmp_path / "list.parquet")
    assert corpus.utterances == expected[0].utterances


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "gone/anger.wav"}, "No such file"),
        ({"path": "nul\0.wav"}, "path holds control characters"),
        ({"path": "ada/anger.wav"}, "the path stands in several rows"),
        ({"path": "./ada//anger.wav"}, "the path stands in several rows"),
        ({"path": "bob/../ada/anger.wav"}, "the path stands in several rows"),
        ({"path": "list.csv"}, "is not audio"),
        ({"speaker": "bob\x1b[2J"}, "speaker holds control characters"),
        ({"speaker": "bob\u202e"}, "speaker holds control characters"),
        ({"speaker": ""}, "speaker is empty"),
        ({"speaker": "nan"}, "speaker 'nan' stands for a missing value"),
        ({"speaker": "<NA>"}, "speaker '<NA>' stands for a missing value"),
        ({"language": "und"}, "language 'und' stands for a missing value"),
        ({"emotion": "angry"}, "unknown emotion 'angry'; did you mean 'anger'?"),
        ({"gender": "x"}, "write female, male, other or nothing"),
        ({"start": "1", "end": "0.5"}, "ends at 0.5 s and starts at 1 s"),
        ({"start": "a", "end": "1"}, "start 'a': write seconds"),
        ({"start": "-1"}, "start '-1': write seconds"),
        ({"start": "nan"}, "start 'nan': write seconds"),
        ({"end": "601"}, "lasts 601 s; at most 600 s are read"),
        ({"end": "9"}, "it lasts 0.15 s"),
    ],
    ids=str,
)
def test_wrong_rows(tmp_path, rows, change, reason):
    rows[2] |= change
    path = write(tmp_path, rows)
    with pytest.raises(CorpusError) as caught:
        read_manifest(path)
    for part in (str(path), "line 4: ", reason, "--skip-bad"):
        assert part in str(caught.value)


def test_wrong_rows_of_all_corpora_are_named_and_where_none_is_left(tmp_path, rows):
    several = [rows[0] | {"language": "german"}, rows[1] | {"emotion": "joy"}, *rows[2:]]
    path = write(tmp_path, several)
    for code, reason in (("german", "line 2.*BCP 47"), ("nl", "line 3.*joy")):
        with pytest.raises(CorpusError, match=f"(?s){reason}"):
            load_corpora(manifests=[path], codes=[code])
    path = write(tmp_path, [row | {"emotion": row["emotion"].capitalize()} for row in rows])
    for skip_bad in (False, True):
        refuses(path, skip_bad=skip_bad, match=r"unknown emotion 'Anger'; did you mean 'anger'")
    path = write(tmp_path, rows)
    path.write_text(path.read_text() + "ada/more.wav,ada\n")
    refuses(path, match=r"line 6: has 2 cells, the header \d")
    [corpus] = read_manifest(path, skip_bad=True)
    assert (len(corpus.utterances), len(corpus.skipped)) == (4, 1)


def test_paths_may_be_absolute_or_lead_outside(tmp_path, rows):
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


def test_segments_are_cut_and_those_that_overlap_are_a_finding(tmp_path, rows):
    write_tone(tmp_path / "long.wav", seconds=2)

    def cut(*times: tuple[str, str]) -> list[Row]:
        long = {**rows[0], "path": "long.wav"}
        return [{**long, "start": start, "end": end} for start, end in times]

    [corpus] = read_manifest(write(tmp_path, [*cut(("0.5", "0.75"), ("0.75", "")), rows[1]]))
    lengths = {item.name: item.seconds for item in corpus.utterances}
    assert lengths == {
        "long.wav#t=0.5,0.75": 0.25,
        "long.wav#t=0.75": 1.25,
        "ada/neutral.wav": 0.15,
    }
    assert corpus.findings == ()
    [corpus] = read_manifest(write(tmp_path, cut(("0", "1"), ("0.9", "1.5"), ("1.5", "2"))))
    [found] = corpus.findings
    assert (found.kind, found.files) == ("overlap", ("long.wav#t=0,1", "long.wav#t=0.9,1.5"))
    [other] = read_manifest(write(tmp_path, cut(("1.9", "2"))))
    [found] = shared_recordings(other, corpus)
    assert (found.kind, found.files) == ("overlap", ("long.wav#t=1.9,2",))
    assert "1 segment(s) of one file overlap in source and target" in found.sentence


@pytest.mark.parametrize("end", ["0.1000000014901161193847656", "1e-1", "0.10"])
def test_seconds_as_programs_write_floats(tmp_path, rows, end):
    [corpus] = read_manifest(write(tmp_path, [{**rows[0], "start": "1e-05", "end": end}]))
    assert corpus.utterances[0].seconds == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize(("on_disk", "listed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_do_not_matter(tmp_path, rows, on_disk, listed):
    write_tone(tmp_path / unicodedata.normalize(on_disk, "zoë.wav"))
    rows[0] |= {"path": unicodedata.normalize(listed, "zoë.wav"), "speaker": "zoe\u0308"}
    rows[1]["speaker"] = "zo\xeb"
    [corpus] = read_manifest(write(tmp_path, rows))
    assert {item.speaker for item in corpus.utterances} == {"bob", "zo\xeb"}
    assert "zo\xeb.wav" in {item.name for item in corpus.utterances}


def test_of_copies_and_links_one_is_used_and_none_where_their_emotions_differ(tmp_path, rows):
    (tmp_path / "ada" / "link.wav").symlink_to(tmp_path / "ada" / "anger.wav")
    shutil.copy(tmp_path / "ada" / "anger.wav", tmp_path / "bob" / "copy.wav")
    copies = [rows[0] | {"path": path} for path in ("ada/link.wav", "bob/copy.wav")]
    [corpus] = read_manifest(write(tmp_path, [*rows, *copies]))
    assert len(corpus.utterances) == 4
    [found] = corpus.findings
    assert found.kind == "copies"
    assert found.files == ("ada/link.wav", "ada/anger.wav", "bob/copy.wav", "ada/anger.wav")
    (tmp_path / "ada" / "neutral.wav").unlink()
    os.link(tmp_path / "ada" / "anger.wav", tmp_path / "ada" / "neutral.wav")
    path = write(tmp_path, rows)
    refuses(path, match=r"is neutral, and the same audio as ada/anger\.wav, wh")
    [corpus] = read_manifest(path, skip_bad=True)
    assert [item.name for item in corpus.skipped] == ["ada/anger.wav", "ada/neutral.wav"]


@pytest.mark.parametrize(
    ("column", "values", "files", "words"),
    [
        ("language", ("nl", "NL", "dut", "nld"), (), "NL and dut and nl and nld; all are nl"),
        ("gender", ("female", "male", "male", ""), ("anger", "neutral"), "ada has several genders"),
        ("speaker", ("01", "1", "A ", "\uff21"), (), "several: '01' and '1'; 'A' and '\uff21'"),
    ],
)
def test_odd_values_of_a_column_are_a_finding(tmp_path, rows, *, column, values, files, words):
    for row, value in zip(rows, values, strict=True):
        row[column] = value
    [corpus] = read_manifest(write(tmp_path, rows))
    assert (corpus.spec.code, len(corpus.utterances)) == ("nl", 4)
    [found] = corpus.findings
    assert (found.kind, found.files) == (column, tuple(f"ada/{name}.wav" for name in files))
    assert words in found.sentence
    if column == "gender":
        genders = {item.speaker: item.gender for item in corpus.utterances}
        assert genders == {"ada": "", "bob": "male"}


TONE = 0.5 * np.sin(np.arange(1200) / 9)


@pytest.mark.parametrize(
    ("samples", "kind", "words"),
    [
        (np.zeros(4000), "silent", ""),
        (np.full(4000, 1e-6), "silent", ""),
        (np.full(4000, 0.5), "silent", ""),
        (TONE[:400], "short", ""),
        (TONE * 32768, "scale", "float samples beyond full scale"),
        ((TONE * 32767).astype(">i2").view("<i2"), "scale", "at full scale all along"),
        (TONE.astype("<f4").view("<i2"), "scale", "at full scale all along, as no speech is"),
    ],
)
def test_odd_sound_is_a_finding(tmp_path, rows, samples, kind, words):
    subtype = "PCM_16" if samples.dtype == np.int16 else "FLOAT"
    soundfile.write(tmp_path / "ada" / "anger.wav", samples, 8000, subtype=subtype)
    [corpus] = read_manifest(write(tmp_path, rows))
    [found] = corpus.findings
    assert (found.kind, found.files) == (kind, ("ada/anger.wav",))
    assert words in found.sentence


def write_noise(path: Path, seed: int, gain: float = 1.0, *, how: str = "WAV PCM_16") -> None:
    """Write noise whose level changes as that of words does."""
    rng = generator("words", seed)
    level = np.interp(np.arange(16_000), np.arange(0, 16_001, 500), rng.uniform(0.02, 0.5, 33))
    kind, subtype = how.split()
    samples = gain * level * rng.uniform(-1, 1, 16_000)
    soundfile.write(path, samples, 16_000, format=kind, subtype=subtype)


@pytest.mark.parametrize("how", ["WAV PCM_16", "WAV ULAW", "OGG VORBIS", "OGG OPUS"])
def test_copies_of_another_gain_or_encoding(tmp_path, rows, how):
    for seed, row in enumerate(rows):
        write_noise(tmp_path / row["path"], seed)
    write_noise(tmp_path / "copy", 0, 0.3, how=how)
    copy = {**rows[0], "path": "copy"}
    [corpus] = read_manifest(write(tmp_path, [*rows, copy]))
    [found] = corpus.findings
    assert (found.kind, found.files) == ("alike", ("ada/anger.wav", "copy"))
    assert "1 pair(s) of recordings look like copies at another gain" in found.sentence
    assert len(corpus.utterances) == 5
    copy["language"] = "de"
    other, corpus = read_manifest(write(tmp_path, [*rows, copy]))
    assert corpus.findings == other.findings == ()
    for source, target, name in ((other, corpus, "copy"), (corpus, other, "ada/anger.wav")):
        [found] = shared_recordings(source, target)
        assert (found.kind, found.files) == ("alike", (name,))


def test_missing_values_of_parquet(tmp_path, rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns |= {
        "speaker": [1.0, 1.0, 2.0, None],
        "language": pa.array(["nl"] * 4).dictionary_encode(),
        "gender": pa.nulls(4),
    }
    parquet.write_table(pa.table(columns), tmp_path / "m.parquet")
    refuses(tmp_path / "m.parquet", match="row 4: speaker is empty")
    [corpus] = read_manifest(tmp_path / "m.parquet", skip_bad=True)
    assert sorted(corpus.speakers.tolist()) == ["1", "1", "2"]


def test_limits_are_checked_first(tmp_path, rows, monkeypatch):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    several = "'speaker' holds .*; write texts or numbers"
    for values, message in (
        ({"path": ["x"] * 3_000_000}, "has 3000000 rows; at most 500000 are read"),
        (dict.fromkeys(columns, ["x" * 50_000] * 9), "a value of column 'path' has 50000 bytes"),
        ({**columns, "speaker": [["x"]] * 4}, several),
        ({**columns, "speaker": [{"x": 1}] * 4}, several),
        ({**columns, "speaker": [b"x"] * 4}, several),
    ):
        parquet.write_table(pa.table(values), tmp_path / "m.parquet")
        refuses(tmp_path / "m.parquet", match=message)
    (tmp_path / "m.csv").write_text(",".join(map(str, range(200_000))) + "\n1\n")
    refuses(tmp_path / "m.csv", match="has 200000 columns; at most 10000 are read")
    monkeypatch.setattr(limits, "MOST_ROWS", 3)
    refuses(write(tmp_path, rows), match="has more than 3 rows")
    monkeypatch.setattr(limits, "MOST_BYTES", 100)
    refuses(write(tmp_path, rows), match="bytes; at most 100 are read")


def test_files_that_are_no_table(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    for place, message in (
        (tmp_path / "gone.csv", "cannot be read"),
        (tmp_path / "a.parquet", "is not a table"),
        (tmp_path / "fifo", "is not a regular file"),
        (Path("/dev/zero"), "is not a regular file"),
    ):
        refuses(place, match=message)


HEAD = "path,speaker,emotion,language"
ADA, BOB = "ada/anger.wav,ada,anger,nl", "bob/anger.wav,bob,anger,nl"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,speaker\udcff"], "is not a table"),
        (['path,"speaker', ""], "is not a table|is missing"),
        ([], "is missing; it has none"),
        ([HEAD, ""], "has no rows"),
        ([HEAD.replace(",", ";"), ""], "separated by semicolons; write commas"),
        ([HEAD.replace(",", "\t"), ""], "separated by tabs; write commas"),
        ([f"path,{HEAD}", ""], "column 'path' is there 2 times"),
        ([HEAD, f"{ADA},e", ""], "line 2 has 5 cells, the header"),
        (["path,emotion", "ada/anger.wav,anger"], "speaker, language is missing; it"),
        ([f"{HEAD},gendre", f"{ADA},"], "column 'gendre' is unknown; did you mean 'gender'"),
        ([f"{HEAD},corpus", f"{ADA},B"], "would get the code B of EMO-DB"),
        ([f"{HEAD},corpus", f"{ADA},???"], "gives no name for a corpus"),
        ([f"{HEAD},corpus", f"{ADA},a b", f"{BOB},a/b"], "code a-b of 'a b'"),
        ([f"{HEAD},corpus", f"{ADA},mine", f"{BOB[:-2]}de,mine"], "languages de, nl"),
    ],
)
def test_unusable_headers_and_names(tmp_path, rows, lines, message):
    (tmp_path / "a.csv").write_text("\n".join(lines), errors="surrogateescape")
    refuses(tmp_path / "a.csv", match=message)
