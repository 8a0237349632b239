"""How long work tells that it goes on, without knowing who shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Progress(Protocol):
    """Someone who shows progress; the command line has one that draws a bar."""

    def start(self, what: str, total: int) -> None:
        """Begin a stretch of work."""

    def advance(self, count: int = 1) -> None:
        """Tell that steps are finished."""

    def stop(self) -> None:
        """End the stretch of work, finished or not."""


class _Silent:
    """Shows nothing."""

    def start(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, count: int = 1) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


SILENT: Progress = _Silent()
"""For callers that want no progress shown."""


@contextlib.contextmanager
def shown(progress: Progress, what: str, total: int, *, least: int = 0) -> Iterator[Progress]:
    """Show a stretch of work until it ends, finished or not; nothing below `least` steps.

    Yields:
        Whom to tell that steps are finished.
    """
    if total < least:
        yield SILENT
        return
    progress.start(what, total)
    try:
        yield progress
    finally:
        progress.stop()
