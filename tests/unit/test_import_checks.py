"""What is refused of a file of another laboratory, and what is believed."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from clser_bench.errors import StoreError
from clser_bench.protocol import PROTOCOL_VERSION
from clser_bench.store import parquet as files
from clser_bench.store.parquet import FaultyError
from clser_bench.store.sqlite import Store
from tests import boards
from tests.exports import NAME, dump, read, row_of, take


def rewrite(file, *, columns=None, heading=None, row=None, drop=(), add=None):
    """Write a changed file beside an exported one."""
    table = parquet.read_table(file)
    said = json.loads(parquet.read_metadata(file).metadata[NAME])
    rows = table.to_pylist()
    if row is not None:
        rows[row].update(columns)
    fields = [field for field in table.schema if field.name not in drop]
    if add:
        fields.append(pa.field(*add))
    if heading:
        heading(said)
    schema = pa.schema(fields, metadata={NAME: json.dumps(said).encode()})
    path = file.with_name("changed.parquet")
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def refused(path, tmp_path, match):
    with pytest.raises(FaultyError, match=match) as told:
        take(tmp_path / "theirs.sqlite", path)
    assert str(told.value).startswith(f"{path}: ")
    assert "nothing was imported; ask for the file again" in str(told.value)
    assert not (tmp_path / "theirs.sqlite").exists()


def test_a_file_written_again_by_others_is_read(file):
    assert len(read(rewrite(file)).entries) == len(read(file).entries)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("uar", 55.5, r"uar 55.5: predictions and answers give"),
        ("uar", float("nan"), "uar nan: predictions"),
        ("predictions", [0] * 23, "23 predictions: there are 24 answers"),
        ("predictions", [3] * 24, "a class in predictions or answers: there are 3 classes"),
        ("predictions", [None] * 24, "Parquet: .* null"),
        ("predictions", None, "status 'ok': metrics, answers and predictions go with ok"),
        ("answers", "0" * 64, "answers '0+': are not in the file"),
        ("status", "failed", "status 'failed': metrics, answers"),
        ("status", "fine", "status: Input should be 'ok'"),
        ("reason", "why", "status 'ok': has the reason 'why'"),
        ("reason", "\x1b[2J", r"reason: .*got '\\x1b\[2J'"),
        ("note", "p" * 20_001, "note: String should have at most 20000"),
        ("seconds", float("inf"), "seconds: .*finite"),
        ("seed", None, "seed: Input should be a valid integer"),
        ("trial", "0" * 64, "trial '0+': the other columns give"),
        ("method", "mine", "the other columns give"),
        ("seed", 9, "the other columns give"),
        ("seed", -1, "seed: .*greater than or equal to 0"),
        ("added", "N:1", "the condition adds none"),
        ("source", "../B", r"pair '\.\./B->"),
        ("emotions", ["sadness", "anger"], r"emotions \('sadness', 'anger'\): some of anger"),
        ("shots", "0", "shots '0'"),
        ("prior", "dirichlet:-1", "target prior 'dirichlet:-1' is unknown"),
        ("parameters", "[", r"parameters: Invalid JSON: .*, got '\['"),
        ("parameters", "[" * 9999, "parameters: Invalid JSON: recursion"),
        ("parameters", '[["c", NaN]]', r"parameters\.0\.1.*: Input should be"),
        ("parameters", '[["c", 1], ["b", 1]]', "are not sorted"),
        ("parameters", '[["c", "\\u001b"]]', r"parameters\.0\.1.*: .* should"),
        ("protocol_version", str(PROTOCOL_VERSION + 1), "protocol version .*, but this"),
        ("protocol_version", "x", "protocol version 'x' is no number"),
        ("suite", "elsewhere", "suite 'elsewhere': it has no pairs"),
        ("role", "reference", "has another note in a row before"),
    ],
)
def test_a_changed_value_is_refused_with_its_row(file, tmp_path, column, value, match):
    row = row_of(file)
    path = rewrite(file, row=row, columns={column: value})
    where = "" if match.startswith("Parquet") else rf"row {row + 1}.*"
    where = r"row \d+: .*" if match.startswith("has another") else where
    refused(path, tmp_path, f"{where}{match}")


def test_a_row_that_is_there_twice_is_refused(file, tmp_path):
    first = parquet.read_table(file).to_pylist()[0]
    refused(rewrite(file, row=1, columns=first), tmp_path, "row 2: row 1 has the same condition")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"add": ("code", pa.binary())}, "column 'code': is not of an export"),
        ({"drop": ("uar",)}, "column 'uar': is missing"),
        ({"drop": ("seed",), "add": ("seed", pa.float64())}, "column 'seed': is of type double"),
        ({"heading": lambda said: said.update(format=3)}, "format: Input should be 2"),
        ({"heading": lambda said: said.update(run="rm")}, "run: Extra inputs are not permitted"),
        ({"heading": lambda said: said["suites"].clear()}, "it has no pairs"),
        ({"heading": lambda said: said["suites"].update(x=[["B", "B"]])}, "suite x: pair"),
        (
            {"heading": lambda said: [one["y"].reverse() for one in said["answers"].values()]},
            "do not have this hash, so they were changed",
        ),
        (
            {"heading": lambda said: next(iter(said["answers"].values()))["y"].pop()},
            "lengths of classes",
        ),
        (
            {"heading": lambda said: next(iter(said["answers"].values()))["y"].append(99)},
            r"y\.\d+: Input should be less than",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(file, tmp_path, changes, match):
    refused(rewrite(file, **changes), tmp_path, match)


def test_files_of_other_kinds_are_refused(file, tmp_path):
    content = file.read_bytes()
    bad = tmp_path / "bad.parquet"
    for damaged in (b"", b"PAR1", content[: len(content) // 2], content[:-1], b"\x80\x04pickle."):
        bad.write_bytes(damaged)
        refused(bad, tmp_path, "Parquet: damaged, cut short or of another kind")
    table = parquet.read_table(file)
    parquet.write_table(table.replace_schema_metadata({NAME: b"{"}), bad)
    refused(bad, tmp_path, "metadata 'clser-bench': Invalid JSON: [^{]*; nothing was imported")
    parquet.write_table(pa.table({"a": [1]}), bad)
    refused(bad, tmp_path, "column 'a': is not of an export")
    with pytest.raises(StoreError, match=r"none\.parquet: there is no such file"):
        read(tmp_path / "none.parquet")


def test_damage_anywhere_is_noticed_or_harmless(file, tmp_path):
    content, wanted = file.read_bytes(), read(file)
    rng = np.random.default_rng(0)
    bad = tmp_path / "bad.parquet"
    noticed = 0
    for place in rng.integers(len(content), size=60):
        bad.write_bytes(
            content[:place]
            + bytes([content[place] ^ 1 << int(rng.integers(8))])
            + content[place + 1 :]
        )
        try:
            found = read(bad)
        except StoreError:
            noticed += 1
            continue
        assert [entry.trial.id for entry in found.entries] == [e.trial.id for e in wanted.entries]
        for entry, twin in zip(found.entries, wanted.entries, strict=True):
            assert (entry.record is None) == (twin.record is None)
            if entry.record is not None:
                assert np.array_equal(entry.record.predicted, twin.record.predicted)
    assert noticed > 40


def test_files_that_are_too_large_are_refused_unread(file, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_MOST_ROWS", 3)
    refused(file, tmp_path, "rows: .* and at most 3 are read")
    monkeypatch.setattr(files, "_MOST_ROWS", 1 << 20)
    monkeypatch.setattr(files, "_MOST_BYTES", 1000)
    refused(file, tmp_path, "bytes: .* and at most 1000 are read")


def test_one_refused_file_keeps_the_others_out(ours, file, tmp_path):
    before = dump(ours)
    with pytest.raises(FaultyError):
        take(ours, file, rewrite(file, row=row_of(file), columns={"uar": 1.0}))
    assert dump(ours) == before


ANYTHING = st.one_of(
    st.text(max_size=80), st.from_regex(r"\[\[\".{0,4}\", .{0,6}\]\]", fullmatch=True)
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An exported file of one trial."""
    folder = tmp_path_factory.mktemp("sound")
    with Store(folder / "a.sqlite") as store:
        boards.run(store, {"sere": 18}, seeds=1, pairs=boards.PAIRS[:1])
    files.write(folder / "a.sqlite", folder / "a.parquet")
    return folder / "a.parquet"


@given(data=st.data())
@settings(max_examples=60)
def test_whatever_one_value_becomes_the_trial_is_the_same_or_refused(sound, data):
    rows = parquet.read_table(sound).to_pylist()
    wanted = rows[0]["trial"]
    name = data.draw(st.sampled_from(sorted({*rows[0]} - {"predictions", "emotions", "energy"})))
    kind = type(rows[0][name])
    values = {int: st.integers(-(1 << 62), 1 << 62), float: st.floats(), bool: st.booleans()}
    value = data.draw(values.get(kind, ANYTHING.filter(lambda text: "\ud800" not in text)))
    try:
        found = read(rewrite(sound, row=0, columns={name: value}))
    except StoreError:
        return
    assert [entry.trial.id for entry in found.entries] == [wanted]
    (record,) = (entry.record for entry in found.entries)
    assert record is None or record.metrics is None or record.metrics.uar == rows[0]["uar"]
