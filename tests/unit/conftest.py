"""Fixtures of several files: an empty results file, and results to export and to import."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clser_bench.cli.main import app
from clser_bench.store.sqlite import Store
from tests.exports import export


@pytest.fixture
def store(tmp_path):
    """An empty results file that is open."""
    with Store(tmp_path / "clser.sqlite") as opened:
        yield opened


@pytest.fixture
def path(tmp_path):
    """A results file that is not there yet, nor its folder."""
    return tmp_path / "results" / "clser.sqlite"


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Runs the command line in the folder of the test."""
    monkeypatch.delenv("CLSER_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A results file and, beside it, what it exports."""
    path = tmp_path_factory.mktemp("exported") / "ours.sqlite"
    export(path)
    return path


@pytest.fixture
def ours(exported, tmp_path):
    """A copy of the results file."""
    return Path(shutil.copy(exported, tmp_path))


@pytest.fixture
def file(exported, tmp_path):
    """A copy of the exported file."""
    return Path(shutil.copy(exported.with_suffix(".parquet"), tmp_path))
