"""What is refused of a file of another laboratory, and what is believed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from clser_bench.errors import StoreError
from clser_bench.hashing import digest, digest_array
from clser_bench.protocol import PROTOCOL_VERSION
from clser_bench.store import exchange, exporting
from clser_bench.store.checking import check_result, check_trial
from clser_bench.store.database import Store
from clser_bench.store.submission import FaultyError
from tests import boards
from tests.exports import NAME, dump, export, one_hot, read, row_of, take
from tests.records import ok, trial


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "ours.sqlite"
    export(path)
    return path


@pytest.fixture
def ours(made, tmp_path):
    return Path(shutil.copy(made, tmp_path))


@pytest.fixture
def file(made, tmp_path):
    return Path(shutil.copy(made.with_suffix(".parquet"), tmp_path))


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
        ("war", -1.0, "war -1.0: predictions"),
        ("macro_f1", 101.0, "macro_f1 101.0: predictions"),
        ("predictions", [0] * 24, ": predictions and answers give"),
        ("predictions", [0] * 23, "23 predictions: there are 24 answers"),
        ("predictions", [3] * 24, "class 3 in predictions: there are 3 classes"),
        ("predictions", [None] * 24, "column 'predictions' has a null"),
        ("predictions", None, "status 'ok': metrics, answers and predictions go with ok"),
        ("answers", "0" * 64, "answers '0+': are not in the file"),
        ("status", "failed", "status 'failed': metrics, answers"),
        ("status", "fine", "status 'fine': one of ok, failed"),
        ("reason", "why", "status 'ok': has the reason 'why'"),
        ("reason", "\x1b[2J", r"reason '\\x1b\[2J': too long, or with control"),
        ("pack", "p" * 20_001, "pack 'ppp.*: too long"),
        ("seconds", -1.0, "seconds -1.0: a time is needed"),
        ("seconds", None, "rows 1 to .*: column 'seconds' has a null"),
        ("id", "0" * 64, "id '0+': the other columns give"),
        ("method", "mine", "the other columns give"),
        ("version", 7, "the other columns give"),
        ("seed", 9, "the other columns give"),
        ("seed", -1, "seed -1: must be 0 to"),
        ("source", "../B", r"pair '\.\./B->"),
        ("classes", ["sadness", "anger"], r"classes \('sadness', 'anger'\): some of anger"),
        ("classes", ["anger", "joy"], "classes .*: some of anger"),
        ("shots", "0", "shots '0'"),
        ("normalisation", "all", "normalisation 'all' is unknown"),
        ("prior", "dirichlet:-1", "target prior 'dirichlet:-1' is unknown"),
        ("target_key", "0", "target_key '0': 64 characters"),
        ("parameters", "[", r"parameters '\[': are no JSON"),
        ("parameters", "[" * 9999, "parameters .*: are no JSON"),
        ("parameters", '[["c", NaN]]', "pairs are needed"),
        ("parameters", '[["c", {}]]', "pairs are needed"),
        ("parameters", '[["c", 1], ["b", 1]]', "are not sorted"),
        ("parameters", '[["c", "\\u001b"]]', "control characters"),
        ("protocol_version", PROTOCOL_VERSION + 1, "the other columns give"),
        ("parts", [], r"parts \[\]: numbers below"),
        ("parts", [99], r"parts \[99\]: numbers below"),
        ("parts", [0, 0], r"parts \[0, 0\]: numbers below"),
    ],
)
def test_a_changed_value_is_refused_with_its_row(file, tmp_path, column, value, match):
    row = row_of(file)
    where = "rows" if "null" in match else f"row {row + 1}"
    path = rewrite(file, row=row, columns={column: value})
    refused(path, tmp_path, f"{where}.*{match}" if where != "rows" else match)


def test_a_trial_under_rules_of_others_is_refused(file, tmp_path):
    rows = parquet.read_table(file).to_pylist()
    other = next(row["parts"] for row in rows if row["method"] == "dann")
    path = rewrite(file, row=row_of(file), columns={"parts": other})
    refused(path, tmp_path, "has other rules than the row")


def test_a_row_that_stands_there_twice_is_refused(file, tmp_path):
    first = parquet.read_table(file).to_pylist()[0]
    refused(rewrite(file, row=1, columns=first), tmp_path, "row 2: trial .* is in row 1 too")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"add": ("code", pa.binary())}, "column 'code': is not of an export"),
        ({"drop": ("uar",)}, "column 'uar': is missing"),
        ({"drop": ("seed",), "add": ("seed", pa.float64())}, "column 'seed': is of type double"),
        ({"heading": lambda said: said.update(format=2)}, "format: version 2, but this"),
        (
            {"heading": lambda said: said.update(protocol_version=PROTOCOL_VERSION + 1)},
            "protocol_version: version",
        ),
        (
            {"heading": lambda said: said["parts"][0].update(protocol_version=9)},
            "part 0: version 9, but",
        ),
        ({"heading": lambda said: said.update(run="rm")}, "run: Extra inputs are not permitted"),
        ({"heading": lambda said: said["parts"][0].update(role="best")}, r"parts.0.role"),
        ({"heading": lambda said: said["parts"].append(said["parts"][0])}, "stands there twice"),
        ({"heading": lambda said: said["suites"].clear()}, "it has no pairs"),
        ({"heading": lambda said: said["parts"][0].update(note="\x1b")}, "control characters"),
        (
            {"heading": lambda said: [sheet["y"].reverse() for sheet in said["answers"]]},
            "do not have this hash, so they were changed",
        ),
        ({"heading": lambda said: said["answers"][0]["y"].pop()}, "lengths of classes"),
        ({"heading": lambda said: said["answers"][0]["y"].__setitem__(0, 99)}, "classes 0 to 99"),
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
            assert np.array_equal(entry.predictions, twin.predictions)
    assert noticed > 40


def test_files_that_are_too_large_are_refused_unread(file, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "_MOST_ROWS", 3)
    refused(file, tmp_path, "rows: .* and at most 3 are read")
    monkeypatch.setattr(exchange, "_MOST_ROWS", 1 << 20)
    monkeypatch.setattr(exchange, "_MOST_BYTES", 1000)
    refused(file, tmp_path, "bytes: .* and at most 1000 are read")


def test_one_refused_file_keeps_the_others_out(ours, file, tmp_path):
    before = dump(ours)
    with pytest.raises(FaultyError):
        take(ours, file, rewrite(file, row=row_of(file), columns={"uar": 1.0}))
    assert dump(ours) == before


def test_an_answer_key_has_the_hash_that_the_store_gives_it(file):
    for sheet in read(file).heading.answers:
        parts = [digest_array(np.array(sheet.y, np.int64)), list(sheet.speakers), list(sheet.names)]
        assert digest(parts) == sheet.hash


def cells_of(file):
    table = parquet.read_table(file)
    return table.to_pylist()[row_of(file)]


ANYTHING = st.one_of(
    st.text(max_size=80), st.from_regex(r"\[\[\".{0,4}\", .{0,6}\]\]", fullmatch=True)
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An exported row, and what stands beside it."""
    folder = tmp_path_factory.mktemp("sound")
    with Store(folder / "a.sqlite") as store:
        boards.run(store, {"sere": 18})
    exporting.write(folder / "a.sqlite", folder / "a.parquet")
    return cells_of(folder / "a.parquet"), read(folder / "a.parquet").heading


