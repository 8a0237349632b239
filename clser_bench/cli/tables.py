"""`leaderboard` and `status`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import columns, complain, print_rows
from clser_bench.cli.site import write_site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clser_bench.report.board import LeaderboardTable
    from clser_bench.report.layout import Layout
    from clser_bench.store.database import Store


@options.examples(
    "clser-bench leaderboard",
    "clser-bench leaderboard --suite bcro --shots 5 --against source-only",
    "clser-bench leaderboard --format csv > table.csv",
    "clser-bench leaderboard --suite bcro --shots 5 --format latex --transpose > table.tex",
    "clser-bench leaderboard --suite bcro --html site",
    "clser-bench leaderboard --suite bcro --by shots",
    "clser-bench leaderboard --suite bcro --shots 5 --published results/published/sere.toml",
)
@options.condition_options()
def leaderboard(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    against: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Add paired differences to this method."),
    ] = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="Pairs down, methods across.")
    ] = False,
    with_: options.With = "",
    format_: options.Format = "table",
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Instead of printing, write a page for browsers and its numbers as CSV, with a "
            "provenance card of each table, into this folder; --format, --transpose and --with "
            "point have no effect then.",
        ),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML with a paper's numbers, told below the tables with what differs "
            "(results/published/sere.toml).",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="Instead of pairs: family (of languages), source, target; or one table over all "
            "shots or all features. With --format table, md or latex.",
        ),
    ] = "",
    results: options.Results = options.RESULTS,
) -> None:
    """Print the tables of a results file, or write them as a page for browsers.

    Needs neither corpora nor methods. The page works from disk, without a server, and loads
    nothing; it holds comparisons of the methods too. Prints the files written.
    """
    from clser_bench.report import tables
    from clser_bench.report.published import beside, read_published
    from clser_bench.store.database import Store

    with Store(results, create=False) as store:
        made = tables.leaderboard(
            store,
            wanted=wanted,
            methods=options.words(methods) or None,
            with_=options.words(with_),
            against=against,
        )
        if published is not None:
            made = beside(made, read_published(published))
        if html is not None:
            for path in write_site(store, made, html):
                typer.echo(str(path))
            return
    if by:
        layouts = _pivoted(made, by)
        typer.echo(
            tables.render_layouts(layouts, format_, width=columns(), transposed=transpose), nl=False
        )
        return
    text = tables.render(made, format_, width=columns(), transposed=transpose)
    typer.echo(text, nl=False)


def _pivoted(made: Sequence[LeaderboardTable], by: str) -> list[Layout]:
    from clser_bench.corpora.definitions import corpus_specs
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.protocol import family
    from clser_bench.report import pivot

    if by not in pivot.BY:
        raise SpecError(f"--by '{by}' is unknown{did_you_mean(by, pivot.BY)}")
    if by in pivot.ACROSS:
        return list(pivot.across(made, by))
    families = {code: family(spec.language) for code, spec in corpus_specs().items()}
    return [pivot.by_pairs(table, pivot.groups_of(table, by, families), what=by) for table in made]


@options.examples(
    "clser-bench status",
    "clser-bench status --results results/night.sqlite",
)
def status(results: options.Results = options.RESULTS) -> None:
    """Tell how far a results file is.

    Per suite; and why trials failed or do not apply.
    """
    from clser_bench.store.database import Store

    with Store(results, create=False) as store:
        rows = _progress(store)
        reasons = _reasons(store)
        skipped = store.skipped()
    names = ("suite", "planned", "ok", "not applicable", "failed", "missing", "stored")
    print_rows(names, rows)
    for (kind, method, reason), count in sorted(reasons.items()):
        complain(f"{kind}: {method}: {count} trials: {reason}")
    for item in skipped:
        complain(f"left out: {item.corpus}: {item.name}: {item.reason}")


def _progress(store: Store) -> list[tuple[object, ...]]:
    """One row a suite, over all its runs; a trial that several ask for counts once."""
    suites: dict[str, dict[str, None]] = {}
    for run in store.runs():
        suites.setdefault(run.suite, {}).update(dict.fromkeys(store.planned_ids(run.id)))
    rows: list[tuple[object, ...]] = []
    for suite, ids in suites.items():
        states = Counter(store.stored(list(ids)).values())
        stored = sum(states.values())
        counts = (states["ok"], states["not_applicable"], states["failed"], len(ids) - stored)
        # rounded down, so that 100 % means all
        rows.append((suite, len(ids), *counts, f"{100 * stored // max(1, len(ids))} %"))
    return rows


def _reasons(store: Store) -> Counter[tuple[str, str, str]]:
    from clser_bench.report.aggregate import one_line

    kinds = (("failed", "failed"), ("not_applicable", "not applicable"))
    return Counter(
        (kind, record.trial.method, one_line(record.reason))
        for status_, kind in kinds
        for record in store.records(status=status_)
    )
