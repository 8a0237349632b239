"""What a sweep varies: the grammar of spaces, and Optuna's samplers over them.

One grammar for what a method declares, for the command line and for a TOML file: a text for each
hyper-parameter.

    0.1:0.9         a range; logarithmic where the method says so
    log:0.01:1      a logarithmic range
    linear:0.01:1   an even one
    5,10,20         listed values
    100             one value, which is then fixed
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.files import read_toml
from clser_bench.hashing import seed_of
from clser_bench.problem import Value
from clser_bench.registry import Range
from clser_bench.sweeps import Dimension

if TYPE_CHECKING:
    from clser_bench.run.plan import MethodInfo

ALL, GRID = "all", "grid"
"""Spaces that every method has: all that it declares, and the values of its grid."""

SEARCHES = ("sobol", "random", "grid", "tpe")

TRIES = 200
"""Proposals in a row that were there before, after which a space counts as exhausted."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What is varied, and what is set to one value."""

    name: str  # as the user wrote it
    dimensions: tuple[Dimension, ...]  # what is varied, in the order of declaration
    fixed: tuple[tuple[str, Value], ...]  # hyper-parameters with one value, sorted by name


def all_spaces(info: MethodInfo) -> dict[str, dict[str, str]]:
    """The spaces of a method by name, each hyper-parameter with its text."""
    grid = {name: ",".join(map(_written, values)) for name, values in info.grid.items()}
    declared = {name: dict(texts) for name, texts in info.spaces.items()}
    everything = dict(grid)
    for texts in declared.values():
        everything |= texts
    return {**declared, **({GRID: grid} if grid else {}), ALL: everything}


def read_space(info: MethodInfo, space: str, assignments: Iterable[str]) -> SearchSpace:
    """The space of a sweep; SpecError where it, a hyper-parameter or a text is unknown or wrong.

    `space` is `all`, `grid`, a name that the method's file declares, or a TOML file with a table
    `[METHOD]`, or empty; `assignments` (`name=text`) replace or add to it.
    """
    method, ranges, defaults = info.name, info.ranges, dict(info.parameters)
    texts = _texts(info, space) if space else {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().removeprefix(f"{method}.")
        if not equals or not name or not text.strip():
            raise SpecError(
                f"--set {assignment!r}: write NAME=LOW:HIGH, NAME=A,B,C or NAME=VALUE, such as "
                "source_mass=0.3:10"
            )
        texts[name] = text.strip()
    for name in texts:
        if name not in ranges:
            raise SpecError(
                f"'{method}' has no hyper-parameter '{name}'{did_you_mean(name, ranges)}"
            )
    read = [
        _dimension(f"{method}.", name, texts[name], span, defaults[name])
        for name, span in ranges.items()
        if name in texts
    ]
    varied = tuple(item for item in read if len(item.choices) != 1)
    if not varied:
        raise SpecError(f"space '{space}' of '{method}' varies nothing; give a range with --set")
    fixed = sorted((item.name, item.choices[0]) for item in read if len(item.choices) == 1)
    return SearchSpace(name=space, dimensions=varied, fixed=tuple(fixed))


def _texts(info: MethodInfo, space: str) -> dict[str, str]:
    """The texts of a declared space, or of a file."""
    known = all_spaces(info)
    if space in known:
        return known[space]
    if not space.endswith(".toml"):
        raise SpecError(
            f"'{info.name}' declares no space '{space}'{did_you_mean(space, known)}; a file of "
            "spaces ends in .toml"
        )
    table = read_toml(Path(space)).get(info.name)
    if not isinstance(table, Mapping) or not table:
        raise SpecError(f"{space}: has no table [{info.name}] with hyper-parameters")
    texts = {}
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(item, int | float | str) for item in values):
            raise SpecError(
                f'{space}: {name} must be a text such as "0.1:0.9", a value or a list of values'
            )
        texts[name] = ",".join(map(_written, values))
    return texts


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dimension(method: str, short: str, text: str, span: Range, default: Value) -> Dimension:
    """A hyper-parameter's text as a dimension, checked against its range."""
    name = f"{method}{short}"
    scale, colon, rest = text.partition(":")
    if not colon:
        values = tuple(_value(name, part.strip(), default) for part in text.split(","))
        for value in values:
            span.check(name, value)
        return Dimension(name=short, choices=tuple(dict.fromkeys(values)))
    own_scale = scale in ("log", "linear")
    try:
        low, high = map(float, (rest if own_scale else text).split(":"))
    except ValueError:
        raise SpecError(f"{name}={text}: write LOW:HIGH with two numbers") from None
    if span.choices is not None or isinstance(default, bool | str):
        raise SpecError(f"{name}={text}: is no number; list values, such as {name}=A,B")
    whole = isinstance(default, int)
    for end in (low, high):
        span.check(name, end)
        if whole and not end.is_integer():
            raise SpecError(f"{name}={text}: integers are needed")
    try:
        log = scale == "log" if own_scale else span.log
        return Dimension(name=short, low=low, high=high, log=log, whole=whole)
    except SpecError as error:
        raise SpecError(f"{method}{error}") from None


