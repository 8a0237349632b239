"""What a sweep varies, and what came of it.

One grammar for what a method declares, for the command line and for a TOML file: a text for each
hyper-parameter.

    0.1:0.9         a range; logarithmic where the method says so
    log:0.01:1      a logarithmic range
    linear:0.01:1   an even one
    5,10,20         listed values
    100             one value, which is then fixed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.files import read_toml
from clser_bench.hyperparameters import Dimension, Range
from clser_bench.problem import Value

ALL, GRID = "all", "grid"
"""Spaces that every method has: all that it declares, and the values of its grid."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a method declares of its hyper-parameters.

    Attributes:
        method: registered name.
        defaults: every hyper-parameter with its default.
        ranges: what each may be.
        grid: values that a selection tries.
        spaces: name of a space to a text for each hyper-parameter.
    """

    method: str
    defaults: Mapping[str, Value]
    ranges: Mapping[str, Range]
    grid: Mapping[str, Sequence[Value]]
    spaces: Mapping[str, Mapping[str, str]]

    def all_spaces(self) -> dict[str, dict[str, str]]:
        """The spaces by name, each hyper-parameter with its text."""
        grid = {name: ",".join(map(_written, values)) for name, values in self.grid.items()}
        declared = {name: dict(texts) for name, texts in self.spaces.items()}
        everything = dict(grid)
        for texts in declared.values():
            everything.update(texts)
        return {**declared, **({GRID: grid} if grid else {}), ALL: everything}


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What is varied, and what is set to one value.

    Attributes:
        name: as the user wrote it.
        dimensions: what is varied, in the order of declaration.
        fixed: hyper-parameters with one value, sorted by name.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    fixed: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configuration of hyper-parameters and its objective.

    Attributes:
        number: of the configuration; 0 is the default.
        values: of the dimensions, in their order.
        draws: the objective of each draw, its mean over the pairs; larger is better. One that was
            stopped early has fewer; one with a missing result has none for that draw and those
            after it.
        uars: the mean UAR over pairs of each draw, percent; empty where labels of these pairs
            are not to be looked at.
        reason: why there is no objective; empty where there is.
    """

    number: int
    values: tuple[Value, ...]
    draws: tuple[float, ...]
    uars: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A sweep of one method.

    Attributes:
        method: its name.
        dimensions: what was varied.
        objective: name of the objective.
        unit: of its values: `points of UAR`, `nats`, `share`.
        oracle: whether labels of the targets decided; then the best configuration is no result.
        suite: name of the suite.
        pairs: how many ordered pairs.
        features: name of the feature set.
        normalisation: whose statistics the z-scores use.
        shots: labelled utterances of each class.
        seeds: draws of a configuration that was run to the end.
        search: how configurations were taken: `sobol`, `random`, `grid` or `tpe`.
        halving: one in so many went on to more draws, asynchronously, so that which ones did may
            depend on timing; 0 where all were run to the end.
        configurations: all of them, the default first.
        best: number of the best among those that were run to the end.
        command: what makes it again.
        synthetic: whether a corpus is synthetic.
    """

    method: str
    dimensions: tuple[Dimension, ...]
    objective: str
    unit: str
    oracle: bool
    suite: str
    pairs: int
    features: str
    normalisation: str
    shots: str
    seeds: int
    search: str
    halving: int
    configurations: tuple[Configuration, ...]
    best: int
    command: str
    synthetic: bool = False


def read_space(declared: Declared, space: str, assignments: Iterable[str]) -> SearchSpace:
    """The space of a sweep.

    Args:
        declared: by the method.
        space: `all`, `grid`, a space that the method's file declares, or a TOML file with a table
            `[METHOD]`; empty for the assignments alone.
        assignments: `name=text`, which replace or add to it.

    Raises:
        SpecError: the space, a hyper-parameter or a text is unknown or wrong.
    """
    method, ranges = declared.method, declared.ranges
    texts = _texts(declared, space)
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
    read = {
        name: _dimension(f"{method}.{name}", texts[name], ranges[name], declared.defaults[name])
        for name in ranges
        if name in texts
    }
    varied = tuple(item for item in read.values() if len(item.choices) != 1)
    if not varied:
        raise SpecError(f"space '{space}' of '{method}' varies nothing; give a range with --set")
    fixed = {name: item.choices[0] for name, item in read.items() if len(item.choices) == 1}
    return SearchSpace(name=space, dimensions=varied, fixed=tuple(sorted(fixed.items())))


def _texts(declared: Declared, space: str) -> dict[str, str]:
    known = declared.all_spaces()
    if not space:
        return {}  # only what is assigned
    if space in known:
        return dict(known[space])
    if space.endswith(".toml"):
        return _of_file(declared.method, Path(space))
    raise SpecError(
        f"'{declared.method}' declares no space '{space}'{did_you_mean(space, known)}; a file of "
        "spaces ends in .toml"
    )


def _of_file(method: str, file: Path) -> dict[str, str]:
    table = read_toml(file).get(method)
    if not isinstance(table, Mapping) or not table:
        raise SpecError(f"{file}: has no table [{method}] with hyper-parameters")
    return {name: _text(file, name, value) for name, value in table.items()}


def _text(file: Path, name: str, value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, int | float | str) for item in value):
        return ",".join(map(_written, value))
    if isinstance(value, int | float | str):
        return _written(value)
    raise SpecError(f'{file}: {name} must be a text such as "0.1:0.9", a value or a list of values')


def _written(value: float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dimension(name: str, text: str, span: Range, default: Value) -> Dimension:
    """A hyper-parameter's text as a dimension, checked against its range."""
    short = name.partition(".")[2]
    scale, colon, rest = text.partition(":")
    if scale in ("log", "linear") and colon:
        low, high = _ends(name, text, rest)
        log = scale == "log"
    elif colon:
        low, high = _ends(name, text, text)
        log = span.log
    else:
        values = tuple(_value(name, part.strip(), default) for part in text.split(","))
        for value in values:
            span.check(name, value)
        return Dimension(name=short, choices=tuple(dict.fromkeys(values)))
    if span.choices is not None or isinstance(default, bool | str):
        raise SpecError(f"{name}={text}: is no number; list values, such as {name}=A,B")
    whole = isinstance(default, int)
    for end in (low, high):
        span.check(name, end)
        if whole and not end.is_integer():
            raise SpecError(f"{name}={text}: integers are needed")
    try:
        return Dimension(name=short, low=low, high=high, log=log, whole=whole)
    except SpecError as error:
        raise SpecError(f"{name.removesuffix(short)}{error}") from None


def _ends(name: str, text: str, pair: str) -> tuple[float, float]:
    low, colon, high = pair.partition(":")
    try:
        if colon:
            return float(low), float(high)
    except ValueError:
        pass
    raise SpecError(f"{name}={text}: write LOW:HIGH with two numbers")


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
        raise SpecError(
            f"{name}={text!r}: {kinds.get(type(default), 'a text')} is needed"
        ) from None
