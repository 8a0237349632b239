"""Stores with made-up results, for tests of leaderboards."""

from __future__ import annotations

import itertools
import json

import numpy as np

from clser_bench.protocol import Pair
from clser_bench.report.render import render
from clser_bench.report.table import leaderboard
from tests.records import answer_key, ok, trial

KEY = answer_key([0, 0, 1, 1, 2, 2] * 4, speakers="abc" * 8)
RIGHT: list[int] = KEY.y.tolist()
GUESSES = {
    0: [(y + 1) % 3 for y in RIGHT],
    50: [(y + (row + 1) % 2) % 3 for row, y in enumerate(RIGHT)],
    100: RIGHT,
}
"""Predictions by their UAR."""
PAIRS = tuple(Pair(s, t) for s, t in itertools.permutations("BC", 2))
TWELVE = tuple(Pair(s, t) for s, t in itertools.permutations("BCRO", 2))


def guesses(right: int, rng: np.random.Generator) -> list[int]:
    """Predictions of which so many are right."""
    wrong = rng.permutation(len(KEY.y))[right:]
    found = KEY.y.copy()
    found[wrong] = (found[wrong] + 1) % 3
    return found.tolist()


def run(store, methods, *, pairs=PAIRS, seeds=2, suite="bc", left_out=(), notes=None, **rules):
    """Plan methods, each with its number of right guesses of 24, and store all but some.

    A selection such as `other-pairs/1` is that of a candidate.
    """
    selection, slash, number = rules.pop("selection", "default").partition("/")
    rules["selection"] = selection
    rng = np.random.default_rng(0)
    trials, records = [], []
    for method, right in methods.items():
        for pair, seed in itertools.product(pairs, range(seeds)):
            of = trial(method, str(pair), seed=seed, suite=suite, **rules)
            trials.append(of)
            if (method, str(pair), seed) not in left_out:
                records.append(ok(of, guesses(right, rng), KEY))
    candidates = {of.id: int(number) for of in trials} if slash else None
    store.plan({}, trials, pairs=pairs, methods=notes or {}, candidates=candidates)
    store.put(records)
    return trials


def put(store, methods, *, pairs=PAIRS, seeds=2):
    """Store methods by their UAR of 0, 50 or 100 on each pair: of each draw, or of all alike."""
    trials, records = [], []
    for method, of_pairs in methods.items():
        for pair, uar in zip(pairs, of_pairs, strict=True):
            for seed, value in enumerate(uar if isinstance(uar, tuple) else (uar,) * seeds):
                trials.append(trial(method, str(pair), seed=seed))
                records.append(ok(trials[-1], GUESSES[value], KEY))
    store.plan({}, trials, pairs=pairs)
    store.put(records)


def tables_of(store, *, methods=(), with_=(), intervals=True, against="", exposure=None, **wanted):
    """The tables of a store whose conditions have some values."""
    return leaderboard(
        store.frame({name: str(value) for name, value in wanted.items()}),
        store,
        methods=methods,
        extras=with_,
        intervals=intervals,
        against=against,
        exposure=exposure,
    )


def rows_of(tables):
    return json.loads(render(tables, "json"))


def row(rows, method, pair):
    (found,) = [item for item in rows if (item["method"], item["pair"]) == (method, pair)]
    return found
