"""Processes that a command starts, messages between them, and what a method's process may do.

A child is a clean interpreter that runs one module, which answers on its standard output and ends
when its input does: whichever way the command ends, its children follow. Between our own processes
messages are pickled; outcomes of a process that runs methods are not, since unpickling executes
code.

The process of a method is confined by Landlock (Linux 5.13 or later;
https://docs.kernel.org/userspace-api/landlock.html) for files, TCP and signals, and by a seccomp
filter for what Landlock leaves open: sockets of other kinds, memory that processes share, and other
processes' memory. Neither needs privileges, and neither can be taken back. Features come as
mappings that were opened before, so no corpus, cache, results file or folder of a user is read; nor
is `/proc`, where command lines and environments lie, but for the list of loaded libraries that
threadpoolctl needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import importlib
import json
import os
import pickle
import platform
import select
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from clser_bench.problem import Job, Outcome

_LENGTH = struct.Struct("<Q")
_LIMIT = 2**33
"""Bytes of the longest message: a process that announces more is at fault."""


class ChildProcess:
    """A child, from the side of the process that starts it.

    Args:
        module: what it runs, as `python -m` would.
        environment: variables that it gets besides those of this process.
        grace: seconds in which it may end in order.
    """

    def __init__(self, module: str, *, environment: dict[str, str], grace: float) -> None:
        self._grace = grace
        # -P: no module of the folder that the command runs in is taken for one of ours. A session
        # of its own: Ctrl-C in a terminal is for the command, which ends its children.
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,
            bufsize=0,  # `select` does not see what lies in a buffer
        )
        self._stdin: Any = self._process.stdin
        self._stdout: Any = self._process.stdout

    def send(self, message: object) -> None:
        """Send a message; EOFError says how the child has ended."""
        try:
            send(self._stdin, pickle.dumps(message))
        except OSError as error:
            raise EOFError(exit_in_words(self._process.wait())) from error

    def next(self, *, timeout: float | None = None) -> Any:
        """The next message; None where there is none within `timeout` seconds (None: wait)."""
        if not select.select([self._stdout], [], [], timeout)[0]:
            return None
        try:
            return pickle.loads(receive(self._stdout))  # noqa: S301 (of our own process)
        except EOFError:
            raise EOFError(exit_in_words(self._process.wait())) from None

    def close(self) -> None:
        """End the child and whatever it is running."""
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(timeout=self._grace)  # it ends when its input does
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextlib.contextmanager
def channel() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """In a child: its input, and its output freed from whatever code prints."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as sink:
        os.dup2(2, 1)
        yield sys.stdin.buffer, sink


