"""Spaces are read as they were written, samplers propose within them, and grids fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clser_bench import registry
from clser_bench.errors import SpecError
from clser_bench.run.plan import MethodInfo, read_methods
from clser_bench.run.space import (
    ALL,
    GRID,
    Search,
    SearchSpace,
    all_spaces,
    grid,
    read_space,
    rounded,
    sampler,
)
from clser_bench.sweeps import Dimension, distributions
from tests.tiny import write_method

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

TOY = """spaces = {"some": {"share": "0.1:0.9", "rate": "log:0.01:1", "flag": "false,true"}}
    rate: float = hyper(0.1, low=0.001, high=10.0, log=True, grid=(0.1, 0.5), about="x")
    share: float = hyper(0.5, low=0.0, high=1.0, about="x")
    rounds: int = hyper(3, low=0, high=100, about="x")
    kind: str = hyper("a", choices=("a", "b", "c"), grid=("a", "b"), about="x")
    size: int = hyper(8, choices=(4, 8, 16), about="x")
    flag: bool = hyper(False, choices=(False, True), about="x")
    free: float = hyper(1.0, about="x")
    count: int = hyper(1, about="x")"""
"""Every kind of hyper-parameter."""


@pytest.fixture(autouse=True)
def toy(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "space-methods"
    write_method(folder, "toy-space", values=TOY)
    monkeypatch.setenv("CLSER_METHODS", str(folder))


def declared(name: str) -> MethodInfo:
    return read_methods([(name, {})])[0]


def read(*assignments: str, space: str = "") -> SearchSpace:
    return read_space(declared("toy-space"), space, assignments)


def refused(words: list[str], *assignments: str, space: str = "") -> None:
    with pytest.raises(SpecError) as error:
        read(*assignments, space=space)
    assert [word for word in words if word not in str(error.value)] == []


def only(*assignments: str) -> Dimension:
    (dimension,) = read(*assignments).dimensions
    return dimension


numbers = st.floats(0.001, 1)
ends = st.one_of(
    st.tuples(st.sampled_from(["rate", "share"]), numbers, numbers),
    st.tuples(st.just("rounds"), st.integers(1, 100), st.integers(1, 100)),
).filter(lambda item: item[1] != item[2])


@quick
@given(ends, st.sampled_from(["", "log:", "linear:"]))
def test_ranges_round_trip(item, scale):
    name, low, high = item[0], *sorted(item[1:])
    log = name == "rate" if not scale else scale == "log:"
    expected = Dimension(name=name, low=low, high=high, log=log, whole=name == "rounds")
    assert only(f"{name}={scale}{low!r}:{high!r}") == expected


values = {
    "share": st.floats(0, 1),
    "rounds": st.integers(0, 100),
    "kind": st.sampled_from(["a", "b", "c"]),
    "size": st.sampled_from([4, 8, 16]),
    "flag": st.booleans(),
}


@quick
@given(st.data(), st.sampled_from(sorted(values)), st.sampled_from([",", ", "]))
def test_listed_values_round_trip_with_their_types(data, name, comma):
    listed = data.draw(st.lists(values[name], min_size=1, max_size=9, unique=True))
    text = comma.join(str(v).lower() if isinstance(v, bool) else str(v) for v in listed)
    if len(listed) > 1:
        found = only(f"{name}={text}").choices
    else:
        ((fixed, value),) = read(f"{name}={text}", "rate=0.1:1").fixed
        found = (value,)
        assert fixed == name
    assert found == tuple(listed)
    assert [type(value) for value in found] == [type(value) for value in listed]


def test_values_count_once_and_assignments_replace_parts_of_a_space():
    assert only("rounds=1,2,1").choices == (1, 2)
    assert read("rounds=4,4", "flag=TRUE", "rate=0.1:1").fixed == (("flag", True), ("rounds", 4))
    found = read("toy-space.share=0.5", "rounds=1:3", "rate=0.2,0.3", space="some")
    assert [item.name for item in found.dimensions] == ["rate", "rounds", "flag"], "as declared"
    assert found.dimensions[0].choices == (0.2, 0.3)
    assert (found.fixed, found.name) == ((("share", 0.5),), "some")


def test_all_is_everything_that_is_declared_the_spaces_before_the_grid():
    assert set(all_spaces(declared("toy-space"))) == {"some", GRID, ALL}
    grid = {item.name: item.choices for item in read(space=GRID).dimensions}
    assert grid == {"rate": (0.1, 0.5), "kind": ("a", "b")}
    everything = {item.name: item for item in read(space=ALL).dimensions}
    assert set(everything) == {"rate", "share", "kind", "flag"}
    assert everything["rate"] == Dimension(name="rate", low=0.01, high=1.0, log=True)


def test_a_file_reads_like_assignments(tmp_path):
    file = tmp_path / "spaces.toml"
    file.write_text(
        '[toy-space]\nrate = "log:0.01:1"\nrounds = [1, 2, 5]\nkind = "a,c"\n'
        "flag = [true, false]\nshare = 0.25\nsize = 4\n\n[other]\nx = 1\n",
        encoding="utf-8",
    )
    found = read(space=str(file))
    texts = ("rate=log:0.01:1", "rounds=1,2,5", "kind=a,c", "flag=true,false")
    expected = read(*texts, "share=0.25", "size=4")
    assert found.dimensions == expected.dimensions
    assert found.fixed == expected.fixed == (("share", 0.25), ("size", 4))


def test_every_space_of_every_method_can_be_read():
    names = sorted(registry.entries())
    read_methods([(name, {}) for name in names])  # all at once, for the cache
    for name in names:
        made = declared(name)
        for space, texts in all_spaces(made).items():
            if not texts:
                continue
            found = read_space(made, space, ())
            varied = {item.name: item for item in found.dimensions}
            assert set(varied) | {key for key, _ in found.fixed} == set(texts)
            for item in found.dimensions:
                for value in item.choices or (item.low, item.high):
                    made.ranges[item.name].check(item.name, value)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("rate", ["--set 'rate'", "NAME=LOW:HIGH", "NAME=A,B,C", "such as"]),
        ("=1:2", ["--set '=1:2'", "NAME=LOW:HIGH"]),
        ("raet=0.1:1", ["toy-space", "raet", "did you mean 'rate'"]),
        ("rate=a:b", ["toy-space.rate=a:b", "LOW:HIGH", "numbers"]),
        ("rate=1:2:3", ["toy-space.rate=1:2:3", "LOW:HIGH"]),
        ("rate=0.1:11", ["toy-space.rate=11", "0.001 to 10.0"]),
        ("rate=nan:1", ["toy-space.rate=nan", "0.001 to 10.0"]),
        ("rate=0.1,11", ["toy-space.rate=11", "0.001 to 10.0"]),
        ("rate=x,0.1", ["toy-space.rate='x'", "a number is needed"]),
        ("rounds=1.5,2", ["toy-space.rounds='1.5'", "an integer is needed"]),
        ("rounds=1:2.5", ["toy-space.rounds=1:2.5", "integers are needed"]),
        ("flag=1,0", ["toy-space.flag='1'", "true or false is needed"]),
        ("flag=0:1", ["toy-space.flag=0:1", "list values", "toy-space.flag=A,B"]),
        ("kind=a,z", ["toy-space.kind='z'", "'a', 'b', 'c'"]),
        ("size=4:16", ["toy-space.size=4:16", "list values"]),
        ("size=4,5", ["toy-space.size=5", "4, 8, 16"]),
        ("rate=1:0.5", ["toy-space.rate=1", ":0.5", "the first must be the smaller"]),
        ("share=log:0:1", ["toy-space.share=", "begins above 0"]),
        ("free=0:inf", ["inf"]),
        ("rounds=5", ["toy-space", "varies nothing", "--set"]),
    ],
)
def test_what_is_wrong_is_named_with_the_mend(assignment, words):
    refused(words, assignment)


def test_unknown_methods_and_spaces_are_named():
    with pytest.raises(SpecError, match="toy-spcae"):
        declared("toy-spcae")
    refused(["'toy-space'", "'smoe'", "did you mean 'some'", ".toml"], space="smoe")
    with pytest.raises(SpecError, match="varies nothing; give a range with --set"):
        read_space(declared("majority"), ALL, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["cannot be read"]),
        ("[toy-space", ["not valid TOML"]),
        ("\xff\xfe\0", ["spaces.toml: not valid TOML"]),
        ("[other]\nx = 1\n", ["no table [toy-space]"]),
        ("toy-space = 3\n", ["no table [toy-space]"]),
        ("[toy-space]\nrate = {low = 1}\n", ["rate", '"0.1:0.9"', "list"]),
        ("[toy-space]\nraet = 1\n", ["toy-space", "raet", "did you mean 'rate'"]),
        ("[toy-space]\nrounds = []\n", ["toy-space.rounds", "an integer is needed"]),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path, text, words):
    file = tmp_path / "spaces.toml"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    refused(words, space=str(file))


RATE = Dimension(name="rate", low=0.001, high=1.0, log=True)
SHARE = Dimension(name="share", low=0.1, high=0.9)
ROUNDS = Dimension(name="rounds", low=0, high=5, whole=True)
KIND = Dimension(name="kind", choices=("a", "b", "c"))
FLAG = Dimension(name="flag", choices=(False, True))
some = st.lists(
    st.sampled_from((RATE, SHARE, ROUNDS, KIND, FLAG)), min_size=1, max_size=4, unique=True
)


def proposals(name: str, space: Sequence[Dimension], count: int, seed: int = 0, value=None):
    how: dict[str, Any] = {"sampler": name, "samples": count, "population": 4, "seed": seed}
    search = Search(dimensions=tuple(space), **how)
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


@settings(max_examples=20, deadline=None, suppress_health_check=quick.suppress_health_check)
@given(some, st.sampled_from(["sobol", "random", "tpe"]), st.integers(0, 99))
def test_proposals_lie_in_the_space_and_are_the_same_again(space, name, seed):
    found = proposals(name, space, 12, seed)
    assert all(inside(d, value) for one in found for d, value in zip(space, one, strict=True))
    assert proposals(name, space, 12, seed) == found


@pytest.mark.parametrize("name", ["sobol", "random", "tpe"])
def test_another_seed_gives_other_proposals(name):
    one, other = (proposals(name, (RATE, SHARE), 8, seed) for seed in (0, 1))
    assert not set(one[1:]) & set(other[1:])


def test_logarithmic_ranges_are_even_in_logarithms():
    found = proposals("sobol", (RATE,), 64)
    decades = np.histogram([math.log10(float(v)) for (v,) in found], bins=3, range=(-3, 0))[0]
    assert decades.min() >= 20


def test_the_estimator_goes_up():
    found = proposals("tpe", (SHARE,), 60, value=lambda one: -abs(one[0] - 0.3))
    assert np.median(np.abs(np.array(found[30:], float) - 0.3)) < 0.1


def test_grid_levels_by_hand():
    assert grid((SHARE,), samples=2) == {"share": [0.1, 0.9]}
    assert grid((RATE,), samples=4)["rate"] == pytest.approx([0.001, 0.01, 0.1, 1.0])
    assert grid((FLAG, KIND), samples=6) == {"flag": [False, True], "kind": ["a", "b", "c"]}
    for samples in (6, 7, 1000):  # no more integers than there are, each once
        assert grid((ROUNDS,), samples=samples) == {"rounds": list(range(6))}
    whole = Dimension(name="n", low=1, high=9, log=True, whole=True)
    assert grid((whole,), samples=99) == {"n": list(range(1, 10))}


def test_a_grid_takes_as_many_levels_as_fit():
    """Three kinds; 2, 3 or 4 levels of two ranges: 12, 27 or 48 configurations."""
    for samples, size in ((12, 12), (26, 12), (27, 27), (47, 27), (48, 48)):
        axes = grid((RATE, KIND, SHARE), samples=samples)
        assert math.prod(len(set(values)) for values in axes.values()) == size
    with pytest.raises(SpecError, match=r"12 configurations at least, and --samples is 11; raise"):
        grid((RATE, KIND, SHARE), samples=11)
