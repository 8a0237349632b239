"""Losses beside references, in value and gradient; programmes solved by SciPy; views of a network.

A reference is a formula in NumPy, whose slopes are central differences, or another loss in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from clser_bench.nn.backbone import SharedClassifier
from clser_bench.train.contract import Batch, Embedded, Snapshot, State, Trained, View
from tests.tools import rand

Array = np.ndarray
Formula = Callable[..., float]


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    """Of a loss that may be asked again."""
    return torch.autograd.grad(loss, x, retain_graph=True)[0]


def assert_same(found: Tensor, expected: Tensor, *leaves: Tensor) -> None:
    """The same value, and the same gradient in every leaf."""
    torch.testing.assert_close(found, expected)
    for leaf in leaves:
        torch.testing.assert_close(gradient(found, leaf), gradient(expected, leaf))


def assert_formula(loss: Callable[..., Tensor], expected: Formula, *inputs: Tensor) -> None:
    """The value of the formula, and in every input the gradient of its central differences."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    found, plain, step = loss(*leaves), [x.numpy() for x in inputs], 1e-5
    assert found.item() == pytest.approx(expected(*plain), rel=1e-10, abs=1e-12)
    for at, leaf in enumerate(leaves):
        slope = gradient(found, leaf)
        for index in np.ndindex(*leaf.shape):
            sides = []
            for sign in (1, -1):
                moved = [x.copy() for x in plain]
                moved[at][index] += sign * step
                sides.append(expected(*moved))
            difference = (sides[0] - sides[1]) / (2 * step)
            assert float(slope[index]) == pytest.approx(difference, rel=1e-5, abs=1e-8)


def solved(
    value: Callable[[Array], float],
    start: Array,
    slope: Callable[[Array], Array] | None = None,
    *,
    least: float = 0.0,
    most: float | Array,
    constraints: Any,
) -> Array:
    """Where a function of values from `least` to `most` is smallest, by SLSQP."""
    bounds = [(least, top) for top in np.broadcast_to(most, start.shape)]
    options: Any = {"ftol": 1e-14, "maxiter": 2000}
    found = minimize(
        value, start, jac=slope, method="SLSQP", bounds=bounds, constraints=constraints,
        options=options,
    )  # fmt: skip
    assert found.success, found.message
    return np.asarray(found.x)


def small_network(seed: int = 0) -> SharedClassifier:
    """A network of three classes for rows of `view`, float64."""
    torch.manual_seed(seed)
    return SharedClassifier(3, 5, 3).double()


def view(rows: int, *, seed: int = 0) -> View:
    """Random rows without instants."""
    return View(rand(rows, 0, 3), rand(rows, 8, seed=seed))


def at(whole: View, rows: Any) -> View:
    """Some rows of a view."""
    return View(*(part[rows] for part in whole))


def batch(**parts: Any) -> Batch:
    """A batch; its other parts have no rows."""
    none = dict.fromkeys(("labelled", "source", "target", "weak", "strong"), view(0))
    rest = {"y": torch.arange(0), "state": {}, "noise": torch.zeros(0)}
    return Batch(**{**none, **rest, **parts})


def pseudo_labels(method: Trained, network: SharedClassifier, whole: View) -> State:
    """The state that a method keeps of all target utterances."""
    described = Embedded(network.embed(whole).detach(), network(whole).detach())
    rng = np.random.default_rng(0)
    return method.update_pseudo_labels(Snapshot(described, torch.arange(0), described, 0.5, rng))
