"""Temporary folders: gone with their owner, however it ends, and never those of somebody alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from clser_bench import cleanup
from tests.tiny import alive, until

OWNER = """
import sys, time
from clser_bench.cleanup import temporary_folder, terminable
with terminable(), temporary_folder(short=True) as made:
    (made / "content").write_text("x")
    print(made, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def owner(place):
    """A process with a temporary folder."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_the_next_start_removes_the_folder_of_a_killed_owner_not_of_a_living_one(owner):
    process, made = owner
    code = "import time; print(flush=True); time.sleep(60)"
    using = subprocess.Popen([sys.executable, "-c", code, f"{made}/x"], stdout=subprocess.PIPE)
    assert using.stdout is not None
    with using.stdout as said:  # until then the kernel may show no command line
        said.readline()
    cleanup.remove_leftovers(made.parent)
    assert using.poll() is None
    process.kill()
    process.wait()
    assert (made / "content").exists()
    cleanup.remove_leftovers(made.parent)
    assert not made.exists()
    assert using.wait(timeout=300) == -signal.SIGKILL


def test_a_terminated_owner_leaves_none(owner):
    process, made = owner
    process.terminate()
    process.wait(timeout=300)
    assert not made.exists()


FORKS = """
import os, time
from clser_bench.cleanup import end_with_parent
parent = os.getpid()
pid = os.fork()
if pid == 0:
    end_with_parent(parent)
    time.sleep(60)
print(pid, flush=True)
time.sleep(60)
"""


def test_a_fork_ends_with_a_parent_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    fork = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    until(lambda: not alive(fork))


def test_folders_of_others_and_young_ones_stay(place):
    mine = place / "clser-results"  # a user's own, which only looks like ours
    (mine / "precious").mkdir(parents=True)
    linked = place / "clser-link"
    linked.symlink_to(mine)
    # of owners that were killed before they had locked them
    young, old = place / "clser-young", place / "clser-old"
    young.mkdir()
    old.mkdir()
    hour_ago = time.time() - 3600
    for folder in (mine, old):
        os.utime(folder, (hour_ago, hour_ago))
    cleanup.remove_leftovers(place)
    assert (linked / "precious").is_dir()
    assert young.exists()
    assert not old.exists()


def test_a_folder_goes_when_the_block_ends(place):
    with cleanup.temporary_folder() as made:
        assert made.stat().st_mode & 0o777 == 0o700
        with cleanup.temporary_folder() as other:  # looks for leftovers, and finds none
            assert made.exists()
    assert not made.exists()
    assert not other.exists()
    assert list(place.iterdir()) == []
