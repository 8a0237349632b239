"""Results that travel as Parquet: what they bring, what is refused of a file of others."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from clser_bench.errors import SpecError, StoreError
from clser_bench.protocol import PROTOCOL_VERSION
from clser_bench.store import parquet as files
from clser_bench.store.parquet import FaultyError
from clser_bench.store.sqlite import Store
from tests import boards
from tests.exports import NAME, cleaned, dump, read, rewrite, sent, shown, stored, take
from tests.records import answer_key, hole, ok, right, trial


@pytest.fixture
def theirs(tmp_path):
    """A results file that is not there yet."""
    return tmp_path / "theirs.sqlite"


def test_tables_are_the_same_where_they_are_imported_and_so_is_their_export(ours, file, theirs):
    take(theirs, file)
    for format_ in ("csv", "md", "json"):
        text = shown(theirs, format_)
        assert text == cleaned(shown(ours, format_))
        assert text.count("sere") > 10
    assert sent(theirs).read_bytes() == file.read_bytes()


def test_importing_twice_changes_nothing(ours, file, theirs):
    first = take(theirs, file)
    before = dump(theirs)
    again = take(theirs, file, file)
    assert dump(theirs) == before
    assert (first.known, again.added, again.known) == (0, 0, 2 * first.added)
    before = dump(ours)
    assert take(ours, file).added == 0
    assert dump(ours) == before


def test_only_what_is_asked_for_is_exported(ours, tmp_path):
    path = tmp_path / "some.parquet"
    written = files.write(ours, path, wanted={"suite": "other"})
    assert (written.trials, written.ok, written.methods, written.old) == (4, 4, 1, 0)
    assert {entry.trial.condition.suite for entry in read(path).entries} == {"other"}
    with pytest.raises(SpecError, match=r"no results of method 'seer'; did you mean 'sere'"):
        files.write(ours, path, methods=["seer"])
    with pytest.raises(StoreError, match="has no results to export, or none like that"):
        files.write(ours, path, wanted={"suite": "x"})


def test_neither_options_nor_tracebacks_leave_the_house(file):
    table = parquet.read_table(file)
    assert "/home/me" not in str(table.to_pydict()) + str(parquet.read_metadata(file).metadata)
    assert "ValueError: too few" in table["reason"].to_pylist()
    assert "\x1b" not in str(table["reason"].to_pylist())


def test_rows_of_an_older_protocol_are_left_out_and_counted(tmp_path):
    with Store(tmp_path / "old.sqlite") as store:
        boards.run(store, {"sere": 17})
        boards.run(store, {"dann": 17}, protocol_version=PROTOCOL_VERSION - 1)
    written = files.write(tmp_path / "old.sqlite", tmp_path / "x.parquet")
    assert (written.methods, written.old) == (1, 1)


def test_scores_travel_only_where_they_are_asked_for_at_once_or_later(ours, file, theirs, tmp_path):
    fresh, full = tmp_path / "fresh.sqlite", tmp_path / "full.parquet"
    assert "scores" not in parquet.read_schema(file).names
    files.write(ours, full, scores=True)
    take(fresh, full)
    first = take(theirs, file)
    with Store(theirs) as store:
        good = [record.trial.id for record in store.records(status="ok")]
        assert {len(record.scores) for record in store.records(good)} == {0}
        assert store.verify() == ()
    merged = take(theirs, full)
    found = (first.scored, merged.added, merged.known, merged.scored)
    assert found == (0, 0, first.added, len(good))
    for path in (fresh, theirs):
        with Store(ours) as store, Store(path) as copy:
            for record, twin in zip(store.records(good), copy.records(good), strict=True):
                assert np.array_equal(twin.scores, record.scores)
                assert twin.scores.dtype == np.float32
                assert (twin.metrics, twin.names) == (record.metrics, record.names)
    before = dump(theirs)
    assert [take(theirs, path).scored for path in (full, file)] == [0, 0]
    assert dump(theirs) == before


@pytest.mark.parametrize("content", [b"PAR1 no", None])
def test_a_file_that_is_no_export_is_not_replaced(ours, tmp_path, content):
    place = tmp_path / "manifest.parquet"
    if content is None:
        parquet.write_table(pa.table({"path": ["a.wav"]}), place)
    else:
        place.write_bytes(content)
    before = place.read_bytes()
    with pytest.raises(StoreError, match="is there and is no export; name another file"):
        files.write(ours, place)
    assert place.read_bytes() == before


def test_an_unfinished_export_leaves_the_older_file(ours, file, tmp_path, monkeypatch):
    before = file.read_bytes()

    def full(where, *_, **__):
        Path(where).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "ParquetWriter", full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left.*make room"):
        files.write(ours, file)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob(".part-*"))


def test_halves_by_method_give_the_whole(ours, tmp_path):
    halves = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    names = [("sere", "dann"), ("logistic", "chance", "within-target", "lacking")]
    for path, methods in zip(halves, names, strict=True):
        files.write(ours, path, methods=methods)
        assert {entry.trial.method for entry in read(path).entries} == set(methods)
    for order in itertools.permutations(halves):
        pool = tmp_path / f"{order[0].stem}.sqlite"
        take(pool, *order)
        assert shown(pool) == cleaned(shown(ours))


@pytest.mark.parametrize("by", ["pair", "seed"])
def test_halves_of_a_method_are_pooled_in_one_row(tmp_path, by):
    rng = np.random.default_rng(1)
    parts: dict[str, list] = {}
    for pair, seed in itertools.product(boards.PAIRS, range(4)):
        guesses = boards.guesses(9 + 3 * seed, rng)
        record = ok(trial("sere", str(pair), seed=seed), guesses, boards.KEY)
        for part in ("whole", pair.source if by == "pair" else str(seed % 2)):
            parts.setdefault(part, []).append(record)
    whole, own, other = (stored(tmp_path / name, *members) for name, members in parts.items())
    assert not take(own, sent(other)).apart
    assert shown(own) == shown(whole)


def test_another_result_is_listed_and_never_overwrites(ours, file, theirs, tmp_path):
    mine = ok(trial("sere"), [0] * 24, boards.KEY)
    merged = take(stored(theirs, mine), file)
    (conflict,) = merged.conflicts
    assert conflict.trial.id == mine.trial.id
    assert conflict.here == pytest.approx(100 / 3)
    with Store(ours) as store, Store(theirs) as pool:
        assert conflict.there == store.uars([mine.trial.id])[mine.trial.id]
        assert pool.uars([mine.trial.id]) == {mine.trial.id: conflict.here}
        assert merged.added + merged.missing + 1 == store.frame()["trial"].nunique()
    assert take(theirs, file).conflicts == merged.conflicts
    files.write(ours, tmp_path / "scores.parquet", scores=True)
    assert len(take(theirs, tmp_path / "scores.parquet").conflicts) == 1
    with Store(theirs) as pool:  # whose own scores stay
        assert np.array_equal(next(pool.records([mine.trial.id])).scores, mine.scores)


def test_a_result_fills_a_hole_and_a_hole_no_result(tmp_path):
    of = trial("sere")
    full = stored(tmp_path / "full.sqlite", ok(of, [1] * 24, boards.KEY))
    empty = stored(tmp_path / "empty.sqlite", hole(of))
    sent(full)
    assert take(full, sent(empty)).known == 1
    assert take(empty, full.with_suffix(".parquet")).added == 1
    with Store(full) as one, Store(empty) as other:
        assert one.uars([of.id]) == other.uars([of.id]) == {of.id: pytest.approx(100 / 3)}


@pytest.mark.parametrize("change", [{"version": 2}, {"parameters": (("c", 1.0),)}, {"tables": "u"}])
def test_what_does_not_go_together_is_not_pooled_but_listed(tmp_path, change):
    own, other = tmp_path / "own.sqlite", tmp_path / "other.sqlite"
    for path, fields, seeds in ((own, {}, 2), (other, change, 4)):
        with Store(path) as store:
            boards.run(store, {"logistic": 10}, seeds=seeds)
            boards.run(store, {"sere": 18}, seeds=seeds, **fields)

    def rows():
        return [row.split(",")[:13] for row in shown(own).splitlines() if ",sere," in row]

    before = rows()
    merged = take(own, sent(other))
    assert [method for _, method in merged.apart] == ["sere"]
    assert rows() == before
    assert not take(own, other.with_suffix(".parquet")).added


def test_other_answers_to_the_same_problem_are_refused(ours, file, tmp_path):
    key = answer_key([0] * 12 + [1] * 6 + [2] * 6, speakers="aabbcc" * 4)
    forged = sent(stored(tmp_path / "forged.sqlite", right(trial("mine"), key)))
    before = dump(ours)
    with pytest.raises(FaultyError, match=r"row 1: other answers to the same problem \(B→C"):
        take(ours, forged)
    assert dump(ours) == before
    with pytest.raises(FaultyError, match="other answers to the same problem"):
        take(tmp_path / "new.sqlite", file, forged)
    assert not (tmp_path / "new.sqlite").exists()


def refused(path, theirs, match):
    with pytest.raises(FaultyError, match=match) as caught:
        take(theirs, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "nothing was imported; ask for the file again" in str(caught.value)
    assert not theirs.exists()


def test_a_file_written_again_by_others_is_read(file):
    assert len(read(rewrite(file)).entries) == len(read(file).entries)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("uar", 55.5, r"uar 55.5: predictions and answers give"),
        ("uar", float("nan"), "uar nan: predictions"),
        ("war", -1.0, "war -1.0: predictions"),
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
        ("note", "\u202e", "note: String should match"),
        ("seconds", -1.0, "seconds: .*greater than or equal to 0"),
        ("seconds", float("inf"), "seconds: .*finite"),
        ("seed", None, "seed: Input should be a valid integer"),
        ("trial", "0" * 64, "trial '0+': the other columns give"),
        ("seed", 9, "the other columns give"),
        ("seed", -1, "seed: .*greater than or equal to 0"),
        ("added", "N:1", "the condition adds none"),
        ("source", "../B", r"pair '\.\./B->"),
        ("emotions", ["sadness", "anger"], r"emotions \('sadness', 'anger'\): some of anger"),
        ("shots", "0", "shots '0'"),
        ("normalisation", "all", "normalisation 'all' is unknown"),
        ("prior", "dirichlet:-1", "target prior 'dirichlet:-1' is unknown"),
        ("target_key", "0", "target_key: String should have at least 64"),
        ("parameters", "[", r"parameters: Invalid JSON: .*, got '\['"),
        ("parameters", "[" * 9999, "parameters: Invalid JSON: recursion"),
        ("parameters", '[["c", NaN]]', r"parameters\.0\.1.*: Input should be"),
        ("parameters", '[["c", 1], ["b", 1]]', "are not sorted"),
        ("parameters", '[["c", "\\u001b"]]', r"parameters\.0\.1.*: .* should"),
        ("protocol_version", str(PROTOCOL_VERSION + 1), "protocol version .*, but this"),
        ("protocol_version", "x", "protocol version 'x' is no number"),
        ("suite", "elsewhere", "suite 'elsewhere': it has no pairs"),
        ("role", "best", "role: Input should be"),
        ("role", "reference", "has another note in a row before"),
    ],
)
def test_a_changed_value_is_refused_with_its_row(file, theirs, column, value, match):
    row = parquet.read_table(file)["status"].to_pylist().index("ok")
    where = "" if match.startswith("Parquet") else rf"row {row + 1}.*"
    where = r"row \d+: .*" if match.startswith("has another") else where
    refused(rewrite(file, changes=[(row, {column: value})]), theirs, f"{where}{match}")


def test_a_row_that_is_there_twice_is_refused(file, theirs):
    first = parquet.read_table(file).to_pylist()[0]
    path = rewrite(file, changes=[(1, first)])
    refused(path, theirs, "row 2: row 1 has the same condition")


def in_heading(change):
    return {"heading": change}


def in_answers(change):
    return in_heading(lambda head: [change(one["y"]) for one in head["answers"].values()])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"add": [("code", pa.binary())]}, "column 'code': is not of an export"),
        ({"drop": ["uar"]}, "column 'uar': is missing"),
        ({"drop": ["seed"], "add": [("seed", pa.float64())]}, "column 'seed': is of type double"),
        (in_heading(lambda head: head.update(format=3)), "format: Input should be 2"),
        (in_heading(lambda head: head.update(run="rm")), "run: Extra inputs are not permitted"),
        (in_heading(lambda head: head["suites"].clear()), "it has no pairs"),
        (in_heading(lambda head: head["suites"].update(x=[["B", "B"]])), "suite x: pair"),
        (in_heading(lambda head: head.update(rows=1)), "rows: [0-9]+, and it was written with 1"),
        (in_answers(lambda y: y.reverse()), "do not have this hash, so they were changed"),
        (in_answers(lambda y: y.pop()), "lengths of classes"),
        (in_answers(lambda y: y.append(99)), r"y\.\d+: Input should be less than"),
    ],
)
def test_a_file_of_another_form_is_refused(file, theirs, changes, match):
    refused(rewrite(file, **changes), theirs, match)


def test_files_of_other_kinds_are_refused(file, theirs, tmp_path):
    content = file.read_bytes()
    bad = tmp_path / "bad.parquet"
    for damaged in (b"", b"PAR1", content[: len(content) // 2], content[:-1], b"\x80\x04pickle."):
        bad.write_bytes(damaged)
        refused(bad, theirs, "Parquet: damaged, cut short or of another kind")
    table = parquet.read_table(file)
    parquet.write_table(table.replace_schema_metadata({NAME: b"{"}), bad)
    refused(bad, theirs, "metadata 'clser-bench': Invalid JSON: [^{]*; nothing was imported")
    parquet.write_table(pa.table({"a": [1]}), bad)
    refused(bad, theirs, "column 'a': is not of an export")
    with pytest.raises(StoreError, match=r"none\.parquet: there is no such file"):
        read(tmp_path / "none.parquet")


def test_damage_anywhere_is_noticed_or_harmless(file, tmp_path):
    content, wanted = bytearray(file.read_bytes()), read(file)
    rng = np.random.default_rng(0)
    noticed = 0
    for place, bit in zip(
        rng.integers(len(content), size=60), rng.integers(8, size=60), strict=True
    ):
        content[place] ^= 1 << bit
        (tmp_path / "bad.parquet").write_bytes(content)
        content[place] ^= 1 << bit
        try:
            found = read(tmp_path / "bad.parquet")
        except StoreError:
            noticed += 1
            continue
        for entry, twin in zip(found.entries, wanted.entries, strict=True):
            assert entry.trial == twin.trial
            own, other = entry.record, twin.record
            assert (own is None) == (other is None)
            if own is not None and other is not None:
                assert np.array_equal(own.predicted, other.predicted)
    assert noticed > 40


def test_files_that_are_too_large_are_refused_unread(file, theirs, monkeypatch):
    monkeypatch.setattr(files, "_MOST_ROWS", 3)
    refused(file, theirs, "rows: .* and at most 3 are read")
    monkeypatch.setattr(files, "_MOST_ROWS", 1 << 20)
    monkeypatch.setattr(files, "_MOST_BYTES", 1000)
    refused(file, theirs, "bytes: .* and at most 1000 are read")


def test_one_refused_file_keeps_the_others_out(ours, file):
    before = dump(ours)
    with pytest.raises(FaultyError):
        take(ours, file, rewrite(file, changes=[(0, {"uar": 1.0})]))
    assert dump(ours) == before


ANYTHING = st.one_of(
    st.text(max_size=80), st.from_regex(r"\[\[\".{0,4}\", .{0,6}\]\]", fullmatch=True)
)


@pytest.fixture(scope="module")
def one_trial(tmp_path_factory):
    """An exported file of one trial."""
    path = tmp_path_factory.mktemp("one") / "a.sqlite"
    with Store(path) as store:
        boards.run(store, {"sere": 18}, seeds=1, pairs=boards.PAIRS[:1])
    return sent(path)


@given(data=st.data())
@settings(max_examples=40)
def test_whatever_one_value_becomes_the_trial_is_the_same_or_refused(one_trial, data):
    (row,) = parquet.read_table(one_trial).to_pylist()
    name = data.draw(st.sampled_from(sorted({*row} - {"predictions", "emotions", "energy"})))
    values = {int: st.integers(-(1 << 62), 1 << 62), float: st.floats(), bool: st.booleans()}
    texts = ANYTHING.filter(lambda text: "\ud800" not in text)
    value = data.draw(values.get(type(row[name]), texts))
    try:
        (found,) = read(rewrite(one_trial, changes=[(0, {name: value})])).entries
    except StoreError:
        return
    assert found.trial.id == row["trial"]
    record = found.record
    assert record is None or record.metrics is None or record.metrics.uar == row["uar"]
