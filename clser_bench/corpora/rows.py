"""Tables of recordings, CSV or Parquet, to rows of text; limits are checked first."""

from __future__ import annotations

import contextlib
import csv
import difflib
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clser_bench.errors import CorpusError
from clser_bench.files import regular_size

if TYPE_CHECKING:
    from pyarrow import Table

MOST_ROWS = 500_000
"""Rows that a table may have."""

MOST_BYTES = 1 << 28
"""Bytes that a table without sound may have, and values of a Parquet column together."""

MOST_CHARACTERS = 10_000
"""Characters that a cell may have."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        where: where it stands, such as `line 4`.
        cells: texts by column, stripped and in Unicode form NFC; empty where missing.
    """

    where: str
    cells: Mapping[str, str]


def header(path: Path) -> tuple[str, ...]:
    """The columns of a CSV or Parquet table.

    Raises:
        CorpusError: it cannot be read, is too large, or names a column twice.
    """
    regular_size(path, error=CorpusError, most=MOST_BYTES)
    if is_parquet(path):
        return tuple(parquet_schema(path).names)
    with _no_table(path), path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, strict=True), [])
    names = [name.strip() for name in names]
    if len(names) < 2 and names:
        separators = {";": "semicolons", "\t": "tabs", "|": "bars"}
        used = [word for mark, word in separators.items() if mark in names[0]]
        if used:
            raise CorpusError(f"{path}: its columns are separated by {used[0]}; write commas")
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise CorpusError(f"{path}: column '{twice[0]}' is there {names.count(twice[0])} times")
    return tuple(names)


def read_rows(path: Path, columns: Mapping[str, str]) -> list[Row]:
    """Read columns of a CSV or Parquet table; blank rows are passed over.

    Args:
        path: the table; CSV in UTF-8.
        columns: name in the table to name in the rows.

    Raises:
        CorpusError: it cannot be read, is larger than the limits, or has a row with more cells
            than columns.
    """
    header(path)
    rows = _parquet(path, columns) if is_parquet(path) else _csv(path, columns)
    return [row for row in rows if any(row.cells.values())]


def is_parquet(path: Path) -> bool:
    """Whether a file is named as Parquet."""
    return path.suffix.lower() == ".parquet"


def parquet_schema(path: Path) -> Any:
    """The schema of a Parquet file whose rows are within the limit.

    Raises:
        CorpusError: it is no Parquet, has too many rows, or names a column twice.
    """
    from pyarrow import parquet  # noqa: PLC0415 (takes long to import and is seldom needed)

    with _no_table(path):
        file = parquet.ParquetFile(path)
        rows, schema = file.metadata.num_rows, file.schema_arrow
    if rows > MOST_ROWS:
        raise CorpusError(f"{path}: has {rows} rows; at most {MOST_ROWS} are read")
    twice = [name for name in dict.fromkeys(schema.names) if schema.names.count(name) > 1]
    if twice:
        raise CorpusError(f"{path}: column '{twice[0]}' is there more than once")
    return schema


def check_columns(
    path: Path, found: Sequence[str], *, required: Sequence[str], optional: Sequence[str]
) -> None:
    """Refuse a table that lacks a column, or has one that is nearly an optional one.

    Raises:
        CorpusError: as said.
    """
    missing = [name for name in required if name not in found]
    if missing:
        raise CorpusError(
            f"{path}: column {', '.join(missing)} is missing; it has {', '.join(found) or 'none'}, "
            f"it needs {', '.join(required)} and may have {', '.join(optional)}"
        )
    for name in found:
        near = difflib.get_close_matches(name, optional, n=1, cutoff=0.75)
        if near and name not in (*required, *optional) and near[0] not in found:
            raise CorpusError(f"{path}: column '{name}' is unknown; did you mean '{near[0]}'?")


def text_of(value: object) -> str:
    """A cell as text: missing values are empty, whole numbers have no decimals, Unicode is NFC."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", str(value).strip())


@contextlib.contextmanager
def _no_table(path: Path) -> Iterator[None]:
    """Let errors of csv and pyarrow name the file."""
    try:
        yield
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (csv.Error, ValueError, IndexError, NotImplementedError) as error:
        raise CorpusError(f"{path}: is not a table in CSV (UTF-8) or Parquet ({error})") from error


def _csv(path: Path, columns: Mapping[str, str]) -> list[Row]:
    rows: list[Row] = []
    with _no_table(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        names = [name.strip() for name in next(reader, [])]
        wanted = [(names.index(name), new) for name, new in columns.items() if name in names]
        for cells in reader:
            if len(rows) == MOST_ROWS:
                raise CorpusError(f"{path}: has more than {MOST_ROWS} rows")
            if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
                raise CorpusError(
                    f"{path}: line {reader.line_num} has {len(cells)} cells, the header "
                    f'{len(names)}; write a text that holds commas in "quotes"'
                )
            read = {new: text_of(cells[at]) if at < len(cells) else "" for at, new in wanted}
            rows.append(_limited(path, Row(f"line {reader.line_num}", read)))
    return rows


def _parquet(path: Path, columns: Mapping[str, str]) -> Iterable[Row]:
    from pyarrow import parquet  # noqa: PLC0415 (takes long to import and is seldom needed)

    schema = parquet_schema(path)
    wanted = {name: new for name, new in columns.items() if name in schema.names}
    with _no_table(path):
        # texts stay in dictionaries: a small file may hold one long text half a million times
        table = parquet.read_table(path, columns=list(wanted), read_dictionary=list(wanted))
        table.validate(full=True)  # a damaged file may point beyond its own values
        _refuse_long(path, table)
        lists = [table.column(name).to_pylist() for name in wanted]
    for number, values in enumerate(zip(*lists, strict=True), 1):
        cells = {new: text_of(value) for new, value in zip(wanted.values(), values, strict=True)}
        yield Row(f"row {number}", cells)


def _refuse_long(path: Path, table: Table) -> None:
    import pyarrow as pa  # noqa: PLC0415 (takes long to import and is seldom needed)
    import pyarrow.compute as pc  # noqa: PLC0415

    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            values = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
            if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
                continue
            longest = pc.max(pc.binary_length(values)).as_py() or 0
            if longest > 4 * MOST_CHARACTERS:
                raise CorpusError(f"{path}: a value of column '{name}' has {longest} bytes")


def _limited(path: Path, row: Row) -> Row:
    for name, text in row.cells.items():
        if len(text) > MOST_CHARACTERS:
            raise CorpusError(f"{path}: {row.where}: {name} has {len(text)} characters")
    return row
