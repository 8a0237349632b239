"""Broken-down leaderboards of made-up results, for tests."""

from __future__ import annotations

from types import SimpleNamespace

from clser_bench.protocol import Pair
from clser_bench.report.breakdown import Facts, break_down
from clser_bench.report.table import leaderboard
from tests.boards import KEY
from tests.records import ok, trial

ONE = (Pair("B", "C"),)


def put(store, draws, key=KEY, *, pairs=ONE, method="m", keys=None):
    """Store a method whose predictions are given draw by draw, alike on all pairs."""
    trials, records = [], []
    for pair in pairs:
        for seed, predicted in enumerate(draws):
            trials.append(trial(method, str(pair), seed=seed))
            records.append(ok(trials[-1], predicted, keys[seed] if keys else key))
    store.plan({}, trials, pairs=pairs)
    store.put(records)


def broken(store, by, **more):
    """The one leaderboard of a store, broken down."""
    frame = store.frame()
    (table,) = leaderboard(frame, store, intervals=False)
    return break_down(store, frame, table, by=by, **more)


def part(found, method="m", pair=None):
    """The figures of a method, over all pairs or of one, by kind."""
    own = [item for item in found.figures if (item.line.method, item.pair) == (method, pair)]
    return SimpleNamespace(
        values=[item for item in own if item.classes],
        gaps=[item for item in own if item.kind == "gap"],
        correlations=[item for item in own if item.kind.startswith("rho")],
        status=own[0].status,
        reason=own[0].reason,
    )


def means(one):
    """The figure of each group."""
    return {value.group: value.mean for value in one.values}


def facts(values, by):
    """Facts of the utterances of C, in order."""
    return {"C": {f"{row:03d}.wav": Facts(**{by: value}) for row, value in enumerate(values)}}
