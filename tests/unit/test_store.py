"""The results file: round trips, refusals, damage, what older versions wrote, read-only places."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clser_bench.errors import StoreError
from clser_bench.problem import Finding, SkippedFile
from clser_bench.protocol import Pair
from clser_bench.store import schema
from clser_bench.store.records import MethodNote, Record, pack_array, unpack_alike, unpack_array
from clser_bench.store.sqlite import Store
from tests.records import KEY, answer_key, hole, ok, right, trial

PAIRS = (Pair("B", "C"), Pair("C", "B"))
READING: list[dict] = [{}, {"create": False, "read_only": True}]


def test_a_record_comes_back_as_it_went_in(path):
    values = (("a", 1), ("b", 1.0), ("c", True), ("d", "x"))
    of = trial(features="acoustic", prior="dirichlet:1", parameters=values)
    wanted = ok(of, [0, 1, 1, 1, 0], KEY)
    absent = ok(trial(seed=1), [0, 0], answer_key([0, 1]))
    with Store(path) as store:
        store.put([wanted, absent])
    with Store(path, create=False) as store:
        found, other = store.records()
    assert other.metrics
    assert math.isnan(other.metrics.recalls[2]), "of a class that is absent"
    assert found.trial.id == wanted.trial.id
    assert [type(value) for _, value in found.trial.parameters] == [int, float, bool, str]
    assert found.metrics == wanted.metrics
    assert np.array_equal(found.scores, wanted.scores)
    assert found.scores.dtype == np.float32
    assert np.array_equal(found.y, KEY.y)
    assert (found.names, found.speakers) == (KEY.names, KEY.speakers)
    assert (found.status, found.seconds, found.attempts, found.pack) == ("ok", 0.5, 1, "p0")


def test_a_result_replaces_a_failure_with_its_joules_and_nothing_replaces_a_result(store):
    failed = replace(hole(trial(), reason="Traceback:\n  …\nValueError: no"), energy=1.0)
    name = failed.trial.id
    for attempt, unfinished in ((1, (name, "other")), (2, ("other",))):
        store.put([failed])
        (found,) = store.records()
        assert (found.reason, found.attempts) == (failed.reason, attempt)
        assert store.unfinished([name, "other"]) == unfinished
    worse = ok(trial(), [2, 2, 2, 2, 2], KEY)
    store.put([replace(right(trial()), energy=3.0)])
    store.put([replace(worse, energy=9.0)])
    store.put([hole(trial())])
    assert store.stored([name, "other"]) == {name: "ok"}
    (found,) = store.records()
    assert (found.metrics.uar, found.attempts, found.energy) == (100, 3, 3.0)
    other = hole(trial(seed=1), status="not_applicable", reason="needs 10 shots")
    store.put([other])
    assert store.unfinished([other.trial.id]) == (), "what does not apply is not tried again"


def test_several_that_make_one_file_at_once_wait_for_each_other(tmp_path):
    def made(number: int) -> int:
        with Store(tmp_path / f"{number // 4}.sqlite") as store:
            return store.progress().planned

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(made, range(400))) == {0}


def test_a_plan_comes_back(store):
    trials = [trial(pair=str(pair), seed=seed) for pair in PAIRS for seed in range(2)]
    ids = tuple(item.id for item in trials)
    note = MethodNote(note="from it", title="L", uses=("labelled",), kind="fitted", version=1)
    number = store.plan({"seeds": 2}, trials, pairs=PAIRS, methods={"logistic": note})
    store.put([ok(trials[0], [0, 1, 1, 1, 0], KEY), hole(trials[1])])
    (run,) = store.runs()
    assert (run.id, run.suite, run.pairs) == (number, "bc", PAIRS)
    assert (run.request, run.trials, run.imported) == ({"seeds": 2}, 4, "")
    assert run.methods == {"logistic": note}
    assert store.planned_ids(number) == ids
    tally = store.progress()
    assert (tally.planned, tally.ok, tally.failed) == (4, 1, 1)
    (line,) = store.lines()
    assert store.trials(line.id) == tuple(trials)
    # the UAR is read of ok trials only
    assert store.uars(ids) == {ids[0]: next(store.records(status="ok")).metrics.uar}


def test_planning_the_same_again_makes_it_the_latest(store):
    first, second = [trial()], [trial(version=2)]
    numbers = [store.plan({}, trials, pairs=PAIRS) for trials in (first, second, first)]
    assert numbers[0] == numbers[2]
    assert [run.id for run in store.runs()] == [numbers[1], numbers[0]]
    (found,) = store.lines()
    assert found.request == numbers[0]


def test_one_trial_may_belong_to_plans_of_different_selection_and_suite(store):
    store.plan({}, [trial(), trial(selection="other-pairs")], pairs=PAIRS)
    store.plan({}, [trial(suite="other")], pairs=PAIRS)
    places = [(line.condition.suite, line.condition.selection) for line in store.lines()]
    assert places == [("bc", "default"), ("bc", "other-pairs"), ("other", "default")]
    assert store.progress().planned == 1


def test_candidates_belong_to_no_table(store):
    of = [
        trial(pair=str(pair), parameters=(("a", a),), selection="other-pairs")
        for a in (1.0, 2)
        for pair in PAIRS
    ]
    numbers = {item.id: place // 2 for place, item in enumerate(of)}
    store.plan({}, of, pairs=PAIRS, candidates=numbers)
    assert [line.configuration for line in store.lines()] == [0, 1]
    store.plan({}, of[2:], pairs=PAIRS)
    assert len(store.frame()) == 2
    assert len(store.frame(candidates=True)) == 6
    assert [line.configuration for line in store.lines()] == [0, 1, None]


def test_what_a_user_asks_for_in_vain_is_said_with_what_there_is(store):
    with pytest.raises(StoreError, match="there are no results yet"):
        store.shown({})
    store.plan({}, [trial(), trial(shots=1)], pairs=PAIRS)
    assert len(store.shown({"shots": "1"})) == 1
    with pytest.raises(StoreError, match="no results of shots '7'; there are of: 1, 5"):
        store.shown({"shots": "7"})


def test_two_points_cannot_claim_one_cell(store):
    with pytest.raises(StoreError, match="two sets of hyper-parameters"):
        store.plan({}, [trial(), trial(version=2)], pairs=PAIRS)
    assert store.runs() == ()


def test_looks_count_settings_of_hyper_parameters(store):
    of = [trial(parameters=(("a", float(a)),), version=v) for v, a in ((1, 1), (2, 1), (2, 2))]
    for item in of:
        store.plan({}, [item, trial(seed=1, parameters=item.parameters)], pairs=PAIRS)
    store.put([right(item) for item in of])
    found = store.looks()[["method", "version", "evaluations"]]
    assert found.to_numpy().tolist() == [["logistic", 1, 1], ["logistic", 2, 2]]


def test_a_pack_or_several_calls_are_stored_whole_or_not_at_all(store):
    broken = right(trial(seed=1))
    object.__setattr__(broken, "scores", np.zeros((5, 3), np.complex64))
    with pytest.raises(ValueError, match="complex64"):
        store.put([right(trial()), broken])
    assert list(store.records()) == []
    with pytest.raises(StoreError, match="JSON"), store.transaction():  # noqa: PT012
        store.put([right(trial())])
        store.plan({"where": Path("x")}, [trial()], pairs=PAIRS)
    assert list(store.records()) == []


def test_a_full_disk_has_a_remedy_that_needs_no_plan(store):
    pages = store.query("PRAGMA page_count")[0][0]
    store.query(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match=r"disk is full; make room and repeat the command"):
        store.put([right(trial(seed=seed)) for seed in range(200)])
    assert list(store.records()) == []


def test_records_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="if and only if ok"):
        Record(trial=trial(), status="ok")
    with pytest.raises(ValueError, match="one of"):
        Record(trial=trial(), status="done")
    with pytest.raises(ValueError, match="role 'judge'"):
        MethodNote(role="judge")


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(kind) for kind in ("f4", "f8", "i8", "u1")]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_any_array_comes_back(array):
    found = unpack_array(pack_array(array), "x")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


def test_predictions_are_read_together_where_all_are_whole():
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    blobs = [pack_array(row) for row in rows]
    found = unpack_alike(blobs, 4)
    assert found is not None
    assert np.array_equal(found, rows)
    for place in range(len(blobs[1])):
        changed = bytearray(blobs[1])
        changed[place] ^= 1
        assert unpack_alike([blobs[0], bytes(changed)], 4) is None
    assert unpack_alike([*blobs, pack_array(rows[0][:3])], 4) is None


def change(path, *statements):
    """Change a file as something else than this package would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        for statement in statements:
            assert connection.execute(statement).rowcount


