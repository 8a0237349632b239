"""Files of several laboratories, merged into one results file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clser_bench.problem import Trial
from clser_bench.protocol import PROTOCOL_VERSION, Condition
from clser_bench.store import rows, schema
from clser_bench.store.parquet import Entry, FaultyError, Submission
from clser_bench.store.records import IMPORTED, MethodNote, unpack_array
from clser_bench.store.sqlite import Store


class Conflict(NamedTuple):
    """A trial that has different results in two places: UAR here, and in the file."""

    path: Path
    trial: Trial
    here: float
    there: float


@dataclass
class Merged:
    """Counts of an import."""

    added: int = 0  # stored now
    known: int = 0  # were there with the same result, or with a better one than the file's
    missing: int = 0  # planned in a file, but not run there
    scored: int = 0  # of the known ones, those that had no scores and have the file's now
    # stored otherwise, and left as they are
    conflicts: list[Conflict] = field(default_factory=list)
    # condition and method of lines that were not pooled, since the trials here have another
    # version, configuration or audio
    apart: list[tuple[Condition, str]] = field(default_factory=list)


def merge(results: Path, submissions: Sequence[Submission]) -> Merged:
    """Add files to a results file, all or nothing.

    A stored result is never overwritten; one without scores takes those of a file that has the same
    result. The trials of a method under the same condition are pooled with those that tables show
    already, where version, configuration and audio are the same. Other answers to the same problem
    raise StoreError.
    """
    known: dict[tuple[Any, ...], bytes] = {}  # to each problem, their classes as bytes
    for submission in submissions:  # before a results file is made
        _agree(submission, known)
    merged = Merged()
    with Store(results) as store, store.transaction():
        names = ", ".join(f"t.{name}" for name in schema.OF_TRIAL)
        stored = store.query(
            f"SELECT r.answers, {names} FROM records r "  # noqa: S608
            "JOIN trials t ON t.id = r.trial WHERE r.answers IS NOT NULL"
        )
        known = {_problem(rows.trial_of(row)): store.answers(k).y.tobytes() for k, *row in stored}
        for submission in submissions:
            _agree(submission, known)
            _merge(store, submission, merged)
            _pool(store, submission, merged)
    return merged


def _problem(trial: Trial) -> tuple[Any, ...]:
    """The parts that two trials share which must have the same answers."""
    own = trial.condition
    place = (trial.pair, trial.target_key, own.setting, own.prior, own.protocol_version)
    # added rows change the order of the scored ones
    return (*place, trial.classes, own.shots, trial.seed, trial.added)


def _agree(submission: Submission, known: dict[tuple[Any, ...], bytes]) -> None:
    for number, (trial, _, record) in enumerate(submission.entries, 1):
        if record is None or record.metrics is None:
            continue
        y = record.y.tobytes()
        if known.setdefault(_problem(trial), y) != y:
            draw = f"{trial.pair}, {trial.shots} shots, seed {trial.seed}"
            source = "are known from another file or from the results file"
            problem = f"other answers to the same problem ({draw}) {source}"
            raise FaultyError(submission.path, f"row {number}", problem)


def _merge(store: Store, submission: Submission, merged: Merged) -> None:
    """Store the records of a file that are not there."""
    stored = {item.name for item in store.skipped()}
    store.put_skipped(item for item in submission.skipped if item.name not in stored)
    entries: dict[str, Entry] = {}
    for entry in submission.entries:
        entries.setdefault(entry.trial.id, entry)
    for name, (trial, _, record) in entries.items():
        there = store.query(
            """SELECT r.status, r.uar, c.classes FROM records r
            LEFT JOIN predictions c ON c.trial = r.trial WHERE r.trial = ?""",
            (name,),
        )
        blob = there[0][2] if there else None
        what = f"predictions of trial {name[:12]}"
        classes = b"" if blob is None else unpack_array(blob, what).tobytes()
        if record is None:
            merged.missing += 1
        elif not there or (there[0][0] != "ok" and record.metrics is not None):
            store.put([record])
            merged.added += 1
        elif record.metrics is None or classes == record.predicted.tobytes():
            merged.known += 1
            with store.transaction() as connection:
                merged.scored += rows.put_scores(connection, record)
        else:
            uars = there[0][1], record.metrics.uar
            merged.conflicts.append(Conflict(submission.path, trial, *uars))


def _pool(store: Store, submission: Submission, merged: Merged) -> None:
    """Plan the trials of a file beside those that tables show."""
    mine = {
        (line.condition, line.method): line
        for line in store.lines()
        if line.configuration is None and line.condition.protocol_version == PROTOCOL_VERSION
    }
    members: dict[tuple[Condition, str], list[Entry]] = {}
    for entry in submission.entries:
        members.setdefault((entry.trial.condition, entry.trial.method), []).append(entry)
    # suite, notes and trials: a method has one note in a plan
    plans: list[tuple[str, dict[str, MethodNote], list[Trial]]] = []
    stored, findings = store.findings(), dict.fromkeys(submission.findings)
    for (condition, method), entries in members.items():
        own = mine.get((condition, method))
        there = store.trials(own.id) if own else ()
        trials = [entry.trial for entry in entries]
        every = [*there, *trials]
        versions = {(trial.version, trial.engine_version) for trial in every}
        alike = {
            (t.pair, t.classes, json.dumps(t.parameters), t.source_key, t.target_key) for t in every
        }
        # of one version, and for each pair of one configuration and audio
        if len(versions) > 1 or len(alike) > len({trial.pair for trial in every}):
            merged.apart.append((condition, method))
            continue
        known = {(trial.pair, trial.seed) for trial in there}
        fresh = [trial for trial in trials if (trial.pair, trial.seed) not in known]
        if fresh:
            note = own.note if own else entries[0].note
            for suite, said, planned in plans:
                if suite == condition.suite and said.setdefault(method, note) == note:
                    planned.extend([*there, *fresh])
                    break
            else:
                plans.append((condition.suite, {method: note}, [*there, *fresh]))
            findings.update(dict.fromkeys(stored.get(own.request, ()) if own else ()))
    for suite, said, trials in plans:
        number = store.plan(
            {IMPORTED: submission.path.name}, trials, pairs=submission.suites[suite], methods=said
        )
        store.put_findings(number, findings)
