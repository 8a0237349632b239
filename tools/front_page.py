"""Write the matrix of README.md from the raw records in `results/`.

    python tools/front_page.py results/*/records-*.parquet          # prints it
    python tools/front_page.py results/*/records-*.parquet --write   # puts it into README.md

A table for each suite and class prior of the target. Columns are conditions; cells are differences
to logistic regression with simultaneous intervals.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from clser_bench.report.table import Leaderboard, Line, leaderboard
from clser_bench.store import parquet, pooling
from clser_bench.store.sqlite import Store

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- end of matrix -->\n"
METHODS = (
    "sere",
    "sere-frozen",
    "lda-balanced",
    "ot",
    "self-training",
    "tim",
    "shot",
    "dann",
    "source-only",
    "logistic-balanced",
)
"""The ten rows beside logistic regression."""


def tables_of(files: Iterable[Path]) -> tuple[Leaderboard, ...]:
    """The tables of exported records."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "results.sqlite"
        pooling.merge(place, [parquet.read(file) for file in files])
        with Store(place) as store:
            return leaderboard(store.frame(), store)


def matrix(tables: Sequence[Leaderboard]) -> str:
    """Markdown tables, one a suite and prior: methods down, conditions across."""
    blocks: dict[str, list[Leaderboard]] = {}
    for table in tables:
        rules = table.condition
        prior = f", prior `{rules.prior}`" * (rules.prior != "natural")
        blocks.setdefault(f"**`{rules.suite}`{prior}**", []).append(table)
    return "\n".join(f"{title}\n\n{_block(members)}" for title, members in blocks.items())


def _block(tables: Sequence[Leaderboard]) -> str:
    rows = [["logistic, UAR", *(_mean(table.line("logistic")) for table in tables)]]
    for method in METHODS:
        lines = [table.line(method) for table in tables]
        known = next((line for line in lines if line), None)
        if known:
            rows.append([known.title, *map(_difference, lines)])
    names = ["", *map(_name, tables)]
    return tabulate(rows, names, tablefmt="github", disable_numparse=True) + "\n"


def _name(table: Leaderboard) -> str:
    rules = table.condition
    features = re.sub(r"^hf:|@[0-9a-f]+|:pool=mean\b|:context=padded", "", rules.features)
    shots = "all labels" if rules.shots == "all" else f"{rules.shots} shots"
    pairs = f"{len(table.pairs)} pairs, n = {table.seeds}"
    return f"{features.replace(':layer=', ' layer ')}, {rules.normalisation}, {shots} ({pairs})"


def _mean(line: Line | None) -> str:
    if line is None or line.mean.mean is None or line.interval is None:
        return "–"
    return f"{line.mean.mean:.1f} [{line.interval.low:.1f}, {line.interval.high:.1f}]"


def _difference(line: Line | None) -> str:
    if line is None or line.difference is None or line.difference.low is None:
        return "–"
    found = line.difference
    star = "*" if line.verdict in ("better", "worse") else ""
    return f"{found.estimate:+.1f} [{found.low:+.1f}, {found.high:+.1f}]{star}"


def main() -> None:
    """Print the matrix, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    text = matrix(tables_of(arguments.files))
    if not arguments.write:
        print(text, end="")
        return
    head, _, rest = README.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(f"{head}{BEGIN}{text}{END}{tail}", "utf-8")


if __name__ == "__main__":
    main()
