"""What the process of a method may do: read Python and its own file, write its own folder.

By Landlock (Linux 5.13 or later; https://docs.kernel.org/userspace-api/landlock.html) for files,
TCP and signals, and by a seccomp filter for what Landlock leaves open: sockets of other kinds,
memory that processes share, and other processes' memory. Neither needs privileges, and neither can
be taken back. Features come as mappings that were opened before, so no corpus, cache, results file
or folder of a user is read; nor is `/proc`, where command lines and environments lie, but for the
list of loaded libraries that threadpoolctl needs.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import platform
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

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

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/sys/devices/system")
_LIBRARIES = "/proc/self/maps"
_FILES = (_LIBRARIES, "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm/overcommit_memory")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def confine(folder: Path, files: Iterable[Path], *, meters: bool = False) -> None:
    """Restrict this process, which has one thread, and all that it starts.

    It may write to `folder`, read `files` besides Python and the system's libraries, and with
    `meters` `/proc` and `/sys`, which measuring joules needs. OSError where the kernel refuses.
    """
    version = _landlock(_CREATE, None, 0, 1)
    files_handled = (1 << _RIGHTS.get(version, 15)) - 1
    connections = 0b11 if version >= 4 else 0  # bind and connect by TCP
    scopes = 0b11 if version >= 6 else 0  # abstract sockets, signals
    attributes = struct.pack("QQQ", files_handled, connections, scopes)
    rules = _landlock(_CREATE, attributes, 8 if version < 4 else 16 if version < 6 else 24, 0)
    readable = [*_SYSTEM, *_FILES, *_python(), *files, *(("/proc", "/sys") if meters else ())]
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
        _landlock(_ADD, rules, _RULE_PATH, rule, 0)
        if path != Path(_LIBRARIES):  # the kernel makes that file anew unless it is open
            os.close(opened)
    _prctl(_NO_NEW_PRIVILEGES, 1, 0)
    _landlock(_RESTRICT, rules, 0)
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


def _landlock(number: int, *arguments: int | bytes | None) -> int:
    found: int = _library().syscall(
        number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments), 0
    )
    return _checked(found)


def _prctl(option: int, *arguments: int) -> None:
    _checked(_library().prctl(option, *map(ctypes.c_ulong, arguments), 0, 0))


def _checked(found: int) -> int:
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def _filter_calls() -> None:
    """Refuse system calls by a program of classic BPF, with EPERM."""
    audit, numbers = _FORBIDDEN[platform.machine()]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    refused = len(numbers) + 5  # the last line; jumps count from the next one
    lines = [(load, 0, 0, 4), (equal, 0, refused - 2, audit), (load, 0, 0, 0)]
    lines.append((at_least, refused - 4, 0, 0x40000000))  # x32, another way to call
    lines += [(equal, refused - len(lines) - 1 - i, 0, n) for i, n in enumerate(numbers)]
    lines += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050001)]
    held = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(held))
    _checked(_library().prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), program, 0, 0))
