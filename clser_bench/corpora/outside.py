"""Data sets in the formats of other systems, to rows of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clser_bench.corpora.rows import Row


@dataclass(frozen=True, kw_only=True)
class Data:
    """Rows of a manifest, whatever format they come from.

    Attributes:
        rows: with the columns of a manifest.
        folder: what relative paths are relative to.
    """

    rows: Sequence[Row]
    folder: Path


def read(path: Path) -> Data | None:
    """Read outside data; None where the path is none that is recognised."""
    return None


def recognised(folder: Path) -> bool:
    """Whether a folder is outside data."""
    return False
