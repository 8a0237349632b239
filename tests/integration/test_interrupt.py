"""Runs that are killed or interrupted from outside, as users and job schedulers do it.

`test_kills` kills each process of a run, also by Ray, at random moments.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.conftest import Call
from tests.tiny import write_corpora, write_method

TRIALS = 32
Begun = Callable[..., tuple["subprocess.Popen[str]", Path]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupt")
    write_corpora(folder / "corpora", codes="XY")
    write_method(folder / "methods", "slow", body="time.sleep(float(os.environ.get('SLOW', '0')))")
    return folder


@pytest.fixture
def words(places: Path) -> list[str]:
    own = ("--manifest", str(places), "--methods", "slow", "--shots", "1,2", "--seeds", "8")
    return ["run", *own, "--format", "csv"]


@pytest.fixture
def begun(words: list[str], tmp_path: Path) -> Iterator[Begun]:
    """Starts the command in a process group of its own, as a shell does, and waits for a pack."""
    started: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> tuple[subprocess.Popen[str], Path]:
        results = tmp_path / "broken.sqlite"
        process = subprocess.Popen(
            [sys.executable, "-m", "clser_bench.cli.main", *words, *more, "--results", results],
            env={**os.environ, "SLOW": "0.25"},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        deadline = time.monotonic() + 600
        while not stored(results):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no pack was stored: {process.communicate()}")
            time.sleep(0.05)
        return process, results

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def stored(results: Path) -> int:
    if not results.exists():
        return 0
    with closing(sqlite3.connect(f"file:{results}?mode=ro", uri=True)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM records").fetchone()[0])
        except sqlite3.OperationalError:  # the tables are being made
            return 0


HERE = ("--scheduler", "local", "--workers", "1")


def test_a_killed_run_ends_byte_identical(words: list[str], begun: Begun, call: Call) -> None:
    process, results = begun(*HERE)
    process.kill()
    process.wait()
    assert 0 < stored(results) < TRIALS
    resumed, unbroken = (
        call(*words, *HERE, "--results", str(place))
        for place in (results, results.with_name("unbroken.sqlite"))
    )
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == unbroken.stdout


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (signal.SIGINT, HERE),
        *(
            pytest.param(number, ("--scheduler", "ray", "--workers", "2"), marks=pytest.mark.slow)
            for number in (signal.SIGINT, signal.SIGTERM)
        ),
    ],
)
def test_signals_say_what_is_stored(
    number: int,
    where: tuple[str, ...],
    begun: Begun,
) -> None:
    process, results = begun(*where)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal sends it to the whole group
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert out == ""
    assert f"Interrupted: {stored(results)} of {TRIALS} trials stored" in err
    assert "The same command goes on." in err
    assert "Traceback" not in err
    assert 0 < stored(results) < TRIALS
