"""Tables on disk: `tables/<key>/instants.npy` and `summary.npy`, memory-mapped by all."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np

from clser_bench.errors import FeatureError
from clser_bench.features.files import drop_folder, sweep, write_folder
from clser_bench.problem import Floats, Rows, Table, open_table

_log = logging.getLogger(__name__)

Part = tuple[Rows, Floats, Floats]
"""Rows of a table, their instants and their summaries."""


def table_folder(cache: Path, key: str) -> Path:
    """Where the table of this key lies, or would."""
    return cache / "tables" / key


def existing_table(cache: Path, key: str, *, rows: int) -> Table | None:
    """Open a table if it is there.

    Args:
        cache: the cache folder.
        key: the table's key.
        rows: how many it must have.

    Returns:
        The table; None where there is none, or a damaged one, which is removed (and told in the
        log).
    """
    folder = table_folder(cache, key)
    if not folder.is_dir():
        return None
    try:
        table = open_table(key, folder)
        if len(table) == rows:
            return table
        why = f"{len(table)} rows instead of {rows}"
    except FeatureError as error:
        why = str(error)
    _log.warning("%s is damaged (%s) and is made again", folder, why)
    drop_folder(folder)
    open_table.cache_clear()
    return None


def new_table(
    cache: Path,
    key: str,
    *,
    instants: tuple[int, int, int],
    summary: tuple[int, int],
    parts: Iterable[Part],
) -> Table:
    """Write a table part by part, whole or not at all, and open it.

    Args:
        cache: the cache folder.
        key: the table's key.
        instants: shape (n, t, d).
        summary: shape (n, f).
        parts: together all rows.

    Raises:
        FeatureError: the disk is full, or the cache cannot be written.
    """

    def fill(folder: Path) -> None:
        with (
            _Array(folder / "instants.npy", instants) as long,
            _Array(folder / "summary.npy", summary) as short,
        ):
            for rows, part_instants, part_summary in parts:
                long.put(rows, part_instants)
                short.put(rows, part_summary)

    sweep(cache / "tables")
    folder = table_folder(cache, key)
    write_folder(folder, fill)
    return open_table(key, folder)


class _Array:
    """A float32 `.npy` file written row by row.

    Not through a memory map: on a full disk that kills the process instead of raising.

    Args:
        path: the file.
        shape: of the array; what is not put stays zero.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._stream = path.open("wb")
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)
        self._start = self._stream.tell()
        self._row_bytes = 4 * math.prod(shape[1:])
        self._stream.truncate(self._start + shape[0] * self._row_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def put(self, rows: Rows, values: Floats) -> None:
        """Write rows.

        Args:
            rows: [m], where they belong.
            values: [m, …].
        """
        for row, value in zip(rows.tolist(), np.asarray(values, "<f4"), strict=True):
            self._stream.seek(self._start + row * self._row_bytes)
            self._stream.write(value.tobytes())
