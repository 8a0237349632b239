"""Provenance: versions and the machine, and what is frozen before it is confirmed.

Whoever chooses methods, settings or features by the numbers of a suite has fitted them to its
targets; tables call that *exploratory*. A card freezes methods with their versions and values
before anything runs on other targets, and the tables of that run say *confirmed*.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from clser_bench import __version__
from clser_bench.errors import SpecError, StoreError
from clser_bench.features.sets import portable
from clser_bench.files import cache_folder, cores, write_whole
from clser_bench.hashing import digest
from clser_bench.progress import SILENT
from clser_bench.protocol import base_code
from clser_bench.run.choice import Say, choose
from clser_bench.run.plan import methods_of
from clser_bench.run.process import confinement
from clser_bench.run.request import Request
from clser_bench.store.records import RENAMED, Run
from clser_bench.store.sqlite import Store

OF_EXTRAS = ("opensmile", "transformers")
PACKAGES = (
    *("POT", "numpy", "ray", "scikit-learn", "scipy", "soundfile", "soxr", "torch", "torchaudio"),
    *OF_EXTRAS,
)
"""The packages that have a say in the numbers; those of extras need not be there."""

_PATIENCE = 10.0  # seconds that git may take


def code() -> dict[str, Any]:
    """What this process runs: the fields of `report.provenance.Software`."""
    packages = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    commit, modified = _checkout(Path(__file__).parents[2])
    return {
        "clser_bench": __version__,
        "commit": commit,
        "modified": modified,
        "python": platform.python_version(),
        "packages": packages,
    }


def hardware() -> dict[str, Any]:
    """Where this process runs: the fields of `report.provenance.Machine`."""
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


FORMAT = 1

_OF_THE_MOMENT = ("written", "explored", "software", "digest")
"""Fields of a card that may differ when an interrupted confirmation goes on."""


def explored(results: Path) -> tuple[Request, tuple[Run, ...]]:
    """What a results file arrived at; StoreError where no run is stored in it.

    The latest request that is no confirmation, with the methods and settings of all that have its
    rules (whatever their suite and shots); and those runs.
    """
    with Store(results, create=False, read_only=True) as store:
        own = [run for run in store.runs() if not run.imported and not run.request.get("confirms")]
    if not own:
        raise StoreError(f"{results}: no run is stored in it, so there is nothing to confirm")
    requests = [Request.from_json(run.request, results=results) for run in own]
    last = requests[-1]
    rules = last.condition.replace(suite="", shots=5)
    alike = [
        (request, run)
        for request, run in zip(requests, own, strict=True)
        if request.condition.replace(suite="", shots=5) == rules
    ]
    methods: dict[str, None] = {}
    settings: dict[str, Any] = {}
    for request, _ in alike:
        methods |= dict.fromkeys(RENAMED.get(name, name) for name in request.methods)
        settings |= request.settings
    merged = last.replace(methods=tuple(methods), settings=settings, pairs=())
    return merged, tuple(run for _, run in alike)


def freeze(request: Request, runs: tuple[Run, ...], *, card: Path, say: Say) -> Request:
    """Write the card of a confirmation, or find it written and unchanged.

    The request with the digest of the card, as `run` takes it. SpecError where targets of the suite
    were looked at, a method has changed since it was explored, or another card is there.
    """
    choice = choose(request, cache=cache_folder(), progress=SILENT)
    infos = [info for _, info in methods_of(request, request.condition)]
    before = {name: note.version for run in runs for name, note in run.methods.items()}
    for info in infos:
        if before.get(info.name, 0) not in (0, info.version):  # 0: unknown
            raise SpecError(
                f"{info.name} has version {info.version}, and {request.results} explored version "
                f"{before[info.name]}; run it there again first"
            )
    card_of: dict[str, Any] = {
        "format": FORMAT,
        "suite": choice.suite,
        "pairs": [f"{pair.source}->{pair.target}" for pair in choice.pairs],
        "condition": request.condition.replace(
            suite=choice.suite, features=portable(request.condition.features)
        ).texts(),
        "shots": list(request.shots),
        "seeds": request.seeds,
        "methods": [
            {"name": info.name, "version": info.version, "parameters": dict(info.parameters)}
            for info in infos
        ],
    }
    if card.exists():
        name = _same(card, card_of)
        say(f"{card}: was written before, and holds: {name[:12]}")
    else:
        with Store(request.results, create=False, read_only=True) as store:
            _refuse_seen(store, {base_code(pair.target) for pair in choice.pairs}, choice.suite)
            looks = store.looks().groupby(["suite", "method", "version"]).evaluations.sum()
        card_of |= {
            "explored": looks.reset_index().to_dict("records"),
            "software": code(),
            "written": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        }
        name = digest(card_of)
        write_whole(card, json.dumps(card_of | {"digest": name}, indent=1, ensure_ascii=False))
        say(f"{card}: written before anything ran: {name[:12]}")
    return request.replace(confirms=name)


def _refuse_seen(store: Store, targets: set[str], suite: str) -> None:
    """Refuse targets with a result: their labels have had a say in what is to be confirmed."""
    stored = store.query(
        "SELECT DISTINCT t.target FROM trials t JOIN records r ON r.trial = t.id "
        "WHERE r.status = 'ok'"
    )
    seen = sorted(targets & {base_code(target) for (target,) in stored})
    if seen:
        raise SpecError(
            f"{store.path}: has results on {', '.join(seen)} of suite {suite}, so these targets "
            "can confirm nothing; take a suite whose targets were never looked at"
        )


def _same(card: Path, wanted: dict[str, Any]) -> str:
    """The digest of a card that froze the same."""
    try:
        found = json.loads(card.read_text(encoding="utf-8"))
        name = found.pop("digest")
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise SpecError(
            f"{card}: is no card of a confirmation; name another with --card"
        ) from error
    if digest(found) != name:
        raise SpecError(f"{card}: was changed after it was written, so it confirms nothing")
    frozen = {key: value for key, value in found.items() if key not in _OF_THE_MOMENT}
    if frozen != json.loads(json.dumps(wanted)):
        differ = [key for key in wanted if frozen.get(key) != json.loads(json.dumps(wanted[key]))]
        raise SpecError(
            f"{card}: froze other {' and '.join(differ)}; what was frozen can go on, and something "
            "else needs other targets and another card (--card)"
        )
    return str(name)
