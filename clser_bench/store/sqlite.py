"""The results database: plans, records, answer keys, skipped files.

Only the process that drives a run writes; others may read meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import operator
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clser_bench.errors import DamagedError, StoreError
from clser_bench.problem import AnswerKey, Finding, SkippedFile, Trial
from clser_bench.protocol import Pair
from clser_bench.store import rows, schema
from clser_bench.store.records import (
    CLOSE,
    RENAMED,
    Fault,
    Guesses,
    Line,
    MethodNote,
    Record,
    Run,
    Tally,
    from_json,
    recall_weights,
    unpack_alike,
    unpack_array,
)
from clser_bench.store.schema import FIELDS

if TYPE_CHECKING:
    import pandas as pd

_REMEDY = "take the file from a backup, or delete it and run again"
_OF = "IN (SELECT value FROM json_each(?))"


class Store:
    """Results in one SQLite file; a context manager.

    Every call that writes is one transaction, so a process that is killed leaves whole packs
    and no halves.

    Args:
        read_only: change nothing; works where the file cannot be written.

    Raises:
        StoreError: the file is absent, foreign, damaged, of a newer clser-bench, or cannot be
            written. Every method raises it where SQLite fails.
    """

    def __init__(self, path: Path, *, create: bool = True, read_only: bool = False) -> None:
        self.path = Path(path)
        self._answers: dict[str, AnswerKey] = {}
        self._unchecked = True  # whether its rows are those that were written
        self._connection = schema.connect(self.path, create=create, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, DamagedError):
            raise StoreError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several calls that write, as one: all or nothing."""
        if self._connection.in_transaction:
            yield self._connection
            return
        with schema.guarded(self.path), schema.transaction(self._connection):
            yield self._connection

    def plan(
        self,
        request: Mapping[str, Any],
        trials: Sequence[Trial],
        *,
        pairs: Sequence[Pair],
        methods: Mapping[str, MethodNote] | None = None,
        candidates: Mapping[str, int] | None = None,
    ) -> int:
        """Remember what a run asks for, so that tables know missing cells and `resume` the request.

        Asking again for the same makes the stored plan the latest one.

        Args:
            trials: all trials, stored or not; at most one per condition, method, configuration,
                pair and seed, else StoreError.
            pairs: the suite's ordered pairs, in table order.
            candidates: trial id to the number of its configuration, where one of several is to be
                chosen; tables leave these trials out.
        """
        texts = schema.dump(request), json.dumps([[p.source, p.target] for p in pairs])
        lines = rows.lines_of(trials, methods or {}, candidates or {})
        members = [(line, [trial.id for trial in own.values()]) for line, own in lines]
        content = schema.content_of(*texts, members)
        with self.transaction() as connection:
            last = connection.execute("SELECT coalesce(max(turn), 0) FROM requests").fetchone()[0]
            known = connection.execute("SELECT id FROM requests WHERE content = ?", (content,))
            turn, found = last + 1, known.fetchone()
            if found:
                connection.execute("UPDATE requests SET turn = ? WHERE id = ?", (turn, found[0]))
                return int(found[0])
            number = rows.insert(connection, "requests", (None, content, turn, *texts))
            rows.put_trials(connection, trials)
            for line, own in lines:
                identity = rows.insert(connection, "lines", (None, number, *line))
                connection.executemany(
                    "INSERT INTO planned VALUES (?, ?, ?)",
                    [(identity, trial.id, place) for place, trial in own.items()],
                )
        return number

    def put(self, records: Sequence[Record]) -> None:
        """Store the records of a pack, all or none.

        A stored ok result is never overwritten; anything else is, and its attempts are counted.
        """
        with self.transaction() as connection:
            rows.put_trials(connection, [record.trial for record in records])
            for record in records:
                rows.put_record(connection, record)

    def put_skipped(self, skipped: Iterable[SkippedFile]) -> None:
        """Store the files that `--skip-bad` left out."""
        with self.transaction() as connection:
            connection.executemany(
                "INSERT INTO skipped VALUES (?, ?, ?) "
                "ON CONFLICT (corpus, name) DO UPDATE SET reason = excluded.reason",
                [(item.corpus, item.name, item.reason) for item in skipped],
            )

    def put_findings(self, number: int, found: Iterable[Finding]) -> None:
        """Store what is odd about the corpora of a plan, in place of what was stored of it."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM findings WHERE request = ?", (number,))
            connection.executemany(
                "INSERT OR IGNORE INTO findings VALUES (?, ?, ?, ?)",
                [(number, item.kind, item.corpus, item.sentence) for item in found],
            )

    def stored(self, ids: Sequence[str]) -> dict[str, str]:
        """Status of those trials that something is stored of."""
        return {trial: status for trial, (status, _, _) in self._states(ids).items()}

    def uars(self, ids: Sequence[str]) -> dict[str, float]:
        """UAR in percent of those trials that are ok; reads no array."""
        return {trial: uar for trial, (_, _, uar) in self._states(ids).items() if uar is not None}

    def unfinished(self, ids: Sequence[str], *, attempts: int = 2) -> tuple[str, ...]:
        """Trials still to run: nothing is stored, or failed in fewer attempts than these."""
        states = self._states(ids).items()
        tried = {trial for trial, (status, n, _) in states if status != "failed" or n >= attempts}
        return tuple(trial for trial in ids if trial not in tried)

    def records(
        self, ids: Sequence[str] | None = None, *, status: str | None = None
    ) -> Iterator[Record]:
        """Stored records, in order of trial id; with their scores, unless they came without."""
        columns = ", ".join(f"t.{name}" for name in schema.OF_TRIAL)
        stored = self.query(
            f"""SELECT r.status, r.reason, r.attempts, r.seconds, r.energy, r.pack, r.answers,
              r.uar, r.war, r.macro_f1, r.recalls, r.confusion, s.scores, c.classes, {columns}
            FROM records r JOIN trials t ON t.id = r.trial
            LEFT JOIN scores s ON s.trial = r.trial LEFT JOIN predictions c ON c.trial = r.trial
            WHERE (?1 IS NULL OR r.trial IN (SELECT value FROM json_each(?1)))
              AND (?2 IS NULL OR r.status = ?2)
            ORDER BY r.trial""",  # noqa: S608 (only column names are put in)
            (None if ids is None else json.dumps(list(ids)), status),
        )
        names = ("status", "reason", "attempts", "seconds", "energy", "pack")
        for row in stored:
            key, *rest = row[6:]
            trial = rows.trial_of(rest[7:])
            common = {"trial": trial, **dict(zip(names, row[:6], strict=True))}
            of = f"of trial {trial.id[:12]} ({trial.method}, {trial.pair}, seed {trial.seed})"
            if key is not None:
                answer = self.answers(key, trial.classes)
                if rest[5] is not None:
                    common["scores"] = unpack_array(rest[5], f"scores {of}")
                common |= {"y": answer.y, "names": answer.names, "speakers": answer.speakers}
                common["predicted"] = unpack_array(rest[6], f"predictions {of}")
                common["metrics"] = rows.metrics_of(rest[:5], of)
            try:
                record = Record(**common)
            except (TypeError, ValueError) as error:
                raise StoreError(f"the record {of} is damaged ({error}); {_REMEDY}") from error
            yield record

    def runs(self) -> tuple[Run, ...]:
        """Stored plans, the latest last."""
        stored = self.query(
            """SELECT q.id, q.request, q.pairs, (SELECT count(DISTINCT p.trial) FROM planned p
              JOIN lines l ON l.id = p.line WHERE l.request = q.id)
            FROM requests q ORDER BY q.turn"""
        )
        lines = self.query("SELECT request, suite, method, note FROM lines ORDER BY id")
        suites = {request: suite for request, suite, *_ in lines}
        notes: dict[int, dict[str, MethodNote]] = {}
        for request, _, method, text in lines:
            notes.setdefault(request, {})[RENAMED.get(method, method)] = rows.note_of(text)
        return tuple(
            Run(
                id=number,
                suite=suites.get(number, ""),
                pairs=tuple(Pair(*pair) for pair in from_json(listed, f"pairs of plan {number}")),
                text=text,
                methods=notes.get(number, {}),
                trials=trials,
            )
            for number, text, listed, trials in stored
        )

    def planned_ids(self, run: int) -> tuple[str, ...]:
        """Trials that a plan asked for, in its order."""
        stored = self.query(
            "SELECT p.trial FROM planned p JOIN lines l ON l.id = p.line WHERE l.request = ? "
            "GROUP BY p.trial ORDER BY min(p.position)",
            (run,),
        )
        return tuple(trial for (trial,) in stored)

    def trials(self, line: int) -> tuple[Trial, ...]:
        """Trials of a line, in the order of the plan."""
        (condition,) = [item.condition for item in self.lines() if item.id == line]
        own = {name: getattr(condition, name) for name in ("suite", "unlabelled", "selection")}
        stored = self.query(
            f"""SELECT {", ".join(f"t.{name}" for name in schema.OF_TRIAL)}
            FROM planned p JOIN trials t ON t.id = p.trial
            WHERE p.line = ? ORDER BY p.position""",  # noqa: S608 (only column names are put in)
            (line,),
        )
        return tuple(
            dataclasses.replace(trial, condition=trial.condition.replace(**own))
            for trial in map(rows.trial_of, stored)
        )

    def progress(self) -> Tally:
        """How far the trials of all plans together are."""
        stored = self.query(
            """SELECT coalesce(r.status, ''), count(*) FROM (SELECT DISTINCT trial FROM planned) d
            LEFT JOIN records r ON r.trial = d.trial GROUP BY 1"""
        )
        counts: dict[str, int] = dict(stored)
        kinds = (counts.get(status, 0) for status in ("ok", "failed", "not_applicable"))
        return Tally(sum(counts.values()), *kinds)

    def skipped(self) -> tuple[SkippedFile, ...]:
        """Files that `--skip-bad` left out."""
        found = self.query("SELECT corpus, name, reason FROM skipped ORDER BY corpus, name")
        return tuple(SkippedFile(corpus=c, name=name, reason=why) for c, name, why in found)

    def findings(self) -> dict[int, tuple[Finding, ...]]:
        """Findings about the corpora of each plan, by its number."""
        stored = self.query("SELECT * FROM findings ORDER BY request, rowid")
        found: dict[int, tuple[Finding, ...]] = {}
        for number, kind, code, text in stored:
            one = Finding(kind=kind, corpus=code, sentence=text)
            found[number] = (*found.get(number, ()), one)
        return found

    def pairs(self, suite: str) -> tuple[Pair, ...]:
        """Pairs of a suite in table order: those of its largest plan, then what others add."""
        stored = self.query(
            "SELECT pairs FROM requests WHERE id IN (SELECT request FROM lines WHERE suite = ?)",
            (suite,),
        )
        plans = [tuple(Pair(*p) for p in from_json(text, "pairs of a plan")) for (text,) in stored]
        plans.sort(key=lambda pairs: (-len(pairs), pairs))
        return tuple(dict.fromkeys(itertools.chain.from_iterable(plans)))

    def lines(self) -> tuple[Line, ...]:
        """Each method under each condition, as the latest plan that asked for it had it."""
        stored = self.query(
            f"""SELECT l.id, l.request, l.method, l.note, l.configuration, {", ".join(FIELDS)}
            FROM lines l JOIN requests q ON q.id = l.request
            ORDER BY q.turn, CAST(l.protocol_version AS INTEGER), l.id"""  # noqa: S608
        )
        latest: dict[tuple[Any, ...], Line] = {}
        for number, request, name, note, configuration, *fields in stored:
            method = RENAMED.get(name, name)
            condition = rows.condition_of(dict(zip(FIELDS, fields, strict=True)), f"line {number}")
            place = condition.replace(protocol_version=0), method, configuration
            said = rows.note_of(note)
            latest[place] = Line(number, request, condition, method, said, configuration)
        return tuple(latest.values())

    def frame(
        self, wanted: Mapping[str, str] | None = None, *, candidates: bool = False
    ) -> pd.DataFrame:
        """A row for each planned trial, of the latest plan of each condition and method.

        Columns: every field of `Condition` (`shots` as text, `unlabelled` joined by `+`), `method`,
        `title`, `role`, `assumes_prior`, `uses`, `note`, `kind`, `version`, `source`, `target`,
        `pair` ("B→C"), `emotions` (tuple of classes), `seed`, `status` (`ok`, `failed`,
        `not_applicable`, or empty where nothing is stored), `reason`, `uar`, `war`, `macro_f1`
        (percent; NaN unless ok), `seconds`, `energy` (joules), `parameters` (tuple of pairs),
        `tables` (hex digits of both feature tables), `synthetic`, `trial` (id), `answers` (hash),
        `candidate` and `configuration` (its number; 0 for the default).

        Args:
            wanted: values that a condition must have, as `Condition.matches` takes them.
            candidates: whether to include the trials of configurations from which one is chosen.
        """
        self.check_rows()
        lines = (line for line in self.lines() if line.condition.matches(wanted or {}))
        chosen = [line for line in lines if candidates or line.configuration is None]
        return rows.frame(chosen, self.query)

    def shown(self, wanted: Mapping[str, str]) -> pd.DataFrame:
        """The `frame` of a command that shows what a user asks for; never empty, but StoreError."""
        known = [line.condition.texts() for line in self.lines()]
        if not known:
            raise StoreError(f"{self.path}: {schema.NONE_YET}")
        for name, value in wanted.items():
            values = {texts[name] for texts in known}
            if value not in values:
                there = ", ".join(sorted(values))
                raise StoreError(
                    f"{self.path}: there are no results of {name} '{value}'; there are of: {there}"
                )
        frame = self.frame(wanted)
        if frame.empty:
            every = ", ".join(f"{name} '{value}'" for name, value in wanted.items())
            raise StoreError(
                f"{self.path}: there are no results of {every} together; `clser-bench status` "
                "lists what there is"
            )
        return frame

    def predictions(self, ids: Sequence[str]) -> pd.DataFrame:
        """A row for each scored utterance of those trials that are ok.

        Columns: `trial` (id), `utterance`, `speaker` (categories), `y` and `predicted` (uint8,
        index into the trial's emotions).
        """
        return rows.predictions(self.predicted(ids), self.answers)

    def predicted(self, ids: Sequence[str]) -> Iterator[tuple[str, list[str], Guesses]]:
        """Predicted classes of those trials that are ok, together where their answers are the same.

        Yields:
            Hash of the answer key, ids of k trials in order, and predicted classes, uint8 [k, n].

        Raises:
            StoreError: names a trial with a damaged array or a UAR of other predictions.
        """
        stored = self.query(
            f"""SELECT r.answers, r.trial, r.uar, c.classes
            FROM records r NOT INDEXED LEFT JOIN predictions c ON c.trial = r.trial
            WHERE r.status = 'ok' AND r.trial {_OF} ORDER BY r.answers, r.trial""",  # noqa: S608
            (json.dumps(list(ids)),),
        )
        for key, group in itertools.groupby(stored, key=operator.itemgetter(0)):
            _, trials, held, blobs = zip(*group, strict=True)
            uars = [math.nan if uar is None or isinstance(uar, bytes) else uar for uar in held]
            y = self.answers(key).y
            classes = unpack_alike(blobs, len(y))
            if classes is None:
                read = (self._classes(*item, len(y)) for item in zip(trials, blobs, strict=True))
                classes = np.stack(list(read))
            given = (classes == y) @ recall_weights(y)
            right = np.abs(given - np.array(uars)) <= CLOSE  # NaN is not close
            if not right.all():
                place = int(right.argmin())
                raise StoreError(
                    f"{self._named(trials[place])}: its UAR is stored as {uars[place]:.4f}, and "
                    f"its predictions give {given[place]:.4f}; run `clser-bench results verify`, "
                    "and take the file from a backup or run again"
                )
            yield key, list(trials), classes

    def _classes(self, trial: str, blob: bytes, size: int) -> Guesses:
        try:
            found = unpack_array(blob, "predictions")
        except StoreError as error:
            raise StoreError(f"{self._named(trial)}: {error}") from error
        if found.shape != (size,):
            raise StoreError(
                f"{self._named(trial)}: it has predictions {found.shape} and {size} answers; take "
                "the file from a backup or run again"
            )
        return found

    def _named(self, name: str) -> str:
        """The file and a trial in it, for errors."""
        columns = "SELECT method, source, target, seed FROM trials WHERE id = ?"
        found = [f" ({m}, {s}→{t}, seed {seed})" for m, s, t, seed in self.query(columns, (name,))]
        return f"{self.path}: trial {name[:12]}{''.join(found)}"

    def answers(self, key: str, classes: tuple[str, ...] = ()) -> AnswerKey:
        """A stored answer key, by its hash; raises StoreError where it is absent or damaged."""
        if key not in self._answers:
            what = f"answer key {str(key)[:12]}"  # whatever stands in its place
            stored = self.query("SELECT y, speakers, names FROM answers WHERE hash = ?", (key,))
            if not stored:
                raise StoreError(f"{self.path}: {what} is not in the file; {_REMEDY}")
            y = unpack_array(stored[0][0], what)
            speakers, names = (tuple(from_json(text, what)) for text in stored[0][1:])
            if rows.answers_hash(y, speakers, names) != key:
                raise StoreError(f"{self.path}: {what} is not what was stored; {_REMEDY}")
            y = y.astype(np.int64)
            self._answers[key] = AnswerKey(classes=(), y=y, speakers=speakers, names=names)
        return dataclasses.replace(self._answers[key], classes=classes)

    def looks(self) -> pd.DataFrame:
        """How often each method was evaluated on the targets of a condition.

        An evaluation is a setting of the hyper-parameters with a result on some pair, whatever way
        it was chosen. Columns: the fields of `Condition` but `selection`, `method`, `version` and
        `evaluations`; a row per condition, method and version.
        """
        return rows.looks(self.query)

    def verify(self) -> tuple[Fault, ...]:
        """Everything that is not as it was written: arrays, ids, metrics, plans, the file."""
        return rows.faults(self, self.query)

    def check_rows(self) -> None:
        """Raise StoreError for a file whose rows are not those that were written."""
        changed = schema.changed_tables(self.query) if self._unchecked else ()
        self._unchecked = bool(changed)
        if "records" in changed:  # names a trial whose UAR was changed
            list(self.predicted([trial for (trial,) in self.query("SELECT id FROM trials")]))
        if changed:
            raise StoreError(
                f"{self.path}: rows of {', '.join(changed)} are not those that were written; run "
                "`clser-bench results verify`, and take the file from a backup or run again"
            )
        if self.query("SELECT 1 FROM planned WHERE trial NOT IN (SELECT id FROM trials) LIMIT 1"):
            raise StoreError(f"{self.path}: {rows.LOST}")

    def _states(self, ids: Sequence[str]) -> dict[str, tuple[str, int, float | None]]:
        found = self.query(
            f"SELECT trial, status, attempts, uar FROM records WHERE trial {_OF}",  # noqa: S608
            (json.dumps(list(ids)),),
        )
        return {trial: tuple(rest) for trial, *rest in found}

    def query(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of an SQL query."""
        with schema.guarded(self.path):
            return self._connection.execute(query, values).fetchall()
