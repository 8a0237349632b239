"""Which points of a space are tried: all at once, or population by population."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.stats import qmc

from clser_bench.errors import MissingExtraError, SpecError, did_you_mean
from clser_bench.hashing import generator, seed_of
from clser_bench.hyperparameters import Dimension
from clser_bench.problem import Value

Values = tuple[Value, ...]
"""A value for each dimension."""

SEARCHES = ("sobol", "random", "grid", "optuna")


class Search(Protocol):
    """Gives points and is told how good they are."""

    def ask(self, count: int) -> list[Values]:
        """The next points; fewer than asked for where there are no more, none at the end."""

    def tell(self, objectives: Sequence[float]) -> None:
        """What the last points gave; larger is better, NaN where there is nothing."""


def new_search(name: str, dimensions: Sequence[Dimension], *, samples: int, seed: int) -> Search:
    """A search by name.

    Args:
        name: one of `SEARCHES`.
        dimensions: the space.
        samples: points in all.
        seed: of the random ones.

    Raises:
        SpecError: the name is unknown, or a grid does not fit the number of points.
        MissingExtraError: `optuna` is not installed.
    """
    if name == "optuna":
        return _Optuna(dimensions, samples=samples, seed=seed)
    drawn: dict[str, Callable[[], list[Values]]] = {
        "grid": lambda: grid(dimensions, samples=samples),
        "random": lambda: _at(
            dimensions, generator("sweep", seed).random((samples, len(dimensions)))
        ),
        "sobol": lambda: _at(dimensions, _sobol(len(dimensions), samples=samples, seed=seed)),
    }
    if name not in drawn:
        raise SpecError(f"search '{name}' is unknown{did_you_mean(name, SEARCHES)}")
    return _Listed(drawn[name]())


def grid(dimensions: Sequence[Dimension], *, samples: int) -> list[Values]:
    """Every combination: listed values as they are, ranges at as many levels as fit.

    Args:
        dimensions: the space.
        samples: the most points.

    Raises:
        SpecError: even two levels a range are more.
    """
    made: list[Values] = []
    for levels in itertools.count(2):
        axes = [_levels(dimension, levels) for dimension in dimensions]
        size = int(np.prod([len(axis) for axis in axes], dtype=np.float64))
        if size > samples:
            break
        made = [tuple(point) for point in itertools.product(*axes)]
        if all(
            item.choices or (item.whole and levels > item.high - item.low) for item in dimensions
        ):
            return made  # finer levels give nothing new
    if not made:
        raise SpecError(
            f"a grid over {len(dimensions)} hyper-parameters has {size} points at least, and "
            f"--samples is {samples}; raise it, vary fewer, or take --search sobol"
        )
    return made


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


def _values(dimension: Dimension, count: int) -> list[Value]:
    shares = np.linspace(0, 1, count).tolist()
    return list(dict.fromkeys(dimension.at(share) for share in shares))


def _at(dimensions: Sequence[Dimension], shares: np.ndarray) -> list[Values]:
    return [
        tuple(dimension.at(share) for dimension, share in zip(dimensions, row, strict=True))
        for row in shares.tolist()
    ]


def _sobol(dimensions: int, *, samples: int, seed: int) -> np.ndarray:
    """The first points of a scrambled Sobol' sequence [samples, d].

    Reference: Owen, Scrambling Sobol' and Niederreiter-Xing points, J. Complexity 14 (1998).
    """
    sampler = qmc.Sobol(dimensions, scramble=True, rng=generator("sweep", seed))
    points: np.ndarray = sampler.random_base2(max(0, (samples - 1).bit_length()))[:samples]
    return points


class _Listed:
    """Points that do not depend on what came before; each once."""

    def __init__(self, points: Sequence[Values]) -> None:
        self._points = iter(dict.fromkeys(points))

    def ask(self, count: int) -> list[Values]:
        return list(itertools.islice(self._points, count))

    def tell(self, objectives: Sequence[float]) -> None:  # noqa: ARG002 (nothing to learn)
        return


class _Optuna:
    """Tree-structured Parzen estimator of Optuna, population by population."""

    def __init__(self, dimensions: Sequence[Dimension], *, samples: int, seed: int) -> None:
        try:
            import optuna  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise MissingExtraError("--search optuna", extra="optuna") from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = {item.name: _distribution(optuna, item) for item in dimensions}
        self._left = samples
        self._failed = optuna.trial.TrialState.FAIL
        self._study = optuna.create_study(
            direction="maximize",
            # constant liar: the points of one population keep apart
            sampler=optuna.samplers.TPESampler(
                seed=seed_of("sweep", seed) % 2**32, constant_liar=True
            ),
        )
        self._asked: list[Any] = []

    def ask(self, count: int) -> list[Values]:
        count = min(count, self._left)
        self._left -= count
        self._asked = [self._study.ask(self._space) for _ in range(count)]
        return [tuple(trial.params[name] for name in self._space) for trial in self._asked]

    def tell(self, objectives: Sequence[float]) -> None:
        for trial, value in zip(self._asked, objectives, strict=True):
            if np.isnan(value):
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, value)


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    kinds = optuna.distributions
    if dimension.choices:
        return kinds.CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return kinds.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return kinds.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
