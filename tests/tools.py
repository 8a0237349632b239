"""Modules that no test imports by name: scripts of `tools/` and `benchmarks/`, and method files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


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
