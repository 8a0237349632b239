"""The results database: round trips, refusals, damage, and a process that is killed."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clser_bench.errors import StoreError
from clser_bench.problem import Finding, SkippedFile
from clser_bench.protocol import Pair
from clser_bench.store.records import MethodNote, Record, pack_array, unpack_alike, unpack_array
from clser_bench.store.sqlite import Store
from tests.records import answer_key, hole, ok, trial

KEY = answer_key([0, 0, 1, 1, 2])
PAIRS = (Pair("B", "C"), Pair("C", "B"))


def test_a_record_comes_back_as_it_went_in(path):
    values = (("a", 1), ("b", 1.0), ("c", True), ("d", "x"))
    of = trial(features="acoustic", prior="dirichlet:1", parameters=values)
    wanted = ok(of, [0, 1, 1, 1, 0], KEY)
    with Store(path) as store:
        store.put([wanted])
    with Store(path, create=False) as store:
        (found,) = store.records()
    assert found.trial.id == wanted.trial.id
    assert [type(value) for _, value in found.trial.parameters] == [int, float, bool, str]
    assert found.metrics == wanted.metrics
    assert np.array_equal(found.scores, wanted.scores)
    assert found.scores.dtype == np.float32
    assert np.array_equal(found.y, KEY.y)
    assert (found.names, found.speakers) == (KEY.names, KEY.speakers)
    assert (found.status, found.seconds, found.attempts, found.pack) == ("ok", 0.5, 1, "p0")


def test_the_recall_of_an_absent_class_stays_nan(store):
    store.put([ok(trial(), [0, 0], answer_key([0, 1]))])
    (found,) = store.records()
    assert math.isnan(found.metrics.recalls[2])


def test_a_stored_result_is_never_overwritten(store):
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
        assert next(store.records()).attempts == 2
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
    note = MethodNote(
        note="from the abstract", title="L", uses=("labelled",), kind="fitted", version=1
    )
    with Store(path) as store:
        number = store.plan({"seeds": 2}, trials, pairs=PAIRS, methods={"logistic": note})
        store.put([ok(trials[0], [0, 0, 1, 1, 2], KEY), hole(trials[1])])
        (run,) = store.runs()
        assert (run.id, run.suite, run.pairs) == (number, "bc", PAIRS)
        assert (run.request, run.trials, run.imported) == ({"seeds": 2}, 4, "")
        assert run.methods == {"logistic": note}
        assert store.planned_ids(number) == tuple(item.id for item in trials)
        tally = store.progress()
        assert (tally.planned, tally.ok, tally.failed) == (4, 1, 1)
        (line,) = store.lines()
        assert store.trials(line.id) == tuple(trials)


def test_planning_the_same_again_makes_it_the_latest(path):
    first, second = [trial()], [trial(version=2)]
    with Store(path) as store:
        numbers = [store.plan({}, t, pairs=PAIRS) for t in (first, second, first)]
        assert numbers[0] == numbers[2]
        assert [run.id for run in store.runs()] == [numbers[1], numbers[0]]
        (found,) = store.lines()
        assert found.request == numbers[0]


def test_one_trial_may_belong_to_plans_of_different_selection_and_suite(store):
    trials = [trial(), trial(selection="other-pairs")]
    store.plan({}, trials, pairs=PAIRS)
    store.plan({}, [trial(suite="other")], pairs=PAIRS)
    places = [(line.condition.suite, line.condition.selection) for line in store.lines()]
    assert places == [("bc", "default"), ("bc", "other-pairs"), ("other", "default")]
    assert store.progress().planned == 1


def test_candidates_belong_to_no_table(path):
    of = [
        trial(pair=pair, parameters=(("a", a),), selection="other-pairs")
        for a in (1.0, 2)
        for pair in ("B→C", "C→B")
    ]
    numbers = {item.id: place // 2 for place, item in enumerate(of)}
    with Store(path) as store:
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


def test_uar_is_read_of_ok_trials_only(path):
    good, bad, absent = (trial(seed=seed) for seed in range(3))
    with Store(path) as store:
        store.put([record := ok(good, [0, 1, 1, 1, 0], KEY), hole(bad)])
        assert record.metrics
        assert store.uars([good.id, bad.id, absent.id]) == {good.id: record.metrics.uar}


def test_two_points_cannot_claim_one_cell(store):
    with pytest.raises(StoreError, match="two sets of hyper-parameters"):
        store.plan({}, [trial(), trial(version=2)], pairs=PAIRS)
    assert store.runs() == ()


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
        store.plan({}, [record.trial], pairs=PAIRS)
        store.put([record])
        column = "scores" if table == "scores" else "classes"
        blob = store.query(f"SELECT {column} FROM {table}")[0][0]
    change(path, f"UPDATE {table} SET {column} = ?", harm(blob))
    with Store(path) as store, pytest.raises(StoreError, match=r"dann, B→C.*damaged"):
        list(store.records() if table == "scores" else store.predicted([record.trial.id]))


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


def test_predictions_are_read_together_where_all_are_whole() -> None:
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


def test_others_read_while_one_writes(path):
    with Store(path) as writer, Store(path, read_only=True) as reader:
        writer.plan({}, [trial()], pairs=PAIRS)
        assert reader.progress().planned == 1


def change(path, statement, *values):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        for part in statement.split("; "):
            assert connection.execute(part, values).rowcount
    connection.close()


@pytest.mark.parametrize(
    ("statement", "place", "problem"),
    [
        ("UPDATE records SET uar = uar + 1", "record", "uar is 101"),
        ("DELETE FROM trials; DELETE FROM predictions", "record", "with 0 arrays"),
        ("UPDATE records SET answers = NULL", "record", "metrics if and only if ok"),
        ("UPDATE trials SET id = NULL WHERE seed = 1", "trial", "give the id"),
        ("UPDATE records SET war = NULL", "record", "are damaged (one is no number)"),
        ("UPDATE records SET answers = x'00ff'", "file", "refers to what is not there"),
        ("UPDATE records SET trial = NULL", "record", "is ok, with 0 arrays of predictions"),
        ("UPDATE answers SET hash = NULL", "answers", ""),
        ("UPDATE answers SET names = 9e99", "answers", "it holds a single value"),
        ("UPDATE lines SET prior = x'00ff'", "request", "is damaged"),
        ("UPDATE records SET confusion = '[[2,0,0],[0,2,0],[0,1,0]]'", "record", "confusion is"),
        ("UPDATE records SET recalls = '[1'", "record", "is damaged"),
        ("UPDATE trials SET seed = 7", "trial", "its columns give the id"),
        ("UPDATE trials SET seed = x'00ff'", "trial", "is damaged (seed holds bytes)"),
        ("UPDATE trials SET shots = 'x'", "trial", "its condition is damaged"),
        ("UPDATE answers SET speakers = '[\"x\"]'", "answers", "is not what was stored"),
        ("UPDATE requests SET request = '{'", "request", "is damaged"),
        ("UPDATE requests SET request = '{}'", "request", "are not those that were planned"),
        ("DELETE FROM planned WHERE position = 1", "request", "are not those that were planned"),
        ("UPDATE scores SET scores = zeroblob(9)", "record", "damaged"),
        ("DELETE FROM trials", "file", "refers to what is not there"),
    ],
)
def test_whatever_is_changed_is_found(path, statement, place, problem):
    of = [trial(), trial(seed=1)]
    with Store(path) as store:
        store.plan({"seeds": 2}, of, pairs=PAIRS)
        store.put([ok(item, [0, 0, 1, 1, 2], KEY) for item in of])
        assert store.verify() == ()
    change(path, statement)
    with Store(path, read_only=True) as store:
        found = store.verify()
        for read in (store.frame, lambda: list(store.predicted([item.id for item in of]))):
            with contextlib.suppress(StoreError):  # which names the file
                read()
    assert any(item.place == place and problem in item.problem for item in found), found


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE requests SET request = \'{"confirms": "x"}\'',
        "UPDATE requests SET turn = 9",
        "UPDATE trials SET seed = 7",
        "UPDATE trials SET unlabelled = x'00ff'",
        "UPDATE records SET reason = 'x', status = 'failed'",
        "DELETE FROM planned WHERE position = 1",
        "UPDATE lines SET note = '{}'",
        "INSERT INTO skipped VALUES ('C', 'b.wav', 'silent')",
        "UPDATE findings SET sentence = 'x'",
        "DELETE FROM sums WHERE name = 'records'",
        "UPDATE sums SET name = 'x' WHERE name = 'trials'",
    ],
)
def test_there_is_no_table_of_rows_that_something_else_changed(path, statement):
    of = [trial(), trial(seed=1)]
    with Store(path) as store:
        number = store.plan({"seeds": 2}, of, pairs=PAIRS)
        store.put([ok(item, [0, 0, 1, 1, 2], KEY) for item in of])
        store.put_skipped([SkippedFile(corpus="B", name="a.wav", reason=why) for why in "ab"])
        store.put_findings(number, [Finding(kind="odd", corpus="B", sentence="old")])
        store.put_findings(number, [Finding(kind="odd", corpus="B", sentence="new")])
    with Store(path, read_only=True) as store:
        assert len(store.frame()) == 2
    change(path, statement)
    for read_only in (True, False):
        with (
            Store(path, read_only=read_only) as store,
            pytest.raises(StoreError, match=r"rows of \w+ are not those .* results verify"),
        ):
            store.frame()


def test_a_file_without_sums_gets_them_from_the_first_that_writes(path):
    with Store(path) as store:
        store.plan({}, [trial()], pairs=PAIRS)
    change(path, "DROP TABLE sums")
    change(path, "PRAGMA user_version = 3")
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
        store.put([ok(trial(), [0, 0, 1, 1, 2], KEY)])
    change(path, f"UPDATE answers SET names = CAST({names} AS TEXT)")
    with pytest.raises(StoreError, match=match) as caught, Store(path, create=False) as store:
        list(store.records())
    assert str(caught.value).startswith(f"{path}: ")
    assert "with text" not in str(caught.value)


def test_looks_count_settings_of_hyper_parameters(path):
    of = [trial(parameters=(("a", float(a)),), version=v) for v, a in ((1, 1), (2, 1), (2, 2))]
    with Store(path) as store:
        for item in of:
            store.plan({}, [item, trial(seed=1, parameters=item.parameters)], pairs=PAIRS)
        store.put([ok(item, [0, 0, 1, 1, 2], KEY) for item in of])
        found = store.looks()
    assert found[["method", "version", "evaluations"]].to_numpy().tolist() == [
        ["logistic", 1, 1],
        ["logistic", 2, 2],
    ]


def test_several_calls_are_stored_together_or_not_at_all(store):
    with pytest.raises(StoreError, match="JSON"), store.transaction():  # noqa: PT012
        store.put([ok(trial(), [0, 0, 1, 1, 2], KEY)])
        store.plan({"where": Path("x")}, [trial()], pairs=PAIRS)
    assert list(store.records()) == []


def test_a_full_disk_has_a_remedy_that_needs_no_plan(store):
    pages = store.query("PRAGMA page_count")[0][0]
    store.query(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match=r"disk is full; make room and repeat the command"):
        store.put([ok(trial(seed=seed), [0, 0, 1, 1, 2], KEY) for seed in range(200)])
    assert list(store.records()) == []
