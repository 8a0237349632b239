"""Features on disk: shards of some utterances, and tables of a corpus that are memory-mapped.

A shard is `shards/<feature key>/<shard key>.safetensors`: its key hashes the feature key and the
content hashes of its rows, so a shard that exists is the right one, whatever corpus, path or run
asks for it. A table is `tables/<key>/` with `instants.npy`, `summary.npy` and their SHA-256. Both
are checked before they are used; what is damaged is removed and made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from clser_bench.errors import FeatureError
from clser_bench.features.columns import INSTANTS
from clser_bench.features.sets import FeatureSet
from clser_bench.features.storage import (
    drop_folder,
    remove_partial_files,
    writable,
    write_file,
    write_folder,
)
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import CHECKSUMS, Floats, Rows, Table, array_checksums, open_table

ROWS = 32
"""About how many utterances a shard has: what a killed run loses, per process."""

ABOUT = "about.json"
"""In the folder of a set's shards: what the set is."""

Part = tuple[Rows, Floats, Floats]
"""Rows of a table, their instants and their summaries."""

_ENTRY = "clser-bench"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Shard:
    """Features of some utterances.

    Attributes:
        contents: their content hashes, sorted.
        instants: float32 [m, t, d].
        summary: float32 [m, f].
    """

    contents: tuple[str, ...]
    instants: Floats
    summary: Floats


def shard_path(cache: Path, features: FeatureSet, contents: Sequence[str]) -> Path:
    """Where the shard of these content hashes, sorted, lies."""
    key = digest({"features": features.key, "contents": list(contents)})
    return cache / "shards" / features.key / f"{key}.safetensors"


def describe_shards(cache: Path, features: FeatureSet) -> None:
    """Write beside the shards of a set what it is, for `features list`.

    Raises:
        FeatureError: the file cannot be written.
    """
    about = {
        "name": features.name,
        "parameters": dict(features.parameters),
        "instants": len(features.instants),
        "summary": len(features.summary),
    }
    path = cache / "shards" / features.key / ABOUT
    if not path.is_file():
        write_file(path, json.dumps(about, indent=1).encode("utf-8"))


def divide(contents: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Cut content hashes into shards of about `ROWS`, by their first bits.

    So a corpus with one file more shares all shards but one with the corpus before.

    Args:
        contents: hexadecimal content hashes, in any order; each counts once.

    Returns:
        The contents of each shard, sorted; no shard is empty.
    """
    distinct = sorted(set(contents))
    bits = max(0, (max(len(distinct) - 1, 0) // ROWS).bit_length())
    buckets: dict[int, list[str]] = {}
    for content in distinct:
        buckets.setdefault(int(content[:8], 16) >> (32 - bits), []).append(content)
    return tuple(tuple(bucket) for _, bucket in sorted(buckets.items()))


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard, whole or not at all; the same shard gives the same bytes.

    Raises:
        FeatureError: the disk is full, or the file cannot be written.
    """
    # One entry only: safetensors writes several in no fixed order.
    entry = json.dumps({"contents": list(shard.contents), "checksum": _checksum(shard)})
    tensors = {"instants": shard.instants, "summary": shard.summary}
    write_file(path, safetensors.numpy.save(tensors, metadata={_ENTRY: entry}))


def find_shard(cache: Path, features: FeatureSet, contents: Sequence[str]) -> Shard | None:
    """Read a shard from the cache, or from the folder that stands in where it is read-only.

    Arguments and errors as for `shard_path` and `read_shard`.
    """
    for place in dict.fromkeys((cache, writable(cache))):
        shard = read_shard(shard_path(place, features, contents), features, contents)
        if shard is not None:
            return shard
    return None


def read_shard(path: Path, features: FeatureSet, contents: Sequence[str]) -> Shard | None:
    """Read a shard and check every byte of it.

    Args:
        contents: what it must hold, sorted.

    Returns:
        The shard; None where there is no file or a damaged one (a line says so).

    Raises:
        FeatureError: the file is there and may not be read.
    """
    found = _load(path)
    if isinstance(found, Shard):
        columns = found.instants.shape[-1], found.summary.shape[-1]
        wanted = len(features.instants), len(features.summary)
        if columns == wanted and found.contents == tuple(contents):
            return found
        found = "it holds something else"
    if found:
        _warn_damaged(path, found)
    return None


def check_shard(path: Path) -> str | None:
    """Read all of a shard and say what is wrong with it.

    Returns:
        What is wrong, in words; None where nothing is, or the file is gone.

    Raises:
        FeatureError: the file is there and may not be read.
    """
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
        entry = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_ENTRY])
        instants, summary = tensors["instants"], tensors["summary"]
        shard = Shard(contents=tuple(entry["contents"]), instants=instants, summary=summary)
        if entry["checksum"] != _checksum(shard):
            return "the checksum does not fit"
        count = len(shard.contents)
        if [instants.shape[:-1], summary.shape[:-1]] != [(count, INSTANTS), (count,)]:
            return f"{instants.shape} instants and {summary.shape} summaries for {count} utterances"
    except FileNotFoundError:
        return None
    except KeyError as error:
        return f"{error} is missing"
    except (safetensors.SafetensorError, ValueError, TypeError) as error:
        return str(error)
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror})") from error
    return shard


