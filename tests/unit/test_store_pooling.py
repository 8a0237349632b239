"""Files of several laboratories in one results file: pools, conflicts, answers that differ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from clser_bench.store import parquet as files
from clser_bench.store.parquet import FaultyError
from clser_bench.store.sqlite import Store
from tests import boards
from tests.exports import cleaned, dump, read, shown, take
from tests.records import answer_key, hole, ok, trial


def test_halves_by_method_give_the_whole(ours, tmp_path):
    halves = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    names = [("sere", "dann"), ("logistic", "chance", "within-target", "lacking")]
    for path, methods in zip(halves, names, strict=True):
        files.write(ours, path, methods=methods)
        assert {entry.trial.method for entry in read(path).entries} == set(methods)
    whole = cleaned(shown(ours))
    for order in itertools.permutations(halves):
        pool = tmp_path / f"{order[0].stem}.sqlite"
        take(pool, *order)
        assert shown(pool) == whole


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
            store.plan({}, [item.trial for item in members], pairs=boards.PAIRS)
            store.put(members)
        files.write(tmp_path / f"{name}.sqlite", tmp_path / f"{name}.parquet")
    own, *others = [name for name in parts if name != "whole"]
    merged = take(tmp_path / f"{own}.sqlite", *(tmp_path / f"{name}.parquet" for name in others))
    assert not merged.apart
    assert shown(tmp_path / f"{own}.sqlite") == shown(tmp_path / "whole.sqlite")


def test_another_result_is_told_and_never_overwrites(ours, file, tmp_path):
    theirs = tmp_path / "theirs.sqlite"
    mine = ok(trial("sere"), [0] * 24, boards.KEY)
    with Store(theirs) as store:
        store.plan({}, [mine.trial], pairs=boards.PAIRS)
        store.put([mine])
    merged = take(theirs, file)
    (conflict,) = merged.conflicts
    assert conflict.trial.id == mine.trial.id
    assert conflict.here == pytest.approx(100 / 3)
    with Store(ours) as store, Store(theirs) as pool:
        assert conflict.there == store.uars([mine.trial.id])[mine.trial.id]
        assert pool.uars([mine.trial.id]) == {mine.trial.id: conflict.here}
        assert merged.added + merged.missing + 1 == store.frame()["trial"].nunique()
    assert take(theirs, file).conflicts == merged.conflicts


def test_a_result_fills_a_hole_and_a_hole_no_result(tmp_path):
    full, empty = tmp_path / "full.sqlite", tmp_path / "empty.sqlite"
    of = trial("sere")
    for path, record in ((full, ok(of, [1] * 24, boards.KEY)), (empty, hole(of))):
        with Store(path) as store:
            store.plan({}, [of], pairs=boards.PAIRS)
            store.put([record])
        files.write(path, path.with_suffix(".parquet"))
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
    files.write(other, tmp_path / "other.parquet")
    merged = take(own, tmp_path / "other.parquet")
    assert [method for _, method in merged.apart] == ["sere"]
    after = [row for row in shown(own).splitlines() if ",sere," in row]
    kept = [row.split(",")[:13] for row in after]
    assert kept == [row.split(",")[:13] for row in before]
    assert not take(own, tmp_path / "other.parquet").added


def test_other_answers_to_the_same_problem_are_refused(ours, tmp_path):
    path = tmp_path / "forged.sqlite"
    key = answer_key([0] * 12 + [1] * 6 + [2] * 6, speakers="aabbcc" * 4)
    with Store(path) as store:
        store.plan({}, [trial("mine")], pairs=boards.PAIRS)
        store.put([ok(trial("mine"), key.y.tolist(), key)])
    forged = tmp_path / "forged.parquet"
    files.write(path, forged)
    before = dump(ours)
    with pytest.raises(FaultyError, match=r"row 1: other answers to the same problem \(B→C"):
        take(ours, forged)
    assert dump(ours) == before
    files.write(ours, tmp_path / "ours.parquet")
    with pytest.raises(FaultyError, match="other answers to the same problem"):
        take(tmp_path / "new.sqlite", tmp_path / "ours.parquet", forged)
    assert not (tmp_path / "new.sqlite").exists()


def test_results_without_scores_take_them_from_a_later_file(tmp_path):
    results, pool = tmp_path / "ours.sqlite", tmp_path / "pool.sqlite"
    with Store(results) as store:
        boards.run(store, {"sere": 18})
    plain, full = tmp_path / "plain.parquet", tmp_path / "full.parquet"
    files.write(results, plain)
    files.write(results, full, scores=True)
    assert take(pool, plain).scored == 0
    with Store(pool) as store:
        assert {len(record.scores) for record in store.records()} == {0}
        assert store.verify() == ()
    merged = take(pool, full)
    assert (merged.added, merged.known, merged.scored) == (0, 4, 4)
    with Store(results) as store, Store(pool) as copy:
        for record, twin in zip(store.records(), copy.records(), strict=True):
            assert np.array_equal(record.scores, twin.scores)
    before = dump(pool)
    assert [take(pool, path).scored for path in (full, plain)] == [0, 0]
    assert dump(pool) == before


def test_scores_of_another_result_are_not_taken(tmp_path):
    pool, other = tmp_path / "pool.sqlite", tmp_path / "other.sqlite"
    for path, guess in ((pool, 0), (other, 1)):
        with Store(path) as store:
            store.plan({}, [trial("sere")], pairs=boards.PAIRS)
            store.put([ok(trial("sere"), [guess] * 24, boards.KEY)])
        files.write(path, path.with_suffix(".parquet"), scores=path == other)
    pool.unlink()
    take(pool, pool.with_suffix(".parquet"))
    merged = take(pool, other.with_suffix(".parquet"))
    assert (len(merged.conflicts), merged.scored) == (1, 0)