@given(data=st.data())
def test_whatever_one_text_or_number_becomes_the_trial_is_the_same_or_refused(sound, data):
    cells, heading = sound
    name = data.draw(st.sampled_from([*exchange._TEXTS, *exchange._TEXTS_TOO, *exchange._NUMBERS]))
    value = data.draw(st.integers() if name in exchange._NUMBERS else ANYTHING)
    try:
        found = check_trial(Path("x.parquet"), "row 1", {**cells, name: value}, heading)
    except FaultyError:
        return
    assert found.id == cells["id"]


@given(wrong=st.lists(st.integers(0, 2), min_size=24, max_size=24), shift=st.floats(-100, 100))
def test_metrics_are_believed_only_where_they_follow(wrong, shift):
    of = trial("sere")
    record = ok(of, wrong, boards.KEY)
    # recall by hand, as an independent reference
    recalls = [np.mean(np.array(wrong)[boards.KEY.y == c] == c) for c in range(3)]
    assert record.metrics.uar == pytest.approx(100 * np.mean(recalls))
    cells = {
        "status": "ok", "reason": "", "seconds": 0.5, "pack": "", "answers": "k", "parts": [0],
        "uar": 100 * np.mean(recalls) + shift, "war": record.metrics.war, "scores": None,
        "macro_f1": record.metrics.macro_f1, "predictions": np.array(wrong, np.uint8),
    }  # fmt: skip
    key = {"k": dataclasses.replace(boards.KEY, classes=())}

    def check():
        return check_result(Path("x"), "row 1", of, cells=cells, answers=key, measure=one_hot)

    if abs(shift) > 2e-6:
        with pytest.raises(FaultyError, match="uar"):
            check()
    elif abs(shift) < 1e-7:
        assert check().metrics.confusion == record.metrics.confusion
