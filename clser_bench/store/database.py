"""The results database: plans, records, answer keys, skipped files.

Only the process that drives a run writes; others may read meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from clser_bench.hashing import digest
from clser_bench.problem import AnswerKey, SkippedFile, Trial
from clser_bench.protocol import Condition, Pair
from clser_bench.store import queries, schema, writing
from clser_bench.store.blobs import pack_options
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

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """Results in one SQLite file; a context manager.

    Every call that writes is one transaction, so a process that is killed leaves whole packs
    and no halves.

    Args:
        path: the file.
        create: make it where absent.

    Raises:
        StoreError: the file is absent, foreign, damaged, of a newer clser-bench, or read-only.
            Every method raises it where SQLite fails.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = Path(path)
        self._connection = schema.connect(self.path, create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def plan(
        self,
        suite: str,
        trials: Sequence[Trial],
        *,
        pairs: Sequence[Pair],
        config: Mapping[str, Any],
        methods: Mapping[str, MethodNote] | None = None,
    ) -> int:
        """Remember what a run asks for, so that tables know their holes and `resume` its options.

        Asking again for the same makes the stored plan the latest one.

        Args:
            suite: its name.
            trials: all trials, stored or not; at most one per selection, pair, shots, method
                and seed. The selection is read from each trial's protocol.
            pairs: the suite's ordered pairs, in table order.
            config: the run's options; JSON values.
            methods: what tables say of the methods.

        Returns:
            The plan's number.

        Raises:
            StoreError: two trials claim the same place in a table, or an option is no JSON value.
        """
        notes = methods or {}
        options = pack_options(config)
        slices = writing.sliced(trials)
        content = digest(
            {
                "suite": suite,
                "pairs": [str(pair) for pair in pairs],
                "config": options,
                "methods": [[n, m.assumes_prior, m.role, m.note] for n, m in notes.items()],
                "trials": [[trial.id, trial.condition.selection] for trial in trials],
            }
        )
        with schema.guarded(self.path), schema.transaction(self._connection):
            row = (content, suite, json.dumps([[p.source, p.target] for p in pairs]), options)
            run, new = writing.put_run(self._connection, row)
            if new:
                writing.put_notes(self._connection, run, notes)
                writing.put_slices(self._connection, run, slices)
        return run

    def put(self, records: Sequence[Record]) -> None:
        """Store the records of a pack, all or none.

        A stored ok result is never overwritten; anything else is, and its attempts are counted.

        Args:
            records: one per trial.
        """
        with schema.guarded(self.path), schema.transaction(self._connection):
            writing.put_trials(self._connection, [record.trial for record in records])
            for record in records:
                writing.put_record(self._connection, record)

    def put_skipped(self, skipped: Sequence[SkippedFile]) -> None:
        """Store the files that `--skip-bad` left out."""
        rows = [(item.corpus, item.name, item.reason) for item in skipped]
        with schema.guarded(self.path), schema.transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", rows)

    def stored(self, ids: Sequence[str]) -> dict[str, str]:
        """Status of those trials that something is stored of."""
        with schema.guarded(self.path):
            found = queries.states(self._connection, ids)
        return {trial: status for trial, (status, _) in found.items()}

    def uars(self, ids: Sequence[str]) -> dict[str, float]:
        """UAR in percent of those trials that are ok; reads no blob."""
        with schema.guarded(self.path):
            return queries.uars(self._connection, ids)

    def attempts(self, ids: Sequence[str]) -> dict[str, int]:
        """How often each trial was tried; 0 where nothing is stored."""
        with schema.guarded(self.path):
            found = queries.states(self._connection, ids)
        return {trial: found[trial][1] if trial in found else 0 for trial in ids}

    def unfinished(self, ids: Sequence[str], *, attempts: int = 2) -> tuple[str, ...]:
        """Trials still to run: nothing is stored, or failed and tried less often than allowed.

        Args:
            ids: in the order of the answer.
            attempts: how often a trial may be tried in all.
        """
        with schema.guarded(self.path):
            found = queries.states(self._connection, ids)
        done = {
            trial
            for trial, (status, tried) in found.items()
            if status != "failed" or tried >= attempts
        }
        return tuple(trial for trial in ids if trial not in done)

    def records(
        self, ids: Sequence[str] | None = None, *, status: str | None = None
    ) -> Iterator[Record]:
        """Stored records with their scores, in order of trial id.

        Args:
            ids: only these trials.
            status: only this status.

        Raises:
            StoreError: scores are damaged; names the trial.
        """
        with schema.guarded(self.path):
            yield from queries.records(self._connection, ids, status)

    def runs(self) -> tuple[Run, ...]:
        """Stored plans, the latest last."""
        with schema.guarded(self.path):
            return queries.runs(self._connection)

    def planned_ids(self, run: int) -> tuple[str, ...]:
        """Trials that a plan asked for, in its order."""
        with schema.guarded(self.path):
            return queries.planned_ids(self._connection, run)

    def progress(self, run: int | None = None) -> Tally:
        """How far the trials of one plan, or of all plans together, are."""
        with schema.guarded(self.path):
            return queries.tally(self._connection, run)

    def skipped(self) -> tuple[SkippedFile, ...]:
        """Files that `--skip-bad` left out."""
        with schema.guarded(self.path):
            rows = self._connection.execute(
                "SELECT * FROM skipped ORDER BY corpus, name"
            ).fetchall()
        return tuple(SkippedFile(corpus=code, name=name, reason=why) for code, name, why in rows)

    def slices(self) -> tuple[Slice, ...]:
        """Each method under each set of rules, as the latest plan that asked for it had it."""
        with schema.guarded(self.path):
            return queries.latest_slices(self._connection)

    def planned(self, slices: Sequence[int]) -> list[Planned]:
        """Trials of slices with the columns that a table needs; reads no blob."""
        with schema.guarded(self.path):
            return queries.planned(self._connection, slices)

    def points(self, slices: Sequence[int]) -> list[Pointed]:
        """Hyper-parameters of slices by pair, each once; reads no blob."""
        with schema.guarded(self.path):
            return queries.points(self._connection, slices)

    def predicted_of(self, slices: Sequence[int]) -> Iterator[Predicted]:
        """Predicted classes of the ok trials of slices.

        Raises:
            StoreError: a blob is damaged; names the trial.
        """
        with schema.guarded(self.path):
            yield from queries.predicted_slices(self._connection, slices)

    def predicted(self, ids: Sequence[str]) -> Iterator[tuple[str, str, npt.NDArray[np.uint8]]]:
        """Predicted classes of those trials that are ok, in order of trial id.

        Args:
            ids: trial ids.

        Yields:
            Trial id, hash of the answer key, and predicted classes, uint8 [n].

        Raises:
            StoreError: a blob is damaged; names the trial.
        """
        with schema.guarded(self.path):
            yield from queries.predicted_of(self._connection, ids)

    def frame(
        self, wanted: Mapping[str, str] | None = None, *, candidates: bool = False
    ) -> pd.DataFrame:
        """A row for each planned trial, of the latest plan of each condition and method.

        Columns: every field of `Condition` (`shots` as text, `unlabelled` joined by `+`), `method`,
        `title`, `role`, `assumes_prior`, `uses`, `note`, `kind`, `version`, `source`, `target`,
        `pair` ("B→C"), `emotions` (tuple of classes), `seed`, `status` (`ok`, `failed`,
        `not_applicable`, or empty where nothing is stored), `reason`, `uar`, `war`, `macro_f1`
        (percent; NaN unless ok), `seconds`, `energy` (joules), `parameters` (tuple of pairs),
        `tables` (hex digits of both feature tables), `synthetic`, `trial` (id), `answers` (hash of
        the answer key), `configuration` (0 for the default).

        Args:
            wanted: values that a condition must have, as `Condition.matches` takes them.
            candidates: whether to include the trials of configurations from which one is chosen.
        """
        from clser_bench.store import frames  # noqa: PLC0415 (pandas takes 0.3 s)

        with schema.guarded(self.path):
            return frames.frame(self._connection, wanted or {}, candidates=candidates)

    def predictions(self, ids: Sequence[str]) -> pd.DataFrame:
        """A row for each scored utterance of those trials that are ok.

        Columns: `trial` (id), `utterance`, `speaker` (categories), `y` and `predicted` (uint8,
        index into the trial's emotions).

        Args:
            ids: trial ids.

        Raises:
            StoreError: a blob is damaged; names the trial.
        """
        from clser_bench.store import frames  # noqa: PLC0415

        with schema.guarded(self.path):
            return frames.predictions(self._connection, ids)

    def pairs(self, suite: str) -> tuple[Pair, ...]:
        """Pairs of a suite in table order: those of its largest plan, then what others add."""
        found: dict[Pair, None] = {}
        for run in sorted(self.runs(), key=lambda run: (-len(run.pairs), run.pairs)):
            if run.suite == suite:
                found.update(dict.fromkeys(run.pairs))
        return tuple(found)

    def conditions(self) -> tuple[Condition, ...]:
        """Every condition that a plan asked for, in the order of tables; no candidates."""
        found = {item.condition for item in self.slices() if not item.candidate}
        return tuple(sorted(found, key=Condition.order))

    def answers(self, key: str, classes: tuple[str, ...] = ()) -> AnswerKey:
        """A stored answer key, by its hash.

        Args:
            key: as in `Predicted`.
            classes: put into the answer.

        Raises:
            StoreError: it is absent or damaged.
        """
        with schema.guarded(self.path):
            return queries.answers(self._connection, key, classes)
