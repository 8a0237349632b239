"""Runs that are killed or interrupted from outside: the same command goes on, and nothing stays.

The slow tests kill any process of a run at random moments. KILLS is the number of moments (4),
KILL_SEED chooses them, KILLS_A_FILE says how many a table may have behind it (5):

    KILLS=50 KILLS_A_FILE=1 python -m pytest -m slow tests/integration/test_kills.py
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.tiny import until

KILLS = int(os.environ.get("KILLS", "4"))
SEED = int(os.environ.get("KILL_SEED", "0"))
A_FILE = int(os.environ.get("KILLS_A_FILE", "5"))
LONGEST = 6.0
"""Seconds after the start of a target until which it may be killed."""

LIMIT = 1200
"""Seconds after which a command hangs, however busy the machine is."""

TARGETS = {
    "driver": "clser_bench.cli.main",
    "worker": "clser_bench.run.worker",
    "actor": "ray::PackActor",
    "ray": "clser_bench.run.tune",
    "raylet": "raylet/raylet",
    "gcs": "gcs_server",
}
"""Part of the command line of each process that is killed; the first two are there without Ray."""

TRIALS = 32
HERE = ("--scheduler", "local", "--workers", "1")
RAY = ("--scheduler", "ray", "--workers", "2")


class Command:
    """A command, its processes and its folder for temporary files."""

    def __init__(self, *words: str, slow: str) -> None:
        self.words, self._slow = words, slow
        # short, since Ray's sockets lie in it; the processes of this test are known by it
        self.temporary = Path(tempfile.mkdtemp(prefix="kills-", dir="/tmp"))

    def start(self, results: Path, *more: str) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell does."""
        program = (sys.executable, "-m", "clser_bench.cli.main")
        return subprocess.Popen(
            [*program, *self.words, *more, "--results", str(results), "--format", "csv"],
            env={**os.environ, "TMPDIR": str(self.temporary), "SLOW": self._slow},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> dict[int, str]:
        """Number and command line of everything that runs with our folder of temporary files."""
        found = {}
        needle = f"TMPDIR={self.temporary}\0".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if line and needle in (entry / "environ").read_bytes():
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
        return found

    def folders(self) -> set[str]:
        return {path.name for path in self.temporary.glob("clser-*")}

    def gone(self, known: set[int]) -> None:
        """Wait for processes of an earlier run to be gone."""
        until(lambda: not known & set(self.processes()), seconds=120)

    def finished(self, results: Path, *more: str) -> str:
        for _ in range(10):  # a loaded machine may start Ray too slowly; the message says so
            process = self.start(results, *more)
            out, err = process.communicate(timeout=LIMIT)
            if "Ray did not start" not in err:
                break
        assert process.returncode == 0, err
        return out

    def end(self) -> None:
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.temporary, ignore_errors=True)


@pytest.fixture
def words(places, monkeypatch):
    monkeypatch.setenv("SLOW", "0")  # in this process; each command has its own
    return ("run", "--manifest", str(places), "--shots", "1,2")


@pytest.fixture
def begun(words, tmp_path):
    """Starts a command and waits for a pack."""
    command = Command(
        *words, "--methods", "slow", "--seeds", "8", "--pairs", "X->Y,Y->X", slow="0.25"
    )

    def begin(*more: str) -> tuple[Command, subprocess.Popen[str], Path]:
        results = tmp_path / "broken.sqlite"
        process = command.start(results, *more)
        until(lambda: stored(results) > 0 or process.poll() is not None, seconds=600)
        assert process.poll() is None, f"no pack was stored: {process.communicate()}"
        return command, process, results

    yield begin
    command.end()


def stored(results: Path) -> int:
    if not results.exists():
        return 0
    with closing(sqlite3.connect(f"file:{results}?mode=ro", uri=True)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM records").fetchone()[0])
        except sqlite3.OperationalError:  # the tables are being made
            return 0


def test_a_killed_run_ends_byte_identical(begun, call):
    command, process, results = begun(*HERE)
    process.kill()
    process.communicate()
    assert 0 < stored(results) < TRIALS
    resumed, unbroken = (
        call(*command.words, *HERE, "--format", "csv", "--results", str(place))
        for place in (results, results.with_name("unbroken.sqlite"))
    )
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == unbroken.stdout


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (signal.SIGINT, HERE),
        pytest.param(signal.SIGINT, RAY, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, RAY, marks=pytest.mark.slow),
    ],
)
def test_signals_say_what_is_stored(number, where, begun):
    _, process, results = begun(*where)
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


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["local", "ray"])
def test_whatever_is_killed_the_same_command_goes_on(scheduler, words, tmp_path, capsys):
    own = ("--methods", "slow,source-only", "--seeds", "20", "--set", "source-only.steps=20")
    command = Command(*words, *own, "--workers", "2", "--scheduler", scheduler, slow="0.04")
    targets = list(TARGETS)[: 2 if scheduler == "local" else None]
    rng, counts = random.Random(SEED), Counter[str]()
    number, killed = 0, 0
    try:
        unbroken = command.finished(tmp_path / "unbroken.sqlite", "--scheduler", "local")
        while killed < KILLS:
            number += 1
            results = tmp_path / f"{number}.sqlite"
            for _ in range(min(A_FILE, KILLS - killed)):
                name = rng.choice(targets)
                over, said = kill(command, results, name, rng)
                killed += 1
                counts[name + said] += 1
                with capsys.disabled():
                    print(f"\n{killed}: {name}{said}", end="", flush=True)
                if over:
                    break
            assert command.finished(results) == unbroken
            counts["identical tables"] += 1
            command.gone(set(command.processes()))
            assert not command.folders()
    finally:
        with capsys.disabled():
            print(f"\nkills, {scheduler}: {killed}: {dict(counts)}")
        command.end()


def kill(command: Command, results: Path, name: str, rng: random.Random) -> tuple[bool, str]:
    """Start the command, kill one of its processes; whether the run was finished nevertheless."""
    before, folders = set(command.processes()), command.folders()
    process = command.start(results)
    target = first(command, process, name)
    if target is not None:
        time.sleep(rng.uniform(0, LONGEST))
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)
    out, err = process.communicate(timeout=LIMIT)
    assert not command.folders() & folders, "a folder of the killed run outlives the next"
    command.gone(before)
    assert "Traceback" not in err, err
    if process.returncode == 0:
        return True, ", and the run was finished"
    if name != "driver":
        assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1, err
        assert "the same command goes on" in err or "Ray did not start" in err, err
    assert out == ""
    return False, ""


def first(command: Command, process: subprocess.Popen[str], name: str) -> int | None:
    """A process whose command line has the words of a target; None where the run ends before."""
    while process.poll() is None:
        for number, line in command.processes().items():
            if TARGETS[name] in line:
                return number
        time.sleep(0.05)
    return None