def _checksum(shard: Shard) -> str:
    state = hashlib.sha256(digest(list(shard.contents)).encode("ascii"))
    for array in (shard.instants, shard.summary):
        state.update(digest_array(np.asarray(array)).encode("ascii"))
    return state.hexdigest()


def _warn_damaged(path: Path, why: str) -> None:
    _log.warning("%s is damaged (%s) and is made again", path, why)


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
        _warn_damaged(folder, why)
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

    Args:
        instants: shape (n, t, d).
        summary: shape (n, f).
        parts: together all rows.

    Raises:
        FeatureError: the disk is full.
    """

    def fill(folder: Path) -> None:
        with (
            _Array(folder / "instants.npy", instants) as long,
            _Array(folder / "summary.npy", summary) as short,
        ):
            for rows, part_instants, part_summary in parts:
                long.put(rows, part_instants)
                short.put(rows, part_summary)
        (folder / CHECKSUMS).write_text(json.dumps(array_checksums(folder)), encoding="ascii")

    place = writable(cache)
    remove_partial_files(place / "tables")
    folder = table_folder(place, key)
    write_folder(folder, fill)
    return open_table(key, folder)


class _Array(contextlib.AbstractContextManager["_Array"]):
    """A float32 `.npy` file written row by row; what is not put stays zero.

    Not through a memory map: on a full disk that kills the process instead of raising.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._stream = path.open("wb")
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)
        self._start = self._stream.tell()
        self._row_bytes = 4 * math.prod(shape[1:])
        self._stream.truncate(self._start + shape[0] * self._row_bytes)

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def put(self, rows: Rows, values: Floats) -> None:
        """Write values [m, …] where their rows [m] belong."""
        for row, value in zip(rows.tolist(), np.asarray(values, "<f4"), strict=True):
            self._stream.seek(self._start + row * self._row_bytes)
            self._stream.write(value.tobytes())


def concatenated(*tables: Table, cache: Path) -> Table:
    """The rows of one table, then those of the next; kept in the cache.

    Raises:
        FeatureError: their sizes differ.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for second in tables[1:]:
        if second.sizes != first.sizes:
            raise FeatureError(
                f"tables {first.key[:12]} and {second.key[:12]} have features of different sizes: "
                "selecting on held-out labels of the source needs one feature set, or an alignment"
            )
    ends = np.cumsum([len(table) for table in tables])
    rows = int(ends[-1])
    key = digest(["joined", *(table.key for table in tables)])
    there = existing_table(cache, key, rows=rows)
    if there is not None:
        return there
    parts = (
        (np.arange(end - len(table), end), table.instants, table.summary)
        for end, table in zip(ends.tolist(), tables, strict=True)
    )
    return new_table(
        cache,
        key,
        instants=(rows, *first.instants.shape[1:]),
        summary=(rows, first.summary.shape[1]),
        parts=parts,
    )
