"""Clean ends: signals that end a command in order, temporary folders, what a killed command left.

The owner of a temporary folder holds a lock on a file in it. The kernel gives the lock back however
the owner ends, so a folder whose lock is free was left by a process that was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_PREFIX = "clser-"
_LOCK = ".owner"
_YOUNG = 60.0  # seconds that a folder may be without its lock while it is being made
_LONGEST = 40  # Ray puts sockets below its folder, whose whole path may have some 100 characters
_PATIENCE = 10.0  # seconds that ended processes are waited for
_INSTANT = 0.2  # seconds for which a process may show no command line
_PR_SET_PDEATHSIG = 1  # of prctl(2)
_held: dict[Path, int] = {}


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # by nohup: to survive a terminal
    numbers = (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent(parent: int) -> None:
    """Let this process be killed when the one that forked it ends, however that happens (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def temporary_folder(
    parent: Path | None = None, *, prefix: str = _PREFIX, short: bool = False
) -> Iterator[Path]:
    """A folder of `make_folder`, removed with the processes that use it."""
    made = make_folder(parent, prefix=prefix, short=short)
    try:
        yield made
    finally:
        remove_folder(made)


def make_folder(parent: Path | None = None, *, prefix: str = _PREFIX, short: bool = False) -> Path:
    """A folder that only this user may read, below `parent` or the place of temporary files.

    With `short` its path is short. What earlier commands left beside it because they were killed is
    removed first.
    """
    place = _places()[-1 if short else 0] if parent is None else parent
    remove_leftovers(place, prefix=prefix)
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (made / _LOCK).exists():  # else another command has removed it before it was locked
            _held[made] = lock
            return made
        os.close(lock)


def remove_folder(made: Path) -> None:
    """Remove a folder of `make_folder`, and end what still runs in it."""
    _end_processes(made)
    shutil.rmtree(made, ignore_errors=True)
    lock = _held.pop(made, None)
    if lock is not None:
        os.close(lock)


def remove_leftovers(*places: Path, prefix: str = _PREFIX) -> None:
    """Remove folders of processes that were killed, and end what still runs in them."""
    for place in places or set(_places()):
        for found in place.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                status = found.lstat()
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                    _remove_if_left(found, age=time.time() - status.st_mtime)


def _remove_if_left(found: Path, *, age: float) -> None:
    try:
        lock = os.open(found / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        if age > _YOUNG:
            found.rmdir()  # its owner was killed before it had locked it; fails unless it is empty
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where the owner lives
        _end_processes(found)
        shutil.rmtree(found, ignore_errors=True)
    finally:
        os.close(lock)


def _places() -> tuple[Path, Path]:
    """Where temporary folders lie, and where those with a short path do."""
    base = tempfile.gettempdir()
    return Path(base), Path(base if len(base) <= _LONGEST else "/tmp")  # noqa: S108 (private)


def _end_processes(place: Path) -> None:
    """End processes whose command line names a folder: Ray's, which outlive a killed driver.

    Looks again until none is left: one that is ended may have started another, and writes files
    until it is gone. One that has begun another program shows no command line for an instant.
    """
    needle = f"{place}{os.sep}".encode()
    started = time.monotonic()
    while True:
        found = [_ended(entry, needle) for entry in Path("/proc").glob("[0-9]*")]
        waited = time.monotonic() - started
        if waited > _PATIENCE or not (True in found or (None in found and waited < _INSTANT)):
            return
        time.sleep(0.02)


def _ended(entry: Path, needle: bytes) -> bool | None:
    """Whether a process is one of a folder, and ended then; None where it cannot be known yet."""
    try:
        line = (entry / "cmdline").read_bytes()
        if needle in line and int(entry.name) != os.getpid():
            os.kill(int(entry.name), signal.SIGKILL)
            return True
        # what is dead, and threads of the kernel, have no command line and no program
        return None if not line and (entry / "exe").readlink() else False
    except (OSError, ValueError):
        return False
