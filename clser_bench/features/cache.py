"""Features on disk: shards of some utterances, and tables of a corpus that are memory-mapped.

A shard is `shards/<feature key>/<shard key>.safetensors`: its key hashes the feature key and the
content hashes of its rows, so a shard that exists is the right one, whatever corpus, path or run
asks for it. A table is `tables/<key>/` with `instants.npy`, `summary.npy` and their SHA-256. Both
are checked before they are used; what is damaged is removed and made again.

A reader sees all of a file or folder or nothing of it, whenever the writer is killed. Files have
the permissions that the umask gives, so that a cache can serve several users.
"""

from __future__ import annotations

import atexit
import errno
import functools
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from filelock import FileLock, Timeout

from clser_bench.cleanup import make_folder, remove_folder
from clser_bench.errors import FeatureError
from clser_bench.features.columns import INSTANTS
from clser_bench.features.sets import FeatureSet
from clser_bench.files import whole
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import CHECKSUMS, Floats, Rows, Table, array_checksums, open_table
from clser_bench.progress import Progress, shown

ROWS = 32
"""About how many utterances a shard has: what a killed run loses, per process."""

ABOUT = "about.json"
"""In the folder of a set's shards: what the set is."""

Part = tuple[Rows, Floats, Floats]
"""Rows of a table, their instants and their summaries."""

ENTRY = "clser-bench"
"""Of a shard's header: where its contents and their checksum stand, as JSON."""

_PARTIAL = ".part-"
_STALE_SECONDS = 24 * 3600
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DAMAGED = "%s is damaged (%s) and is made again"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Shard:
    """Features of some utterances."""

    contents: tuple[str, ...]  # their content hashes, sorted
    instants: Floats  # float32 [m, t, d]
    summary: Floats  # float32 [m, f]


def shard_path(cache: Path, features: FeatureSet, contents: Sequence[str]) -> Path:
    """Where the shard of these content hashes, sorted, lies."""
    key = digest({"features": features.key, "contents": list(contents)})
    return cache / "shards" / features.key / f"{key}.safetensors"


def describe_shards(cache: Path, features: FeatureSet) -> None:
    """Write beside the shards of a set what it is, for `features list`."""
    columns = {"instants": len(features.instants), "summary": len(features.summary)}
    about = {"name": features.name, "parameters": dict(features.parameters), **columns}
    path = cache / "shards" / features.key / ABOUT
    if not path.is_file():
        write_file(path, json.dumps(about, indent=1).encode("utf-8"))


def divide(contents: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Cut hexadecimal content hashes into shards of about `ROWS`, by their first bits.

    So a corpus with one file more shares all shards but one with the corpus before. The contents of
    each shard are sorted, each counts once, and no shard is empty.
    """
    distinct = sorted(set(contents))
    bits = max(0, (max(len(distinct) - 1, 0) // ROWS).bit_length())
    buckets: dict[int, list[str]] = {}
    for content in distinct:
        buckets.setdefault(int(content[:8], 16) >> (32 - bits), []).append(content)
    return tuple(tuple(bucket) for _, bucket in sorted(buckets.items()))


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard, whole or not at all; the same shard gives the same bytes."""
    # One entry only: safetensors writes several in no fixed order.
    entry = json.dumps({"contents": list(shard.contents), "checksum": _checksum(shard)})
    tensors = {"instants": shard.instants, "summary": shard.summary}
    write_file(path, safetensors.numpy.save(tensors, metadata={ENTRY: entry}))


def find_shard(cache: Path, features: FeatureSet, contents: Sequence[str]) -> Shard | None:
    """Read a shard from the cache, or from the folder that stands in where it is read-only.

    Arguments and errors as for `shard_path` and `read_shard`.
    """
    places = dict.fromkeys((cache, writable(cache)))
    found = (read_shard(shard_path(at, features, contents), features, contents) for at in places)
    return next((shard for shard in found if shard is not None), None)


def read_shard(path: Path, features: FeatureSet, contents: Sequence[str]) -> Shard | None:
    """Read a shard with these sorted contents and check every byte of it.

    None where there is no file or a damaged one (a line says so); FeatureError where it may not be
    read.
    """
    found = _load(path)
    if isinstance(found, Shard):
        columns = found.instants.shape[-1], found.summary.shape[-1]
        wanted = len(features.instants), len(features.summary)
        if columns == wanted and found.contents == tuple(contents):
            return found
        found = "it holds something else"
    if found:
        _log.warning(_DAMAGED, path, found)
    return None


def check_shard(path: Path) -> str | None:
    """Read all of a shard: what is wrong with it, in words; None where nothing is, or no shard."""
    found = _load(path)
    if not isinstance(found, Shard):
        return found
    key = digest({"features": path.parent.name, "contents": list(found.contents)})
    return None if path.stem == key else "it holds something else than its name says"


def _load(path: Path) -> Shard | str | None:
    """A shard, or what is wrong with it; None where there is none."""
    try:
        content = path.read_bytes()
        tensors = safetensors.numpy.load(content)
        size = int.from_bytes(content[:8], "little")
        entry = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][ENTRY])
        shard = Shard(contents=tuple(entry["contents"]), **tensors)
        count, (long, short) = len(shard.contents), (shard.instants.shape, shard.summary.shape)
        if entry["checksum"] != _checksum(shard):
            return "the checksum does not fit"
    except FileNotFoundError:
        return None
    except KeyError as error:
        return f"{error} is missing"
    except (safetensors.SafetensorError, ValueError, TypeError) as error:
        return str(error)
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror})") from error
    if (long[:-1], short[:-1]) != ((count, INSTANTS), (count,)):
        return f"{long} instants and {short} summaries for {count} utterances"
    return shard


