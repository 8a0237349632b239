"""Samplers propose within the space, evenly and the same again; grids fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.errors import SpecError
from clser_bench.problem import Value
from clser_bench.run.space import Search, grid, rounded, sampler
from clser_bench.sweeps import Dimension, distributions

RATE = Dimension(name="rate", low=0.001, high=1.0, log=True)
SHARE = Dimension(name="share", low=0.1, high=0.9)
ROUNDS = Dimension(name="rounds", low=0, high=5, whole=True)
KIND = Dimension(name="kind", choices=("a", "b", "c"))
FLAG = Dimension(name="flag", choices=(False, True))
SPACE = (RATE, SHARE, ROUNDS, KIND, FLAG)

spaces = st.lists(st.sampled_from(SPACE), min_size=1, max_size=4, unique=True)


def proposals(
    name: str, space: Sequence[Dimension], count: int, *, seed: int = 0, value: Any = None
) -> list[tuple[Value, ...]]:
    search = Search(
        dimensions=tuple(space), sampler=name, samples=count, population=4, seed=seed
    )  # fmt: skip
    study = optuna.create_study(direction="maximize", sampler=sampler(search))
    found = []
    for _ in range(count):
        trial = study.ask(distributions(space))
        found.append(rounded(space, trial.params))
        study.tell(trial, 0.0 if value is None else value(found[-1]))
    return found


def inside(dimension: Dimension, value: object) -> bool:
    if dimension.choices:
        return value in dimension.choices
    assert isinstance(value, int | float)
    kind = int if dimension.whole else float
    return type(value) is kind and dimension.low <= value <= dimension.high


@settings(max_examples=20, deadline=None)
@given(spaces, st.sampled_from(["sobol", "random", "tpe"]), st.integers(0, 99))
def test_proposals_lie_in_the_space_and_are_the_same_again(
    space: list[Dimension], name: str, seed: int
) -> None:
    found = proposals(name, space, 12, seed=seed)
    assert all(inside(d, value) for one in found for d, value in zip(space, one, strict=True))
    assert proposals(name, space, 12, seed=seed) == found


@pytest.mark.parametrize("name", ["sobol", "random", "tpe"])
def test_another_seed_gives_other_proposals(name: str) -> None:
    one, other = (proposals(name, SPACE[:2], 8, seed=seed) for seed in (0, 1))
    assert not set(one[1:]) & set(other[1:])


def test_logarithmic_ranges_are_even_in_logarithms() -> None:
    found = proposals("sobol", (RATE,), 64)
    decades = np.histogram([math.log10(float(v)) for (v,) in found], bins=3, range=(-3, 0))[0]
    assert decades.min() >= 20


def test_the_estimator_goes_up() -> None:
    found = proposals("tpe", (SHARE,), 60, value=lambda one: -abs(one[0] - 0.3))
    late = np.array(found[30:], float)
    assert np.median(np.abs(late - 0.3)) < 0.1


def test_grid_levels_by_hand() -> None:
    assert grid((SHARE,), samples=2) == {"share": [0.1, 0.9]}
    assert grid((RATE,), samples=4)["rate"] == pytest.approx([0.001, 0.01, 0.1, 1.0])
    assert grid((FLAG, KIND), samples=6) == {"flag": [False, True], "kind": ["a", "b", "c"]}


def test_a_grid_takes_as_many_levels_as_fit() -> None:
    """Three kinds; 2, 3 or 4 levels of two ranges: 12, 27 or 48 configurations."""
    for samples, size in ((12, 12), (26, 12), (27, 27), (47, 27), (48, 48)):
        axes = grid((RATE, KIND, SHARE), samples=samples)
        assert math.prod(len(set(values)) for values in axes.values()) == size


@pytest.mark.parametrize("samples", [6, 7, 1000])
def test_integers_have_no_more_levels_than_there_are(samples: int) -> None:
    assert grid((ROUNDS,), samples=samples) == {"rounds": list(range(6))}


def test_a_logarithmic_range_of_integers_has_each_once() -> None:
    (found,) = grid(
        (Dimension(name="n", low=1, high=9, log=True, whole=True),), samples=99
    ).values()
    assert found == list(range(1, 10))


def test_a_grid_that_does_not_fit_says_what_to_do() -> None:
    with pytest.raises(SpecError, match=r"12 configurations at least, and --samples is 11; raise"):
        grid((RATE, KIND, SHARE), samples=11)
