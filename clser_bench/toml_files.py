"""TOML files that users write."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from clser_bench.errors import ClserError, SpecError


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
