"""clser-bench: the benchmark for cross-lingual speech emotion recognition."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("clser-bench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
