"""The grammar of spaces: what is read is what was written, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clser_bench import registry
from clser_bench.errors import SpecError
from clser_bench.problem import Value
from clser_bench.run.plan import MethodInfo, read_methods
from clser_bench.run.space import ALL, GRID, SearchSpace, all_spaces, read_space
from clser_bench.sweeps import Dimension

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

TOY = '''"""A method with every kind of hyper-parameter."""
from dataclasses import dataclass
from clser_bench.registry import register
from clser_bench.registry import hyper
from clser_bench.train.contract import Fitted

@register("toy-space", version=1)
class Toy(Fitted):
    """A method with every kind of hyper-parameter."""
    spaces = {"some": {"share": "0.1:0.9", "rate": "log:0.01:1", "flag": "false,true"}}
    rate: float = hyper(0.1, low=0.001, high=10.0, log=True, grid=(0.1, 0.5), about="x")
    share: float = hyper(0.5, low=0.0, high=1.0, about="x")
    rounds: int = hyper(3, low=0, high=100, about="x")
    kind: str = hyper("a", choices=("a", "b", "c"), grid=("a", "b"), about="x")
    size: int = hyper(8, choices=(4, 8, 16), about="x")
    flag: bool = hyper(False, choices=(False, True), about="x")
    free: float = hyper(1.0, about="x")
    count: int = hyper(1, about="x")

    def fit_predict(self, problem, rng):
        raise NotImplementedError
'''


@pytest.fixture(autouse=True)
def toy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "space-methods"
    folder.mkdir(exist_ok=True)
    (folder / "toy_space_for_tests.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setenv("CLSER_METHODS", str(folder))


def declared(name: str) -> MethodInfo:
    return read_methods([(name, {})])[0]


def read(*assignments: str, space: str = "") -> SearchSpace:
    return read_space(declared("toy-space"), space, assignments)


def only(*assignments: str) -> Dimension:
    (dimension,) = read(*assignments).dimensions
    return dimension


ends = st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).filter(lambda e: e[0] != e[1])


@quick
@given(ends, st.sampled_from(["", "log:", "linear:"]), st.sampled_from(["rate", "share"]))
def test_ranges_round_trip(pair: tuple[float, float], scale: str, name: str) -> None:
    low, high = sorted(pair)
    log = name == "rate" if not scale else scale == "log:"
    expected = Dimension(name=name, low=low, high=high, log=log)
    assert only(f"{name}={scale}{low!r}:{high!r}") == expected


@quick
@given(st.integers(0, 99), st.integers(1, 50), st.booleans())
def test_integer_ranges_round_trip(low: int, width: int, log: bool) -> None:
    low, high = low + log, min(100, low + log + width)
    if low == high:
        return
    expected = Dimension(name="rounds", low=low, high=high, log=log, whole=True)
    assert only(f"rounds={'log:' if log else ''}{low}:{high}") == expected


listed = st.one_of(
    st.tuples(st.just("share"), st.lists(st.floats(0, 1), min_size=2, unique=True)),
    st.tuples(st.just("rounds"), st.lists(st.integers(0, 100), min_size=2, unique=True)),
    st.tuples(st.just("kind"), st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, unique=True)),
    st.tuples(st.just("size"), st.lists(st.sampled_from([4, 8, 16]), min_size=2, unique=True)),
    st.tuples(st.just("flag"), st.permutations([False, True])),
)


@quick
@given(listed, st.sampled_from([",", ", "]))
def test_listed_values_round_trip_with_their_types(
    item: tuple[str, list[Value]], comma: str
) -> None:
    name, values = item
    text = comma.join(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
    found = only(f"{name}={text}").choices
    assert found == tuple(values)
    assert [type(value) for value in found] == [type(value) for value in values]


@quick
@given(st.floats(0, 1), st.integers(0, 100))
def test_one_value_is_fixed(share: float, rounds: int) -> None:
    found = read(f"share={share!r}", f"rounds={rounds}", "rate=0.1:1", "flag=TRUE")
    assert [item.name for item in found.dimensions] == ["rate"]
    assert found.fixed == (("flag", True), ("rounds", rounds), ("share", share))


def test_values_count_once_and_dimensions_stand_in_the_order_of_declaration() -> None:
    assert only("rounds=1,2,1").choices == (1, 2)
    assert read("rounds=4,4", "rate=0.1:1").fixed == (("rounds", 4),)
    found = read("rounds=1:3", "share=0:1", "rate=0.1:1")
    assert [item.name for item in found.dimensions] == ["rate", "share", "rounds"]


def test_assignments_add_to_a_space_and_replace_its_parts() -> None:
    found = read("toy-space.share=0.5", "rounds=1:3", "rate=0.2,0.3", space="some")
    assert [item.name for item in found.dimensions] == ["rate", "rounds", "flag"]
    assert found.dimensions[0].choices == (0.2, 0.3)
    assert found.fixed == (("share", 0.5),)
    assert found.name == "some"


def test_all_is_everything_that_is_declared_the_spaces_before_the_grid() -> None:
    assert set(all_spaces(declared("toy-space"))) == {"some", GRID, ALL}
    grid = {item.name: item.choices for item in read(space=GRID).dimensions}
    assert grid == {"rate": (0.1, 0.5), "kind": ("a", "b")}
    everything = {item.name: item for item in read(space=ALL).dimensions}
    assert set(everything) == {"rate", "share", "kind", "flag"}
    assert everything["rate"] == Dimension(name="rate", low=0.01, high=1.0, log=True)


def test_a_file_reads_like_assignments(tmp_path: Path) -> None:
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


def test_every_space_of_every_method_can_be_read() -> None:
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
            if space == GRID:
                assert {key: list(item.choices) for key, item in varied.items()} == {
                    key: list(values) for key, values in made.grid.items() if len(values) > 1
                }


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
def test_what_is_wrong_is_named_with_the_mend(assignment: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as error:
        read(assignment)
    for word in words:
        assert word in str(error.value)


def test_unknown_methods_and_spaces_are_named() -> None:
    with pytest.raises(SpecError, match="toy-spcae"):
        declared("toy-spcae")
    with pytest.raises(SpecError) as error:
        read(space="smoe")
    for word in ("'toy-space'", "'smoe'", "did you mean 'some'", ".toml"):
        assert word in str(error.value)
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
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str | None, words: list[str]) -> None:
    file = tmp_path / "spaces.toml"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SpecError) as error:
        read(space=str(file))
    for word in words:
        assert word in str(error.value)
