"""Results as tables of pandas."""

from __future__ import annotations

import numpy as np

from clser_bench.protocol import Condition
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, TWELVE, run
from tests.records import hole, trial


def test_a_row_for_each_planned_trial_of_the_latest_plan(store: Store) -> None:
    notes = {"m": MethodNote(role="bound", assumes_prior="uniform", note="n")}
    run(store, {"m": 20}, version=1, notes=notes)
    run(store, {"m": 18}, version=2, notes=notes, left_out=[("m", "B→C", 1)])
    store.put([hole(trial("m", "B→C", seed=1, version=2), reason="broke")])
    frame = store.frame()
    assert len(frame) == 4
    assert set(frame.columns) >= set(Condition.__dataclass_fields__)
    assert (set(frame["version"]), set(frame["role"])) == ({2}, {"bound"})
    bad = frame[frame["status"] == "failed"].iloc[0]
    assert (bad["pair"], bad["seed"], bad["reason"]) == ("B→C", 1, "broke")
    assert np.isnan(bad["uar"])
    good = frame[frame["status"] == "ok"]
    assert good["uar"].round(6).eq(75.0).all()
    assert good.iloc[0]["parameters"] == (("c", 0.05), ("steps", 3), ("whiten", True))
    assert good.iloc[0]["emotions"] == ("anger", "happiness", "sadness")


def test_only_what_is_wanted(store: Store) -> None:
    run(store, {"m": 20})
    features = "set:[de=mel,it=mfcc]"
    rules = {"features": features, "alignment": "anchors", "corruption": "noise:-2.5"}
    run(store, {"m": 20}, **rules, shots="all", fixed4=True)
    run(store, {"m": 20}, selection="other-pairs/1", parameters=(("c", 1.0),))
    assert len(store.frame()) == 8
    assert len(store.frame({"corruption": "clean"})) == 4
    found = store.frame({"shots": "all", "features": features})
    assert len(found) == 4
    # fields that one text held are columns
    row = found.iloc[0]
    assert {name: row[name] for name in rules} == rules
    assert (row["shots"], row["classes"], row["suite"]) == ("all", "fixed4", "bc")
    labels = {line.condition.features_label for line in store.lines()}
    assert f"{features}, aligned by anchors, target noise:-2.5" in labels
    assert store.frame({"suite": "none"}).empty
    every = store.frame(candidates=True)
    assert len(every) == 12
    assert set(every[every["selection"] == "other-pairs"]["configuration"]) == {1}


def test_a_row_for_each_utterance(store: Store) -> None:
    trials = run(store, {"m": 18})
    found = store.predictions([item.id for item in trials])
    assert len(found) == len(trials) * len(KEY.y)
    assert list(found.columns) == ["trial", "utterance", "speaker", "y", "predicted"]
    one = found[found["trial"] == trials[0].id]
    for name, values in (("utterance", KEY.names), ("speaker", KEY.speakers), ("y", KEY.y)):
        assert one[name].tolist() == list(values)
    assert (one["y"] == one["predicted"]).sum() == 18
    assert store.predictions([]).empty
    assert {key for key, _, _ in store.predicted([trials[0].id])} == set(store.frame()["answers"])


def test_pairs_of_a_suite_are_those_of_its_largest_plan_first(store: Store) -> None:
    run(store, {"m": 20}, pairs=PAIRS[1:])
    run(store, {"m": 20}, pairs=TWELVE, seeds=1)
    assert store.pairs("bc") == TWELVE
    assert store.pairs("none") == ()
