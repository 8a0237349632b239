"""What a sweep varies, and what came of it.

One grammar for what a method declares, for the command line and for a TOML file: a text for each
hyper-parameter.

    0.1:0.9         a range; logarithmic where the method says so
    log:0.01:1      a logarithmic range
    linear:0.01:1   an even one
    5,10,20         listed values
    100             one value, which is then fixed

With x[p, s] the objective of configuration p in draw s (a mean over the pairs), over n draws:

    mean = sum_s x[p, s] / n            sd = sqrt(sum_s (x[p, s] - mean)² / (n - 1))
    interval = mean ± t(0.975; n - 1) · sd / sqrt(n)

The gain is the same of x[p, s] - x[0, s] over the draws that both configurations have. The
inference is conditional on the pairs: draws are exchangeable, corpora are taken as given.

The best of many configurations owes part of its mean to luck in these very draws (the winner's
curse). So the draws are parted into halves A (first, third, …) and B:

    estimate = (mean of x[a, s] over s in B  +  mean of x[b, s] over s in A) / 2

where a has the highest mean over A and b that over B. Each summand is read on draws that took no
part in its choice. Choices by half of the draws are a little worse than by all, so it errs to the
low side. Draws that decided which configurations stopped early belong to the choice alone, and
only the later ones are parted; with a single later draw there is one summand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

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


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A mean over draws; with one draw there is neither deviation nor interval.

    Attributes:
        mean: over the draws.
        n: number of draws.
        std: sample standard deviation.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    mean: float
    n: int
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class SplitHalfEstimate:
    """What a choice like this one gives on draws that took no part in it.

    Attributes:
        value: of the objective.
        gain: over the default on the same draws; None where that lacks one of them.
        chosen: numbers of the configurations, one for each half that was read.
        read: how many draws each of them was read on.
        candidates: configurations that were chosen among.
    """

    value: float
    gain: float | None
    chosen: tuple[int, ...]
    read: tuple[int, ...]
    candidates: int


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The best configuration of a sweep and what is known of it.

    Attributes:
        best: None where none was run to the end.
        objective: of the best one.
        gain: over the default, paired by draw; None where the default is the best or has no draw.
        apart: None where there are too few draws.
        reason: why something is missing; empty where nothing is.
    """

    best: Configuration | None
    objective: Measured | None = None
    gain: Measured | None = None
    apart: SplitHalfEstimate | None = None
    reason: str = ""


def choose(result: SweepResult) -> Chosen:
    """The best configuration, its objective, its gain and the estimate on other draws."""
    by_number = {one.number: one for one in result.configurations}
    best, default = by_number.get(result.best), by_number.get(0)
    if best is None or not best.draws:
        return Chosen(best=None, reason="no configuration was run to the end")
    apart, gain, reasons = split_half(result), None, []
    if len(best.draws) == 1:
        reasons.append("one draw: no interval")
    if apart is None:
        reasons.append("too few draws to choose on some and read on others")
    if default is None or not default.draws:
        why = f": {default.reason}" if default is not None and default.reason else ""
        reasons.append(f"the default has no objective{why}")
    elif default is not best:
        gain = measured([x - y for x, y in zip(best.draws, default.draws, strict=False)])
    return Chosen(
        best=best,
        objective=measured(best.draws),
        gain=gain,
        apart=apart,
        reason="; ".join(reasons),
    )


def measured(draws: Sequence[float]) -> Measured:
    """Mean over draws, with a t interval where there are two or more.

    Raises:
        ValueError: there is no draw.
    """
    if not draws:
        raise ValueError("there is no draw to take the mean of")
    values = np.asarray(draws, dtype=np.float64)
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return Measured(mean=mean, n=1)
    std = float(values.std(ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * std / n**0.5
    return Measured(mean=mean, n=n, std=std, low=mean - half, high=mean + half)


def finished(result: SweepResult) -> tuple[Configuration, ...]:
    """The configurations that were run to the end, among which the best is chosen."""
    return tuple(one for one in result.configurations if len(one.draws) >= max(1, result.seeds))


def split_half(result: SweepResult) -> SplitHalfEstimate | None:
    """Choose on some draws and read on others, both ways round; see the top of this file.

    Returns:
        None where no configuration was run to the end, or no draw is left to read.
    """
    whole = finished(result)
    early = [c for c in result.configurations if 0 < len(c.draws) < result.seeds and not c.reason]
    later = range(max((len(one.draws) for one in early), default=0), result.seeds)
    halves = [half for half in (later[0::2], later[1::2]) if half]
    if not whole or result.seeds < 2 or not halves:
        return None
    values = np.array([one.draws[: result.seeds] for one in whole], dtype=np.float64)
    default = next((row for row, one in enumerate(whole) if one.number == 0), None)
    rows, read, gains = [], [], []
    for half in halves:
        choosing = [draw for draw in range(result.seeds) if draw not in half]
        row = int(values[:, choosing].mean(axis=1).argmax())
        rows.append(row)
        read.append(values[row, half].mean())
        if default is not None:
            gains.append((values[row, half] - values[default, half]).mean())
    return SplitHalfEstimate(
        value=float(np.mean(read)),
        gain=float(np.mean(gains)) if gains else None,
        chosen=tuple(whole[row].number for row in rows),
        read=tuple(map(len, halves)),
        candidates=len(whole),
    )


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


def distributions(dimensions: Iterable[Dimension]) -> dict[str, Any]:
    """The space as Optuna writes it."""
    from optuna import distributions as kinds  # noqa: PLC0415 (slow to import)

    found: dict[str, Any] = {}
    for item in dimensions:
        if item.choices:
            found[item.name] = kinds.CategoricalDistribution(item.choices)
        elif item.whole:
            found[item.name] = kinds.IntDistribution(int(item.low), int(item.high), log=item.log)
        else:
            found[item.name] = kinds.FloatDistribution(item.low, item.high, log=item.log)
    return found