def pack_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Outcomes as a line of JSON and their scores as safetensors."""
    names = [item.name for item in dataclasses.fields(Outcome) if item.name != "scores"]
    heads = [{name: getattr(outcome, name) for name in names} for outcome in outcomes]
    scores = {str(n): np.ascontiguousarray(one.scores) for n, one in enumerate(outcomes)}
    data: bytes = save(scores)
    return json.dumps(heads).encode() + b"\n" + data


def unpack_outcomes(message: bytes, jobs: Sequence[Job]) -> list[Outcome]:
    """Read the outcomes of some jobs, in order, from `pack_outcomes` in an untrusted process.

    Raises:
        ValueError: they are not, or the message is damaged (also KeyError, TypeError).
    """
    heads, _, data = message.partition(b"\n")
    try:
        scores = load(data)
    except SafetensorError as error:
        raise ValueError(f"its scores cannot be read: {error}") from error
    outcomes = [Outcome(**head, scores=scores[str(n)]) for n, head in enumerate(json.loads(heads))]
    if [outcome.id for outcome in outcomes] != [job.id for job in jobs]:
        raise ValueError("they are of other trials")
    return outcomes


def send(stream: BinaryIO, message: bytes) -> None:
    """Write a message with its length."""
    left = memoryview(_LENGTH.pack(len(message)) + message)
    while left:
        left = left[stream.write(left) :]
    stream.flush()


def receive(stream: BinaryIO | FileIO) -> bytes:
    """Read what `send` wrote: EOFError where the stream ends, ValueError for too long a message."""

    def read(size: int) -> bytes:
        parts = []
        while size:
            part = stream.read(min(size, 2**20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    (size,) = _LENGTH.unpack(read(_LENGTH.size))
    if size > _LIMIT:
        raise ValueError(f"a message of {size} bytes")
    return read(size)


def exit_in_words(code: int) -> str:
    """How a process ended, in words; the exit code is negative where a signal ended it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""System calls of Landlock, the same on every architecture."""

_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # the rights that a rule of a single file can have
_RIGHTS = {1: 13, 2: 14}  # number of rights on files by version; 15 from the third
_RULE_PATH = 1
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2

_FORBIDDEN = {  # audit number of the architecture, and numbers of system calls
    # socket, shmget, semget, msgget, mq_open, ptrace, process_vm_readv, process_vm_writev,
    # io_uring_setup, pidfd_getfd
    "x86_64": (0xC000003E, (41, 29, 64, 68, 240, 101, 310, 311, 425, 438)),
    "aarch64": (0xC00000B7, (198, 194, 190, 186, 180, 117, 270, 271, 425, 438)),
}

_LIBRARIES = "/proc/self/maps"
_READABLE = (
    *("/usr", "/lib", "/lib64", "/bin", "/etc", "/sys/devices/system"),
    *(_LIBRARIES, "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm/overcommit_memory"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def confine(folder: Path, files: Iterable[Path], *, meters: bool = False) -> None:
    """Restrict this process, which has one thread, and all that it starts.

    It may write to `folder`, read `files` besides Python and the system's libraries, and with
    `meters` `/proc` and `/sys`, which measuring joules needs. OSError where the kernel refuses.
    """
    version = _call("syscall", _CREATE, None, 0, 1)
    files_handled = (1 << _RIGHTS.get(version, 15)) - 1
    connections = 0b11 if version >= 4 else 0  # bind and connect by TCP
    scopes = 0b11 if version >= 6 else 0  # abstract sockets, signals
    attributes = struct.pack("QQQ", files_handled, connections, scopes)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _call("syscall", _CREATE, attributes, size, 0)
    readable = [*_READABLE, *_python(), *files, *(("/proc", "/sys") if meters else ())]
    allowed = [(Path(path), _READ) for path in readable]
    allowed += [(Path(path), _FILE) for path in _DEVICES]
    allowed.append((folder, files_handled))
    for path, rights in allowed:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        within = files_handled if path.is_dir() else _FILE
        rule = struct.pack("=Qi", rights & files_handled & within, opened)
        _call("syscall", _ADD, rules, _RULE_PATH, rule, 0)
        if path != Path(_LIBRARIES):  # the kernel makes that file anew unless it is open
            os.close(opened)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call("syscall", _RESTRICT, rules, 0)
    os.close(rules)
    _filter_calls()


@functools.cache
def confinement() -> str:
    """`confined`, or `not confined, because …`: tried in a child process, once."""
    if sys.platform != "linux" or platform.machine() not in _FORBIDDEN:
        return f"not confined, because {platform.system()} {platform.machine()} has no Landlock"
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            try:
                confine(Path(folder), ())
            except OSError as error:
                os._exit(min(error.errno or 255, 255))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        return "confined"
    return f"not confined, because the kernel refuses ({os.strerror(code)})"


@functools.cache
def _python() -> tuple[str, ...]:
    """Folders of the interpreter, of installed packages, and of this package's own code."""
    packages = [importlib.import_module(name) for name in ("clser_bench", "clser_bench.methods")]
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {sys.executable, os.path.realpath(sys.executable), sysconfig.get_config_var("LIBDIR")}
    found |= {path for path in sys.path if "-packages" in path or path.startswith(sys.base_prefix)}
    found |= {path for package in packages for path in package.__path__}
    return tuple(sorted(filter(None, found)))


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int | bytes | None) -> int:
    """Call a function of the C library; OSError where it fails."""
    words = (ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments)
    found: int = getattr(_library(), function)(*words)
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def _filter_calls() -> None:
    """Refuse system calls by a program of classic BPF, with EPERM."""
    audit, numbers = _FORBIDDEN[platform.machine()]
    read, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    refused = len(numbers) + 5  # the last line; jumps count from the next one
    lines = [(read, 0, 0, 4), (equal, 0, refused - 2, audit), (read, 0, 0, 0)]
    lines.append((at_least, refused - 4, 0, 0x40000000))  # x32, another way to call
    lines += [(equal, refused - len(lines) - 1 - i, 0, n) for i, n in enumerate(numbers)]
    lines += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050001)]
    held = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(held))
    _call("prctl", _SET_SECCOMP, _FILTER, program, 0, 0)
