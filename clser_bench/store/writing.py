"""What is written into the database; each function belongs inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from clser_bench.errors import StoreError
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import Trial
from clser_bench.store.blobs import pack_array, pack_metrics
from clser_bench.store.records import MethodNote, Record, predictions


def put_run(connection: sqlite3.Connection, row: tuple[str, str, str, str]) -> tuple[int, bool]:
    """Store a plan, or make the same plan of earlier the latest.

    Args:
        connection: in a transaction.
        row: content hash, suite, pairs as JSON, options as JSON.

    Returns:
        The plan's number, and whether it is new.
    """
    turn = connection.execute("SELECT coalesce(max(turn), 0) + 1 FROM runs").fetchone()[0]
    known = connection.execute("SELECT id FROM runs WHERE content = ?", (row[0],)).fetchone()
    if known:
        connection.execute("UPDATE runs SET turn = ? WHERE id = ?", (turn, known[0]))
        return int(known[0]), False
    made = connection.execute(
        "INSERT INTO runs (content, suite, pairs, config, turn) VALUES (?, ?, ?, ?, ?)",
        (*row, turn),
    )
    return int(made.lastrowid or 0), True


def put_notes(connection: sqlite3.Connection, run: int, notes: Mapping[str, MethodNote]) -> None:
    """Store what tables say of a plan's methods."""
    connection.executemany(
        "INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?)",
        [
            (run, position, name, note.assumes_prior, note.role, note.note)
            for position, (name, note) in enumerate(notes.items())
        ],
    )


def put_slices(
    connection: sqlite3.Connection,
    run: int,
    slices: Mapping[tuple[Any, ...], Sequence[tuple[int, Trial]]],
) -> None:
    """Store the trials of a plan by their place in the tables, as `sliced` parted them."""
    for rules, members in slices.items():
        put_trials(connection, [trial for _, trial in members])
        made = connection.execute(
            "INSERT INTO slices VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (run, *rules)
        )
        connection.executemany(
            "INSERT INTO planned VALUES (?, ?, ?)",
            [(made.lastrowid, trial.id, position) for position, trial in members],
        )


def put_trials(connection: sqlite3.Connection, trials: Sequence[Trial]) -> None:
    """Store what determines each trial, where it is not stored yet."""
    connection.executemany(
        "INSERT OR IGNORE INTO trials "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_columns(trial) for trial in trials],
    )


def put_record(connection: sqlite3.Connection, record: Record) -> None:
    """Store a record unless an ok one of the same trial is stored."""
    ok = record.metrics is not None
    key = _put_answers(connection, record) if ok else None
    metrics = pack_metrics(record.metrics) if record.metrics is not None else (None,) * 5
    written = connection.execute(
        """INSERT INTO records VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (trial) DO UPDATE SET
          status = excluded.status, reason = excluded.reason, attempts = attempts + 1,
          seconds = excluded.seconds, pack = excluded.pack, uar = excluded.uar,
          war = excluded.war, macro_f1 = excluded.macro_f1, recalls = excluded.recalls,
          confusion = excluded.confusion, answers = excluded.answers, energy = excluded.energy
        WHERE status <> 'ok'""",
        (
            record.trial.id,
            record.status,
            record.reason,
            record.seconds,
            record.pack,
            *metrics,
            key,
            record.energy,
        ),
    )
    if ok and written.rowcount:
        _put_blobs(connection, record)


def _put_blobs(connection: sqlite3.Connection, record: Record) -> None:
    for table, array in (("scores", record.scores), ("predictions", predictions(record.scores))):
        connection.execute(
            f"INSERT INTO {table} VALUES (?, ?)",  # noqa: S608 (one of two literals)
            (record.trial.id, pack_array(array)),
        )


def _put_answers(connection: sqlite3.Connection, record: Record) -> str:
    key = digest([digest_array(record.y), list(record.speakers), list(record.names)])
    texts = [json.dumps(part, ensure_ascii=False) for part in (record.speakers, record.names)]
    connection.execute(
        "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", (key, pack_array(record.y), *texts)
    )
    return key


def _columns(trial: Trial) -> tuple[str | int, ...]:
    rules = trial.condition
    return (
        trial.id,
        trial.pair.source,
        trial.pair.target,
        json.dumps(trial.classes),
        str(trial.shots),
        trial.seed,
        trial.method,
        trial.version,
        json.dumps(trial.parameters),
        rules.features_label,
        rules.normalisation,
        rules.setting,
        rules.prior,
        int(rules.classes == "fixed4"),
        trial.source_key,
        trial.target_key,
        trial.engine_version,
        rules.protocol_version,
        trial.synthetic,
    )


def sliced(trials: Sequence[Trial]) -> dict[tuple[Any, ...], list[tuple[int, Trial]]]:
    """Part trials by their place in the tables.

    Args:
        trials: of one plan.

    Returns:
        The columns of `slices` after the run, to positions in the plan and trials.

    Raises:
        StoreError: two trials claim the same place.
    """
    slices: dict[tuple[Any, ...], list[tuple[int, Trial]]] = {}
    taken: dict[tuple[Any, ...], str] = {}
    for position, trial in enumerate(trials):
        rules = trial.condition
        key = (
            rules.features_label,
            rules.normalisation,
            rules.setting,
            rules.prior,
            int(rules.classes == "fixed4"),
            rules.selection,
            str(trial.shots),
            rules.protocol_version,
            trial.method,
        )
        place = (*key, trial.pair, trial.seed)
        if taken.get(place) == trial.id:
            continue
        if place in taken:
            raise StoreError(
                f"plan: {trial.method}, {trial.pair}, {trial.shots} shots, seed {trial.seed} is "
                "asked for with two sets of hyper-parameters or versions; give each its own "
                "selection"
            )
        taken[place] = trial.id
        slices.setdefault(key, []).append((position, trial))
    return slices
