"""clser-bench: the benchmark for cross-lingual speech emotion recognition."""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, from what is installed: a tenth of the start of a command."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("clser-bench")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
