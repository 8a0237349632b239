"""Searches ask within the space, without repeating themselves, and learn where they say so.

And populations of points are cut into packs in the order of their trials.
"""

from __future__ import annotations

import builtins
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.errors import MissingExtraError, SpecError
from clser_bench.hyperparameters import Dimension
from clser_bench.problem import Job, Trial
from clser_bench.run.plan import Pack, chunks, cut
from clser_bench.run.samplers import SEARCHES, Search, Values, grid, new_search
from clser_bench.run.sweep import rungs
from clser_bench.train.check import example_problem
from tests.records import trial

RATE = Dimension(name="rate", low=0.001, high=1.0, log=True)
SHARE = Dimension(name="share", low=0.1, high=0.9)
ROUNDS = Dimension(name="rounds", low=0, high=5, whole=True)
PROBLEM = example_problem()
KIND = Dimension(name="kind", choices=("a", "b", "c"))
FLAG = Dimension(name="flag", choices=(False, True))
SPACE = (RATE, SHARE, ROUNDS, KIND, FLAG)

dimensions = st.lists(st.sampled_from(SPACE), min_size=1, max_size=4, unique=True)


def everything(search: Search, *, population: int = 7, value: float = 0.0) -> list[Values]:
    points: list[Values] = []
    while asked := search.ask(population):
        assert len(asked) <= population
        points += asked
        search.tell([value] * len(asked))
    return points


def inside(dimension: Dimension, value: object) -> bool:
    if dimension.choices:
        return value in dimension.choices
    assert isinstance(value, int | float)
    kind = int if dimension.whole else float
    return type(value) is kind and dimension.low <= value <= dimension.high


@settings(max_examples=30, deadline=None)
@given(dimensions, st.sampled_from(["sobol", "random"]), st.integers(1, 70), st.integers(0, 99))
def test_drawn_points_lie_in_the_space_once_each(
    space: list[Dimension], name: str, samples: int, seed: int
) -> None:
    points = everything(new_search(name, space, samples=samples, seed=seed))
    assert len(points) == len(set(points)) <= samples
    assert all(inside(d, value) for point in points for d, value in zip(space, point, strict=True))
    if any(not d.choices and not d.whole for d in space):
        assert len(points) == samples
    again = everything(new_search(name, space, samples=samples, seed=seed), population=3)
    assert again == points, "neither the clock nor the population has a say"


@pytest.mark.parametrize("name", ["sobol", "random", "optuna"])
def test_another_seed_gives_other_points(name: str) -> None:
    one, other = (everything(new_search(name, SPACE, samples=8, seed=seed)) for seed in (0, 1))
    assert not set(one) & set(other)


def test_sobol_points_are_balanced_where_random_ones_are_not() -> None:
    """Of 64 points of a net each quarter of each range holds 16."""
    space = (Dimension(name="x"), Dimension(name="y"))
    points = np.array(everything(new_search("sobol", space, samples=64, seed=5)), float)
    for column in points.T:
        assert np.histogram(column, bins=4, range=(0, 1))[0].tolist() == [16] * 4
    drawn = np.array(everything(new_search("random", space, samples=64, seed=5)), float)
    assert np.histogram(drawn[:, 0], bins=4, range=(0, 1))[0].tolist() != [16] * 4


def test_more_points_of_sobol_go_on_where_fewer_ended() -> None:
    few, many = (everything(new_search("sobol", SPACE, samples=n, seed=2)) for n in (5, 13))
    assert many[:5] == few


def test_logarithmic_ranges_are_even_in_logarithms() -> None:
    points = everything(new_search("sobol", (RATE,), samples=64, seed=0))
    decades = np.histogram([math.log10(float(v)) for (v,) in points], bins=3, range=(-3, 0))[0]
    assert decades.min() >= 20


def test_grid_levels_by_hand() -> None:
    assert grid((SHARE,), samples=2) == [(0.1,), (0.9,)]
    assert grid((SHARE,), samples=4) == [
        (0.1,),
        (pytest.approx(0.366667, abs=1e-6),),
        (pytest.approx(0.633333, abs=1e-6),),
        (0.9,),
    ]
    assert grid((RATE,), samples=4) == [(0.001,), (0.01,), (0.1,), (1.0,)]
    assert grid((FLAG, KIND), samples=6) == [
        (flag, kind) for flag in (False, True) for kind in ("a", "b", "c")
    ]


def test_a_grid_takes_as_many_levels_as_fit() -> None:
    """Three kinds; 2, 3 or 4 levels of two ranges: 12, 27 or 48 points."""
    for samples, size in ((12, 12), (26, 12), (27, 27), (47, 27), (48, 48)):
        points = grid((RATE, KIND, SHARE), samples=samples)
        assert len(points) == len(set(points)) == size


@pytest.mark.parametrize("samples", [6, 7, 1000])
def test_integers_have_no_more_levels_than_there_are(samples: int) -> None:
    assert grid((ROUNDS,), samples=samples) == [(value,) for value in range(6)]


def test_a_grid_of_integers_beside_a_range_goes_on_to_refine_the_range() -> None:
    points = grid((ROUNDS, SHARE), samples=60)
    assert len(points) == 6 * 10
    assert len({share for _, share in points}) == 10


def test_a_logarithmic_range_of_integers_has_each_once() -> None:
    """Levels that round to the same integer are one; the grid must still come to an end."""
    whole = Dimension(name="n", low=1, high=9, log=True, whole=True)
    points = grid((whole,), samples=50)
    assert len(points) == len(set(points))
    assert points[0] == (1,)
    assert points[-1] == (9,)


