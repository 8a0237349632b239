"""Arrow and Parquet files of Hugging Face datasets, whose sound lies in the table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clser_bench.corpora.rows import MOST_ROWS, Row, parquet_schema, text_of
from clser_bench.errors import CorpusError
from clser_bench.files import cache_folder, regular_size, write_atomic
from clser_bench.hashing import digest

_MOST_BYTES = 1 << 38
_SUFFIXES = {
    b"RIFF": ".wav",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"ID3": ".mp3",
    b"\xff\xfb": ".mp3",
}


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A table with a column of sound.

    Attributes:
        columns: their names.
        sound: the column of sound.
        classes: column to the names of its whole numbers.
    """

    columns: tuple[str, ...]
    sound: str
    classes: Mapping[str, Sequence[str]]


def parquet_sound(path: Path) -> Embedded | None:
    """Describe a Parquet file with sound in it; None where there is none.

    Raises:
        CorpusError: it is no Parquet, or too long.
    """
    schema = parquet_schema(path)
    features: Any = {}
    if schema.metadata and b"huggingface" in schema.metadata:
        try:
            features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}: its metadata 'huggingface' is damaged ({error})") from error
    return _described(path, schema, features)


def read_parquet(path: Path, table: Embedded) -> Iterator[Row]:
    """The rows of a Parquet file; its sound is put into the cache, a file a row.

    Args:
        path: the file.
        table: of `parquet_sound`.
    """
    from pyarrow import parquet  # noqa: PLC0415 (takes long to import and is seldom needed)

    regular_size(path, error=CorpusError, most=_MOST_BYTES)
    batches = parquet.ParquetFile(path).iter_batches(batch_size=64)
    yield from _rows(path, table, batches, "")


def disk_parts(folder: Path) -> dict[str, Path] | None:
    """The splits of a folder of `save_to_disk`; None where it is none.

    Args:
        folder: of a data set (one split without a name), or of several.
    """
    if (folder / "state.json").is_file():
        return {"": folder}
    if not (folder / "dataset_dict.json").is_file():
        return None
    splits = _json(folder / "dataset_dict.json").get("splits", [])
    return {str(name): folder / str(name) for name in splits}


def disk_sound(folder: Path) -> Embedded:
    """Describe one split of a folder of `save_to_disk`.

    Raises:
        CorpusError: it is damaged, or has no column of sound.
    """
    first = _streams(folder)[0]
    with _opened(first) as reader:
        table = _described(first, reader.schema, _json(folder / "dataset_info.json")["features"])
    if table is None:
        raise CorpusError(f"{folder}: has no column of sound (Audio)")
    return table


def read_disk(folder: Path, table: Embedded, split: str) -> Iterator[Row]:
    """The rows of one split of a folder of `save_to_disk`; its sound is put into the cache.

    Args:
        folder: of the split.
        table: of `disk_sound`.
        split: its name, for the names of utterances.
    """
    for path in _streams(folder):
        with _opened(path) as reader:
            yield from _rows(folder, table, reader, split)


def _described(path: Path, schema: Any, features: Mapping[str, Any]) -> Embedded | None:
    import pyarrow as pa  # noqa: PLC0415 (takes long to import and is seldom needed)

    sound = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type)
        and {"bytes", "path"} <= {part.name for part in field.type}
    ]
    if not sound:
        return None
    if len(sound) > 1:
        raise CorpusError(f"{path}: has several columns of sound ({', '.join(sound)}); keep one")
    classes = {
        name: tuple(kind["names"])
        for name, kind in features.items()
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" and "names" in kind
    }
    return Embedded(columns=tuple(schema.names), sound=sound[0], classes=classes)


def _json(path: Path) -> Any:
    regular_size(path, error=CorpusError, most=1 << 24)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: is not what `save_to_disk` writes ({error})") from error


def _streams(folder: Path) -> list[Path]:
    try:
        names = [str(entry["filename"]) for entry in _json(folder / "state.json")["_data_files"]]
    except (KeyError, TypeError) as error:
        raise CorpusError(f"{folder / 'state.json'}: names no data files") from error
    if not names:
        raise CorpusError(f"{folder / 'state.json'}: names no data files")
    return [folder / PurePosixPath(name).name for name in names]


def _opened(path: Path) -> Any:
    import pyarrow as pa  # noqa: PLC0415 (takes long to import and is seldom needed)

    regular_size(path, error=CorpusError, most=_MOST_BYTES)
    try:
        return pa.ipc.open_stream(pa.memory_map(str(path)))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: is no Arrow stream ({error})") from error


def _rows(source: Path, table: Embedded, batches: Any, split: str) -> Iterator[Row]:
    """Rows with the texts of all columns, and the file that the sound was put into."""
    folder = cache_folder() / "embedded" / digest(str(source.absolute()))[:16] / (split or ".")
    number = 0
    try:
        for batch in batches:
            for values in batch.to_pylist():
                number += 1
                if number > MOST_ROWS:
                    raise CorpusError(f"{source}: has more than {MOST_ROWS} rows")
                cells = {
                    name: _cell(values[name], table.classes.get(name))
                    for name in table.columns
                    if name != table.sound
                }
                cells[table.sound] = _unpacked(source, folder, number, values[table.sound] or {})
                yield Row(f"{split} row {number}".strip(), cells)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{source}: cannot be read as a table ({error})") from error


def _cell(value: object, names: Sequence[str] | None) -> str:
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        return text_of(names[value])
    return text_of(value)


def _unpacked(source: Path, folder: Path, number: int, sound: Mapping[str, Any]) -> str:
    """The file of a row: its own, or what is in the table, written into the cache."""
    content, path = sound.get("bytes"), str(sound.get("path") or "")
    if content is None:
        return str(source.parent / path) if path else ""
    known = next((suffix for mark, suffix in _SUFFIXES.items() if content.startswith(mark)), "")
    stem = re.sub(r"[^\w.-]", "_", PurePosixPath(path).stem)[:100]
    suffix = known or PurePosixPath(path).suffix or ".audio"
    file = folder / f"{number:06d}{'_' if stem else ''}{stem}{suffix}"
    if not (file.is_file() and file.read_bytes() == content):
        write_atomic(file, content)
    return str(file)
