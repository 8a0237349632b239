"""What only running code knows: versions and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from clser_bench import __version__
from clser_bench.features.workers import cores
from clser_bench.run.confine import confinement

OF_EXTRAS = ("opensmile", "transformers")
PACKAGES = (
    *("POT", "numpy", "ray", "scikit-learn", "scipy", "soundfile", "soxr", "torch", "torchaudio"),
    *OF_EXTRAS,
)
"""The packages that have a say in the numbers; those of extras need not be there."""

_PATIENCE = 10.0  # seconds that git may take


def code() -> dict[str, Any]:
    """What this process runs, as `report.provenance.Software` has it.

    Returns:
        `clser_bench` and `python`: versions; `commit` of the git checkout that it runs from, empty
        where it runs from none; `modified`: whether that checkout has changes that are in no
        commit, None where it is none; `packages`: version of each of `PACKAGES` that is installed.
    """
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit, modified = _checkout(Path(__file__).parents[2])
    return {
        "clser_bench": __version__,
        "commit": commit,
        "modified": modified,
        "python": platform.python_version(),
        "packages": packages,
    }


def hardware() -> dict[str, Any]:
    """Where this process runs, as `report.provenance.Machine` has it; no name of machine or user.

    Returns:
        `processor`: model of the CPU; `cores` that this process may use; `memory_gib`: None where
        unknown; `system`: the operating system; `methods`: `confined`, or `not confined, because …`
        (`run.confine`).
    """
    memory = None
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = f"{platform.system()} {platform.release()}"
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": memory,
        "system": f"{system}, {platform.machine()}",
        "methods": confinement(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine() or "unknown"


def _checkout(root: Path) -> tuple[str, bool | None]:
    """Commit of the checkout in a folder, and whether it was changed; nothing for no checkout."""
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    changes = _git(root, "status", "--porcelain") if commit else None
    return ((commit or "").strip(), bool(changes.strip())) if changes is not None else ("", None)


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, without writing anything; None where it fails or is not there."""
    line = ("git", "--no-optional-locks", "-C", str(root), *arguments)
    try:
        done = subprocess.run(  # noqa: S603 (our own arguments)
            line, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
