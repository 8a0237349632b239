"""Places of a dimension and its values, there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clser_bench.errors import SpecError
from clser_bench.hyperparameters import Dimension

quick = settings(max_examples=80, deadline=None)
shares = st.floats(0, 1)
positive = st.floats(1e-6, 1e6)
any_end = st.floats(-1e6, 1e6)


def ordered(low: float, high: float, *, log: bool) -> Dimension:
    low, high = sorted((low, high))
    assume(high - low > 1e-6 * max(abs(low), abs(high), 1e-6))
    return Dimension(name="x", low=low, high=high, log=log)


@quick
@given(any_end, any_end, shares)
def test_an_even_range_is_even(low: float, high: float, share: float) -> None:
    dimension = ordered(low, high, log=False)
    value = dimension.at(share)
    assert isinstance(value, float)
    assert dimension.low <= value <= dimension.high
    exact = dimension.low + share * (dimension.high - dimension.low)
    assert value == pytest.approx(exact, rel=1e-5, abs=1e-12)


@quick
@given(positive, positive, shares)
def test_a_logarithmic_range_is_even_in_logarithms(low: float, high: float, share: float) -> None:
    dimension = ordered(low, high, log=True)
    value = dimension.at(share)
    assert dimension.low <= float(value) <= dimension.high
    exact = dimension.low * (dimension.high / dimension.low) ** share
    assert value == pytest.approx(exact, rel=1e-5)


@quick
@given(st.floats(0.1, 100), st.floats(2, 50), shares, st.booleans())
def test_a_value_s_place_is_where_it_came_from(
    low: float, factor: float, share: float, log: bool
) -> None:
    dimension = Dimension(name="x", low=low, high=low * factor, log=log)
    assert dimension.place(dimension.at(share)) == pytest.approx(share, abs=1e-4)


@quick
@given(st.integers(-50, 50), st.integers(1, 40), shares)
def test_integers_of_a_range(low: int, width: int, share: float) -> None:
    dimension = Dimension(name="n", low=low, high=low + width, whole=True)
    value = dimension.at(share)
    assert type(value) is int
    assert low <= value <= low + width
    assert (dimension.at(0), dimension.at(1)) == (low, low + width)


def test_each_integer_has_an_equal_part() -> None:
    dimension = Dimension(name="n", low=0, high=4, whole=True)
    middles = (np.arange(1000) + 0.5) / 1000
    found = np.array([dimension.at(share) for share in middles.tolist()])
    assert np.bincount(found).tolist() == [200] * 5


def test_a_logarithmic_range_of_integers_reaches_both_ends() -> None:
    dimension = Dimension(name="n", low=1, high=40, log=True, whole=True)
    found = [dimension.at(share) for share in np.linspace(0, 1, 4001).tolist()]
    assert set(found) == set(range(1, 41))
    counts = np.bincount(found)[1:]
    assert counts[0] > counts[3] > counts[20] > 0


@quick
@given(st.integers(1, 9), shares)
def test_listed_values_have_equal_parts(count: int, share: float) -> None:
    values = tuple(f"v{number}" for number in range(count))
    dimension = Dimension(name="kind", choices=values)
    assert dimension.at(share) == values[min(math.floor(share * count), count - 1)]
    for value in values:
        assert dimension.at(dimension.place(value)) == value


def test_values_outside_have_a_place_too() -> None:
    """The shipped value may lie outside of what is varied; pictures show it there."""
    even = Dimension(name="x", low=1.0, high=3.0)
    assert [even.place(value) for value in (0.0, 2.0, 5.0)] == [-0.5, 0.5, 2.0]
    log = Dimension(name="x", low=0.1, high=10.0, log=True)
    assert log.place(100.0) == pytest.approx(1.5)
    assert log.place(0.0) == 0.0, "nothing below 0 has a logarithm"


def test_booleans_listed_are_not_the_integers_beside_them() -> None:
    assert Dimension(name="flag", choices=(False, True)).at(0.9) is True


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_ends_the_wrong_way_round_are_refused(low: float, high: float) -> None:
    with pytest.raises(SpecError, match=rf"^rate={low}:{high}: the first must be the smaller"):
        Dimension(name="rate", low=low, high=high)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_a_logarithmic_range_begins_above_zero(low: float) -> None:
    with pytest.raises(SpecError, match=rf"^rate={low}:1.0: a logarithmic range begins above 0"):
        Dimension(name="rate", low=low, high=1.0, log=True)


def test_a_value_that_is_not_listed_is_named() -> None:
    with pytest.raises(SpecError, match="kind='z': is none of"):
        Dimension(name="kind", choices=("a", "b")).place("z")


@pytest.mark.parametrize(("low", "high"), [(0.0, math.inf), (-math.inf, 0.0)])
def test_infinite_ends_are_refused(low: float, high: float) -> None:
    with pytest.raises(SpecError, match="rate"):
        Dimension(name="rate", low=low, high=high)
