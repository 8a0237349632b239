"""Files of other laboratories, read and checked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clser_bench.store import exchange
from clser_bench.store.checking import check_heading, check_result, check_trial
from clser_bench.store.submission import Entry, FaultyError, Measure, Submission

Advance = Callable[[int], object]
"""Told a number of trials."""


def read(path: Path, *, measure: Measure, advance: Advance = lambda _: None) -> Submission:
    """Read a file of `exporting.write`, and believe nothing that can be checked.

    Args:
        path: the file.
        measure: finds metrics again from predictions.
        advance: told how many more rows are checked.

    Raises:
        StoreError: the file is absent, damaged, something else, too large, of another version, or
            says what cannot be; names the row and the value.
    """
    file = exchange.opened(path)
    heading = exchange.read_heading(path, file)
    answers = check_heading(path, heading)
    entries: list[Entry] = []
    rows: dict[str, int] = {}
    places: dict[tuple[Any, ...], int] = {}
    with contextlib.closing(file):
        for batch in exchange.decoded(path, file):
            for cells in batch:
                number = len(entries) + 1
                where = f"row {number}"
                trial = check_trial(path, where, cells, heading)
                if rows.setdefault(trial.id, number) != number:
                    raise FaultyError(
                        path, where, f"trial {trial.id!r} is in row {rows[trial.id]} too"
                    )
                for part in cells["parts"]:
                    first = places.setdefault((part, trial.pair, trial.seed), number)
                    if first != number:
                        raise FaultyError(
                            path, where, f"part {part}: row {first} has the same draw"
                        )
                entries.append(
                    check_result(path, where, trial, cells=cells, answers=answers, measure=measure)
                )
            advance(len(batch))
    return Submission(path=path, heading=heading, answers=answers, entries=tuple(entries))


def count(path: Path) -> int:
    """How many rows a file has.

    Raises:
        StoreError: as `read`.
    """
    with contextlib.closing(exchange.opened(path)) as file:
        return int(file.metadata.num_rows)
