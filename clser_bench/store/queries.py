"""What is read from the database, as values of `records`."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.errors import StoreError
from clser_bench.problem import AnswerKey, Trial, Value
from clser_bench.protocol import Condition, Pair, parse_shots
from clser_bench.store.blobs import unpack_array, unpack_metrics
from clser_bench.store.records import (
    MethodNote,
    Planned,
    Pointed,
    Predicted,
    Record,
    Run,
    Slice,
    Tally,
)

_TRIAL = """t.source, t.target, t.classes, t.shots, t.seed, t.method, t.version, t.parameters,
  t.features, t.normalisation, t.setting, t.prior, t.fixed4, t.source_key, t.target_key,
  t.engine_version, t.protocol_version, t.synthetic"""


def states(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Status and attempts of those trials that something is stored of."""
    rows = connection.execute(
        "SELECT trial, status, attempts FROM records "
        "WHERE trial IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {trial: (status, attempts) for trial, status, attempts in rows}


def uars(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, float]:
    """UAR of those trials that are ok; no blob is read."""
    rows = connection.execute(
        "SELECT trial, uar FROM records "
        "WHERE status = 'ok' AND trial IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return dict(rows.fetchall())


def records(
    connection: sqlite3.Connection, ids: Sequence[str] | None, status: str | None
) -> Iterator[Record]:
    """Stored records with all that belongs to them, in order of trial id."""
    rows = connection.execute(
        f"""SELECT r.trial, r.status, r.reason, r.attempts, r.seconds, r.energy, r.pack, r.answers,
          r.uar, r.war, r.macro_f1, r.recalls, r.confusion, s.scores, {_TRIAL}
        FROM records r JOIN trials t ON t.id = r.trial LEFT JOIN scores s ON s.trial = r.trial
        WHERE (?1 IS NULL OR r.trial IN (SELECT value FROM json_each(?1)))
          AND (?2 IS NULL OR r.status = ?2)
        ORDER BY r.trial""",  # noqa: S608 (only column names are put in)
        (None if ids is None else json.dumps(list(ids)), status),
    ).fetchall()
    for name, state, reason, attempts, seconds, energy, pack, key, *rest in rows:
        trial = _trial(rest[6:])
        if key is None:
            yield Record(
                trial=trial,
                status=state,
                reason=reason,
                attempts=attempts,
                seconds=seconds,
                energy=energy,
                pack=pack,
            )
            continue
        what = f"scores of trial {name[:12]} ({trial.method}, {trial.pair}, seed {trial.seed})"
        if rest[5] is None:
            raise StoreError(
                f"{what}: are not here, for this result was imported from a file without them; "
                "import one that `clser-bench export --scores` made of the same results"
            )
        answer = answers(connection, key, trial.classes)
        yield Record(
            trial=trial,
            status=state,
            metrics=unpack_metrics(*rest[:5]),
            scores=unpack_array(rest[5], what),
            y=answer.y,
            names=answer.names,
            speakers=answer.speakers,
            seconds=seconds,
            energy=energy,
            attempts=attempts,
            pack=pack,
        )


def answers(connection: sqlite3.Connection, key: str, classes: tuple[str, ...]) -> AnswerKey:
    """A stored answer key.

    Raises:
        StoreError: it is absent or damaged.
    """
    row = connection.execute(
        "SELECT y, speakers, names FROM answers WHERE hash = ?", (key,)
    ).fetchone()
    if row is None:
        raise StoreError(f"answer key {key[:12]}: is not in the database; delete it and run again")
    y = unpack_array(row[0], f"answer key {key[:12]}")
    return AnswerKey(
        classes=classes,
        y=y.astype(np.int64),
        speakers=tuple(json.loads(row[1])),
        names=tuple(json.loads(row[2])),
    )


def runs(connection: sqlite3.Connection) -> tuple[Run, ...]:
    """Stored plans, the latest last."""
    rows = connection.execute(
        """SELECT r.id, r.suite, r.pairs, r.config,
          (SELECT count(DISTINCT p.trial) FROM planned p JOIN slices s ON s.id = p.slice
           WHERE s.run = r.id)
        FROM runs r ORDER BY r.turn"""
    ).fetchall()
    return tuple(
        Run(
            id=run,
            suite=suite,
            pairs=tuple(Pair(*pair) for pair in json.loads(pairs)),
            config=json.loads(config),
            methods=_notes(connection, run),
            trials=trials,
        )
        for run, suite, pairs, config, trials in rows
    )


def planned_ids(connection: sqlite3.Connection, run: int) -> tuple[str, ...]:
    """Trials of a plan, in its order."""
    rows = connection.execute(
        "SELECT trial FROM planned WHERE slice IN (SELECT id FROM slices WHERE run = ?) "
        "GROUP BY trial ORDER BY min(position)",
        (run,),
    )
    return tuple(trial for (trial,) in rows)


def latest_slices(connection: sqlite3.Connection) -> tuple[Slice, ...]:
    """For each method under each set of rules, the slice of the latest plan that asked for it."""
    rows = connection.execute(
        """SELECT s.id, s.run, r.suite, s.features, s.normalisation, s.setting, s.prior, s.fixed4,
          s.selection, s.shots, s.protocol_version, s.method, n.assumes_prior, n.role, n.note
        FROM slices s JOIN runs r ON r.id = s.run
        LEFT JOIN notes n ON n.run = s.run AND n.method = s.method
        ORDER BY r.turn, s.protocol_version"""
    )
    latest: dict[tuple[object, ...], Slice] = {}
    for row in rows:
        method, prior, role, note = row[11:]
        latest[*row[2:10], method] = Slice(
            id=row[0],
            run=row[1],
            condition=condition_of(*row[2:11]),
            method=method,
            note=MethodNote()
            if role is None
            else MethodNote(assumes_prior=prior, role=role, note=note),
        )
    return tuple(latest.values())


_LABEL = re.compile(
    r"(.+?)(?:, aligned by (\w+))?(?:, target ([a-z]+:-?\d+(?:\.\d+)?(?:e[+-]?\d+)?))?", re.DOTALL
)


def condition_of(  # noqa: PLR0917 (columns in their order)
    suite: str,
    label: str,
    normalisation: str,
    setting: str,
    prior: str,
    fixed4: int,
    selection: str,
    shots: str,
    version: int,
) -> Condition:
    """The condition of columns of schema 2, where one text holds features and what is done to them.

    Args:
        suite: its name.
        label: as `Condition.features_label` writes it.
        normalisation: as in `Condition`, like all that follow.
        setting: see there.
        prior: see there.
        fixed4: 1 for the classes `fixed4`.
        selection: see there.
        shots: a number as text, or `all`.
        version: of the protocol.
    """
    parts = _LABEL.fullmatch(label)
    features, alignment, corruption = parts.groups(default="") if parts else (label, "", "")
    return Condition(
        suite=suite,
        features=features,
        alignment=alignment,
        corruption=corruption,
        normalisation=normalisation,  # type: ignore[arg-type]  # checked by Condition
        setting=setting,  # type: ignore[arg-type]
        prior=prior,
        classes="fixed4" if fixed4 else "shared",
        selection=selection,
        shots=parse_shots(shots),
        protocol_version=version,
    )


def planned(connection: sqlite3.Connection, slices: Sequence[int]) -> list[Planned]:
    """Trials of slices with the columns that a table needs; no blob is read."""
    rows = connection.execute(
        """SELECT p.slice, t.source, t.target, t.classes, t.seed,
          substr(t.source_key, 1, 16) || substr(t.target_key, 1, 16), t.synthetic,
          r.status, coalesce(r.reason, ''), r.uar, r.seconds, r.energy
        FROM planned p JOIN trials t ON t.id = p.trial LEFT JOIN records r ON r.trial = p.trial
        WHERE p.slice IN (SELECT value FROM json_each(?))
        ORDER BY p.slice, t.source, t.target, t.seed""",
        (json.dumps(list(slices)),),
    ).fetchall()
    pairs: dict[tuple[str, str], Pair] = {}
    classes: dict[str, tuple[str, ...]] = {}
    return [
        Planned(
            row[0],
            pairs.setdefault((row[1], row[2]), Pair(row[1], row[2])),
            classes.setdefault(row[3], tuple(json.loads(row[3]))),
            row[4],
            row[5],
            bool(row[6]),
            *row[7:],
        )
        for row in rows
    ]


def points(connection: sqlite3.Connection, slices: Sequence[int]) -> list[Pointed]:
    """Hyper-parameters of slices by pair, each once."""
    rows = connection.execute(
        """SELECT DISTINCT p.slice, t.source, t.target, t.parameters
        FROM planned p JOIN trials t ON t.id = p.trial
        WHERE p.slice IN (SELECT value FROM json_each(?))
        ORDER BY p.slice, t.source, t.target, t.parameters""",
        (json.dumps(list(slices)),),
    ).fetchall()
    return [
        Pointed(part, Pair(source, target), _parameters(text))
        for part, source, target, text in rows
    ]


def predicted_slices(connection: sqlite3.Connection, slices: Sequence[int]) -> Iterator[Predicted]:
    """Predicted classes of the ok trials of slices.

    Raises:
        StoreError: a blob is damaged.
    """
    rows = connection.execute(
        """SELECT p.slice, t.source, t.target, t.seed, r.answers, c.classes, t.method
        FROM planned p JOIN trials t ON t.id = p.trial JOIN records r ON r.trial = p.trial
        JOIN predictions c ON c.trial = p.trial
        WHERE r.status = 'ok' AND p.slice IN (SELECT value FROM json_each(?))
        ORDER BY p.slice, t.source, t.target, t.seed""",
        (json.dumps(list(slices)),),
    )
    for part, source, target, seed, key, blob, method in rows:
        what = f"predictions of trial {method}, {source}→{target}, seed {seed}"
        yield Predicted(part, Pair(source, target), seed, key, unpack_array(blob, what))


def predicted_of(
    connection: sqlite3.Connection, ids: Sequence[str]
) -> Iterator[tuple[str, str, npt.NDArray[np.uint8]]]:
    """The arrays of `Store.predicted`."""
    rows = connection.execute(
        """SELECT r.trial, r.answers, c.classes
        FROM records r JOIN predictions c ON c.trial = r.trial
        WHERE r.status = 'ok' AND r.trial IN (SELECT value FROM json_each(?))
        ORDER BY r.trial""",
        (json.dumps(list(ids)),),
    )
    for trial, key, blob in rows:
        yield trial, key, unpack_array(blob, f"predictions of trial {trial[:12]}")


def tally(connection: sqlite3.Connection, run: int | None) -> Tally:
    """Count planned trials by status, of one plan or of all."""
    rows = connection.execute(
        """SELECT coalesce(r.status, ''), count(*) FROM (
          SELECT DISTINCT p.trial FROM planned p JOIN slices s ON s.id = p.slice
          WHERE ?1 IS NULL OR s.run = ?1) d
        LEFT JOIN records r ON r.trial = d.trial GROUP BY 1""",
        (run,),
    )
    counts: dict[str, int] = dict(rows.fetchall())
    kinds = [counts.get(status, 0) for status in ("ok", "failed", "not_applicable")]
    return Tally(sum(counts.values()), *kinds)


def _parameters(text: str) -> tuple[tuple[str, Value], ...]:
    """Hyper-parameters as they are stored."""
    return tuple((name, value) for name, value in json.loads(text))


def _notes(connection: sqlite3.Connection, run: int) -> dict[str, MethodNote]:
    rows = connection.execute(
        "SELECT method, assumes_prior, role, note FROM notes WHERE run = ? ORDER BY position",
        (run,),
    )
    return {
        method: MethodNote(assumes_prior=prior, role=role, note=note)
        for method, prior, role, note in rows
    }


def _trial(row: Sequence[Any]) -> Trial:
    (source, target, classes, shots, seed, method, edition, parameters, features, normalisation,
     setting, prior, fixed4, source_key, target_key, engine, version, synthetic) = row  # fmt: skip
    return Trial(
        pair=Pair(str(source), str(target)),
        classes=tuple(json.loads(str(classes))),
        seed=int(str(seed)),
        method=str(method),
        version=int(str(edition)),
        parameters=_parameters(str(parameters)),
        condition=condition_of(
            "", features, normalisation, setting, prior, fixed4, "default", shots, version
        ),
        source_key=str(source_key),
        target_key=str(target_key),
        engine_version=int(str(engine)),
        synthetic=bool(synthetic),
    )
