"""Files of users and of the project: paths, TOML, the cache folder."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import platformdirs

from clser_bench.errors import ClserError, SpecError


def expanded(text: str | Path) -> Path:
    """A path with `~` replaced; one of a user who is not there is left as it is.

    Args:
        text: the path.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)  # it will not be found, and the error of whoever looks names it


def read_toml(file: Path, *, error: type[ClserError] = SpecError) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        file: the file.
        error: what is raised.

    Raises:
        ClserError: of the kind asked for: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as cause:
        raise error(f"{file}: cannot be read ({cause.strerror})") from cause
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise error(f"{file}: not valid TOML ({cause})") from cause


def cache_folder() -> Path:
    """The cache: `CLSER_CACHE`, else the platform's cache folder. Made when absent.

    Raises:
        ClserError: it cannot be made.
    """
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
