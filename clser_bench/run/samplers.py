"""Which configurations a sweep tries: Optuna's samplers over a space."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from clser_bench.errors import SpecError
from clser_bench.hashing import seed_of
from clser_bench.hyperparameters import Dimension
from clser_bench.problem import Value
from clser_bench.run.schedule import Search

TRIES = 200
"""Proposals in a row that were there before, after which a space counts as exhausted."""

optuna.logging.set_verbosity(optuna.logging.CRITICAL)


def sampler(search: Search) -> Any:
    """The sampler of a search.

    `sobol`: a scrambled Sobol' sequence (Owen, J. Complexity 14, 1998), `random`, `grid`: every
    combination, and `tpe`: the tree-structured Parzen estimator (Bergstra et al., NIPS 2011), which
    keeps the configurations of one population apart.

    Args:
        search: its sampler, seed and dimensions are used.

    Raises:
        SpecError: a grid does not fit the number of samples.
    """
    seed = seed_of("sweep", search.seed) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search.sampler == "grid":
            axes = grid(search.dimensions, samples=search.samples)
            return optuna.samplers.GridSampler(axes, seed=seed)
        if search.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if search.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        return optuna.samplers.QMCSampler(
            qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False
        )


def rounded(dimensions: Sequence[Dimension], values: Mapping[str, Value]) -> tuple[Value, ...]:
    """A configuration in the order of its dimensions, real values to six digits.

    Args:
        dimensions: what is varied.
        values: as the sampler gave them.
    """
    made: list[Value] = []
    for item in dimensions:
        value = values[item.name]
        if not item.choices and not item.whole:
            value = min(max(float(f"{value:.6g}"), item.low), item.high)
        made.append(value)
    return tuple(made)


def grid(dimensions: Sequence[Dimension], *, samples: int) -> dict[str, list[Value]]:
    """Values by dimension whose combinations fit: listed ones, ranges at as many levels as fit.

    Args:
        dimensions: the space.
        samples: the most configurations.

    Raises:
        SpecError: even two levels a range are more.
    """
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


def _values(dimension: Dimension, count: int) -> list[Value]:
    shares = np.linspace(0, 1, count).tolist()
    return list(dict.fromkeys(dimension.at(share) for share in shares))
