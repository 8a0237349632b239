"""Mean UAR of methods under each feature set, from a results file, as Markdown.

    clser-bench run --suite bcro --features mel --methods logistic,sere --shots 5,all --results R
    python tools/by_features.py R --suite bcro > table.md

A row a feature set, a column a method, number of shots and normalisation: the mean over the pairs
with its 95 % interval, and n draws; where pairs are missing, the mean over those that are there,
with their number instead of an interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from clser_bench.report.table import Leaderboard, Line, leaderboard
from clser_bench.store.sqlite import Store


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("results", type=Path)
    options.add_argument("--suite", required=True)
    asked = options.parse_args()
    with Store(asked.results, create=False) as store:
        tables = leaderboard(store.frame({"suite": asked.suite}), store)
    print(by_features(tables))


def by_features(tables: Sequence[Leaderboard]) -> str:
    """A row a feature set.

    Args:
        tables: of one suite, with intervals.
    """
    cells: dict[str, dict[tuple[str, str, str], str]] = {}
    columns: dict[tuple[str, str, str], tuple[object, ...]] = {}
    for table in tables:
        rules = table.condition
        for line in table.lines:
            column = (line.method, str(rules.shots), rules.normalisation)
            columns[column] = (rules.normalisation, rules.order()[-2], line.method)
            cells.setdefault(rules.features, {})[column] = _cell(line)
    ordered = sorted(columns, key=lambda column: columns[column])
    names = [f"{method}, {shots}, {how}" for method, shots, how in ordered]
    rows = [[name, *(row.get(column, "") for column in ordered)] for name, row in cells.items()]
    return tabulate(rows, ["features", *names], tablefmt="pipe", disable_numparse=True)


def _cell(line: Line) -> str:
    found = line.interval
    if line.mean.mean is not None:
        sure = found is not None and found.low is not None and found.high is not None
        ends = f" [{found.low:.1f}, {found.high:.1f}]" if found and sure else ""
        return f"{line.mean.mean:.1f}{ends} n={line.mean.n}"
    there = [cell.mean for cell in line.cells if cell.mean is not None]
    if not there:
        return "–"
    return f"{sum(there) / len(there):.1f} over {len(there)} of {len(line.cells)} pairs"


if __name__ == "__main__":
    main()
