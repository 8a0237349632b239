"""Results that travel as Parquet: whole round trips, pools, conflicts, and what is refused."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from clser_bench.errors import SpecError, StoreError
from clser_bench.hashing import digest, digest_array
from clser_bench.report.aggregate import one_line
from clser_bench.report.tables import leaderboard, render
from clser_bench.scoring.metrics import measure
from clser_bench.spec import PROTOCOL_VERSION
from clser_bench.store import exchange
from clser_bench.store.database import Store
from clser_bench.store.records import MethodNote
from clser_bench.store.submission import FaultyError, check_trial
from clser_bench.trial import Skipped
from tests import boards
from tests.records import answer_key, hole, ok, trial

METHODS = {"logistic": 12, "sere": 18, "target-oracle": 22, "chance": 8}
NOTES = {
    "chance": MethodNote(role="bound"),
    "target-oracle": MethodNote(role="oracle", note="<script>$|"),
    "sere": MethodNote(assumes_prior="none/uniform", note="from the abstract"),
}
TRACE = "Traceback (most recent call last):\n  File '/home/me/x.py'\nValueError: too few"
NAME = b"clser-bench"


def one_hot(predicted, key):
    return measure(np.eye(len(key.classes), dtype=np.float32)[predicted], key)


read = functools.partial(exchange.read, measure=one_hot)


def take(results, *paths):
    return exchange.merge(results, [read(path) for path in paths])


def shown(path, format_="csv"):
    with Store(path, create=False) as store:
        tables = leaderboard(store, with_=("time", "point"), resamples=50)
    return render(tables, format_)


def cleaned(text):
    """Tables as they are once a reason has lost what steers a terminal."""
    for escape in ("\x1b", r"\u001b"):
        text = text.replace(escape, "\N{REPLACEMENT CHARACTER}")
    return text


def dump(path):
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Methods of all kinds, several rules and suites, and holes of every kind."""
    path = tmp_path_factory.mktemp("made") / "ours.sqlite"
    with Store(path) as store:
        boards.run(store, METHODS, notes=NOTES, seeds=3)
        boards.run(store, {"sere": 19}, notes=NOTES, left_out={("sere", "B→C", 1)}, shots="all")
        boards.run(store, {"sere": 17}, features="egemaps", selection="other-pairs")
        boards.run(store, {"sere": 15}, features="egemaps", selection="other-pairs/1", version=2)
        boards.run(
            store, {"sere": 17}, suite="other", fixed4=True, classes=("anger", "fear", "sadness")
        )
        failed, bad = trial("dann"), trial("dann", "C→B")
        sure = [
            ok(trial("lacking", str(pair), seed=9), [0, 0, 1], answer_key([0, 0, 1]))
            for pair in boards.PAIRS
        ]
        trials = [failed, bad, *(record.trial for record in sure)]
        store.plan("bc", trials, pairs=boards.PAIRS, config={"corpora": "/home/me"})
        holes = [hole(failed, reason=TRACE), hole(bad, "not_applicable", "needs \x1b[31m 9 shots")]
        store.put([*holes, *sure])
        store.put_skipped([Skipped(corpus="B", name="a.wav", reason="silent")])
    exchange.write(path, path.with_suffix(".parquet"), shorten=one_line)
    return path


@pytest.fixture
def ours(made, tmp_path):
    return Path(shutil.copy(made, tmp_path))


@pytest.fixture
def file(made, tmp_path):
    return Path(shutil.copy(made.with_suffix(".parquet"), tmp_path))


@pytest.mark.parametrize("format_", ["csv", "md", "json"])
def test_tables_are_the_same_where_they_are_imported(ours, file, tmp_path, format_):
    take(tmp_path / "theirs.sqlite", file)
    text = shown(tmp_path / "theirs.sqlite", format_)
    assert text == cleaned(shown(ours, format_))
    assert text.count("sere") > 10


