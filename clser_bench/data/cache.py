"""The folder in which everything that can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from clser_bench.errors import ClserError
from clser_bench.paths import expanded


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
