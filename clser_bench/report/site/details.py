"""What a dialog tells of a cell, small enough that all of it is embedded in the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from clser_bench.problem import Rows
from clser_bench.protocol import Pair
from clser_bench.report.board import LeaderboardTable
from clser_bench.report.points import Parameters
from clser_bench.report.site.content import status_text
from clser_bench.store.slices import Planned
from clser_bench.store.sqlite import Store

Json = dict[str, object]
T = TypeVar("T")
Spot = tuple[int, Pair]
"""A slice and a pair."""

_CHUNK = 256


@dataclass
class Pool:
    """Values that many cells share, each kept once.

    Attributes:
        values: in order of their first use.
    """

    values: list[object] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def place(self, value: object) -> int:
        """Where the value is, from 0; added where it is new."""
        name = repr(value)
        if name not in self._places:
            self._places[name] = len(self.values)
            self.values.append(value)
        return self._places[name]


def details(
    store: Store, tables: Sequence[LeaderboardTable], *, versions: Mapping[int, int]
) -> Json:
    """All that dialogs show, as JSON values.

    Per table: its `pairs`, its `reference`, `protocol` version and `rows`; a row has the `method`,
    its `version` (None where nothing was run) and `cells`, one per pair. A cell is a list: number
    of its classes, number of its seeds, UAR of each seed, the confusion matrix over all seeds row
    by row, number of its hyper-parameters, the first 16 digits of the keys of source and target,
    status, reason. Numbers are those of places in the lists `classes`, `seeds`, `points` and
    `keys`.

    Args:
        store: the results that the tables were made of.
        tables: as `leaderboard` made them.
        versions: of methods, by slice.

    Raises:
        StoreError: stored predictions or answers are damaged.
    """
    slices = [line.slice for table in tables for line in table.lines]
    trials = _by_spot([((item.slice, item.pair), item) for item in store.planned(slices)])
    points = _by_spot([((item.slice, item.pair), item.parameters) for item in store.points(slices)])
    matrices = _confusions(store, slices, trials)
    pools = {name: Pool() for name in ("classes", "seeds", "points", "keys")}
    made = []
    for table in tables:
        rows = []
        for line in table.lines:
            cells = [
                [
                    *_cell(
                        trials.get((line.slice, pair), []),
                        matrices.get((line.slice, pair)),
                        points.get((line.slice, pair), []),
                        pools,
                    ),
                    status_text(cell.status),
                    cell.reason,
                ]
                for pair, cell in zip(table.pairs, line.cells, strict=True)
            ]
            version = versions.get(line.slice)
            rows.append({"method": line.method, "version": version, "cells": cells})
        pairs = [str(pair) for pair in table.pairs]
        rules = {"reference": table.reference, "protocol": table.protocol_version}
        made.append({"pairs": pairs, **rules, "rows": rows})
    return {"tables": made, **{name: pool.values for name, pool in pools.items()}}


def method_versions(store: Store, slices: Sequence[int]) -> dict[int, int]:
    """The version of the method of each slice of which anything is stored.

    A plan has one version of a method, so one of its trials tells it; few records are read.

    Args:
        store: the results.
        slices: their numbers.
    """
    stored = {item.slice for item in store.planned(slices) if item.status is not None}
    shown = [item for item in store.slices() if item.id in stored]
    found: dict[tuple[int, str], int] = {}
    for run in sorted({item.run for item in shown}):
        missing = {item.method for item in shown if item.run == run}
        ids = store.planned_ids(run)
        stride = max(1, len(ids) // _CHUNK)
        for start in range(stride):
            if not missing:
                break
            for record in store.records(ids[start::stride]):
                found[run, record.trial.method] = record.trial.version
                missing.discard(record.trial.method)
    places = {item.id: (item.run, item.method) for item in shown}
    return {number: found[place] for number, place in places.items() if place in found}


def _by_spot(items: Sequence[tuple[Spot, T]]) -> dict[Spot, list[T]]:
    found: dict[Spot, list[T]] = {}
    for spot, item in items:
        found.setdefault(spot, []).append(item)
    return found


def _confusions(
    store: Store, slices: Sequence[int], trials: Mapping[Spot, Sequence[Planned]]
) -> dict[Spot, Rows]:
    """Utterances by true class (rows) and predicted class [c, c], summed over the draws."""
    answers: dict[str, Rows] = {}
    found: dict[Spot, Rows] = {}
    for item in store.predicted_of(slices):
        spot = item.slice, item.pair
        count = len(trials[spot][0].classes)
        if item.answers not in answers:
            answers[item.answers] = store.answers(item.answers).y
        cells = answers[item.answers] * count + item.classes
        matrix = np.bincount(cells, minlength=count * count).reshape(count, count)
        found[spot] = found[spot] + matrix if spot in found else matrix
    return found


def _cell(
    trials: Sequence[Planned],
    matrix: Rows | None,
    points: Sequence[Parameters],
    pools: Mapping[str, Pool],
) -> list[object]:
    scored = [trial for trial in trials if trial.uar is not None]
    classes = list(trials[0].classes) if trials else []
    point = [[name, str(value)] for name, value in points[0]] if points else []
    keys = [trials[0].tables[:16], trials[0].tables[16:]] if trials else []
    return [
        pools["classes"].place(classes),
        pools["seeds"].place([trial.seed for trial in scored]),
        [round(trial.uar, 2) for trial in scored if trial.uar is not None],
        [] if matrix is None else matrix.ravel().tolist(),
        pools["points"].place(point),
        pools["keys"].place(keys),
    ]
