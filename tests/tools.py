"""Modules that no test imports by name (scripts, method files), and normal numbers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from clser_bench import registry
from clser_bench.hashing import generator
from clser_bench.problem import Problem, Value


def load(name: str, *, folder: str = "tools") -> ModuleType:
    """The module of `tools/NAME.py`, or of another folder's."""
    file = Path(__file__).parents[1] / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def method(name: str) -> ModuleType:
    """The module of `methods/NAME.py`."""
    return importlib.import_module(f"clser_bench.methods.{name}")


def rand(*shape: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    """Normal numbers, float64."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64) + shift


def fit(name: str, problem: Problem, **values: Value) -> np.ndarray:
    """Scores of a fitted method with these hyper-parameters."""
    scores: np.ndarray = registry.create(name, values).fit_predict(problem, generator("test"))
    return scores
