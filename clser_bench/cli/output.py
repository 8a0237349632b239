"""Output of commands: tables to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from clser_bench.errors import StoreError, printable
from clser_bench.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress as RichProgress

    from clser_bench.store.sqlite import Store

FAULTY, INTERRUPTED = 1, 130
"""Exit statuses of a command that found a fault, or was interrupted."""

_MANY = 50_000
"""Trials that take seconds to read."""


def complain(line: str) -> None:
    """Write a line, or several, to stderr; whatever files of users bring into it is harmless."""
    typer.echo(printable(line), err=True)


def opened(results: Path) -> Store:
    """A results file, only to be read; says so where it holds so many trials that this takes long.

    Raises:
        StoreError: it cannot be read.
    """
    from clser_bench.store.sqlite import Store

    store = Store(results, create=False, read_only=True)
    with contextlib.suppress(StoreError):  # whatever reads the rows names what is damaged
        ((count,),) = store.query("SELECT count(*) FROM planned")
        if count >= _MANY:
            complain(f"reading {results}: {count} trials")
    return store


def columns() -> int | None:
    """Width of the terminal; None where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_rows(
    names: Sequence[str], rows: Iterable[Sequence[object]], *, header: bool = False
) -> None:
    """Write a table for a terminal, or for a pipe lines with tabs (the names too with `header`)."""
    texts = [[" ".join(printable(str(cell)).splitlines()) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [names, *texts] if header else texts:
            typer.echo("\t".join(row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=SIMPLE_HEAD)
    for row in texts:
        table.add_row(*map(Text, row))  # a name is text, whatever brackets it has
    Console().print(table)


class Bars(Progress, contextlib.AbstractContextManager["Bars"]):
    """Progress on stderr: a bar with the time left on a terminal, a line a stretch elsewhere."""

    _bars: RichProgress | None = None

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, what: str, total: int) -> None:
        """Begin a stretch of work."""
        self.stop()
        if not sys.stderr.isatty():
            if total:
                complain(f"{what}: {total}")
            return
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.add_task(what, total=total)
        self._bars.start()

    def advance(self, count: int = 1) -> None:
        """Count finished steps."""
        if self._bars is not None:
            self._bars.advance(self._bars.task_ids[0], count)

    def stop(self) -> None:
        """End the stretch of work."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
