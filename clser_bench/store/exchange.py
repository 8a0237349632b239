"""The Parquet file in which results travel, so that laboratories can pool them.

One file: a row a trial, planned or run, with its predictions; the tables' rows, the answer keys
and the order of pairs stand as JSON in the file's metadata, under `clser-bench`. A run's options,
which name folders of the machine, and tracebacks stay at home.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pydantic import ValidationError

from clser_bench.errors import StoreError
from clser_bench.store.heading import Heading
from clser_bench.store.submission import FaultyError

_NAME = b"clser-bench"
BATCH = 1000
_MOST_BYTES = 4 << 30
_MOST_ROWS = 2_000_000
_MOST_HEADING = 64 << 20

_TEXTS = ("id", "source", "target", "shots", "method", "parameters", "features", "normalisation")
_TEXTS_TOO = ("setting", "prior", "source_key", "target_key")
_NUMBERS = ("seed", "version", "engine_version", "protocol_version")
_SCORES = pa.field("scores", pa.list_(pa.float32()))
_COLUMNS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in (*_TEXTS, *_TEXTS_TOO)),
        *(pa.field(name, pa.int64()) for name in _NUMBERS),
        pa.field("synthetic", pa.bool_()),
        pa.field("classes", pa.list_(pa.string())),
        pa.field("parts", pa.list_(pa.int64())),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("pack", pa.string()),
        pa.field("uar", pa.float64()),
        pa.field("war", pa.float64()),
        pa.field("macro_f1", pa.float64()),
        pa.field("answers", pa.string()),
        pa.field("predictions", pa.list_(pa.uint8())),
    ]
)
_MAY_BE_NULL = ("status", "uar", "war", "macro_f1", "answers", "predictions", "scores")
ARRAYS = ("predictions", "scores")

Rows = list[dict[str, Any]]


@contextlib.contextmanager
def new(path: Path, heading: Heading, *, scores: bool) -> Iterator[Callable[[Rows], None]]:
    """A new file, which appears whole or not at all; what is given adds rows to it.

    Args:
        path: the file.
        heading: what stands beside the rows.
        scores: whether rows have scores.

    Raises:
        StoreError: the file cannot be written.
    """
    columns = _COLUMNS.append(_SCORES) if scores else _COLUMNS
    with _whole(path) as temporary, _writer(temporary, columns) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema=columns))
        writer.add_key_value_metadata({_NAME: heading.model_dump_json().encode()})


def opened(path: Path) -> Any:
    """A file of the right size, of which no row is read yet.

    Args:
        path: the file.

    Returns:
        A `pyarrow.parquet.ParquetFile`, to be closed.

    Raises:
        StoreError: it is absent, damaged, something else or too large.
    """
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file; name what `clser-bench export` wrote")
    with _decoding(path):
        file = parquet.ParquetFile(path, page_checksum_verification=True)
        held = file.metadata
        # claims of the file, read group by group: pyarrow ends the process on a damaged column
        groups = [held.row_group(number) for number in range(held.num_row_groups)]
        size = max(path.stat().st_size, sum(group.total_byte_size for group in groups))
    for what, got, most in (("bytes", size, _MOST_BYTES), ("rows", held.num_rows, _MOST_ROWS)):
        if got > most:
            raise FaultyError(
                path, what, f"{got}, and at most {most} are read; export fewer methods"
            )
    return file


def read_heading(path: Path, file: Any) -> Heading:
    """Check the columns of a file, and read what stands beside them.

    Args:
        path: the file, for messages.
        file: as `opened`.

    Raises:
        StoreError: it is no export.
    """
    found = {field.name: field.type for field in file.schema_arrow}
    wanted = {field.name: field.type for field in (*_COLUMNS, _SCORES)}
    for name in file.schema_arrow.names:
        if name not in wanted or file.schema_arrow.names.count(name) > 1:
            raise FaultyError(
                path, f"column {name!r}", "is not of an export, or stands there twice"
            )
    for name, kind in wanted.items():
        if name not in found and name != _SCORES.name:
            raise FaultyError(path, f"column {name!r}", "is missing")
        if found.get(name, kind) != kind:
            raise FaultyError(path, f"column {name!r}", f"is of type {found[name]}, not {kind}")
    text = (file.metadata.metadata or {}).get(_NAME, b"")
    if not text or len(text) > _MOST_HEADING:
        raise FaultyError(path, "metadata 'clser-bench'", f"{len(text)} bytes; it is no export")
    try:
        return Heading.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        got = f"{first['msg']}, got {str(first['input'])[:80]!r}"
        raise FaultyError(path, f"metadata 'clser-bench' {place}", got) from error


def decoded(path: Path, file: Any) -> Iterator[Rows]:
    """The rows of a file, column to value, some at a time; arrays are flat.

    Args:
        path: the file, for messages.
        file: as `opened`.

    Raises:
        StoreError: a row is damaged or lacks a value.
    """
    batches = file.iter_batches(BATCH)
    done = 0
    while True:
        with _decoding(path):
            batch = next(batches, None)
            if batch is None:
                return
            columns = {name: batch.column(name) for name in batch.schema.names}
            cells = {
                name: _arrays(column) if name in ARRAYS else column.to_pylist()
                for name, column in columns.items()
            }
        for name, column in columns.items():
            inner = column.flatten() if pa.types.is_list(column.type) else ()
            if (column.null_count and name not in _MAY_BE_NULL) or getattr(inner, "null_count", 0):
                rows = f"rows {done + 1} to {done + len(batch)}"
                raise FaultyError(path, rows, f"column {name!r} has a null")
        done += len(batch)
        cells.setdefault("scores", [None] * len(batch))
        yield [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _writer(path: Path, columns: Any) -> Any:
    # without the schema of Arrow, which would hold the heading a second time
    return parquet.ParquetWriter(
        path, columns, compression="zstd", write_page_checksum=True, store_schema=False
    )


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes the file where nothing goes wrong."""
    temporary = path.parent / f".part-{uuid.uuid4().hex[:12]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        what = error.strerror or error
        raise StoreError(f"{path}: cannot be written ({what}); name another place") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FaultyError(
            path, "Parquet", f"damaged, cut short or of another kind ({error})"
        ) from error


def _arrays(column: Any) -> list[Any]:
    """The lists of a column as arrays, None where there is none."""
    values = np.asarray(column.flatten())
    sizes = column.value_lengths().fill_null(0).to_numpy()
    parts = np.split(values, np.cumsum(sizes)[:-1])
    valid = column.is_valid().to_pylist()
    return [part if there else None for part, there in zip(parts, valid, strict=True)]