def test_an_import_exports_the_same_bytes(file, tmp_path):
    take(tmp_path / "theirs.sqlite", file)
    exchange.write(tmp_path / "theirs.sqlite", tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == file.read_bytes()


def test_importing_twice_changes_nothing(ours, file, tmp_path):
    theirs = tmp_path / "theirs.sqlite"
    first = take(theirs, file)
    before = dump(theirs)
    again = take(theirs, file, file)
    assert dump(theirs) == before
    assert (first.known, again.added, again.known) == (0, 0, 2 * first.added)
    before = dump(ours)
    assert take(ours, file).added == 0
    assert dump(ours) == before


def test_halves_by_method_give_the_whole(ours, tmp_path):
    halves = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    names = [("sere", "dann"), ("logistic", "chance", "target-oracle", "lacking")]
    for path, methods in zip(halves, names, strict=True):
        exchange.write(ours, path, methods=methods)
        assert {entry.trial.method for entry in read(path).entries} == set(methods)
    for order in itertools.permutations(halves):
        pool = tmp_path / f"{order[0].stem}.sqlite"
        take(pool, *order)
        assert shown(pool) == cleaned(shown(ours))


@pytest.mark.parametrize("by", ["pair", "seed"])
def test_halves_of_a_method_are_pooled_in_one_row(tmp_path, by):
    rng = np.random.default_rng(1)
    records = [
        ok(trial("sere", str(pair), seed=seed), boards.guesses(9 + 3 * seed, rng), boards.KEY)
        for pair, seed in itertools.product(boards.PAIRS, range(4))
    ]
    parts = {"whole": records}
    for record in records:
        side = record.trial.pair.source if by == "pair" else str(record.trial.seed % 2)
        parts.setdefault(side, []).append(record)
    for name, members in parts.items():
        with Store(tmp_path / f"{name}.sqlite") as store:
            store.plan("bc", [item.trial for item in members], pairs=boards.PAIRS, config={})
            store.put(members)
        exchange.write(tmp_path / f"{name}.sqlite", tmp_path / f"{name}.parquet")
    own, *others = [name for name in parts if name != "whole"]
    merged = take(tmp_path / f"{own}.sqlite", *(tmp_path / f"{name}.parquet" for name in others))
    assert not merged.apart
    assert shown(tmp_path / f"{own}.sqlite") == shown(tmp_path / "whole.sqlite")


def test_only_what_is_asked_for_is_exported(ours, tmp_path):
    path = tmp_path / "some.parquet"
    written = exchange.write(ours, path, suite="other")
    assert (written.trials, written.ok, written.methods, written.old) == (4, 4, 1, 0)
    assert {part.suite for part in read(path).heading.parts} == {"other"}
    with pytest.raises(SpecError, match=r"no results of method 'seer'; did you mean 'sere'"):
        exchange.write(ours, path, methods=["seer"])
    with pytest.raises(SpecError, match=r"no results of suite 'x'"):
        exchange.write(ours, path, suite="x")


def test_neither_options_nor_tracebacks_leave_the_house(file):
    table = parquet.read_table(file)
    assert "/home/me" not in str(table.to_pydict()) + str(parquet.read_metadata(file).metadata)
    assert "ValueError: too few" in table["reason"].to_pylist()
    assert "\x1b" not in str(table["reason"].to_pylist())


def test_rows_of_an_older_protocol_are_left_out_and_counted(tmp_path):
    path = tmp_path / "old.sqlite"
    with Store(path) as store:
        boards.run(store, {"sere": 17})
        boards.run(store, {"dann": 17}, protocol_version=PROTOCOL_VERSION - 1)
    written = exchange.write(path, tmp_path / "x.parquet")
    assert (written.methods, written.old) == (1, 1)


def test_scores_travel_only_where_they_are_asked_for(ours, file, tmp_path):
    with_scores = tmp_path / "scores.parquet"
    exchange.write(ours, with_scores, scores=True, shorten=one_line)
    take(tmp_path / "theirs.sqlite", with_scores)
    with Store(ours) as store, Store(tmp_path / "theirs.sqlite") as copy:
        found = {record.trial.id: record for record in copy.records(status="ok")}
        for record in store.records(list(found), status="ok"):
            twin = found[record.trial.id]
            assert np.array_equal(twin.scores, record.scores)
            assert twin.scores.dtype == np.float32
            assert (twin.metrics.confusion, twin.names) == (record.metrics.confusion, record.names)
    assert "scores" not in parquet.read_schema(file).names


def test_another_result_is_told_and_never_overwrites(ours, file, tmp_path):
    theirs = tmp_path / "theirs.sqlite"
    mine = ok(trial("sere"), [0] * 24, boards.KEY)
    with Store(theirs) as store:
        store.plan("bc", [mine.trial], pairs=boards.PAIRS, config={})
        store.put([mine])
    merged = take(theirs, file)
    (conflict,) = merged.conflicts
    assert conflict.trial == mine.trial
    assert conflict.here == pytest.approx(100 / 3)
    with Store(ours) as store, Store(theirs) as pool:
        assert conflict.there == store.uars([mine.trial.id])[mine.trial.id]
        assert pool.uars([mine.trial.id]) == {mine.trial.id: conflict.here}
        assert merged.added == len(list(store.records())) - 1
    assert take(theirs, file).conflicts == merged.conflicts


def test_a_result_fills_a_hole_and_a_hole_no_result(tmp_path):
    full, empty = tmp_path / "full.sqlite", tmp_path / "empty.sqlite"
    of = trial("sere")
    for path, record in ((full, ok(of, [1] * 24, boards.KEY)), (empty, hole(of))):
        with Store(path) as store:
            store.plan("bc", [of], pairs=boards.PAIRS, config={})
            store.put([record])
        exchange.write(path, path.with_suffix(".parquet"))
    assert take(full, empty.with_suffix(".parquet")).known == 1
    assert take(empty, full.with_suffix(".parquet")).added == 1
    with Store(full) as one, Store(empty) as other:
        assert one.uars([of.id]) == other.uars([of.id]) == {of.id: pytest.approx(100 / 3)}


@pytest.mark.parametrize("change", [{"version": 2}, {"parameters": (("c", 1.0),)}, {"tables": "u"}])
def test_what_does_not_go_together_is_not_pooled_but_told(tmp_path, change):
    own, other = tmp_path / "own.sqlite", tmp_path / "other.sqlite"
    for path, fields, seeds in ((own, {}, 2), (other, change, 4)):
        with Store(path) as store:
            boards.run(store, {"logistic": 10}, seeds=seeds)
            boards.run(store, {"sere": 18}, seeds=seeds, **fields)
    before = [row for row in shown(own).splitlines() if ",sere," in row]
    exchange.write(other, tmp_path / "other.parquet")
    merged = take(own, tmp_path / "other.parquet")
    assert [part.method for part in merged.apart] == ["sere"]
    after = [row for row in shown(own).splitlines() if ",sere," in row]
    kept = [row.split(",")[:13] for row in after]
    assert kept == [row.split(",")[:13] for row in before]
    assert not take(own, tmp_path / "other.parquet").added


def test_an_unfinished_export_leaves_the_older_file(ours, file, tmp_path):
    before = file.read_bytes()

    def broken(reason):
        raise RuntimeError(reason)

    with pytest.raises(RuntimeError):
        exchange.write(ours, file, shorten=broken)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob(".part-*"))


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


