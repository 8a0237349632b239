"""A user's own features: `table:FILE`, Parquet or npz of any modality, keyed by its bytes."""

from __future__ import annotations

import functools
import hashlib
import stat
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.corpora.corrupt import Corrupted
from clser_bench.corpora.model import Utterance
from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features.columns import INSTANTS, pool, pooled
from clser_bench.features.encoders.models import POOLS
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

    by: str  # `path` or `content`
    values: Mapping[str, Floats]  # of each utterance [m, f], by its path or content
    columns: tuple[str, ...]
    frames: bool  # whether an utterance may have several rows

    @functools.cached_property
    def endings(self) -> dict[str, list[str]]:
        """Paths by their last part."""
        endings: dict[str, list[str]] = {}
        for key in self.values:
            endings.setdefault(key.rpartition("/")[2], []).append(key)
        return endings

    def keys(self, utterance: Utterance) -> list[str]:
        """Those of an utterance; one where all is well."""
        if self.by == "content":
            return [utterance.content] if utterance.content in self.values else []
        names = dict.fromkeys((utterance.name, utterance.path.as_posix()))
        exact = [name for name in names if name in self.values]
        if exact:
            return exact
        alike = self.endings.get(utterance.name.rpartition("/")[2], [])
        return [key for key in alike if key.endswith(f"/{utterance.name}")]


def split_name(name: str) -> tuple[Path, str]:
    """The file and the pool of `table:FILE[:pool=P]`; FeatureError for an unknown pool."""
    text, colon, pool = name.removeprefix(PREFIX).rpartition(":pool=")
    if not colon:
        text, pool = pool, "mean"
    if pool not in POOLS:
        raise FeatureError(f"'{name}': pool '{pool}' is unknown{did_you_mean(pool, POOLS)}")
    return expanded(text), pool


def find_table(name: str) -> UserTable:
    """Read and check the table `table:FILE[:pool=P]`.

    A Parquet file has a column `path` (relative to the corpus's folder, or longer) or `content`
    (the utterance's content hash), and a number in each other column or one column of lists of
    numbers; with a column `frame` (order within the utterance) an utterance has several rows. An
    npz file has `path` or `content` [n] and `features` [n, f], or `features` [m, f] with `frames`
    [n], the rows of each utterance. FeatureError where there is no such file, or it has not this
    form, with the rows at fault.
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
    found = {utterance.name: rows.keys(utterance) for utterance in utterances}
    for what, wrong in (("utterances without a row", 0), ("utterances with several rows", 2)):
        faulty = [name for name, keys in found.items() if min(len(keys), 2) == wrong]
        _refuse(table.path, f"{what} (by {rows.by})", faulty)
    frames = [rows.values[found[utterance.name][0]] for utterance in utterances]
    instants = np.stack([pool(one, INSTANTS) for one in frames])
    if not table.frames:
        return instants, np.concatenate(frames)
    return instants, np.stack([pooled(one, table.pool) for one in frames])


def _hash(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
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
    columns = columns or tuple(f"value{number:04d}" for number in range(values.shape[1]))
    if not counts or not columns:
        raise FeatureError(
            f"{path}: has {len(counts)} utterances and {len(columns)} columns of features"
        )
    if not frames:
        _refuse(path, "twice in the file", [key for key, n in counts.items() if n > 1])
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    _refuse(path, "with values that are not finite", [keys[row] for row in broken])
    parts = np.split(values, np.cumsum(list(counts.values()))[:-1])
    return Rows(by=by, values=dict(zip(counts, parts, strict=True)), columns=columns, frames=frames)


_Parts = tuple[str, list[str], npt.NDArray[Any], tuple[str, ...], bool]
"""`path` or `content`; that of each row, those of an utterance together; values; columns, empty
where they have no names; whether an utterance may have several rows."""


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
    if by == "path":
        frame = frame.assign(path=frame["path"].str.replace("\\", "/", regex=False))
    several = "frame" in frame.columns
    if several:
        if frame["frame"].dtype.kind not in "fiu" or frame["frame"].isna().any():
            raise FeatureError(f"{path}: column 'frame' must hold a number in each row")
        _refuse(path, "with a 'frame' twice", list(frame[by][frame.duplicated([by, "frame"])]))
        # Utterances keep the order of their first row, frames that of `frame`.
        first = pd.factorize(frame[by])[0]
        frame = frame.iloc[np.lexsort((frame["frame"].to_numpy(np.float64), first))]
    keys = list(frame[by])
    features = frame.drop(columns=[key for key in (*_KEYS, "frame") if key in frame.columns])
    if features.shape[1] != 1 or features.dtypes.iloc[0].kind != "O":
        texts = [str(c) for c, kind in features.dtypes.items() if kind.kind not in "fiub"]
        _refuse(path, "that are no numbers (columns)", texts)
        values = features.to_numpy(np.float64, na_value=np.nan)
        return by, keys, values, tuple(features.columns), several
    lists = [np.asarray(value) for value in features.iloc[:, 0]]
    usual = Counter(one.shape for one in lists).most_common(1)[0][0] if lists else (0,)
    odd = [key for key, one in zip(keys, lists, strict=True) if one.shape != usual]
    _refuse(path, f"of another size than {usual}", odd)
    try:
        values = np.asarray(lists, np.float64)
    except (TypeError, ValueError) as error:
        raise FeatureError(f"{path}: its lists hold something else than numbers") from error
    if len(usual) != 1:
        raise FeatureError(f"{path}: a row holds {usual} values, not a flat list")
    return by, keys, values.reshape(len(lists), *usual), (), several


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
    names = [key.replace("\\", "/") if by == "path" else key for key in keys.astype(str).tolist()]
    counts = arrays.get("frames", np.ones(len(names), np.int64))
    if counts.shape != keys.shape or counts.dtype.kind not in "iu":
        raise FeatureError(f"{path}: 'frames' must be a whole number for each '{by}'")
    _refuse(path, "without frames", [name for name, n in zip(names, counts, strict=True) if n < 1])
    if counts.sum() != len(features):
        raise FeatureError(f"{path}: {len(features)} rows of features, {counts.sum()} expected")
    _refuse(path, "twice in the file", [name for name, n in Counter(names).items() if n > 1])
    rows = [name for name, n in zip(names, counts.tolist(), strict=True) for _ in range(n)]
    return by, rows, features, (), "frames" in arrays


def _refuse_many(path: Path, rows: int, values: int) -> None:
    """Count before anything is read: a small file may hold a long one."""
    if rows > MOST_ROWS or values > MOST_VALUES:
        raise FeatureError(
            f"{path}: has {rows or 'many'} rows and {values} values; at most {MOST_ROWS} and "
            f"{MOST_VALUES} are read"
        )


def _refuse(path: Path, what: str, keys: Sequence[str]) -> None:
    """Raise where something is wrong, with the first utterances at fault."""
    faulty = list(dict.fromkeys(keys))
    if faulty:
        more = f" and {len(faulty) - _NAMED} more" if len(faulty) > _NAMED else ""
        raise FeatureError(f"{path}: {len(faulty)} {what}: {', '.join(faulty[:_NAMED])}{more}")
