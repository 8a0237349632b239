"""Files of the cache written whole or not at all, and how much there is of them."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clser_bench.errors import FeatureError

_TEMPORARY = ".part-"
_STALE_SECONDS = 24 * 3600
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or nothing, whenever the writer is killed.

    Args:
        path: an older file of this name is replaced; the folder is made when absent.
        content: all bytes.

    Raises:
        FeatureError: the disk is full, or the file cannot be written.
    """
    temporary = path.parent / _temporary_name(path)
    with told_plainly(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder so that a reader sees all of it or nothing.

    Where another process was quicker its folder stays: both would hold the same.

    Args:
        path: the folder; must not exist, else it stays as it is.
        fill: writes the files into the folder it is given.

    Raises:
        FeatureError: the disk is full, or the folder cannot be written.
    """
    temporary = path.parent / _temporary_name(path)
    with told_plainly(path.parent):
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
    """Remove a folder at once, also while another process reads from it.

    Args:
        path: may be absent.
    """
    aside = path.parent / _temporary_name(path)
    with told_plainly(path.parent):
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
        shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written a day ago or earlier.

    Args:
        folder: may be absent.
    """
    for left in folder.glob(f"{_TEMPORARY}*"):
        try:
            if time.time() - left.stat().st_mtime < _STALE_SECONDS:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        except FileNotFoundError:
            continue  # another process sweeps too


def cache_size(cache: Path) -> dict[str, int]:
    """How many bytes the cache holds.

    Args:
        cache: the cache folder; may be absent.

    Returns:
        Bytes by kind, sorted: the name of the folder at the top of the cache (`shards`,
        `tables`, …), `other` for files that lie at the top.
    """
    sizes: dict[str, int] = {}
    for parent, _, names in os.walk(cache):
        place = Path(parent).relative_to(cache).parts
        kind = place[0] if place else "other"
        for name in names:
            try:
                size = (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue  # written by another process and gone again
            sizes[kind] = sizes.get(kind, 0) + size
    return dict(sorted(sizes.items()))


@contextmanager
def told_plainly(folder: Path) -> Iterator[None]:
    """Turn a failure to write into an error that says what to do.

    Args:
        folder: where is written.

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


def _temporary_name(path: Path) -> str:
    return f"{_TEMPORARY}{uuid.uuid4().hex[:12]}-{path.name[:32]}"
