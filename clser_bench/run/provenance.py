"""What only running code knows: versions and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench import __version__
from clser_bench.features.workers import cores
from clser_bench.run.confine import confinement

PACKAGES = (
    "POT",
    "numpy",
    "opensmile",
    "ray",
    "scikit-learn",
    "scipy",
    "soundfile",
    "soxr",
    "torch",
    "transformers",
)
"""The packages that have a say in the numbers."""

_PATIENCE = 10.0  # seconds that git may take


@dataclass(frozen=True, kw_only=True)
class Code:
    """What runs.

    Attributes:
        clser_bench: version of clser-bench.
        commit: of the git checkout that it runs from; empty where it runs from none.
        modified: whether that checkout has changes that are in no commit; None where it is none.
        python: version.
        packages: version of each of `PACKAGES` that is installed.
    """

    clser_bench: str
    commit: str
    modified: bool | None
    python: str
    packages: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where it runs, in words; nothing in it names the machine or its user.

    Attributes:
        processor: model of the CPU.
        cores: that this process may use.
        memory_gib: memory in GiB; None where unknown.
        system: the operating system.
        methods: `confined`, or `not confined, because …` (`run.confine`).
    """

    processor: str
    cores: int
    memory_gib: float | None
    system: str
    methods: str


def code() -> Code:
    """Find what this process runs."""
    commit, modified = _checkout(Path(__file__).parents[2])
    return Code(
        clser_bench=__version__,
        commit=commit,
        modified=modified,
        python=platform.python_version(),
        packages=dict(_versions()),
    )


def hardware() -> Hardware:
    """Find where this process runs."""
    memory = None
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = f"{platform.system()} {platform.release()}"
    return Hardware(
        processor=_processor(),
        cores=cores(),
        memory_gib=memory,
        system=f"{system}, {platform.machine()}",
        methods=confinement(),
    )


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine() or "unknown"


def _checkout(root: Path) -> tuple[str, bool | None]:
    """Commit of the checkout in a folder, and whether it was changed; nothing for no checkout."""
    if not (root / ".git").exists():
        return "", None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain")
    if not commit or changes is None:
        return "", None
    return commit.strip(), bool(changes.strip())


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
