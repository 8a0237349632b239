"""The results database: round trips, refusals, damage, and a process that is killed."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clser_bench.errors import StoreError
from clser_bench.problem import SkippedFile
from clser_bench.protocol import Pair
from clser_bench.store import schema
from clser_bench.store.blobs import pack_array, unpack_array
from clser_bench.store.database import Store
from clser_bench.store.records import MethodNote, Record
from tests.records import answer_key, hole, ok, trial

KEY = answer_key([0, 0, 1, 1, 2])
PAIRS = (Pair("B", "C"), Pair("C", "B"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results" / "clser.sqlite"


def test_a_record_comes_back_as_it_went_in(path):
    wanted = ok(trial(features="acoustic", prior="dirichlet:1"), [0, 1, 1, 1, 0], KEY)
    with Store(path) as store:
        store.put([wanted])
    with Store(path, create=False) as store:
        (found,) = store.records()
    assert found.trial == wanted.trial
    assert found.trial.id == wanted.trial.id
    assert found.metrics == wanted.metrics
    assert np.array_equal(found.scores, wanted.scores)
    assert found.scores.dtype == np.float32
    assert np.array_equal(found.y, KEY.y)
    assert (found.names, found.speakers) == (KEY.names, KEY.speakers)
    assert (found.status, found.seconds, found.attempts, found.pack) == ("ok", 0.5, 1, "p0")


def test_types_of_hyper_parameters_survive(path):
    values = (("a", 1), ("b", 1.0), ("c", True), ("d", "x"))
    with Store(path) as store:
        store.put([hole(trial(parameters=values))])
        (found,) = store.records()
    assert [type(value) for _, value in found.trial.parameters] == [int, float, bool, str]


def test_the_recall_of_an_absent_class_stays_nan(path):
    with Store(path) as store:
        store.put([ok(trial(), [0, 0], answer_key([0, 1]))])
        (found,) = store.records()
    assert math.isnan(found.metrics.recalls[2])


def test_answer_keys_are_stored_once(path):
    with Store(path) as store:
        store.put([ok(trial(seed=seed), [0, 1, 1, 1, 0], KEY) for seed in range(4)])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (1,)
    connection.close()


def test_a_stored_result_is_never_overwritten(path):
    with Store(path) as store:
        store.put([ok(trial(), [0, 0, 1, 1, 2], KEY)])
        store.put([ok(trial(), [2, 2, 2, 2, 2], KEY)])
        store.put([hole(trial())])
        (found,) = store.records()
    assert (found.status, found.metrics.uar, found.attempts) == ("ok", 100, 1)


def test_a_failure_keeps_its_traceback_and_gives_way_to_a_result(path):
    text = "Traceback (most recent call last):\n  …\nValueError: no"
    failed = hole(trial(), reason=text)
    with Store(path) as store:
        store.put([failed])
        assert next(store.records()).reason == text
        assert store.unfinished([failed.trial.id]) == (failed.trial.id,)
        store.put([failed])
        assert store.attempts([failed.trial.id, "other"]) == {failed.trial.id: 2, "other": 0}
        assert store.unfinished([failed.trial.id, "other"]) == ("other",)
        store.put([ok(trial(), [0, 0, 1, 1, 2], KEY)])
        assert store.stored([failed.trial.id, "other"]) == {failed.trial.id: "ok"}
        assert next(store.records()).attempts == 3


def test_what_does_not_apply_is_not_tried_again(path):
    record = hole(trial(), status="not_applicable", reason="needs 10 shots")
    with Store(path) as store:
        store.put([record])
        assert store.unfinished([record.trial.id]) == ()


def test_a_plan_comes_back(path):
    trials = [trial(pair=str(pair), seed=seed) for pair in PAIRS for seed in range(2)]
    notes = {"sere": MethodNote(note="from the abstract"), "chance": MethodNote(role="bound")}
    with Store(path) as store:
        number = store.plan("bcro", trials, pairs=PAIRS, config={"seeds": 2}, methods=notes)
        store.put([ok(trials[0], [0, 0, 1, 1, 2], KEY), hole(trials[1])])
        (run,) = store.runs()
        assert (run.id, run.suite, run.pairs) == (number, "bcro", PAIRS)
        assert (run.config, run.trials) == ({"seeds": 2}, 4)
        assert list(run.methods.items()) == list(notes.items())
        assert store.planned_ids(number) == tuple(item.id for item in trials)
        tally = store.progress(number)
        assert (tally.planned, tally.ok, tally.failed, tally.missing) == (4, 1, 1, 2)
        assert store.progress() == tally


def test_planning_the_same_again_makes_it_the_latest(path):
    first, second = [trial()], [trial(version=2)]
    with Store(path) as store:
        numbers = [store.plan("s", t, pairs=PAIRS, config={}) for t in (first, second, first)]
        assert numbers[0] == numbers[2]
        assert [run.id for run in store.runs()] == [numbers[1], numbers[0]]
        (found,) = store.slices()
        assert found.run == numbers[0]


def test_one_trial_may_stand_in_plans_of_different_selection(path):
    with Store(path) as store:
        trials = [trial(), trial(selection="other-pairs")]
        store.plan("s", trials, pairs=PAIRS, config={})
        assert [item.condition.selection for item in store.slices()] == ["default", "other-pairs"]
        assert store.progress().planned == 1


def test_points_are_read_without_their_records(path):
    of = [
        trial(pair=pair, seed=seed, parameters=(("a", a),), selection=selection)
        for selection, a in (("other-pairs/0", 1.0), ("other-pairs/1", 2))
        for pair in ("B→C", "C→B")
        for seed in range(2)
    ]
    with Store(path) as store:
        store.plan("s", of, pairs=PAIRS, config={})
        first, second = store.slices()
        assert first.candidate
        assert second.candidate
        assert [(p.pair, p.parameters) for p in store.points([second.id])] == [
            (pair, (("a", 2),)) for pair in PAIRS
        ]
        assert len(store.points([first.id, second.id])) == 4
        store.plan("s", [trial()], pairs=PAIRS, config={})
        assert [item.candidate for item in store.slices()] == [True, True, False]


def test_uar_is_read_of_ok_trials_only(path):
    good, bad, absent = (trial(seed=seed) for seed in range(3))
    with Store(path) as store:
        store.put([record := ok(good, [0, 1, 1, 1, 0], KEY), hole(bad)])
        assert record.metrics
        assert store.uars([good.id, bad.id, absent.id]) == {good.id: record.metrics.uar}


def test_two_points_cannot_claim_one_cell(path):
    with Store(path) as store:
        with pytest.raises(StoreError, match="two sets of hyper-parameters"):
            store.plan("s", [trial(), trial(version=2)], pairs=PAIRS, config={})
        assert store.runs() == ()


def test_options_must_be_json(path):
    with Store(path) as store, pytest.raises(StoreError, match="cannot be stored as JSON"):
        store.plan("s", [trial()], pairs=PAIRS, config={"where": Path("x")})


def test_skipped_files_are_kept(path):
    items = (SkippedFile(corpus="B", name="a.wav", reason="no header"),)
    with Store(path) as store:
        store.put_skipped(items)
        store.put_skipped(items)
        assert store.skipped() == items


def test_a_pack_is_stored_whole_or_not_at_all(path):
    broken = ok(trial(seed=1), [0, 0, 1, 1, 2], KEY)
    object.__setattr__(broken, "scores", np.zeros((5, 3), np.complex64))
    with Store(path) as store:
        with pytest.raises(ValueError, match="complex64"):
            store.put([ok(trial(), [0, 0, 1, 1, 2], KEY), broken])
        assert list(store.records()) == []


def test_records_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="if and only if ok"):
        Record(trial=trial(), status="ok")
    with pytest.raises(ValueError, match="one of"):
        Record(trial=trial(), status="done")
    with pytest.raises(ValueError, match="role 'judge'"):
        MethodNote(role="judge")


@pytest.mark.parametrize("table", ["scores", "predictions"])
@pytest.mark.parametrize(
    "harm", [lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b"junk"]
)
def test_a_damaged_array_names_its_trial(path, table, harm):
    record = ok(trial(method="dann"), [0, 0, 1, 1, 2], KEY)
    with Store(path) as store:
        store.plan("s", [record.trial], pairs=PAIRS, config={})
        store.put([record])
    connection = sqlite3.connect(path)
    column = "scores" if table == "scores" else "classes"
    blob = connection.execute(f"SELECT {column} FROM {table}").fetchone()[0]
    connection.execute(f"UPDATE {table} SET {column} = ?", (harm(blob),))
    connection.commit()
    connection.close()
    with Store(path) as store, pytest.raises(StoreError, match=r"dann, B→C.*damaged"):
        list(store.records() if table == "scores" else store.predicted_of([1]))


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


def test_no_array_of_objects_is_stored():
    with pytest.raises(ValueError, match="object"):
        pack_array(np.array([{}], dtype=object))


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    note = tmp_path / "notes.txt"
    note.write_text("these are my notes, and they are longer than a header of SQLite. " * 20)
    before = note.read_bytes()
    with pytest.raises(StoreError, match=r"notes.txt: is no results database.*--results"):
        Store(note)
    assert note.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path):
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE birds (name)")
    connection.close()
    with pytest.raises(StoreError, match="of something else"):
        Store(other)


def test_a_newer_database_is_refused(path):
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match=r"newer clser-bench.*upgrade"):
        Store(path)


_RECORDS_OF_VERSION_1 = """
CREATE TABLE records (
  trial TEXT PRIMARY KEY REFERENCES trials(id),
  status TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'not_applicable')),
  reason TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL, pack TEXT NOT NULL,
  uar REAL, war REAL, macro_f1 REAL, recalls TEXT, confusion TEXT,
  answers TEXT REFERENCES answers(hash),
  CHECK ((status = 'ok') = (uar IS NOT NULL AND answers IS NOT NULL))
)"""


def make_old(path, record):
    """A file of schema 1 that holds a record."""
    columns = "trial, status, reason, attempts, seconds, pack, uar, war, macro_f1, recalls, "
    columns += "confusion, answers"
    with Store(path) as store:
        store.plan("s", [record.trial], pairs=PAIRS, config={})
        store.put([record])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA legacy_alter_table = ON")
    connection.execute("ALTER TABLE records RENAME TO new")
    connection.execute(_RECORDS_OF_VERSION_1)
    connection.execute(f"INSERT INTO records SELECT {columns} FROM new")
    connection.execute("DROP TABLE new")
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def columns_of(path):
    with sqlite3.connect(path) as connection:
        found = [name for _, name, *_ in connection.execute("PRAGMA table_info(records)")]
    connection.close()
    return found


def test_a_file_of_schema_1_keeps_its_results_and_takes_joules(path):
    before = ok(trial(), [0, 1, 1, 1, 0], KEY)
    make_old(path, before)
    assert columns_of(path)[-1] == "answers"
    for _ in range(2):  # the second time it is a file of today
        with Store(path, create=False) as store:
            (found,) = store.records()
        assert (found.metrics, found.seconds, found.energy) == (before.metrics, 0.5, None)
        assert np.array_equal(found.scores, before.scores)
    assert columns_of(path)[-1] == "energy"
    with Store(path, create=False) as store:
        store.put([dataclasses.replace(ok(trial(seed=1), [0, 0, 1, 1, 2], KEY), energy=2.5)])
        assert {record.energy for record in store.records()} == {None, 2.5}
        assert [item.energy for item in store.planned([1])] == [None]


def test_a_file_of_schema_1_and_one_of_today_have_the_same_columns(path, tmp_path):
    make_old(path, hole(trial()))
    Store(path).close()
    Store(tmp_path / "new.sqlite").close()
    assert columns_of(path) == columns_of(tmp_path / "new.sqlite")


def test_joules_of_another_attempt_replace_those_of_the_failed_one(path):
    with Store(path) as store:
        store.put([dataclasses.replace(hole(trial()), energy=1.0)])
        store.put([dataclasses.replace(ok(trial(), [0, 0, 1, 1, 2], KEY), energy=3.0)])
        store.put([dataclasses.replace(ok(trial(), [0, 0, 1, 1, 2], KEY), energy=9.0)])
        assert [record.energy for record in store.records()] == [3.0]


def test_an_empty_file_becomes_a_database(tmp_path):
    (tmp_path / "new.sqlite").touch()
    with Store(tmp_path / "new.sqlite") as store:
        assert store.runs() == ()


def test_absent_results_are_named(path):
    with pytest.raises(StoreError, match="no results yet"):
        Store(path, create=False)
    assert not path.exists()


def test_a_folder_or_a_place_below_a_file_is_refused(tmp_path):
    with pytest.raises(StoreError, match="is a folder"):
        Store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "clser.sqlite")


def test_a_read_only_place_is_refused(path, monkeypatch):
    Store(path).close()
    opened = sqlite3.connect

    def read_only(where, **rest):  # permissions do not stop the superuser, this does
        return opened(f"file:{where}?mode=ro", uri=True, **rest)

    monkeypatch.setattr(schema.sqlite3, "connect", read_only)
    with pytest.raises(StoreError, match=r"cannot be written.*writable place"):
        Store(path)


def test_others_read_while_one_writes(path):
    with Store(path) as writer, Store(path) as reader:
        writer.plan("s", [trial()], pairs=PAIRS, config={})
        assert reader.progress().planned == 1


_WRITER = """
import sys
from pathlib import Path
from clser_bench.store.database import Store
from tests.records import answer_key, ok, trial
key = answer_key([0, 0, 1, 1, 2] * 40)
with Store(Path(sys.argv[1])) as store:
    for pack in range(100000):
        store.put([ok(trial(seed=10 * pack + i), [0, 0, 1, 1, 2] * 40, key) for i in range(10)])
        print(pack, flush=True)
"""


def test_a_killed_run_leaves_whole_packs(path):
    root = Path(__file__).parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    said = [int(writer.stdout.readline()) for _ in range(5)]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    said += [int(line) for line in writer.stdout.read().split()]
    writer.stdout.close()
    with Store(path) as store:
        found = list(store.records())
        assert len(found) % 10 == 0
        assert len(found) >= 10 * len(said)
        assert all(record.metrics.uar == 100 for record in found)
        store.put([ok(trial(seed=10**7), [0, 0, 1, 1, 2], KEY)])
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
