"""Recordings of tones, methods of a few lines, and runs on them, for the tests of whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clser_bench import registry
from clser_bench.cli.main import app
from clser_bench.run.request import Request
from tests.tiny import write_corpora, write_method

Call = Callable[..., Result]
Config = Callable[..., Request]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora X, Y and Z, some methods, and a cache that all tests share."""
    folder = tmp_path_factory.mktemp("tiny")
    write_corpora(folder / "corpora")
    methods = folder / "methods"
    write_method(methods, "near", about="Nearest centroids.", grid=(1.0, 10.0))
    write_method(methods, "fixed", deterministic=True)
    for name, body in {
        "bad": "raise RuntimeError('as asked')",
        "late": f"if os.path.exists({str(folder / 'fail')!r}): raise RuntimeError('as asked')",
        "full": "raise MemoryError('no more')",
        "dying": "os._exit(3)",
        "slow": "time.sleep(float(os.environ.get('SLOW', '0.2')))",
    }.items():
        write_method(methods, name, body=body)
    return folder


@pytest.fixture
def shared(tiny: Path) -> Path:
    """Folder of `corpora`, `methods` and `cache`; a file of tests may have its own."""
    return tiny


@pytest.fixture
def usual() -> dict[str, Any]:
    """The request of tests that say nothing else."""
    return {}


@pytest.fixture
def places(
    shared: Path, declarations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The manifest; the environment has the cache and the methods of `shared`."""
    known = shared / "cache" / "methods"
    if not known.exists():
        known.parent.mkdir(exist_ok=True)
        known.symlink_to(declarations)
    monkeypatch.setenv("CLSER_CACHE", str(shared / "cache"))
    monkeypatch.setenv("CLSER_METHODS", str(shared / "methods"))
    monkeypatch.delenv("CLSER_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)
    return shared / "corpora" / "manifest.csv"


@pytest.fixture
def config(places: Path, tmp_path: Path, usual: dict[str, Any]) -> Config:
    """Makes requests."""

    def make(**options: Any) -> Request:
        given: dict[str, Any] = {"methods": ("near",), "shots": (1,), "seeds": 2}
        given |= {"scheduler": "local", "workers": 1, "results": tmp_path / "results.sqlite"}
        return Request(**{"manifests": (places,), **given, **usual, **options})

    return make


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of our methods are as large as those of built-in ones, where a fork a trial is slow."""
    monkeypatch.setattr(registry.Entry, "built_in", property(lambda _: True))


@pytest.fixture
def call(places: Path) -> Call:
    """Runs the command line in this process."""
    return lambda *arguments: CliRunner().invoke(app, list(arguments))
