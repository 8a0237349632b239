"""Lines and their trials one by one, for reports that do not read the frame yet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from clser_bench.problem import Value
from clser_bench.protocol import Condition, Pair
from clser_bench.store.records import Guesses, MethodNote, from_json

if TYPE_CHECKING:
    from clser_bench.store.sqlite import Line


class Slice(NamedTuple):
    """A line of the store; see `sqlite.Line`."""

    id: int
    run: int
    condition: Condition
    method: str
    note: MethodNote
    candidate: bool


class Planned(NamedTuple):
    """A planned trial and what is stored of it; status and metrics are None where nothing is."""

    slice: int
    pair: Pair
    classes: tuple[str, ...]
    seed: int
    tables: str
    synthetic: bool
    status: str | None
    reason: str
    uar: float | None
    seconds: float | None
    energy: float | None


class Pointed(NamedTuple):
    """Hyper-parameters with which a slice has a pair."""

    slice: int
    pair: Pair
    parameters: tuple[tuple[str, Value], ...]


class Predicted(NamedTuple):
    """Predicted classes of one ok trial: uint8 [n], and the hash of its answer key."""

    slice: int
    pair: Pair
    seed: int
    answers: str
    classes: Guesses


class Slices:
    """Queries by numbers of lines; part of `Store`."""

    if TYPE_CHECKING:

        def lines(self) -> tuple[Line, ...]: ...  # noqa: D102
        def query(  # noqa: D102
            self, query: str, values: Sequence[Any] = ()
        ) -> list[Any]: ...
        def predicted(  # noqa: D102
            self, ids: Sequence[str]
        ) -> Iterator[tuple[str, str, Guesses]]: ...

    def slices(self) -> tuple[Slice, ...]:
        """Each method under each condition, as the latest plan that asked for it had it."""
        return tuple(
            Slice(*line[:5], candidate=line.configuration is not None) for line in self.lines()
        )

    def planned(self, slices: Sequence[int]) -> list[Planned]:
        """Trials of slices with the columns that a table needs; reads no array."""
        found = self.query(
            """SELECT p.line, t.source, t.target, t.emotions, t.seed,
              substr(t.source_key, 1, 16) || substr(t.target_key, 1, 16), t.synthetic,
              r.status, coalesce(r.reason, ''), r.uar, r.seconds, r.energy
            FROM planned p JOIN trials t ON t.id = p.trial LEFT JOIN records r ON r.trial = p.trial
            WHERE p.line IN (SELECT value FROM json_each(?))
            ORDER BY p.line, t.source, t.target, t.seed""",
            (json.dumps(list(slices)),),
        )
        classes = {text: tuple(from_json(text, "classes")) for text in {row[3] for row in found}}
        return [
            Planned(line, Pair(source, target), classes[text], seed, key, bool(synthetic), *rest)
            for line, source, target, text, seed, key, synthetic, *rest in found
        ]

    def points(self, slices: Sequence[int]) -> list[Pointed]:
        """Hyper-parameters of slices by pair, each once; reads no array."""
        found = self.query(
            """SELECT DISTINCT p.line, t.source, t.target, t.parameters
            FROM planned p JOIN trials t ON t.id = p.trial
            WHERE p.line IN (SELECT value FROM json_each(?))
            ORDER BY p.line, t.source, t.target, t.parameters""",
            (json.dumps(list(slices)),),
        )
        return [
            Pointed(line, Pair(source, target), tuple(map(tuple, from_json(text, "parameters"))))
            for line, source, target, text in found
        ]

    def predicted_of(self, slices: Sequence[int]) -> Iterator[Predicted]:
        """Predicted classes of the ok trials of slices.

        Raises:
            StoreError: as `Store.predicted`.
        """
        found = self.query(
            """SELECT p.trial, p.line, t.source, t.target, t.seed
            FROM planned p JOIN trials t ON t.id = p.trial
            WHERE p.line IN (SELECT value FROM json_each(?))
            ORDER BY p.line, t.source, t.target, t.seed""",
            (json.dumps(list(slices)),),
        )
        predicted = self.predicted([row[0] for row in found])
        arrays = {trial: (key, classes) for trial, key, classes in predicted}
        for trial, line, source, target, seed in found:
            if trial in arrays:
                yield Predicted(line, Pair(source, target), seed, *arrays[trial])
