"""Writing into the cache: whole or not at all, one process at a time, or beside it where it must.

A reader sees all of a file or folder or nothing of it, whenever the writer is killed. Files have
the permissions that the umask gives, so that a cache can serve several users.
"""

from __future__ import annotations

import atexit
import errno
import functools
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clser_bench.cleanup import make_folder, remove_folder
from clser_bench.errors import FeatureError
from clser_bench.progress import Progress

_PARTIAL = ".part-"
_STALE_SECONDS = 24 * 3600
_FULL = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger(__name__)


@functools.cache
def writable(cache: Path) -> Path:
    """The cache, or a folder that lasts as long as this process where it cannot be written to.

    Said once in the log. A full disk is no such case: whoever writes says what to do.
    """
    try:
        for name in ("shards", "tables", "locks"):
            (cache / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache / name):
                pass
    except OSError as error:
        if error.errno in _FULL:
            return cache
        beside = make_folder()
        atexit.register(remove_folder, beside)
        _log.warning(
            "%s: cannot be written (%s); new features are kept only until this command ends. Set "
            "CLSER_CACHE to a folder that you may write to",
            cache,
            error.strerror,
        )
        return beside
    return cache


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; an older one is replaced, the folder made when absent.

    Raises:
        FeatureError: the disk is full, or the file cannot be written.
    """
    temporary = path.parent / _partial_name(path)
    with as_feature_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder, whole or not at all.

    Where another process was quicker its folder stays: both would hold the same.

    Raises:
        FeatureError: the disk is full, or the folder cannot be written.
    """
    temporary = path.parent / _partial_name(path)
    with as_feature_errors(path.parent):
        temporary.mkdir(parents=True)
        try:
            fill(temporary)
            try:
                temporary.rename(path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def drop_folder(path: Path) -> None:
    """Remove a folder, which may be absent, at once, also while another process reads from it."""
    aside = path.parent / _partial_name(path)
    with as_feature_errors(path.parent):
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
        shutil.rmtree(aside, ignore_errors=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder a day ago or earlier."""
    for left in folder.glob(f"{_PARTIAL}*"):
        with suppress(FileNotFoundError):  # another process removes them too
            if time.time() - left.stat().st_mtime < _STALE_SECONDS:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def cache_size(cache: Path) -> int:
    """How many bytes lie in a folder, which may be absent; links are not followed."""
    total = 0
    for parent, _, names in os.walk(cache):
        for name in names:
            with suppress(FileNotFoundError):  # written by another process and gone again
                total += (Path(parent) / name).lstat().st_size
    return total


@contextmanager
def lock(cache: Path, key: str, *, what: str, progress: Progress) -> Iterator[None]:
    """Inter-process lock: concurrent runs wait for an extraction instead of repeating it.

    The lock goes with the process that holds it, however that ends.

    Args:
        cache: a folder that can be written to.

    Raises:
        FeatureError: the cache cannot be written.
    """
    folder = cache / "locks"
    with as_feature_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f"{key}.lock", mode=0o666)  # for other users too
        try:
            held.acquire(timeout=0)
        except PermissionError:
            # The lock file of another user: at worst the same work is done twice.
            pass
        except Timeout:
            progress.start(f"{what}: waiting for another process that does the same", 1)
            try:
                held.acquire()
            finally:
                progress.stop()
    try:
        yield
    finally:
        held.release()


@contextmanager
def as_feature_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write into an error that says what to do.

    Raises:
        FeatureError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise FeatureError(
                f"{folder}: the disk is full; make room, or set CLSER_CACHE to a folder on "
                "another disk. What is finished is kept and the next run goes on from there"
            ) from error
        raise FeatureError(
            f"{folder}: cannot be written ({error.strerror}); "
            "set CLSER_CACHE to a folder that you may write to"
        ) from error


def _partial_name(path: Path) -> str:
    return f"{_PARTIAL}{uuid.uuid4().hex[:12]}-{path.name[:32]}"