def _value(name: str, text: str, default: Value) -> Value:
    """A listed value, in the type of the default."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        return float(text) if isinstance(default, float) else text
    except (KeyError, ValueError):
        kinds: Mapping[type, str] = {bool: "true or false", int: "an integer", float: "a number"}
        raise SpecError(f"{name}={text!r}: {kinds[type(default)]} is needed") from None


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which configurations a sweep tries."""

    dimensions: tuple[Dimension, ...]
    sampler: str = SEARCHES[0]  # one of `SEARCHES`
    samples: int = 64  # configurations besides the default; the most of a grid
    population: int = 32  # configurations that run before `tpe` looks at them
    halving: int = 0  # one in so many goes on to more draws; 0 for no early stopping
    seed: int = 0  # of the sampler

    def __post_init__(self) -> None:
        if self.sampler not in SEARCHES:
            near = did_you_mean(self.sampler, SEARCHES)
            raise SpecError(f"search '{self.sampler}' is unknown{near}")
        for what, value in (("samples", self.samples), ("population", self.population)):
            if value < 1:
                raise SpecError(f"{what} {value}: a positive number is needed")
        if self.halving == 1 or self.halving < 0:
            raise SpecError(f"halving {self.halving}: one in 2 or more goes on; 0 for none")
        if self.sampler == "grid":
            grid(self.dimensions, samples=self.samples)

    def rungs(self, draws: int) -> tuple[int, ...]:
        """After which of so many draws a configuration may stop: draws / halving^j, ascending."""
        found = [draws]
        while self.halving and found[-1] > 1:
            found.append(math.ceil(found[-1] / self.halving))
        return tuple(sorted(set(found)))


def sampler(search: Search) -> Any:
    """The sampler of a search; SpecError where a grid does not fit the number of samples.

    `sobol`: a scrambled Sobol' sequence (Owen, J. Complexity 14, 1998), `random`, `grid`: every
    combination, and `tpe`: the tree-structured Parzen estimator (Bergstra et al., NIPS 2011), which
    keeps the configurations of one population apart.
    """
    import optuna  # noqa: PLC0415 (half a second, which `show` need not wait for)

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    seed, kinds = seed_of("sweep", search.seed) % 2**32, optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search.sampler == "grid":
            return kinds.GridSampler(grid(search.dimensions, samples=search.samples), seed=seed)
        if search.sampler == "random":
            return kinds.RandomSampler(seed=seed)
        if search.sampler == "tpe":
            return kinds.TPESampler(seed=seed, constant_liar=True)
        return kinds.QMCSampler(
            qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False
        )


def rounded(dimensions: Sequence[Dimension], values: Mapping[str, Value]) -> tuple[Value, ...]:
    """A configuration in the order of its dimensions, real values to six digits."""
    return tuple(
        values[item.name] if item.choices or item.whole else _real(item, float(values[item.name]))
        for item in dimensions
    )


def _real(item: Dimension, value: float) -> float:
    """A value of a range, to six digits."""
    return min(max(float(f"{value:.6g}"), item.low), item.high)


def grid(dimensions: Sequence[Dimension], *, samples: int) -> dict[str, list[Value]]:
    """Values by dimension, as many levels as fit into `samples`; SpecError where two do not."""
    fitting: dict[str, list[Value]] = {}
    for levels in itertools.count(2):
        axes = {item.name: _levels(item, levels) for item in dimensions}
        size = math.prod(map(len, axes.values()))
        if size > samples:
            break
        fitting = axes
        if all(
            item.choices or (item.whole and levels > item.high - item.low) for item in dimensions
        ):
            return axes  # finer levels give nothing new
    if not fitting:
        raise SpecError(
            f"a grid over {len(dimensions)} hyper-parameters has {size} configurations at least, "
            f"and --samples is {samples}; raise it, vary fewer, or take --search sobol"
        )
    return fitting


def _levels(dimension: Dimension, count: int) -> list[Value]:
    if dimension.choices:
        return list(dimension.choices)
    if dimension.whole:
        count = min(count, int(dimension.high - dimension.low) + 1)
    finer, found = count, _values(dimension, count)
    while dimension.whole and len(found) < count:  # logarithmic: levels round to one integer
        finer += 1
        found = _values(dimension, finer)
    return found


def _values(item: Dimension, count: int) -> list[Value]:
    """Values of a range at even places of its scale, its ends among them, each once."""
    low, high = item.low, item.high
    if item.whole:  # each integer has an equal part, the ends too
        low, high = max(low - 0.5, 0.5) if item.log else low - 0.5, high + 0.5
    made: dict[Value, None] = {}
    for share in np.linspace(0, 1, count).tolist():
        value = low + share * (high - low)
        if item.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        if item.whole:
            made[int(min(max(round(value), math.ceil(item.low)), math.floor(item.high)))] = None
        else:
            made[float(_real(item, value))] = None
    return list(made)
