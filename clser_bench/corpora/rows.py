"""Tables of recordings to rows of text; limits are checked first.

CSV, Parquet, and the Arrow and Parquet files of Hugging Face datasets, whose sound lies in them.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clser_bench.errors import CorpusError
from clser_bench.files import cache_folder, regular_size, write_whole
from clser_bench.hashing import digest

MOST_ROWS = 500_000  # rows that a table may have
MOST_COLUMNS = 10_000  # columns that a table may have
MOST_BYTES = 1 << 28
"""Bytes that a table without sound may have, and values of a Parquet column together."""

MOST_CHARACTERS = 10_000  # characters that a cell may have
_MOST_WITH_SOUND = 1 << 38  # bytes
_SUFFIXES = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"\xff\xfb": "mp3"}


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    where: str  # where it stands, such as `line 4`
    # texts by column, stripped and in Unicode form NFC; empty where missing
    cells: Mapping[str, str]
    fault: str = ""  # how the row is cut short; empty where it is whole


def header(path: Path) -> tuple[str, ...]:
    """The columns of a CSV or Parquet table; CorpusError where it is none, or names one twice."""
    regular_size(path, error=CorpusError, most=MOST_BYTES)
    if is_parquet(path):
        return tuple(_parquet_schema(path).names)
    with _no_table(path), path.open(encoding="utf-8-sig", newline="") as file:
        names = [name.strip() for name in next(csv.reader(file, strict=True), [])]
    if len(names) == 1:
        for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if mark in names[0]:
                raise CorpusError(f"{path}: its columns are separated by {word}; write commas")
    _check_names(path, names)
    return tuple(names)


def read_rows(path: Path, columns: Mapping[str, str]) -> list[Row]:
    """Read columns (name in the table to name in the rows) of a CSV or Parquet table.

    Blank rows are passed over. CorpusError where it cannot be read, is larger than the limits, or
    has a row with more cells than columns.
    """
    header(path)
    rows = _parquet(path, columns) if is_parquet(path) else _csv(path, columns)
    return [row for row in rows if any(row.cells.values())]


def is_parquet(path: Path) -> bool:
    """Whether a file is named as Parquet."""
    return path.suffix.lower() == ".parquet"


def _parquet_schema(path: Path) -> Any:
    """The schema of a Parquet file whose rows are within the limit."""
    from pyarrow import parquet  # noqa: PLC0415 (takes long to import and is seldom needed)

    with _no_table(path):
        file = parquet.ParquetFile(path)
        rows, schema = file.metadata.num_rows, file.schema_arrow
    if rows > MOST_ROWS:
        raise CorpusError(f"{path}: has {rows} rows; at most {MOST_ROWS} are read")
    _check_names(path, schema.names)
    return schema


def _check_names(path: Path, names: Sequence[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise CorpusError(f"{path}: has {len(names)} columns; at most {MOST_COLUMNS} are read")
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise CorpusError(f"{path}: column '{name}' is there {count} times")


def check_columns(
    path: Path, found: Sequence[str], *, required: Sequence[str], optional: Sequence[str]
) -> None:
    """Refuse a table that lacks a column, or has one that is nearly an optional one."""
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


def _csv(path: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    with _no_table(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        names = [name.strip() for name in next(reader, [])]
        wanted = [(names.index(name), new) for name, new in columns.items() if name in names]
        for number, cells in enumerate(reader):
            where = f"line {reader.line_num}"
            if number == MOST_ROWS:
                raise CorpusError(f"{path}: has more than {MOST_ROWS} rows")
            if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
                raise CorpusError(
                    f"{path}: {where} has {len(cells)} cells, the header {len(names)}; write a "
                    'text that holds commas in "quotes"'
                )
            read = {new: text_of(cells[at]) if at < len(cells) else "" for at, new in wanted}
            for name, text in read.items():
                if len(text) > MOST_CHARACTERS:
                    raise CorpusError(f"{path}: {where}: {name} has {len(text)} characters")
            short = len(cells) < len(names)
            yield Row(where, read, f"has {len(cells)} cells, the header {len(names)}" * short)


def _parquet(path: Path, columns: Mapping[str, str]) -> Iterable[Row]:
    import pyarrow as pa  # noqa: PLC0415 (takes long to import and is seldom needed)
    import pyarrow.compute as pc  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    schema = _parquet_schema(path)
    wanted = {name: new for name, new in columns.items() if name in schema.names}
    for name in wanted:
        kind = schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise CorpusError(f"{path}: column '{name}' holds {kind}; write texts or numbers")
    with _no_table(path):
        # texts stay in dictionaries: a small file may hold one long text half a million times
        table = parquet.read_table(path, columns=list(wanted), read_dictionary=list(wanted))
        table.validate(full=True)  # a damaged file may point beyond its own values
        for name, column in zip(table.column_names, table.columns, strict=True):
            for chunk in column.chunks:
                values = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
                if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                    longest = pc.max(pc.binary_length(values)).as_py() or 0
                    if longest > 4 * MOST_CHARACTERS:
                        raise CorpusError(f"{path}: a value of column '{name}' has {longest} bytes")
        lists = [table.column(name).to_pylist() for name in wanted]
    for number, values in enumerate(zip(*lists, strict=True), 1):
        cells = {new: text_of(value) for new, value in zip(wanted.values(), values, strict=True)}
        yield Row(f"row {number}", cells)


Table = tuple[tuple[str, ...], Iterator[Row]]
"""Columns, and rows that have them; the cell of the column of sound names a file."""


def parquet_with_sound(path: Path) -> Table | None:
    """Read a Parquet file with sound in it, which is put into the cache, a file a row.

    None where it holds no sound. CorpusError where it is damaged or too long.
    """
    from pyarrow import parquet  # noqa: PLC0415 (takes long to import and is seldom needed)

    schema = _parquet_schema(path)
    features: Any = {}
    if schema.metadata and b"huggingface" in schema.metadata:
        try:
            features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}: its metadata 'huggingface' is damaged ({error})") from error
    sound = _column_of_sound(path, schema)
    if sound is None:
        return None
    regular_size(path, error=CorpusError, most=_MOST_WITH_SOUND)
    batches = parquet.ParquetFile(path).iter_batches(batch_size=64)
    return tuple(schema.names), _with_sound(path, sound, features, batches, "")


def saved_splits(folder: Path) -> list[Table] | None:
    """Read a folder of `save_to_disk`; its sound is put into the cache.

    A table of each split (one without a name, of a single data set); None where it is no such
    folder. CorpusError where it is damaged, or has no column of sound.
    """
    if (folder / "state.json").is_file():
        splits = [""]
    elif (folder / "dataset_dict.json").is_file():
        splits = [str(name) for name in _json(folder / "dataset_dict.json").get("splits", [])]
    else:
        return None
    tables: list[Table] = []
    for split in splits:
        place = folder / split
        try:
            entries = _json(place / "state.json")["_data_files"]
            streams = [place / PurePosixPath(str(entry["filename"])).name for entry in entries]
            schema = _arrow(streams[0]).schema
        except (KeyError, TypeError, IndexError) as error:
            raise CorpusError(f"{place / 'state.json'}: names no data files") from error
        sound = _column_of_sound(streams[0], schema)
        if sound is None:
            raise CorpusError(f"{place}: has no column of sound (Audio)")
        features = _json(place / "dataset_info.json")["features"]
        batches = (batch for path in streams for batch in _arrow(path))
        tables.append((tuple(schema.names), _with_sound(place, sound, features, batches, split)))
    return tables


def _column_of_sound(path: Path, schema: Any) -> str | None:
    import pyarrow as pa  # noqa: PLC0415 (takes long to import and is seldom needed)

    structs = [field for field in schema if pa.types.is_struct(field.type)]
    sound = [one.name for one in structs if {"bytes", "path"} <= {part.name for part in one.type}]
    if len(sound) > 1:
        raise CorpusError(f"{path}: has several columns of sound ({', '.join(sound)}); keep one")
    return sound[0] if sound else None


def _json(path: Path) -> Any:
    regular_size(path, error=CorpusError, most=1 << 24)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: is not what `save_to_disk` writes ({error})") from error


def _arrow(path: Path) -> Any:
    import pyarrow as pa  # noqa: PLC0415 (takes long to import and is seldom needed)

    regular_size(path, error=CorpusError, most=_MOST_WITH_SOUND)
    try:
        return pa.ipc.open_stream(pa.memory_map(str(path)))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: is no Arrow stream ({error})") from error


def _with_sound(
    source: Path, sound: str, features: Mapping[str, Any], batches: Iterable[Any], split: str
) -> Iterator[Row]:
    """Rows with the texts of all columns, and the file that the sound was put into."""
    folder = cache_folder() / "embedded" / digest(str(source.absolute()))[:16] / (split or ".")
    names = {
        name: kind["names"]
        for name, kind in features.items()
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" and "names" in kind
    }
    rows = (values for batch in batches for values in batch.to_pylist())
    try:
        for number, values in enumerate(rows, 1):
            if number > MOST_ROWS:
                raise CorpusError(f"{source}: has more than {MOST_ROWS} rows")
            cells = {}
            for column, value in values.items():
                known = names.get(column, ())
                if column == sound:
                    cells[column] = _unpacked(source, folder, number, value or {})
                elif isinstance(value, int) and 0 <= value < len(known):
                    cells[column] = text_of(known[value])
                else:
                    cells[column] = text_of(value)
            yield Row(f"{split} row {number}".strip(), cells)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{source}: cannot be read as a table ({error})") from error


def _unpacked(source: Path, folder: Path, number: int, sound: Mapping[str, Any]) -> str:
    """The file of a row: its own, or what is in the table, written into the cache."""
    content, path = sound.get("bytes"), str(sound.get("path") or "")
    if content is None:
        return str(source.parent / path) if path else ""
    known = (f".{suffix}" for mark, suffix in _SUFFIXES.items() if content.startswith(mark))
    stem = re.sub(r"[^\w.-]", "_", PurePosixPath(path).stem)[:100]
    suffix = next(known, PurePosixPath(path).suffix or ".audio")
    file = folder / f"{number:06d}{'_' if stem else ''}{stem}{suffix}"
    if not (file.is_file() and file.read_bytes() == content):
        write_whole(file, content, error=None)
    return str(file)