@pytest.mark.parametrize("column", ["scores", "classes"])
@pytest.mark.parametrize(
    "harm", [lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b"junk"]
)
def test_a_damaged_array_names_its_trial(path, column, harm):
    record = right(trial(method="dann"))
    table = "scores" if column == "scores" else "predictions"
    with Store(path) as store:
        store.plan({}, [record.trial], pairs=PAIRS)
        store.put([record])
        blob = harm(store.query(f"SELECT {column} FROM {table}")[0][0])
    change(path, f"UPDATE {table} SET {column} = x'{blob.hex()}'")
    with Store(path) as store, pytest.raises(StoreError, match=r"dann, B→C.*damaged"):
        list(store.records() if table == "scores" else store.predicted([record.trial.id]))


CHANGES = {
    # statement: where `verify` finds it, its words, and those of a table ("": it uses no such cell)
    "UPDATE records SET uar = uar + 1": ("record", "uar is 101", "UAR is stored as 101.0000"),
    "UPDATE records SET answers = NULL": ("record", "metrics if and only if ok", "is not in the"),
    "UPDATE records SET war = NULL": ("record", "(one is no number)", "rows of records"),
    "UPDATE records SET answers = x'00ff'": ("file", "refers to what is not", "is not in the file"),
    "UPDATE records SET trial = NULL": ("record", "is ok, with 0 arrays", "rows of records"),
    "UPDATE records SET status = 'failed', reason = ''": ("record", "is failed", "rows of rec"),
    "UPDATE records SET confusion = '[[2,0,0],[0,2,0],[0,1,0]]'": ("record", "confusion is", ""),
    "UPDATE records SET recalls = '[1'": ("record", "is damaged", ""),
    "UPDATE scores SET scores = zeroblob(9)": ("record", "damaged", ""),
    "DELETE FROM trials; DELETE FROM predictions": ("record", "ok, with 0 arr", "rows of trials"),
    "DELETE FROM trials": ("file", "refers to what is not there", "rows of trials"),
    "UPDATE trials SET id = NULL WHERE seed = 1": ("trial", "give the id", "rows of trials"),
    "UPDATE trials SET seed = 7": ("trial", "its columns give the id", "rows of trials"),
    "UPDATE trials SET seed = x'00ff'": ("trial", "(seed holds bytes)", "rows of trials"),
    "UPDATE trials SET unlabelled = x'00ff'": ("trial", "(unlabelled holds", "rows of trials"),
    "UPDATE trials SET shots = 'x'": ("trial", "its condition is damaged", "rows of trials"),
    "UPDATE answers SET hash = NULL": ("answers", "is not in the file", "rows of answers"),
    "UPDATE answers SET names = 9e99": ("answers", "it holds a single value", ""),
    "UPDATE answers SET speakers = '[\"x\"]'": ("answers", "is not what was stored", ""),
    "UPDATE lines SET prior = x'00ff'": ("request", "is damaged", "rows of lines"),
    "UPDATE lines SET note = '{}'": ("request", "are not those that were", "rows of lines"),
    "UPDATE requests SET request = '{'": ("request", "is damaged", ""),
    "UPDATE requests SET request = '{}'": ("request", "are not those that were planned", ""),
    "UPDATE requests SET request = '{\"confirms\": 1}'": ("request", "are not", "rows of requests"),
    "UPDATE requests SET turn = 9": ("file", "rows are not those", "rows of requests"),
    "DELETE FROM planned WHERE position = 1": ("request", "are not those", "rows of planned"),
    "INSERT INTO skipped VALUES ('C', 'b.wav', 'x')": ("file", "are not", "rows of skipped"),
    "UPDATE findings SET sentence = 'x'": ("file", "rows are not those", "rows of findings"),
    "DELETE FROM sums WHERE name = 'records'": ("file", "rows are not", "rows of records"),
    "UPDATE sums SET name = 'x' WHERE name = 'trials'": ("file", "are not", "rows of trials"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A results file with rows in every table."""
    path = tmp_path_factory.mktemp("sound") / "sound.sqlite"
    of = [trial(), trial(seed=1)]
    with Store(path) as store:
        number = store.plan({"seeds": 2}, of, pairs=PAIRS)
        store.put([right(item) for item in of])
        store.put_skipped([SkippedFile(corpus="B", name="a.wav", reason=why) for why in "ab"])
        for sentence in ("old", "new"):
            store.put_findings(number, [Finding(kind="odd", corpus="B", sentence=sentence)])
    with Store(path, read_only=True) as store:
        assert store.verify() == ()
        assert len(store.frame()) == 2
    return path


@pytest.mark.parametrize("statement", CHANGES)
def test_whatever_is_changed_is_found_and_makes_no_table(sound, tmp_path, statement):
    place, problem, shown = CHANGES[statement]
    path = tmp_path / "changed.sqlite"
    path.write_bytes(sound.read_bytes())
    change(path, *statement.split("; "))
    with Store(path, read_only=True) as store:
        found = store.verify()
        with contextlib.suppress(StoreError):  # and no other error
            list(store.predicted([item.id for item in (trial(), trial(seed=1))]))
    assert any(item.place == place and problem in item.problem for item in found), found
    for read_only in (True, False):
        with Store(path, read_only=read_only) as store:
            if not shown:
                assert len(store.frame()) == 2
                continue
            with pytest.raises(StoreError, match=rf"{shown}.*; (run|take the file)"):
                store.frame()


def test_a_file_without_sums_gets_them_from_the_first_that_writes(path):
    with Store(path) as store:
        store.plan({}, [trial()], pairs=PAIRS)
    change(path, "DROP TABLE sums", "PRAGMA user_version = 3")
    with Store(path, read_only=True) as store:
        assert len(store.frame()) == 1
    Store(path).close()
    change(path, "UPDATE trials SET version = 7")
    with Store(path, read_only=True) as store, pytest.raises(StoreError, match="rows of trials"):
        store.frame()


@pytest.mark.parametrize(
    ("names", "match"), [("X'5BFF'", "damaged.*decode"), ("'['", "key .* is damaged")]
)
def test_a_damaged_text_names_the_file_and_is_not_shown(path, names, match):
    with Store(path) as store:
        store.put([right(trial())])
    change(path, f"UPDATE answers SET names = CAST({names} AS TEXT)")
    with pytest.raises(StoreError, match=match) as caught, Store(path, create=False) as store:
        list(store.records())
    assert str(caught.value).startswith(f"{path}: ")
    assert "with text" not in str(caught.value)


@pytest.mark.parametrize("name", [":memory:", "file:r.sqlite", "r?mode=memory.sqlite", "r%20.x"])
def test_any_name_is_that_of_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store(Path(name)) as store:
        store.put([right(trial())])
    assert {path.name for path in tmp_path.iterdir()} == {name}
    with Store(Path(name), create=False, read_only=True) as store:
        assert store.stored([trial().id])


@pytest.mark.parametrize("version", [schema.SCHEMA_VERSION + 1, 0, -5])
def test_a_database_of_another_version_is_refused(path, version):
    Store(path).close()
    change(path, f"PRAGMA user_version = {version}")
    damaged = rf"is damaged \(schema {version}\); take the file from a backup"
    for options in READING:
        with pytest.raises(StoreError, match="newer.*upgrade" if version > 0 else damaged):
            Store(path, **options)


def test_bytes_that_are_no_text_in_the_schema_are_damage(path):
    with Store(path) as store:
        store.put([right(trial())])
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE trials", b"CREATE TABLE\xfftrials"))
    for options in READING:
        with pytest.raises(StoreError, match="is damaged"):
            Store(path, **options)


def everything(store):
    """All that reading commands take from a store."""
    return (
        store.frame(candidates=True).drop(columns="tables").to_csv(),
        store.lines(),
        [(run.suite, run.pairs, run.request, run.methods, run.trials) for run in store.runs()],
        [(record.trial, record.metrics, record.scores.tolist()) for record in store.records()],
        store.skipped(),
    )


OLD = Path(__file__).parents[1] / "golden" / "results_schema_2.sql"
"""The results file of an earlier version, written by that version and kept as SQL."""


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_is_read_as_it_is_and_migrated_by_the_first_that_writes(tmp_path, version):
    path = tmp_path / "old.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
        if version == 1:
            connection.execute("ALTER TABLE records DROP COLUMN energy")
            connection.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    with Store(path, create=False, read_only=True) as store:
        old = everything(store)
        assert_tables_stayed(store.frame())
        assert store.verify() == ()
    assert path.read_bytes() == before
    with Store(path) as store:
        assert everything(store) == old
        assert store.verify() == ()
        store.put([replace(right(trial("new")), energy=2.5)])
    with Store(path, create=False, read_only=True) as store:
        assert len(list(store.records())) == len(old[3]) + 1
        columns = columns_of(store)
    for run in old[2]:
        assert run[2]["seeds"] in (1, 2)
    with Store(tmp_path / "new.sqlite") as store:
        assert columns_of(store) == columns


def assert_tables_stayed(frame):
    wanted = pd.read_csv(OLD.with_suffix(".csv"), dtype=str).query("pair != 'mean'")
    assert len(frame) == 16
    means = frame[frame.status == "ok"].groupby(["corruption", "method", "pair"]).uar.mean()
    shown = {round(float(value), 2) for value in wanted["uar_mean"].dropna()}
    assert {round(value, 2) for value in means} >= shown
    assert set(frame.corruption) == {"", "noise:-2.5"}
    assert set(frame.role) == {"bound", "ranked"}


def columns_of(store):
    return {
        (name, *column[1:4])
        for (name,) in store.query("SELECT name FROM sqlite_master WHERE type = 'table'")
        for column in store.query(f"PRAGMA table_info({name})")
    }


def test_a_field_that_a_file_lacks_has_its_default(path):
    """A rule that is added later: older files have it as clean speech has corruptions."""
    with Store(path) as store:
        store.plan({}, [trial()], pairs=PAIRS)
    change(path, *(f"ALTER TABLE {table} DROP COLUMN corruption" for table in ("trials", "lines")))
    for read_only in (True, False):
        with Store(path, create=False, read_only=read_only) as store:
            (line,) = store.lines()
            assert line.condition.corruption == ""
            assert store.trials(line.id) == (trial(),)


def test_absent_results_are_named_and_an_empty_file_becomes_a_database(path):
    with pytest.raises(StoreError, match="no results yet"):
        Store(path, create=False)
    assert not path.exists()
    path.parent.mkdir(exist_ok=True)
    path.touch()
    for read_only in (True, False):
        with pytest.raises(StoreError, match="no results yet"):
            Store(path, create=False, read_only=read_only)
    with Store(path) as store:
        assert store.runs() == ()


def test_what_is_no_results_file_is_refused_and_left_alone(tmp_path):
    note, other, pipe = (tmp_path / name for name in ("notes.txt", "other.sqlite", "pipe"))
    note.write_text("these are my notes, and they are longer than a header of SQLite. " * 20)
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE birds (name)")
    for place, problem in ((note, r"is no results database.*--results"), (other, "something else")):
        before = place.read_bytes()
        with pytest.raises(StoreError, match=rf"{place.name}: .*{problem}"):
            Store(place)
        assert place.read_bytes() == before
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="no regular file"):
        Store(pipe, read_only=True)
    with pytest.raises(StoreError, match="is a folder"):
        Store(tmp_path)
    with pytest.raises(StoreError, match="cannot be made"):
        Store(note / "clser.sqlite")


def test_others_read_while_one_writes(path):
    with Store(path) as writer, Store(path, read_only=True) as reader:
        writer.plan({}, [trial()], pairs=PAIRS)
        assert reader.progress().planned == 1


def test_a_read_only_place_is_refused_for_writing_and_read(path, monkeypatch):
    connect = sqlite3.connect

    def refusing(where, *rest, **options):
        """Open as on a medium that cannot be written; permissions do not stop the superuser."""
        where = where if "immutable" in str(where) else "/proc/none/results.sqlite"
        return connect(where, *rest, **options)

    with Store(path) as store:
        store.put([right(trial())])
    before = sorted(path.parent.iterdir()), path.read_bytes()
    for medium in (connect, refusing):
        monkeypatch.setattr(sqlite3, "connect", medium)
        with Store(path, create=False, read_only=True) as store:
            assert len(list(store.records())) == 1
            with pytest.raises(StoreError, match="cannot be written"):
                store.put([hole(trial(seed=1))])
            with pytest.raises(StoreError, match="cannot be written"):
                store.put_skipped([SkippedFile(corpus="B", name="a", reason="x")])
        assert (sorted(path.parent.iterdir()), path.read_bytes()) == before
    with pytest.raises(StoreError, match=r"cannot be opened for writing.*writable place"):
        Store(path)
    path.with_name(f"{path.name}-wal").write_bytes(b"x" * 100)  # it was not closed
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path, create=False, read_only=True)
