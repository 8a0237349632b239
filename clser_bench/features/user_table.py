"""A user's own features: `table:FILE`, Parquet or npz of any modality, keyed by its bytes."""

from __future__ import annotations

import functools
import hashlib
import stat
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.corpora.corrupt import Corrupted
from clser_bench.corpora.model import Utterance
from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.columns import INSTANTS, pool, pooled
from clser_bench.features.encoders.names import POOLS
from clser_bench.files import expanded
from clser_bench.problem import Floats

PREFIX = "table:"
KINDS = (".parquet", ".npz")

_KEYS = ("content", "path")
MOST_ROWS = 10_000_000
"""Rows that a table may have."""

MOST_VALUES = 1 << 30
"""Values that it may have, names included: 4 GiB of numbers."""

_NAMED = 5  # faults of one kind that an error names


@dataclass(frozen=True, kw_only=True)
class UserTable:
    """A table on disk."""

    path: Path
    content: str  # SHA-256 of its bytes
    columns: tuple[str, ...]
    frames: bool  # whether an utterance may have several rows
    pool: str

    @property
    def name(self) -> str:
        """For records: the file without its folder, and its content."""
        pool = f":pool={self.pool}" if self.frames else ""
        return f"{PREFIX}{self.path.name}@{self.content[:16]}{pool}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """The rows of a table by utterance."""

    keys: tuple[str, ...]  # path or content hash of each utterance [n]
    by: str  # `path` or `content`
    values: Floats
    ends: npt.NDArray[np.int64]  # int64 [n], the number of the row after its last
    columns: tuple[str, ...]
    frames: bool

    @functools.cached_property
    def index(self) -> dict[str, list[int]]:
        """Utterances by key, and by `*/` with the last part of a path."""
        index: dict[str, list[int]] = {}
        for place, key in enumerate(self.keys):
            index.setdefault(key, []).append(place)
            if self.by == "path":
                index.setdefault(f"*/{key.rpartition('/')[2]}", []).append(place)
        return index

    def places(self, utterance: Utterance) -> list[int]:
        """Where an utterance is among the keys; one place where all is well."""
        if self.by == "content":
            return self.index.get(utterance.content, [])
        names = dict.fromkeys((utterance.name, utterance.path.as_posix()))
        exact = [place for name in names for place in self.index.get(name, ())]
        last = self.index.get(f"*/{utterance.name.rpartition('/')[2]}", [])
        ends = f"/{utterance.name}"
        return exact or [place for place in last if self.keys[place].endswith(ends)]


def split_name(name: str) -> tuple[Path, str]:
    """The file and the pool of `table:FILE[:pool=P]`; FeatureError for an unknown pool."""
    text, colon, pool = name.removeprefix(PREFIX).rpartition(":pool=")
    if not colon:
        text, pool = pool, "mean"
    if pool not in POOLS:
        raise FeatureError(f"'{name}': pool '{pool}' is unknown{did_you_mean(pool, POOLS)}")
    return expanded(text), pool


def find_table(name: str) -> UserTable:
    """Read and check a table.

    Args:
        name: `table:FILE[:pool=P]`. A Parquet file has a column `path` (relative to the corpus's
            folder, or longer) or `content` (the utterance's content hash), and a number in each
            other column or one column of lists of numbers; with a column `frame` (order within the
            utterance) an utterance has several rows. An npz file has `path` or `content` [n] and
            `features` [n, f], or `features` [m, f] with `frames` [n], the rows of each utterance.

    Raises:
        FeatureError: there is no such file, or it has not this form, with the rows at fault.
    """
    path, pool = split_name(name)
    content = _hash(path)
    rows = _read(path, content)
    columns, frames = rows.columns, rows.frames
    return UserTable(path=path, content=content, columns=columns, frames=frames, pool=pool)


def select(table: UserTable, utterances: Sequence[Utterance]) -> tuple[Floats, Floats]:
    """The features of some utterances: instants float32 [n, 32, d] and summary float32 [n, f].

    A row belongs to an utterance by its content hash, or by a path that is the utterance's name in
    its corpus, its whole path, or a longer path that ends with the name. Instants are frames
    pooled, or the row again and again where an utterance has one. FeatureError where rows are
    missing or fit several utterances, or speech is corrupted, of which a file knows nothing.
    """
    if any(isinstance(utterance, Corrupted) for utterance in utterances):
        raise FeatureError(f"{table.path}: has no features of corrupted speech")
    rows = _read(table.path, table.content)
    found = {utterance.name: rows.places(utterance) for utterance in utterances}
    for what, wrong in (("utterances without a row", 0), ("utterances with several rows", 2)):
        faulty = [name for name, places in found.items() if min(len(places), 2) == wrong]
        _refuse(table.path, f"{what} (by {rows.by})", faulty)
    each = np.split(rows.values, rows.ends[:-1])
    frames = [each[found[utterance.name][0]] for utterance in utterances]
    instants = np.stack([pool(one, INSTANTS) for one in frames])
    if not table.frames:
        return instants, np.concatenate(frames)
    return instants, np.stack([pooled(one, table.pool) for one in frames])


def _hash(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FeatureError(f"{path}: is no regular file; a table is one of {', '.join(KINDS)}")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror})") from error


@functools.lru_cache(maxsize=8)
def _read(path: Path, content: str) -> Rows:  # noqa: ARG001 (the cache's key)
    """Read a table whose bytes have this hash; errors as for `find_table`."""
    reader = {".parquet": _read_parquet, ".npz": _read_npz}.get(path.suffix.lower())
    if reader is None:
        raise FeatureError(f"{path}: a table is one of {', '.join(KINDS)}, not '{path.suffix}'")
    try:
        by, keys, values, columns, frames = reader(path)
    except MemoryError as error:
        raise FeatureError(f"{path}: needs more memory than there is") from error
    with np.errstate(over="ignore"):  # what is too large for float32 is named as not finite
        values = values.astype(np.float32, copy=False)
    counts = Counter(keys)
    if not counts or not len(columns):
        raise FeatureError(
            f"{path}: has {len(counts)} utterances and {len(columns)} columns of features"
        )
    if not frames:
        _refuse_twice(path, keys)
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    faulty = dict.fromkeys(keys[row] for row in broken)
    _refuse(path, "with values that are not finite", list(faulty))
    return Rows(
        keys=tuple(key if by == "content" else key.replace("\\", "/") for key in counts),
        by=by,
        values=values,
        ends=np.cumsum(list(counts.values())),
        columns=columns,
        frames=frames,
    )


_Parts = tuple[str, list[str], npt.NDArray[Any], tuple[str, ...], bool]
"""`path` or `content`; that of each row, those of an utterance together; values; columns; whether
an utterance may have several rows."""


def _read_parquet(path: Path) -> _Parts:
    import pandas as pd  # noqa: PLC0415 (half a second to import)
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        about = parquet.read_metadata(path)
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        parts = (group.column(n) for group in groups for n in range(group.num_columns))
        _refuse_many(path, about.num_rows, sum(part.num_values for part in parts))
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FeatureError(f"{path}: cannot be read as Parquet ({error})") from error
    frame.columns = frame.columns.map(str)
    by = next((key for key in _KEYS if key in frame.columns), None)
    if by is None:
        raise FeatureError(
            f"{path}: has neither a column 'path' nor 'content', but {', '.join(frame.columns[:9])}"
        )
    _refuse(path, f"without '{by}'", [f"row {n}" for n in np.flatnonzero(frame[by].isna())])
    frame = frame.assign(**{by: frame[by].astype(str)})
    several = "frame" in frame.columns
    if several:
        if frame["frame"].dtype.kind not in "fiu" or frame["frame"].isna().any():
            raise FeatureError(f"{path}: column 'frame' must hold a number in each row")
        twice = frame[by][frame.duplicated([by, "frame"])]
        _refuse(path, "with a 'frame' twice", list(dict.fromkeys(twice)))
        # Utterances keep the order of their first row, frames that of `frame`.
        first = pd.factorize(frame[by])[0]
        frame = frame.iloc[np.lexsort((frame["frame"].to_numpy(np.float64), first))]
    keys = list(frame[by])
    features = frame.drop(columns=[key for key in (*_KEYS, "frame") if key in frame.columns])
    if features.shape[1] == 1 and features.dtypes.iloc[0].kind == "O":
        values = _of_lists(path, [np.asarray(value) for value in features.iloc[:, 0]], keys)
        return by, keys, values, _numbered(values.shape[1]), several
    texts = [str(c) for c, kind in features.dtypes.items() if kind.kind not in "fiub"]
    _refuse(path, "that are no numbers (columns)", texts)
    columns = tuple(map(str, features.columns))
    return by, keys, features.to_numpy(np.float64, na_value=np.nan), columns, several


def _of_lists(
    path: Path, lists: list[npt.NDArray[Any]], keys: list[str]
) -> npt.NDArray[np.float64]:
    """The values of a column of lists [m, f]."""
    sizes = Counter(one.shape for one in lists).most_common()
    odd = [key for key, one in zip(keys, lists, strict=True) if one.shape != sizes[0][0]]
    _refuse(path, f"of another size than {sizes[0][0] if sizes else 0}", odd)
    try:
        values = np.asarray(lists, np.float64)
    except (TypeError, ValueError) as error:
        raise FeatureError(f"{path}: its lists hold something else than numbers") from error
    if values.ndim != 2:
        raise FeatureError(f"{path}: a row holds {values.shape[1:]} values, not a flat list")
    return values


def _read_npz(path: Path) -> _Parts:
    try:
        with zipfile.ZipFile(path) as packed:
            _refuse_many(path, 0, sum(part.file_size for part in packed.infolist()) // 4)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path}: cannot be read as npz ({error})") from error
    by = next((key for key in _KEYS if key in arrays), None)
    if by is None or "features" not in arrays:
        raise FeatureError(
            f"{path}: needs 'path' or 'content', and 'features'; it has {', '.join(arrays)}"
        )
    features, keys = arrays["features"], arrays[by]
    if features.ndim != 2 or features.dtype.kind not in "fiu" or keys.ndim != 1:
        raise FeatureError(
            f"{path}: 'features' must be numbers [m, f] and '{by}' texts [n], got "
            f"{features.dtype}{features.shape} and {keys.dtype}{keys.shape}"
        )
    names = keys.astype(str).tolist()
    several = "frames" in arrays
    counts = arrays.get("frames", np.ones(len(names), np.int64))
    if counts.shape != keys.shape or counts.dtype.kind not in "iu":
        raise FeatureError(f"{path}: 'frames' must be a whole number for each '{by}'")
    _refuse(path, "without frames", [name for name, n in zip(names, counts, strict=True) if n < 1])
    if counts.sum() != len(features):
        raise FeatureError(f"{path}: {len(features)} rows of features, {counts.sum()} expected")
    _refuse_twice(path, names)
    columns = _numbered(features.shape[1])
    rows = [name for name, n in zip(names, counts.tolist(), strict=True) for _ in range(n)]
    return by, rows, features, columns, several


def _refuse_many(path: Path, rows: int, values: int) -> None:
    """Count before anything is read: a small file may hold a long one."""
    if rows > MOST_ROWS or values > MOST_VALUES:
        raise FeatureError(
            f"{path}: has {rows or 'many'} rows and {values} values; at most {MOST_ROWS} and "
            f"{MOST_VALUES} are read"
        )


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"value{number:04d}" for number in range(count))


def _refuse_twice(path: Path, keys: Sequence[str]) -> None:
    _refuse(path, "twice in the file", [key for key, n in Counter(keys).items() if n > 1])


def _refuse(path: Path, what: str, keys: Sequence[str]) -> None:
    """Raise where something is wrong, with the first rows at fault."""
    if keys:
        more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
        raise FeatureError(f"{path}: {len(keys)} {what}: {', '.join(keys[:_NAMED])}{more}")
