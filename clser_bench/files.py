"""Files of users and of the project: paths, TOML, the cache folder."""

from __future__ import annotations

import contextlib
import os
import stat
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import platformdirs

from clser_bench.errors import ClserError, SpecError, StoreError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

_M = TypeVar("_M", bound="BaseModel")


def expanded(text: str | Path) -> Path:
    """A path with `~` replaced; one of a user who is not there is left as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)  # it will not be found, and the error of whoever looks names it


def shipped(name: str) -> Path:
    """A folder of the project's documents or results, in a checkout or in an installed package."""
    inside = Path(__file__).parent / name
    return inside if inside.is_dir() else Path(__file__).parents[1] / name


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_file(path: Path) -> bool:
    """Whether a file is there; False, too, where its name is too long or its folder is closed."""
    return os.path.isfile(path)  # noqa: PTH113 (Path's raises then)


def require_file(path: Path, *, error: type[ClserError], about: str = "") -> None:
    """Raise `error` unless a file is there; `about` says which is needed (`; name one …`)."""
    if not is_file(path):
        folder = os.path.isdir(path)  # noqa: PTH112 (Path's raises where a name is too long)
        what = "is a folder; name a file" if folder else "there is no such file"
        raise error(f"{path}: {what}{about}")


def require_folder(path: Path, *, error: type[ClserError], about: str = "") -> None:
    """Raise `error` unless a folder is there; `about` says which is needed."""
    if not os.path.isdir(path):  # noqa: PTH112 (as above)
        what = "is a file; name a folder" if is_file(path) else "there is no such folder"
        raise error(f"{path}: {what}{about}")


def regular_size(file: Path, *, error: type[ClserError], most: int) -> int:
    """Size of a file in bytes; raises `error` where it is absent, a pipe, or larger than `most`."""
    try:
        status = file.stat()
    except (OSError, ValueError) as cause:  # ValueError: a NUL character in the path
        raise error(f"{file}: cannot be read ({getattr(cause, 'strerror', cause)})") from cause
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{file}: is a folder; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{file}: is not a regular file")
    if status.st_size > most:
        raise error(f"{file}: has {status.st_size} bytes; at most {most} are read")
    return status.st_size


def read_toml(file: Path, *, error: type[ClserError] = SpecError) -> dict[str, Any]:
    """Read a TOML file of at most 1 MiB; raises `error` where it cannot be read or is no TOML."""
    regular_size(file, error=error, most=1 << 20)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as cause:
        raise error(f"{file}: cannot be read ({cause.strerror})") from cause
    except (ValueError, RecursionError) as cause:  # TOML, UTF-8, digits of an integer, depth
        raise error(f"{file}: not valid TOML ({cause})") from cause


def validated(
    model: type[_M], values: object, where: object, *, error: type[ClserError] = SpecError
) -> _M:
    """Values that were read from a place (`where`) as a model; `error` names each fault."""
    from pydantic import ValidationError  # noqa: PLC0415 (0.08 s)

    try:
        return model.model_validate(values)
    except ValidationError as cause:
        faults = []
        for fault in cause.errors():
            *outer, name = fault["loc"] or ("definition",)
            inside = f"{'.'.join(map(str, outer))}: " if outer else ""
            if fault["type"] == "missing":
                faults.append(f"{inside}missing key '{name}'")
            elif fault["type"] == "extra_forbidden":
                known = "" if outer else did_you_mean(str(name), model.model_fields)
                faults.append(f"{inside}unknown key '{name}'{known}")
            else:
                place = ".".join(map(str, (*outer, name)))
                faults.append(f"{place}: {fault['msg'].removeprefix('Value error, ')}")
        raise error(f"{where}: {'; '.join(faults)}") from cause


def cache_folder() -> Path:
    """The cache: `CLSER_CACHE`, else the platform's cache folder; made where absent."""
    named = os.environ.get("CLSER_CACHE")
    folder = Path(named) if named else platformdirs.user_cache_path("clser-bench", appauthor=False)
    folder = expanded(folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClserError(
            f"{folder}: the cache folder cannot be made ({error.strerror}); "
            "set CLSER_CACHE to a folder that you may write to"
        ) from error
    return folder


@contextlib.contextmanager
def whole(path: Path, *, error: type[ClserError] | None = StoreError) -> Iterator[Path]:
    """Yield a path in the folder of a file, which becomes the file where nothing goes wrong.

    A reader sees the whole file or what was there before, also when the writer is killed or the
    disk is full. The folder is made where absent; an older file is replaced, but no results file.
    Raises `error` where the file cannot be written; None leaves an OSError as it is.
    """
    begins = b""
    if is_file(path):
        with contextlib.suppress(OSError), path.open("rb") as stream:
            begins = stream.read(16)
    if begins == b"SQLite format 3\0":
        raise (error or StoreError)(f"{path}: is a results file; name another to write to")
    temporary = path.parent / f".part-{uuid.uuid4().hex[:12]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as cause:
        if error is None:
            raise
        if path.is_dir():
            raise error(f"{path}: is a folder; name a file") from cause
        raise error(
            f"{path}: cannot be written ({cause.strerror or cause}); make room, or name another "
            "place"
        ) from cause
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(
    path: Path, content: bytes | str, *, error: type[ClserError] | None = StoreError
) -> None:
    """Write a file, text as UTF-8, whole or not at all, and onto the disk; as for `whole`."""
    with whole(path, error=error) as temporary, temporary.open("xb") as stream:
        stream.write(content if isinstance(content, bytes) else content.encode())
        stream.flush()
        os.fsync(stream.fileno())
