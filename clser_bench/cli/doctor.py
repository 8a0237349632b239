"""`doctor`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

import typer

from clser_bench import __version__
from clser_bench.cli import options
from clser_bench.files import shipped

_PACKAGES = (
    "numpy",
    "pandas",
    "torch",
    "ray",
    "scikit-learn",
    "POT",
    "soundfile",
    "soxr",
)
_EXTRAS = (
    ("demo corpora", "espeakng_loader", "demo"),
    ("eGeMAPS features", "opensmile", "opensmile"),
    ("joules of trials", "codecarbon", "energy"),
)


@options.examples(
    "clser-bench doctor",
    "clser-bench doctor --corpora ~/corpora",
)
def doctor(corpora: options.Corpora = None, results: options.Results = options.RESULTS) -> None:
    """Show what is installed and found on this machine.

    Versions, cores, extras, corpora, cache, results and documents.
    """
    lines = [("clser-bench", __version__), ("python", platform.python_version())]
    lines += [(name, _version(name)) for name in _PACKAGES]
    lines += [("cores", str(_cores())), ("memory", _memory()), ("gpu", _gpu())]
    lines.append(("methods run", _confinement()))
    lines += [(what, _extra(module, extra)) for what, module, extra in _EXTRAS]
    lines += [("corpora", _corpora(corpora)), ("cache", _cache()), ("results", _results(results))]
    lines.append(("documents", str(shipped("docs"))))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        typer.echo(f"{name:<{width}}  {value}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing: reinstall clser-bench"


def _cores() -> int:
    from clser_bench.features.workers import cores

    return cores()


def _confinement() -> str:
    from clser_bench.run.confine import confinement

    return confinement()


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none (none is needed)"


def _extra(module: str, extra: str) -> str:
    if importlib.util.find_spec(module) is None:
        return f"missing: pip install 'clser-bench[{extra}]'"
    return "installed"


def _corpora(folder: Path | None) -> str:
    from clser_bench.corpora.locate import locate
    from clser_bench.errors import ClserError

    if folder is None:
        return "none named (--corpora or CLSER_CORPORA); the demo corpora are made when needed"
    try:
        located = locate(folder)
    except ClserError as error:
        return str(error)
    lines = [f"{code} in {listing.root}" for code, listing in located.listings.items()]
    return ", ".join([*lines, *located.conflicts.values()]) or f"none recognised below {folder}"


def _cache() -> str:
    from clser_bench.errors import ClserError
    from clser_bench.features.storage import cache_size
    from clser_bench.files import cache_folder

    try:
        folder = cache_folder()
    except ClserError as error:
        return str(error)
    return f"{folder} ({cache_size(folder) / 2**20:.0f} MiB)"


def _results(file: Path) -> str:
    from clser_bench.errors import ClserError
    from clser_bench.store.sqlite import Store

    if not file.exists():
        return f"{file} (none yet)"
    try:
        with Store(file, create=False, read_only=True) as store:
            tally = store.progress()
    except ClserError as error:
        return str(error)
    return f"{file} ({tally.planned} trials planned, {tally.ok} ok, {tally.failed} failed)"
