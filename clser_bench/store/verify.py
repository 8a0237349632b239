"""What of a results file is not as it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clser_bench.errors import StoreError
from clser_bench.store.records import CLOSE, Fault, Metrics, Record, from_json
from clser_bench.store.rows import OF_TRIAL, trial_of
from clser_bench.store.schema import Query, changed_tables, stored_content

if TYPE_CHECKING:
    from clser_bench.store.sqlite import Store

_CHUNK = 500  # records that are in memory at once


def faults(store: Store, query: Query) -> tuple[Fault, ...]:
    """Check all that `_faults` checks and, where that finds nothing, the sums over the rows."""
    found = tuple(_faults(store, query))
    problem = "its rows are not those that were written"
    return found or tuple(Fault("file", name, problem) for name in changed_tables(query))


def _faults(store: Store, query: Query) -> Iterator[Fault]:
    """Check the file, ids by columns, answers and plans by hashes, metrics by predictions."""
    for (text,) in query("PRAGMA main.integrity_check"):
        if text != "ok":
            yield Fault("file", store.path.name, text)
    for table, row, *_ in query("PRAGMA main.foreign_key_check"):
        yield Fault("file", table, f"row {row} refers to what is not there")
    for name, status, count in query(
        """SELECT r.trial, r.status, count(c.trial) FROM records r
        LEFT JOIN predictions c ON c.trial = r.trial GROUP BY r.trial ORDER BY r.trial"""
    ):
        if (status == "ok") != (count == 1):
            yield Fault("record", str(name), f"is {status}, with {count} arrays of predictions")
    names = ", ".join(OF_TRIAL)
    for row in query(f"SELECT {names} FROM trials ORDER BY id"):  # noqa: S608
        yield from _tried("trial", str(row[0]), _check_trial, row)
    for (name,) in query("SELECT hash FROM answers ORDER BY hash"):
        yield from _tried("answers", str(name), store.answers, str(name))
    ids = query(
        """SELECT r.trial FROM records r JOIN predictions c ON c.trial = r.trial
        WHERE r.status = 'ok' ORDER BY r.trial"""
    )
    for start in range(0, len(ids), _CHUNK):
        yield from _check_records(store, [name for (name,) in ids[start : start + _CHUNK]])
    for (number,) in query("SELECT id FROM requests ORDER BY id"):
        yield from _tried("request", str(number), _check_plan, query, number)


def _tried(place: str, name: str, check: Callable[..., object], *of: Any) -> Iterator[Fault]:
    try:
        check(*of)
    except StoreError as error:
        yield Fault(place, name, str(error))
    except TypeError as error:  # a cell of another type than was written
        yield Fault(place, name, f"is damaged ({error})")


def _check_trial(row: tuple[object, ...]) -> None:
    if (found := trial_of(row).id) != row[0]:
        raise StoreError(f"its columns give the id {found[:12]}")


def _check_records(store: Store, names: Sequence[str]) -> Iterator[Fault]:
    """Check records together; one by one where one of them cannot be read."""
    try:
        records = {record.trial.id: record for record in store.records(names)}
    except StoreError as error:
        if len(names) == 1:
            yield Fault("record", names[0], str(error))
            return
        for name in names:
            yield from _check_records(store, [name])
        return
    for name in names:
        yield from _tried("record", name, _check_record, records.get(name))


def _check_record(record: Record | None) -> None:
    if record is None or record.metrics is None:
        raise StoreError("its trial or its metrics are not in the file")
    size = len(record.trial.classes)
    if len(record.y) and max(record.predicted.max(), record.y.max()) >= size:
        raise StoreError(f"it has classes beyond the {size} of its pair")
    found = Metrics.of(record.predicted, record.y, classes=size)
    for what in ("uar", "war", "macro_f1", "recalls", "confusion"):
        given, value = getattr(record.metrics, what), getattr(found, what)
        if given != value and not np.allclose(given, value, rtol=0, atol=CLOSE, equal_nan=True):
            raise StoreError(f"{what} is {given}, and its predictions give {value}")
    if len(record.scores) and not np.array_equal(record.scores.argmax(axis=1), record.predicted):
        raise StoreError("its largest scores are not those of its predictions")


def _check_plan(query: Query, number: int) -> None:
    text, pairs, content = query(
        "SELECT request, pairs, content FROM requests WHERE id = ?", (number,)
    )[0]
    from_json(text, "the request")
    from_json(pairs, "the list of pairs")
    if stored_content(query, number, text, pairs) != content:
        raise StoreError("its trials, notes or request are not those that were planned")