@pytest.mark.parametrize("high", [9, 40, 100])
def test_a_logarithmic_range_of_integers_is_refined_as_far_as_fits(high: int) -> None:
    whole = Dimension(name="n", low=1, high=high, log=True, whole=True)
    few, many = (len(grid((whole,), samples=samples)) for samples in (5, 1000))
    assert few < many


def test_a_grid_that_does_not_fit_says_what_to_do() -> None:
    with pytest.raises(SpecError) as error:
        grid((RATE, SHARE, KIND), samples=11)
    for words in ("3 hyper-parameters", "12 points", "--samples is 11", "--search sobol"):
        assert words in str(error.value)


def test_an_unknown_search_names_its_neighbour() -> None:
    with pytest.raises(SpecError, match="search 'optunna' is unknown; did you mean 'optuna'"):
        new_search("optunna", SPACE, samples=3, seed=0)
    assert all(new_search(name, (FLAG,), samples=3, seed=0) for name in SEARCHES)


def test_optuna_stays_within_the_space_and_stops() -> None:
    points = everything(new_search("optuna", SPACE, samples=25, seed=1), population=10)
    assert len(points) == 25
    assert all(inside(d, v) for point in points for d, v in zip(SPACE, point, strict=True))


def learnt(values: list[float]) -> Any:
    """Studies of a space of one range that was told some values; its next points."""
    search = new_search("optuna", (Dimension(name="x"),), samples=20 + len(values), seed=4)
    asked = search.ask(len(values))
    search.tell(values)
    return asked, search.ask(20)


def test_optuna_is_told_the_objectives_and_goes_up() -> None:
    """The nearer to 1 the better, then the nearer to 0: the next points follow."""
    asked, _ = learnt([0.0] * 30)
    shares = [float(x) for (x,) in asked]
    same, up = learnt(shares)
    _, down = learnt([-share for share in shares])
    assert same == asked
    assert np.mean(up) > 0.7
    assert np.mean(down) < 0.3


def test_optuna_takes_a_hole_for_a_failure() -> None:
    asked, after = learnt([math.nan] * 12)
    assert len(asked) == 12
    assert all(0 <= float(x) <= 1 for (x,) in after)


def test_optuna_learns_from_the_points_without_holes() -> None:
    asked, _ = learnt([0.0] * 30)
    shares = [float(x) for (x,) in asked]
    _, after = learnt([share if number % 3 else math.nan for number, share in enumerate(shares)])
    assert np.mean(after) > 0.7


def test_optuna_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"--search optuna needs .*clser-bench\[optuna\]"):
        new_search("optuna", SPACE, samples=3, seed=0)


@pytest.mark.parametrize(
    ("draws", "halving", "expected"),
    [
        (5, 0, (5,)),
        (1, 2, (1,)),
        (8, 2, (1, 2, 4, 8)),
        (5, 2, (1, 2, 3, 5)),
        (10, 3, (1, 2, 4, 10)),
        (3, 100, (1, 3)),
    ],
)
def test_rungs_by_hand(draws: int, halving: int, expected: tuple[int, ...]) -> None:
    assert rungs(draws, halving) == expected


@given(st.integers(1, 200), st.integers(2, 20))
def test_rungs_rise_from_one_draw_to_all(draws: int, halving: int) -> None:
    found = rungs(draws, halving)
    assert found[0] == 1
    assert found[-1] == draws
    assert all(high <= halving * low for low, high in itertools.pairwise(found))


def population(points: int, draws: int) -> list[Trial]:
    """Points that differ in a real value, draw by draw."""
    return [
        trial("dann", seed=seed, parameters=(("weight", float(number)),))
        for number in range(points)
        for seed in range(draws)
    ]


def cut_mixed(trials: list[Trial], *, limit: int, **more: set[str]) -> list[list[str]]:
    jobs = {
        one.id: (
            Job(
                id=one.id,
                method=one.method,
                parameters=one.parameters,
                problem=PROBLEM,
                seed=one.seed,
            ),
        )
        for one in trials
    }
    packs: tuple[Pack, ...] = cut(
        trials,
        jobs,
        open_ids=more.get("open_ids", {one.id for one in trials}),
        failed_ids=more.get("failed_ids", set()),
        grouping=(lambda job: job.method, lambda _job: limit),
        mixed=True,
    )
    return sorted([job.id for job in pack.jobs] for pack in packs)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9), st.integers(1, 4), st.integers(1, 20), st.integers(1, 2))
def test_chunks_hold_every_trial_once_in_order(
    points: int, draws: int, limit: int, folds: int
) -> None:
    trials = population(points, draws)
    made = chunks(trials, folds=folds, limit=limit)
    assert [one.id for block in made for one in block] == [one.id for one in trials]
    fit = max(1, limit // folds)
    assert all(len(block) == fit for block in made[:-1])
    assert all(0 < len(block) <= fit for block in made)


def test_points_of_a_population_share_packs_by_hand() -> None:
    trials = population(3, 2)
    ids = [one.id for one in trials]
    assert cut_mixed(trials, limit=4) == sorted([ids[:4], ids[4:]])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 12), st.data())
def test_what_is_stored_leaves_the_packs_as_they_were(
    points: int, draws: int, limit: int, data: st.DataObject
) -> None:
    trials = population(points, draws)
    packs = cut_mixed(trials, limit=limit)
    left = data.draw(st.lists(st.sampled_from(packs), unique_by=tuple))
    open_ids = {name for pack in left for name in pack}
    assert cut_mixed(trials, limit=limit, open_ids=open_ids) == sorted(left)


def test_a_point_that_failed_gets_a_pack_of_its_own() -> None:
    trials = population(4, 1)
    ids = [one.id for one in trials]
    found = cut_mixed(trials, limit=8, failed_ids={ids[1]})
    assert found == sorted([[ids[1]], [ids[0], ids[2], ids[3]]])
