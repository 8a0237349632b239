"""Runs that are killed or interrupted from outside, as users and job schedulers do it."""

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
from typer.testing import CliRunner

from clser_bench.cli.main import app
from tests.tiny import write_corpora, write_method

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_corpora(folder / "corpora", codes="XY")
    write_method(folder / "methods", "slow", body="time.sleep(float(os.environ.get('SLOW', '0')))")
    return folder


@pytest.fixture
def options(places: Path) -> list[str]:
    return [
        *("run", "--manifest", str(places), "--methods", "slow", "--shots", "1,2"),
        *("--seeds", "8", "--format", "csv"),
    ]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command in a process group of its own, as a shell does."""
    started: list[subprocess.Popen[str]] = []

    def begin(arguments: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "clser_bench.cli.main", *arguments],
            env={**os.environ, "SLOW": "0.1"},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

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


def wait_for_first_pack(results: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not stored(results):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"no pack was stored: {process.communicate()}")
        time.sleep(0.05)


def finished(options: list[str], results: Path) -> str:
    """Run to the end in this process."""
    place = ["--scheduler", "local", "--workers", "1", "--results", str(results)]
    done = CliRunner().invoke(app, [*options, *place])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def unbroken() -> dict[str, str]:
    """The table of an unbroken run, once it was made."""
    return {}


def check_kill(
    options: list[str], where: list[str], start: Start, unbroken: dict[str, str], tmp_path: Path
) -> None:
    if not unbroken:
        unbroken["csv"] = finished(options, tmp_path / "unbroken.sqlite")
    broken = tmp_path / "broken.sqlite"
    process = start([*options, *where, "--results", str(broken)])
    wait_for_first_pack(broken, process)
    process.kill()
    process.wait()
    count = stored(broken)
    assert 0 < count < 32
    assert finished(options, broken) == unbroken["csv"]


def check_interrupt(
    number: int, options: list[str], where: list[str], start: Start, tmp_path: Path
) -> None:
    results = tmp_path / "results.sqlite"
    process = start([*options, *where, "--results", str(results)])
    wait_for_first_pack(results, process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal sends it to the whole group
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Interrupted: " in err
    assert "The same command goes on." in err
    assert "Traceback" not in err
    assert f"{stored(results)} of 32 trials stored" in err
    assert 0 < stored(results) < 32


HERE = ["--scheduler", "local", "--workers", "1"]
RAY = ["--scheduler", "ray", "--workers", "2"]


def test_a_killed_run_ends_byte_identical(
    options: list[str], start: Start, unbroken: dict[str, str], tmp_path: Path
) -> None:
    check_kill(options, HERE, start, unbroken, tmp_path)


def test_ctrl_c_says_what_is_stored(options: list[str], start: Start, tmp_path: Path) -> None:
    check_interrupt(signal.SIGINT, options, HERE, start, tmp_path)


@pytest.mark.slow
def test_a_killed_run_by_ray_ends_byte_identical(
    options: list[str], start: Start, unbroken: dict[str, str], tmp_path: Path
) -> None:
    check_kill(options, RAY, start, unbroken, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_by_ray(
    number: int, options: list[str], start: Start, tmp_path: Path
) -> None:
    check_interrupt(number, options, RAY, start, tmp_path)
