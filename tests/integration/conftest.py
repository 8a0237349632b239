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
    write_method(methods, "bad", body="raise RuntimeError('as asked')")
    write_method(methods, "dying", body="os._exit(3)")
    return folder


@pytest.fixture
def shared(tiny: Path) -> Path:
    """Folder of `corpora`, `methods` and `cache`; a file of tests may have its own."""
    return tiny


@pytest.fixture
def usual() -> dict[str, Any]:
    """What a file of tests asks for where a test says nothing else."""
    return {}


@pytest.fixture
def places(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The manifest; the environment has the cache and the methods of `shared`."""
    monkeypatch.setenv("CLSER_CACHE", str(shared / "cache"))
    monkeypatch.setenv("CLSER_METHODS", str(shared / "methods"))
    monkeypatch.delenv("CLSER_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)
    return shared / "corpora" / "manifest.csv"


@pytest.fixture
def config(places: Path, tmp_path: Path, usual: dict[str, Any]) -> Config:
    """Makes requests."""

    def make(**options: Any) -> Request:
        given: dict[str, Any] = {
            "manifests": (places,),
            "methods": ("near",),
            "shots": (1,),
            "seeds": 2,
            "results": tmp_path / "results.sqlite",
            "scheduler": "local",
            "workers": 1,
        }
        return Request(**{**given, **usual, **options})

    return make


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of our methods are as large as those of built-in ones, where a fork a trial is slow."""
    monkeypatch.setattr(registry.Entry, "built_in", property(lambda _: True))


@pytest.fixture
def call(places: Path) -> Call:
    """Runs the command line in this process."""
    return lambda *arguments: CliRunner().invoke(app, list(arguments))
