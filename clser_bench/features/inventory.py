"""The contents of the cache of features: listing, finding damage, making room.

Nothing here follows a symbolic link, and only files that are named by a key are looked at:
files that clser-bench did not write itself are neither counted nor removed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import stat
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from clser_bench.errors import FeatureError
from clser_bench.features.cache import (
    ABOUT,
    ENTRY,
    as_feature_errors,
    check_shard,
    drop_folder,
    remove_partial_files,
)
from clser_bench.problem import open_table
from clser_bench.progress import SILENT, Progress, shown

UNKNOWN = "unknown"
"""Name of a set that nothing names."""

_KEY = re.compile(r"[0-9a-f]{64}")
# Names that a terminal shows as they are; an about.json may hold anything.
_NAME = re.compile(r"[\w.@:=+/~, -]{1,200}")
_LONGEST = 1 << 24  # bytes of an about.json


@dataclass(frozen=True, kw_only=True)
class Item:
    """A shard, a table or an index, which is removed as a whole."""

    path: Path
    size: int
    written: float  # seconds since 1970


@dataclass(frozen=True, kw_only=True)
class StoredSet:
    """The shards of a feature set."""

    key: str
    name: str  # of the set, or `unknown`
    shards: tuple[Item, ...]
    unreadable: int  # how many of them have no usable header
    utterances: int  # distinct ones in the others
    # d of an instant and f of a summary; None where no header can be read
    columns: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The contents of the cache."""

    sets: tuple[StoredSet, ...]
    tables: tuple[Item, ...]
    indices: tuple[Item, ...]  # of audio
    links: tuple[Path, ...]  # symbolic links, which were not followed


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Something that cannot be used."""

    path: Path
    why: str
    broken: bool  # False where it could not be read at all: it may hold what it should


def take_inventory(cache: Path, names: Mapping[str, str]) -> Inventory:
    """Look through the cache; of shards only the headers are read.

    A name of `names`, by the key of a set, counts more than that in an about.json. FeatureError
    where a folder or a shard may not be read.
    """
    links: list[Path] = []
    sets = []
    for folder in _items(cache / "shards", links):
        files = _items(folder.path, links, ".safetensors")
        shards = [one for one in files if _KEY.fullmatch(one.path.stem)]
        headers = [header for header in map(_read_header, shards) if header is not None]
        key = folder.path.name
        stored = StoredSet(
            key=key,
            name=names.get(key) or _read_name(folder.path / ABOUT),
            shards=tuple(shards),
            unreadable=len(shards) - len(headers),
            utterances=len({content for contents, _ in headers for content in contents}),
            columns=headers[0][1] if headers else None,
        )
        sets += [stored] if shards else []
    tables = []
    for folder in _items(cache / "tables", links):
        parts = _items(folder.path, links, ".npy", ".json")
        written = max((one.written for one in parts), default=0.0)
        size = sum(one.size for one in parts)
        tables.append(Item(path=folder.path, size=size, written=written))
    return Inventory(
        sets=tuple(sorted(sets, key=lambda stored: (stored.name, stored.key))),
        tables=tuple(tables),
        indices=tuple(_items(cache / "audio", links, ".json")),
        links=tuple(links),
    )


def find_damage(items: Sequence[Item], progress: Progress = SILENT) -> Iterator[Damage]:
    """Read shards and tables wholly and compare them with their checksums."""
    with shown(progress, "checking shards and tables", len(items)):
        for path in (item.path for item in items):
            why, broken = None, True
            try:
                if path.is_dir():
                    open_table.cache_clear()  # else it would not be looked at again
                    open_table(path.name, path)
                else:
                    why = check_shard(path)
            except FeatureError as error:
                why, broken = str(error), path.is_dir()
            except (SyntaxError, tokenize.TokenError) as error:  # numpy lets these through
                why = f"the header of an array cannot be read ({error})"
            if why is not None:
                line = "".join(letter if letter.isprintable() else " " for letter in why)
                line = line.removeprefix(str(path)).lstrip("/: ")
                yield Damage(path=path, why=line, broken=broken)
            progress.advance()


def remove(cache: Path, paths: Sequence[Path]) -> None:
    """Remove shards and tables, each at once, also while other processes read them.

    The folder of a set goes with its last shard; what is gone already is passed over. FeatureError
    where one lies outside the cache or behind a symbolic link, or may not be removed.
    """
    for path in paths:
        inside = [
            one for one in (path, *path.parents) if one.is_relative_to(cache) and one != cache
        ]
        if not inside or ".." in path.parts or any(one.is_symlink() for one in inside):
            raise FeatureError(
                f"{path}: is or lies behind a symbolic link, and nothing outside {cache} is "
                "removed; remove it by hand if you want it gone"
            )
        with as_feature_errors(path.parent):
            if path.is_dir():
                drop_folder(path)
            else:
                path.unlink(missing_ok=True)
    for folder in sorted({path.parent for path in paths if path.parent.parent == cache / "shards"}):
        with as_feature_errors(folder.parent), contextlib.suppress(FileNotFoundError):
            remove_partial_files(folder)
            if {entry.name for entry in folder.iterdir()} <= {ABOUT}:
                (folder / ABOUT).unlink(missing_ok=True)
                try:
                    folder.rmdir()
                except OSError as error:  # one that is just being filled stays
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise


def _read_header(item: Item) -> tuple[list[str], tuple[int, int]] | None:
    """Contents, d and f of a shard; None where the header or the length is wrong, or it is gone."""
    faults = (SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError)
    try:
        with item.path.open("rb"), safe_open(item.path, "np") as shard:
            contents = json.loads(shard.metadata()[ENTRY])["contents"]
            shapes = [shard.get_slice(name).get_shape() for name in ("instants", "summary")]
        columns = int(shapes[0][2]), int(shapes[1][1])
    except (FileNotFoundError, *faults):
        return None
    except OSError as error:
        raise FeatureError(
            f"{item.path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    usable = isinstance(contents, list) and all(isinstance(one, str) for one in contents)
    return (contents, columns) if usable else None


def _read_name(path: Path) -> str:
    """The name in an about.json, which anyone may have written."""
    try:
        status = path.lstat()
        usable = stat.S_ISREG(status.st_mode) and status.st_size <= _LONGEST
        about = json.loads(path.read_bytes()) if usable else None
    except (OSError, ValueError, RecursionError):
        return UNKNOWN
    name = about.get("name") if isinstance(about, dict) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else UNKNOWN


def _items(folder: Path, links: list[Path], *suffixes: str) -> list[Item]:
    """The files with these suffixes, or the folders that are named by a key where none is given.

    Sorted by name; symbolic links are listed apart.
    """
    if folder.is_symlink():
        links.append(folder)
        return []
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FeatureError(
            f"{folder}: cannot be read as a folder ({error.strerror}); check its permissions, "
            "or set CLSER_CACHE to another folder"
        ) from error
    items = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                links.append(path)
                continue
            regular = stat.S_ISREG(status.st_mode) and path.suffix in suffixes
            keyed = stat.S_ISDIR(status.st_mode) and _KEY.fullmatch(path.name)
            if regular or (keyed and not suffixes):
                items.append(Item(path=path, size=status.st_size, written=status.st_mtime))
    return items
