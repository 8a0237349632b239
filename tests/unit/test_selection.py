"""What a sweep takes for better, and `other-pairs` by hand: four corpora, three configurations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.problem import Labelled, Outcome, Table, Trial
from clser_bench.protocol import Pair
from clser_bench.run import selection
from clser_bench.run.selection import OBJECTIVES, cells, choose_by_other_pairs, objective, others
from clser_bench.scoring import criteria
from clser_bench.scoring.metrics import score
from clser_bench.splits import Fold
from clser_bench.store.records import Record
from clser_bench.train.check import example_problem
from tests.records import answer_key, hole, trial

PAIRS = tuple(Pair(s, t) for s, t in itertools.permutations("BCRO", 2))
VALUES = (1.0, 2.0, 3.0)
Score = Callable[[Trial, int], float | None]


def planned(method: str = "m", *, seeds: int = 2, shots: int = 5) -> list[Trial]:
    more: dict[str, Any] = {"shots": shots, "selection": "other-pairs"}
    return [
        trial(method, str(pair), seed=seed, parameters=(("weight", value),), **more)
        for value in VALUES
        for pair in PAIRS
        for seed in range(seeds)
    ]


def weight(one: Trial) -> float:
    return float(dict(one.parameters)["weight"])


def choose(trials: list[Trial], uars: dict[str, float]) -> tuple[Trial, ...]:
    return choose_by_other_pairs(trials, {t.id: VALUES.index(weight(t)) for t in trials}, uars)


def chosen(trials: list[Trial], score: Score) -> dict[Pair, float]:
    """The weight chosen for each pair."""
    scores = {t.id: score(t, VALUES.index(weight(t))) for t in trials}
    made = choose(trials, {name: value for name, value in scores.items() if value is not None})
    assert {t.id for t in made} <= {t.id for t in trials}
    return {t.pair: weight(t) for t in made}


def test_the_configuration_that_is_best_on_the_other_two_corpora():
    """Weight 2 is best between R and O, 3 between B and C, and 1 everywhere else."""

    def score(one: Trial, number: int) -> float:
        ends = {one.pair.source, one.pair.target}
        best = 1 if ends == {"R", "O"} else 2 if ends == {"B", "C"} else 0
        return 50.0 if number == best else 40.0

    assert set(others(Pair("B", "C"), PAIRS)) == {Pair("R", "O"), Pair("O", "R")}
    found = chosen(planned(), score)
    assert found[Pair("B", "C")] == found[Pair("C", "B")] == 2.0
    assert found[Pair("R", "O")] == found[Pair("O", "R")] == 3.0
    assert {found[pair] for pair in PAIRS if str(pair) in "B→R B→O C→R O→B O→C"} == {1.0}


def test_the_means_of_both_orders_count():
    table = {("R", "O"): (40, 60, 45), ("O", "R"): (40, 10, 45)}

    def score(one: Trial, number: int) -> float:
        return float(table.get((one.pair.source, one.pair.target), (40, 40, 40))[number])

    assert chosen(planned(), score)[Pair("B", "C")] == 3.0


def test_ties_go_to_the_earlier_configuration_and_the_default_is_taken_where_none_counts():
    assert set(chosen(planned(), lambda *_: None).values()) == {1.0}
    assert set(chosen(planned(), lambda *_: 40.0).values()) == {1.0}
    assert set(chosen(planned(), lambda _, number: 40.0 + (number > 0)).values()) == {2.0}


def test_a_configuration_with_a_hole_elsewhere_cannot_be_chosen():
    """Weight 3 is best by far, but one draw of R→O failed; of C→B, it does not matter."""

    def score(one: Trial, number: int) -> float | None:
        if number == 2 and (str(one.pair), one.seed) == ("R→O", 1):
            return None
        return 40.0 + 10 * number

    found = chosen(planned(), score)
    assert found[Pair("B", "C")] == found[Pair("C", "B")] == 2.0
    assert {value for pair, value in found.items() if "R" in str(pair)} == {3.0}


def test_methods_and_shots_choose_for_themselves():
    trials = planned("a") + planned("b") + planned("a", shots=1)
    best = {("a", 5): 0, ("b", 5): 1, ("a", 1): 2}
    uars = {t.id: 50.0 * (VALUES[best[t.method, int(t.shots)]] == weight(t)) for t in trials}
    made = {(t.method, t.shots, weight(t)) for t in choose(trials, uars)}
    assert made == {("a", 5, 1.0), ("b", 5, 2.0), ("a", 1, 3.0)}


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(0, 71), st.floats(0, 100), min_size=72, max_size=72))
def test_no_result_of_its_own_corpora_moves_a_choice(scores):
    trials = planned()
    pair = Pair("B", "C")

    def found(spoiled: float) -> float:
        uars = {
            one.id: spoiled + number % 7 if {"B", "C"} & {*str(one.pair)} else scores[number]
            for number, one in enumerate(trials)
        }
        return chosen(trials, lambda one, _: uars[one.id])[pair]

    assert found(0.0) == found(50.0)


# objectives of stored records

RNG = np.random.default_rng(0)
SCORES = 3 * RNG.standard_normal((30, 3)).astype(np.float32)
Y = RNG.integers(0, 3, 30)
P = np.exp(SCORES.astype(float)) / np.exp(SCORES.astype(float)).sum(1, keepdims=True)
AB = Pair("A", "B")
ARRAYS = ("instants", "summary")


def record(of: Trial, scores: np.ndarray) -> Record:
    outcome = Outcome(id="x", status="ok", scores=np.asarray(scores, np.float32))
    return score(of, [outcome], [answer_key(Y.tolist())], pack="p")


def test_criteria_have_the_names_and_the_signs_of_their_formulas():
    found, none = record(trial(), SCORES), np.zeros(0)
    own = P[np.arange(30), Y]
    weights = RNG.uniform(0.5, 2, 30)
    recalls = [np.mean(P[label == Y].argmax(1) == label) for label in range(3)]
    for name, value in {
        "entropy": np.sum(P * np.log(P), axis=1).mean(),
        "mutual-information": criteria.mutual_information(P),
        "neighbourhood-density": criteria.soft_neighbourhood_density(P),
    }.items():
        assert OBJECTIVES[name].requires == "target"
        assert selection.of_target(name, found) == pytest.approx(value, rel=1e-5)
    assert selection.of_source("source-accuracy", found, none) == pytest.approx(np.mean(recalls))
    assert selection.of_source("source-risk", found, none) == pytest.approx(np.log(own).mean())
    losses = -np.log(own)
    eta = -np.cov(weights * losses, weights)[0, 1] / np.var(weights, ddof=1)
    expected = -(np.mean(weights * losses) + eta * weights.mean() - eta)
    value = selection.of_source("embedded-validation", found, weights)
    assert value == pytest.approx(expected, rel=1e-5)


def test_weights_are_of_held_out_rows_by_the_others_and_the_target(monkeypatch):
    """Rows 0 to 5 of the source's 40 are held out; its rows lie below the target's 36."""
    seen: list[np.ndarray] = []
    drawn: list[float] = []

    def spied(*arrays: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        drawn.append(rng.random())
        seen.extend(arrays)
        return np.arange(6.0)

    whole = example_problem(f=2)
    sides = (whole.target, whole.source)
    instants, summary = (np.concatenate([getattr(s, name) for s in sides]) for name in ARRAYS)
    problem = replace(
        whole,
        target=Table("both", instants, summary),
        labelled=Labelled(np.arange(6, 12), np.arange(6) % 3),
        unlabelled=np.setdiff1d(np.arange(40), np.arange(6, 12)),
        adapt=np.arange(5, 36),
        scored=36 + np.arange(6),
    )
    fold = Fold(problem=problem, key=answer_key([]), order=(np.arange(40), np.arange(76)))
    monkeypatch.setattr(criteria, "importance_weights", spied)
    np.testing.assert_array_equal(selection.importance(fold, seed=0), np.arange(6))
    source, held, target = seen
    selection.importance(fold, seed=0)
    selection.importance(fold, seed=1)
    assert drawn[0] == drawn[1] != drawn[2]
    np.testing.assert_array_equal(source, whole.source.summary[6:])
    np.testing.assert_array_equal(held, whole.source.summary[:6])
    np.testing.assert_array_equal(target, whole.target.summary[5:36])
    assert {array.dtype for array in seen} == {np.dtype(np.float64)}


def no_folds(_: Trial) -> Any:
    raise AssertionError("no problem is looked at")


def one_fold(_: Trial) -> Any:
    return (SimpleNamespace(problem=None),)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_cells_of_stored_trials(store, monkeypatch, name):
    """Agreement compares the configurations of a draw; weights are computed once a draw."""
    chosen = objective(name)
    chosen.refuse_few(10)
    chosen.refuse_few("all")
    configurations = [
        [trial("m", "A→B", seed=seed, parameters=(("x", x),)) for seed in (0, 1)] for x in (0, 1, 2)
    ]
    *most, last = itertools.chain(*configurations)
    records = {one.id: record(one, RNG.standard_normal((30, 3))) for one in most}
    store.put([*records.values(), hole(last)])
    weights, drawn = np.linspace(0.5, 2, 30), []

    def importance(_: object, *, seed: int) -> np.ndarray:
        drawn.append(seed)
        return weights

    monkeypatch.setattr(selection, "importance", importance)
    weighted = name == "embedded-validation"
    folds = one_fold if weighted else no_folds
    found = cells(chosen, configurations, store=store, folds=folds)
    assert sorted(drawn) == [0, 1] * weighted
    assert [sorted(one) for one in found] == [[(AB, 0), (AB, 1)]] * 2 + [[(AB, 0)]]
    for seed in (0, 1):
        ids = [members[seed].id for members in configurations]
        own = [records[one] for one in ids if one in records]
        if name == "agreement":
            p = np.stack([criteria.probabilities(each.scores) for each in own])
            expected = list(criteria.ensemble_agreement(p))
        elif chosen.requires == "labels":
            expected = [one.metrics.uar for one in own if one.metrics]
        elif chosen.requires == "target":
            expected = [selection.of_target(name, one) for one in own]
        else:
            expected = [selection.of_source(name, one, weights) for one in own]
        np.testing.assert_allclose([f[AB, seed] for f in found if (AB, seed) in f], expected)
        assert np.isfinite(expected).all()