def row_of(file, status="ok"):
    return parquet.read_table(file)["status"].to_pylist().index(status)


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


def test_other_answers_to_the_same_problem_are_refused(ours, tmp_path):
    path = tmp_path / "forged.sqlite"
    key = answer_key([0] * 12 + [1] * 6 + [2] * 6, speakers="aabbcc" * 4)
    with Store(path) as store:
        store.plan("bc", [trial("mine")], pairs=boards.PAIRS, config={})
        store.put([ok(trial("mine"), key.y.tolist(), key)])
    forged = tmp_path / "forged.parquet"
    exchange.write(path, forged)
    before = dump(ours)
    with pytest.raises(
        FaultyError, match=r"row 1: answers .*: other answers to the same problem \(B→C"
    ):
        take(ours, forged)
    assert dump(ours) == before
    exchange.write(ours, tmp_path / "ours.parquet")
    with pytest.raises(FaultyError, match="other answers to the same problem"):
        take(tmp_path / "new.sqlite", tmp_path / "ours.parquet", forged)
    assert not (tmp_path / "new.sqlite").exists()


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
    exchange.write(folder / "a.sqlite", folder / "a.parquet")
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
        return exchange.check_result(
            Path("x"), "row 1", of, cells=cells, answers=key, measure=one_hot
        )

    if abs(shift) > 2e-6:
        with pytest.raises(FaultyError, match="uar"):
            check()
    elif abs(shift) < 1e-7:
        assert check().metrics.confusion == record.metrics.confusion
