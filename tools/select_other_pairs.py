"""Choose a method's point for each pair on the two pairs of the suite's other two corpora.

    python tools/select_other_pairs.py sere A.sqlite B.sqlite ... --out chosen.sqlite
    clser-bench leaderboard --results chosen.sqlite --against logistic

Each results file holds one point of the method on the same suite, rules, shots and draws, beside
the same other methods. For s→t the point with the best mean UAR on the ordered pairs of the two
corpora that are neither s nor t is taken, so no label of s or t has a say in it. The chosen
records are written to a file of their own under the selection `other-pairs`; the other methods'
records come along as they are. The last line is one JSON object: pair to the file chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clser_bench.spec import Pair
from clser_bench.store.database import Store
from clser_bench.store.records import Record, Run

Point = dict[Pair, list[Record]]


def read(file: Path, method: str) -> tuple[Run, Point, list[Record]]:
    """The last plan of a file, the method's records by pair, and the other records."""
    with Store(file, create=False) as store:
        run = store.runs()[-1]
        records = list(store.records(store.planned_ids(run.id)))
    mine: Point = {}
    for record in records:
        if record.metrics is None:
            raise SystemExit(f"{file}: {record.trial.method} {record.trial.pair}: {record.status}")
        if record.trial.method == method:
            mine.setdefault(record.trial.pair, []).append(record)
    if set(mine) != set(run.pairs):
        raise SystemExit(f"{file}: {method} has {len(mine)} of {len(run.pairs)} pairs")
    return run, mine, [record for record in records if record.trial.method != method]


def uar(records: Sequence[Record]) -> float:
    """Mean UAR."""
    return float(np.mean([record.metrics.uar for record in records if record.metrics]))


def chosen(pair: Pair, points: Sequence[Point]) -> int:
    """The point that is best on the pairs without the source and the target of this one."""
    ends = {pair.source, pair.target}
    others = [p for p in points[0] if not ends & {p.source, p.target}]
    if not others:
        raise SystemExit(f"{pair}: the suite has no pair of two other corpora")
    return int(np.argmax([np.mean([uar(point[p]) for p in others]) for point in points]))


def relabelled(record: Record) -> Record:
    """The same record under the selection `other-pairs`; its identity does not change."""
    protocol = replace(record.trial.protocol, selection="other-pairs")
    return replace(record, trial=replace(record.trial, protocol=protocol))


def main() -> None:
    """Choose, write, tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("method")
    parser.add_argument("files", nargs="+", type=Path, help="one results file a point")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists")
    found = [read(file, arguments.method) for file in arguments.files]
    points = [point for _, point, _ in found]
    run, _, rest = found[0]
    picks = {pair: chosen(pair, points) for pair in run.pairs}
    records = [relabelled(r) for pair, pick in picks.items() for r in points[pick][pair]]
    records += [relabelled(record) for record in rest]
    with Store(arguments.out) as store:
        trials = [record.trial for record in records]
        store.plan(run.suite, trials, pairs=run.pairs, config={}, methods=run.methods)
        store.put(records)
    for file, point in zip(arguments.files, points, strict=True):
        print(f"{file}: {np.mean([uar(records) for records in point.values()]):.2f}")
    print(f"other-pairs: {np.mean([uar(points[i][pair]) for pair, i in picks.items()]):.2f}")
    print(json.dumps({str(pair): str(arguments.files[i]) for pair, i in picks.items()}))


if __name__ == "__main__":
    main()
