"""`compare`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import columns

if TYPE_CHECKING:
    from clser_bench.report.comparison import Comparison

FORMATS = ("table", "md", "latex", "json")


@options.examples(
    "clser-bench compare --suite bcro --shots 5 --methods sere,coral,logistic",
    "clser-bench compare --suite bcro --shots 5 --format md > comparison.md",
    "clser-bench compare --shots 5 --format json > comparison.json",
)
@options.condition_options()
def compare(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="table, md, latex or json.")
    ] = "table",
    results: options.Results = options.RESULTS,
) -> None:
    """Compare the methods of each table with each other.

    Prints average ranks with the critical difference; for every two methods the difference of
    their means with its 95 % interval, p value (Holm over all pairs of methods) and effect size;
    on how many pairs of corpora the one wins, ties or loses; and how much easier two corpora are
    one way than the other. Bounds, oracles and methods with holes are left out. Fewer methods
    make a milder correction, so choose them before you see the numbers. Needs neither corpora nor
    methods.
    """
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import comparison
    from clser_bench.report.tables import leaderboard
    from clser_bench.store.database import Store

    if format_ not in FORMATS:
        raise SpecError(f"there is no format '{format_}'{did_you_mean(format_, FORMATS)}")
    named = options.words(methods)
    with Store(results, create=False) as store:
        options.check_methods(named, {item.method for item in store.slices()})
        tables = leaderboard(
            store,
            wanted=wanted,
            methods=named or None,
            intervals=False,
        )
        made = [comparison.compare(store, table) for table in tables]
    typer.echo(_written(made, format_), nl=False)


def _written(made: Sequence[Comparison], format_: str) -> str:
    from clser_bench.report.comparison_text import as_json, layouts, markdown
    from clser_bench.report.latex import latex_tables
    from clser_bench.report.tables import WIDTH
    from clser_bench.report.text import terminal

    if format_ == "json":
        rows = [row for item in made for row in json.loads(as_json(item))]
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    if not made:
        return "No results to show.\n"
    if format_ == "md":
        return "\n".join(map(markdown, made))
    parts = [layout for item in made for layout in layouts(item)]
    if format_ == "latex":
        return latex_tables(parts)
    width = columns() or WIDTH
    texts = (terminal(layout, width=width, color=False).rstrip() for layout in parts)
    return "\n\n".join(texts) + "\n"
