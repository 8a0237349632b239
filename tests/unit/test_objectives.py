"""What a sweep takes for better, by plain formulas, and what it looks at to say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import entropy

from clser_bench.problem import Labelled, Outcome, Problem, Table, Trial
from clser_bench.protocol import Pair
from clser_bench.run import selection
from clser_bench.run.selection import OBJECTIVES, cells, objective
from clser_bench.scoring import criteria
from clser_bench.scoring.metrics import score
from clser_bench.splits import Fold
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store
from clser_bench.train.check import example_problem
from tests.records import answer_key, hole, trial

RNG = np.random.default_rng(0)
SCORES = 3 * RNG.standard_normal((30, 3)).astype(np.float32)
Y = RNG.integers(0, 3, 30)
P = np.exp(SCORES.astype(float)) / np.exp(SCORES.astype(float)).sum(1, keepdims=True)
AB = Pair("A", "B")


def record(of: Trial | None = None, scores: np.ndarray = SCORES, y: np.ndarray = Y) -> Record:
    outcome = Outcome(id="x", status="ok", scores=np.asarray(scores, np.float32))
    return score(of or trial(), [outcome], [answer_key(y.tolist())], pack="p")


def density(p: np.ndarray) -> float:
    unit = p / np.linalg.norm(p, axis=1, keepdims=True)
    found = []
    for i in range(len(p)):
        near = np.exp([unit[i] @ unit[j] / 0.05 for j in range(len(p)) if j != i])
        found.append(entropy(near / near.sum()))
    return float(np.mean(found))


def test_criteria_of_the_target_are_their_formulas() -> None:
    rows = np.array([entropy(row) for row in P])
    expected = {
        "entropy": -rows.mean(),
        "mutual-information": entropy(P.mean(0)) - rows.mean(),
        "neighbourhood-density": density(P),
    }
    for name, value in expected.items():
        assert OBJECTIVES[name].requires == "target"
        assert selection.of_target(name, record()) == pytest.approx(value, rel=1e-5)


def test_criteria_of_the_source_are_their_formulas() -> None:
    found = record()
    own = P[np.arange(30), Y]
    recalls = [np.mean(P[label == Y].argmax(1) == label) for label in range(3)]
    none = np.zeros(0)
    assert selection.of_source("source-accuracy", found, none) == pytest.approx(np.mean(recalls))
    assert selection.of_source("source-risk", found, none) == pytest.approx(np.log(own).mean())
    weights = RNG.uniform(0.5, 2, 30)
    losses = -np.log(own)
    eta = -np.cov(weights * losses, weights)[0, 1] / np.var(weights, ddof=1)
    expected = -(np.mean(weights * losses) + eta * weights.mean() - eta)
    value = selection.of_source("embedded-validation", found, weights)
    assert value == pytest.approx(expected, rel=1e-5)


def agreed(records: Sequence[Record]) -> np.ndarray:
    p = np.stack([criteria.probabilities(each.scores) for each in records])
    return np.asarray(criteria.ensemble_agreement(p))


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_ten_shots_or_all_are_enough_for_every_objective(name: str) -> None:
    objective(name).refuse_few(10)
    objective(name).refuse_few("all")


def held_out(shift: float = 0.0) -> Problem:
    """Held-out rows 0 to 5 of 40; the target lies further along the first axis."""
    problem = example_problem(f=2)
    own = problem.source
    summary = np.array(problem.target.summary)
    summary[:, 0] += shift
    both = Table(
        "both",
        np.concatenate([problem.target.instants, own.instants]),
        np.concatenate([summary, own.summary]),
    )
    labelled = Labelled(np.arange(6, 12), np.arange(6, 12) % 3)
    return replace(
        problem,
        target=both,
        labelled=labelled,
        unlabelled=np.setdiff1d(np.arange(40), labelled.rows),
        adapt=np.arange(5, 36),
        scored=36 + np.arange(6),
    )


def fold_of(problem: Problem) -> Fold:
    sides = problem.source, problem.target
    order = tuple(np.arange(len(side)) for side in sides)
    return Fold(problem=problem, key=answer_key([]), order=order)  # type: ignore[arg-type]


def test_weights_are_of_held_out_rows_by_the_others_and_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[np.ndarray] = []

    def spied(*arrays: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert rng is not None
        seen.extend(arrays)
        return np.ones(6)

    problem = held_out()
    monkeypatch.setattr(criteria, "importance_weights", spied)
    selection.importance(fold_of(problem), seed=0)
    source, held, target = seen
    np.testing.assert_array_equal(source, problem.source.summary[6:])
    np.testing.assert_array_equal(held, problem.source.summary[:6])
    np.testing.assert_array_equal(target, problem.target.summary[5:36])
    assert {array.dtype for array in seen} == {np.dtype(np.float64)}


def test_weights_are_larger_nearer_to_the_target_and_ignore_labels() -> None:
    problem = held_out(shift=3.0)
    weights = selection.importance(fold_of(problem), seed=0)
    along = problem.source.summary[:6, 0]
    assert weights.shape == (6,)
    assert weights[np.argmax(along)] > weights[np.argmin(along)]
    other = replace(problem, labelled=Labelled(problem.labelled.rows, problem.labelled.y[::-1]))
    np.testing.assert_array_equal(selection.importance(fold_of(other), seed=0), weights)


def at(number: int, *, seeds: int = 2, **more: Any) -> list[Trial]:
    return [
        trial("m", "A→B", seed=seed, parameters=(("x", float(number)),), **more)
        for seed in range(seeds)
    ]


def no_folds(_: Trial) -> Any:
    raise AssertionError("no problem is looked at")


def filled(store: Store, configurations: Sequence[Sequence[Trial]]) -> dict[str, np.ndarray]:
    """A result with scores of its own for every trial but the last, which fails."""
    scores: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(1)
    *most, last = [one for members in configurations for one in members]
    for one in most:
        scores[one.id] = rng.standard_normal((30, 3)).astype(np.float32)
        store.put([record(one, scores[one.id])])
    store.put([hole(last)])
    return scores


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_cells_of_stored_trials(store: Store, name: str) -> None:
    configurations = [at(0), at(1), at(2)]
    scores = filled(store, configurations)
    weights_of = held_out()

    def folds(_: Trial) -> Any:
        return (fold_of(replace(weights_of, scored=36 + np.arange(30))),)

    chosen = objective(name)
    found = cells(
        chosen,
        configurations,
        store=store,
        folds=folds if name == "embedded-validation" else no_folds,
    )
    assert [sorted(one) for one in found] == [[(AB, 0), (AB, 1)]] * 2 + [[(AB, 0)]]
    for number, members in enumerate(configurations):
        for one in members:
            if one.id not in scores:
                continue
            own = record(one, scores[one.id])
            value = found[number][AB, one.seed]
            if chosen.requires == "labels":
                assert own.metrics
                assert value == pytest.approx(own.metrics.uar)
            elif chosen.requires == "target":
                assert value == pytest.approx(selection.of_target(name, own))
            elif chosen.requires == "source" and name != "embedded-validation":
                assert value == pytest.approx(selection.of_source(name, own, np.zeros(0)))
            assert np.isfinite(value)


def test_agreement_compares_the_configurations_of_one_draw_only(store: Store) -> None:
    configurations = [at(0), at(1), at(2)]
    scores = filled(store, configurations)
    found = cells(objective("agreement"), configurations, store=store, folds=no_folds)
    for seed in (0, 1):
        ids = [members[seed].id for members in configurations if members[seed].id in scores]
        expected = agreed([record(scores=scores[name]) for name in ids])
        np.testing.assert_allclose([f[AB, seed] for f in found if (AB, seed) in f], expected)


def test_weights_are_computed_once_a_pair_and_draw(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    configurations = [at(number) for number in range(3)]
    filled(store, configurations)
    asked: list[int] = []

    def importance(_: object, *, seed: int) -> np.ndarray:
        asked.append(seed)
        return np.linspace(0.5, 2, 30)

    class One:
        problem = None

    monkeypatch.setattr(selection, "importance", importance)
    cells(objective("embedded-validation"), configurations, store=store, folds=lambda _: (One,))  # type: ignore[arg-type, return-value]
    assert sorted(asked) == [0, 1]
