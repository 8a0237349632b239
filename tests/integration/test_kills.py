"""`kill -9` of any process of a run at random moments: the same command goes on, and nothing stays.

KILLS is the number of moments (4), KILL_SEED chooses them, KILLS_A_FILE says how many a table may
have behind it (5):

    KILLS=50 KILLS_A_FILE=1 python -m pytest -m slow tests/integration/test_kills.py
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.tiny import write_corpora, write_method

KILLS = int(os.environ.get("KILLS", "4"))
SEED = int(os.environ.get("KILL_SEED", "0"))
LONGEST = 6.0
"""Seconds after the start of a target until which it may be killed."""

LIMIT = 1200
"""Seconds after which a command hangs, however busy the machine is."""

A_FILE = int(os.environ.get("KILLS_A_FILE", "5"))
"""Kills of runs into one results file at most, before its table is compared."""

TARGETS = {
    "driver": "clser_bench.cli.main",
    "worker": "clser_bench.run.worker",
    "actor": "ray::PackActor",
    "ray": "clser_bench.run.tune",
    "raylet": "raylet/raylet",
    "gcs": "gcs_server",
}
"""Part of the command line of each process that is killed; the first two are there without Ray."""


class Command:
    """The command, its processes and its folder for temporary files."""

    def __init__(self, arguments: list[str], place: Path) -> None:
        self._arguments, self._place = arguments, place
        # short, since Ray's sockets lie in it; the processes of this test are known by it
        self.temporary = Path(tempfile.mkdtemp(prefix="kills-", dir="/tmp"))

    def start(self, results: Path, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "clser_bench.cli.main", "run", *self._arguments),
                *("--results", str(results), "--format", "csv", *more),
            ],
            env={**os.environ, "TMPDIR": str(self.temporary), "SLOW": "0.04"},
            cwd=self._place,
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


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["local", "ray"])
def test_whatever_is_killed_the_same_command_goes_on(
    scheduler: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = write_corpora(tmp_path / "corpora")
    write_method(tmp_path / "methods", "slow", body="time.sleep(float(os.environ.get('SLOW', 0)))")
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))
    own = ["--manifest", str(manifest), "--methods", "slow,source-only", "--shots", "1,2"]
    own += ["--seeds", "20", "--set", "source-only.steps=20", "--workers", "2"]
    own += ["--scheduler", scheduler]
    targets = list(TARGETS)[: 2 if scheduler == "local" else None]
    command = Command(own, tmp_path)
    rng = random.Random(SEED)
    unbroken = _finished(command, tmp_path / "unbroken.sqlite", "--scheduler", "local")
    counts: Counter[str] = Counter()
    number, killed = 0, 0
    try:
        while killed < KILLS:
            number += 1
            results = tmp_path / f"{number}.sqlite"
            for _ in range(min(A_FILE, KILLS - killed)):
                name = rng.choice(targets)
                over, said = _kill(command, results, name, rng)
                killed += 1
                counts[name + said] += 1
                with capsys.disabled():
                    print(f"\n{killed}: {name}{said}", end="", flush=True)
                if over:
                    break
            assert _finished(command, results) == unbroken
            counts["identical tables"] += 1
            _gone(command, set(command.processes()))
            assert not command.folders()
    finally:
        with capsys.disabled():
            print(f"\nkills, {scheduler}: {killed}: {dict(counts)}")
        for process in command.processes():
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(command.temporary, ignore_errors=True)


def _kill(command: Command, results: Path, name: str, rng: random.Random) -> tuple[bool, str]:
    """Start the command, kill one of its processes; whether the run was finished nevertheless."""
    before, folders = command.processes(), command.folders()
    process = command.start(results)
    target = _found(command, process, name)
    if target is not None:
        time.sleep(rng.uniform(0, LONGEST))
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)
    out, err = process.communicate(timeout=LIMIT)
    assert not set(command.folders()) & folders, "a folder of the killed run outlives the next"
    _gone(command, set(before))
    assert "Traceback" not in err, err
    if process.returncode == 0:
        return True, ", and the run was finished"
    if name != "driver":
        assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1, err
        assert "the same command goes on" in err or "Ray did not start" in err, err
    assert out == ""
    return False, ""


def _found(command: Command, process: subprocess.Popen[str], name: str) -> int | None:
    """A process whose command line has the words of a target; None where the run ends before."""
    while process.poll() is None:
        for number, line in command.processes().items():
            if TARGETS[name] in line:
                return number
        time.sleep(0.05)
    return None


def _finished(command: Command, results: Path, *more: str) -> str:
    for _ in range(10):  # a loaded machine may start Ray too slowly; the message says what to do
        process = command.start(results, *more)
        out, err = process.communicate(timeout=LIMIT)
        if "Ray did not start" not in err:
            break
    assert process.returncode == 0, err
    return out


def _gone(command: Command, known: set[int]) -> None:
    """Wait for processes of an earlier run to be gone."""
    deadline = time.monotonic() + 120
    while left := {n: line for n, line in command.processes().items() if n in known}:
        assert time.monotonic() < deadline, f"still there: {list(left.values())}"
        time.sleep(0.2)