def _checksum(shard: Shard) -> str:
    state = hashlib.sha256(digest(list(shard.contents)).encode("ascii"))
    for array in (shard.instants, shard.summary):
        state.update(digest_array(np.asarray(array)).encode("ascii"))
    return state.hexdigest()


def table_folder(cache: Path, key: str) -> Path:
    """Where the table of this key lies, or would."""
    return cache / "tables" / key


def existing_table(cache: Path, key: str, *, rows: int) -> Table | None:
    """Open the table of this key, which must have so many rows, if it is there.

    None where there is none, or a damaged one, which is removed (a line says so).
    """
    for place in dict.fromkeys((cache, writable(cache))):
        folder = table_folder(place, key)
        if not folder.is_dir():
            continue
        try:
            table = open_table(key, folder)
            if len(table) == rows:
                return table
            why = f"{len(table)} rows instead of {rows}"
        except FeatureError as error:
            why = str(error).removeprefix(str(folder)).lstrip("/: ")
        _log.warning(_DAMAGED, folder, why)
        open_table.cache_clear()
        if place == writable(cache):
            drop_folder(folder)
    return None


def new_table(
    cache: Path,
    key: str,
    *,
    instants: tuple[int, int, int],
    summary: tuple[int, int],
    parts: Iterable[Part],
) -> Table:
    """Write a table part by part with its checksums, whole or not at all, and open it.

    Instants have the shape (n, t, d) and summaries (n, f); the parts have together all rows.
    FeatureError where the disk is full.
    """
    place = writable(cache)
    remove_partial_files(place / "tables")
    folder = table_folder(place, key)
    with whole_folder(folder) as aside:
        # Not through a memory map: on a full disk that kills the process instead of raising.
        with (
            (aside / "instants.npy").open("wb") as long,
            (aside / "summary.npy").open("wb") as short,
        ):
            starts = {}
            for stream, shape in ((long, instants), (short, summary)):
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
                starts[stream] = stream.tell()
                stream.truncate(stream.tell() + 4 * math.prod(shape))  # what is not put is zero
            for rows, *values in parts:
                for (stream, start), some in zip(starts.items(), values, strict=True):
                    for row, value in zip(rows.tolist(), np.asarray(some, "<f4"), strict=True):
                        stream.seek(start + row * value.nbytes)
                        stream.write(value.tobytes())
        (aside / CHECKSUMS).write_text(json.dumps(array_checksums(aside)), encoding="ascii")
    return open_table(key, folder)


def concatenated(*tables: Table, cache: Path) -> Table:
    """The rows of one table, then those of the next, in the cache; FeatureError for other sizes."""
    first, *others = tables
    if not others:
        return first
    for second in others:
        if second.sizes != first.sizes:
            raise FeatureError(
                f"tables {first.key[:12]} and {second.key[:12]} have features of different sizes: "
                "selecting on held-out labels of the source needs one feature set, or an alignment"
            )
    ends = np.cumsum([len(table) for table in tables])
    n, (t, d, f) = int(ends[-1]), first.sizes
    places = np.split(np.arange(n), ends[:-1])
    parts = ((at, table.instants, table.summary) for at, table in zip(places, tables, strict=True))
    key = digest(["joined", *(table.key for table in tables)])
    there = existing_table(cache, key, rows=n)
    return there or new_table(cache, key, instants=(n, t, d), summary=(n, f), parts=parts)


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
    """Write a file, whole or not at all; an older one is replaced, the folder made when absent."""
    with as_feature_errors(path.parent), whole(path, error=None) as temporary:
        temporary.write_bytes(content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when it is whole; errors as for `write_file`.

    Where another process was quicker its folder stays: both would hold the same.
    """
    temporary = _partial(path)
    with as_feature_errors(path.parent):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def drop_folder(path: Path) -> None:
    """Remove a folder, which may be absent, at once, also while another process reads from it."""
    aside = _partial(path)
    with as_feature_errors(path.parent), suppress(FileNotFoundError):
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder a day ago or earlier."""
    for left in folder.glob(f"{_PARTIAL}*"):
        with suppress(FileNotFoundError):  # another process removes them too
            if time.time() - left.stat().st_mtime < _STALE_SECONDS:
                continue
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()


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

    The lock goes with the process that holds it, however that ends. FeatureError where the cache
    cannot be written.
    """
    folder = cache / "locks"
    with as_feature_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f"{key}.lock", mode=0o666)  # for other users too
        try:
            # The lock file of another user: at worst the same work is done twice.
            with suppress(PermissionError):
                held.acquire(timeout=0)
        except Timeout:
            with shown(progress, f"{what}: waiting for another process that does the same", 1):
                held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def as_feature_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write, or a full disk, into a FeatureError that says what to do."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written ({error.strerror}); "
        what += "set CLSER_CACHE to a folder that you may write to"
        if error.errno in _FULL:
            what = (
                "the disk is full; make room, or set CLSER_CACHE to a folder on another disk. What "
                "is finished is kept and the next run goes on from there"
            )
        raise FeatureError(f"{folder}: {what}") from error


def _partial(path: Path) -> Path:
    return path.parent / f"{_PARTIAL}{uuid.uuid4().hex[:12]}-{path.name[:32]}"
