"""How long work reports that it goes on, without knowing who shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Progress:
    """Shows nothing; the command line has one that draws a bar."""

    def start(self, what: str, total: int) -> None:
        """Begin a stretch of work."""

    def advance(self, count: int = 1) -> None:
        """Count finished steps."""

    def stop(self) -> None:
        """End the stretch of work, finished or not."""


SILENT = Progress()


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
