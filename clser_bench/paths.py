"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path


def expanded(text: str | Path) -> Path:
    """A path with `~` replaced; one of a user who is not there is left as it is.

    Args:
        text: the path.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)  # it will not be found, and the error of whoever looks names it
