"""What only running code knows: versions, the machine, and the command of a run without places."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench import __version__
from clser_bench.features.encoders.names import PREFIX as ENCODER
from clser_bench.features.languages import PREFIX as LANGUAGES
from clser_bench.features.languages import is_set
from clser_bench.features.workers import cores
from clser_bench.protocol import Pair, Shots
from clser_bench.run.choice import CUSTOM
from clser_bench.run.config import RunConfig
from clser_bench.run.select import OTHER_PAIRS

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
    "torchaudio",
    "transformers",
)
"""The packages that have a say in the numbers."""

_PATIENCE = 10.0  # seconds that git may take
_LOCAL = re.compile(r"(?:^|[:=+,])[./~\\]|\.toml$")


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
    """

    processor: str
    cores: int
    memory_gib: float | None
    system: str


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
    )


def narrowed(
    config: RunConfig,
    *,
    suite: str,
    pairs: tuple[Pair, ...],
    features: str,
    methods: Collection[str],
    shots: Shots,
    corruption: str = "",
) -> RunConfig:
    """What a stored run asked for, for one table and without any place on this machine.

    What was left to be chosen from the corpora at hand is named, so that others get the same.

    Args:
        config: as stored.
        suite: name of the suite that it was.
        pairs: of the table of the whole suite.
        features: the name that the table has, with nothing left open, and without a corruption.
        methods: names that the table shows of it.
        shots: of the table.
        corruption: of the table's target, `noise:10`; empty for clean speech. Of a run's
            conditions only this one is asked for, and the clean one comes with it.
    """
    # a method that is set must be among the methods, and without it the selection had another name
    named = dict.fromkeys((*methods, *(method for method, _ in config.settings)))
    if suite == CUSTOM and not config.pairs and config.condition.selection != OTHER_PAIRS:
        asked = pairs  # others may have more corpora than these
    else:
        asked = config.pairs
    # manifests stand alone where no suite is named, even if a folder of corpora is known
    alone = suite == CUSTOM and config.suite is None and bool(config.manifests)
    stored = config.condition.features
    written = portable(stored) if is_set(stored) or is_local(stored) else features
    return RunConfig(
        suite=None if alone else suite,
        pairs=asked,
        methods=tuple(named),
        shots=(shots,),
        seeds=config.seeds,
        condition=dataclasses.replace(config.condition, features=written),
        settings=config.settings,
        skip_bad=config.skip_bad,
        align=config.align,
        corruptions=(corruption,) if corruption else (),
    )


def is_local(features: str) -> bool:
    """Whether the name of features leads to a folder or a file of the machine it was written on.

    Args:
        features: as `--features` takes it.
    """
    return bool(_LOCAL.search(features))


def portable(features: str) -> str:
    """The name of features with the last part of each local path, as if it lay at hand.

    Args:
        features: as `--features` takes it, with absolute paths or none.
    """
    if not is_local(features):
        return features
    if is_set(features):
        text = features.removeprefix(LANGUAGES)
        if "=" not in text or text.endswith(".toml"):
            return f"{LANGUAGES}./{Path(text).name}"
        parts = [part.partition("=") for part in text.split(",")]
        return LANGUAGES + ",".join(f"{key}{sign}{portable(value)}" for key, sign, value in parts)
    folder, colon, choices = features.removeprefix(ENCODER).partition(":")
    return f"{ENCODER}./{Path(folder).name}{colon}{choices}"


def command(config: RunConfig, *, folder: bool, manifests: int) -> str:
    """The shell command of a run; `DIR` and `FILE` stand for the reader's own places.

    Args:
        config: without places, as from `narrowed`.
        folder: whether it needs a folder of corpora.
        manifests: how many manifests it needs.
    """
    return shlex.join(("clser-bench", "run", *_options(config, folder, manifests)))


def _options(config: RunConfig, folder: bool, manifests: int) -> Iterator[str]:
    rules = config.condition
    yield from () if config.suite is None else ("--suite", config.suite)
    yield from ("--corpora", "DIR") if folder else ()
    yield from ("--manifest", "FILE") * manifests
    if config.pairs:
        yield from ("--pairs", ",".join(f"{pair.source}->{pair.target}" for pair in config.pairs))
    yield from ("--methods", ",".join(config.methods))
    yield from ("--shots", ",".join(map(str, config.shots)), "--seeds", str(config.seeds))
    yield from ("--features", rules.features, "--align", config.align)
    yield from ("--normalise", rules.normalisation, "--target-prior", rules.prior)
    yield from ("--select", rules.selection)
    yield from ("--inductive",) if rules.setting == "inductive" else ()
    yield from ("--fixed4",) if rules.classes == "fixed4" else ()
    yield from ("--skip-bad",) if config.skip_bad else ()
    yield from ("--corrupt", ",".join(config.corruptions)) if config.corruptions else ()
    for method, values in config.settings:
        for name, value in values:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield from ("--set", f"{method}.{name}={text}")


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
