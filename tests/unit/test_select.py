"""`other-pairs` by hand: four corpora, three configurations."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.problem import Trial
from clser_bench.protocol import Pair
from clser_bench.run.selection import choose_by_other_pairs, others
from tests.records import trial

PAIRS = tuple(Pair(s, t) for s, t in itertools.permutations("BCRO", 2))
VALUES = (1.0, 2.0, 3.0)
Score = Callable[[Trial, int], float | None]


def planned(method: str = "m", *, seeds: int = 2, shots: int = 5) -> list[Trial]:
    more = {"shots": shots, "selection": "other-pairs"}
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


def test_others_touch_neither_end() -> None:
    assert set(others(Pair("B", "C"), PAIRS)) == {Pair("R", "O"), Pair("O", "R")}


def test_the_configuration_that_is_best_on_the_other_two_corpora() -> None:
    """Weight 2 is best between R and O, 3 between B and C, and 1 everywhere else."""

    def score(one: Trial, number: int) -> float:
        ends = {one.pair.source, one.pair.target}
        best = 1 if ends == {"R", "O"} else 2 if ends == {"B", "C"} else 0
        return 50.0 if number == best else 40.0

    found = chosen(planned(), score)
    assert found[Pair("B", "C")] == found[Pair("C", "B")] == 2.0
    assert found[Pair("R", "O")] == found[Pair("O", "R")] == 3.0
    assert {found[pair] for pair in PAIRS if str(pair) in "B→R B→O C→R O→B O→C"} == {1.0}


def test_ties_go_to_the_earlier_configuration() -> None:
    assert set(chosen(planned(), lambda *_: 40.0).values()) == {1.0}
    assert set(chosen(planned(), lambda _, number: 40.0 + (number > 0)).values()) == {2.0}


def test_the_means_of_both_orders_count() -> None:
    table = {("R", "O"): (40, 60, 45), ("O", "R"): (40, 10, 45)}

    def score(one: Trial, number: int) -> float:
        return float(table.get((one.pair.source, one.pair.target), (40, 40, 40))[number])

    assert chosen(planned(), score)[Pair("B", "C")] == 3.0


def test_a_configuration_with_a_hole_elsewhere_cannot_be_chosen() -> None:
    """Weight 3 is best by far, but one draw of R→O failed; of C→B, it does not matter."""

    def score(one: Trial, number: int) -> float | None:
        if number == 2 and (str(one.pair), one.seed) == ("R→O", 1):
            return None
        return 40.0 + 10 * number

    found = chosen(planned(), score)
    assert found[Pair("B", "C")] == found[Pair("C", "B")] == 2.0
    assert {value for pair, value in found.items() if "R" in str(pair)} == {3.0}


def test_the_default_is_taken_where_none_counts() -> None:
    assert set(chosen(planned(), lambda *_: None).values()) == {1.0}


def test_methods_and_shots_choose_for_themselves() -> None:
    trials = planned("a") + planned("b") + planned("a", shots=1)
    best = {("a", 5): 0, ("b", 5): 1, ("a", 1): 2}
    uars = {t.id: 50.0 * (VALUES[best[t.method, int(t.shots)]] == weight(t)) for t in trials}
    made = {(t.method, t.shots, weight(t)) for t in choose(trials, uars)}
    assert made == {("a", 5, 1.0), ("b", 5, 2.0), ("a", 1, 3.0)}


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(0, 71), st.floats(0, 100), min_size=72, max_size=72))
def test_no_result_of_its_own_corpora_moves_a_choice(scores: dict[int, float]) -> None:
    trials = planned()
    pair = Pair("B", "C")

    def found(spoiled: float) -> float:
        uars = {
            one.id: spoiled + number % 7 if {"B", "C"} & {*str(one.pair)} else scores[number]
            for number, one in enumerate(trials)
        }
        return chosen(trials, lambda one, _: uars[one.id])[pair]

    assert found(0.0) == found(50.0)
