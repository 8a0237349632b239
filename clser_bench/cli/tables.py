"""`leaderboard`, `compare` and `status`."""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options, rules
from clser_bench.cli.output import columns, complain, print_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from clser_bench.report.formats import TextTable
    from clser_bench.report.model import Leaderboard
    from clser_bench.report.page.data import Documented
    from clser_bench.report.published import Published
    from clser_bench.store.sqlite import Store


def _arrangements() -> tuple[str, ...]:
    from clser_bench.report.render import BY

    return BY


ARRANGEMENTS = options.completed(_arrangements)
COMPARE_FORMATS = ("table", "md", "latex", "json")


@options.examples(
    "clser-bench leaderboard",
    "clser-bench leaderboard --suite bcro --shots 5 --explain",
    "clser-bench leaderboard --format csv > table.csv",
    "clser-bench leaderboard --suite bcro --shots 5 --format latex > table.tex",
    "clser-bench leaderboard --suite bcro --html site",
    "clser-bench leaderboard --suite bcro --by shots",
    "clser-bench leaderboard --suite bcro --published papers",
)
@rules.condition_options()
def leaderboard(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    against: str = "",
    transpose: bool = False,
    pairs: bool = False,
    explain: bool = False,
    with_: options.With = "",
    format_: options.Format = "table",
    html: Path | None = None,
    published: Path | None = None,
    by: Annotated[str, typer.Option(autocompletion=ARRANGEMENTS)] = "",
    results: options.Results = options.RESULTS,
) -> None:
    """Print the tables of a results file, or write them as a page for browsers.

    Intervals and verdicts are those of all ranked methods, whichever --methods shows. Needs
    neither corpora nor methods. The page works from disk, without a server, and loads nothing.
    Prints the files written.

    Options:
        against METHOD: Differences to this method in place of logistic, corrected for all pairs of
            methods.
        transpose: Pairs down, methods across.
        pairs: With --format latex: pairs in place of intervals.
        explain: The meaning of each column, below the table; has no effect with --by, --published
            and --html.
        html DIR: Instead of printing, write a page for browsers (index.html) and its numbers
            (leaderboard.csv) into this folder; --format, --transpose and --with have no effect
            then.
        published PATH: Numbers of papers beside ours: `papers` for those that are shipped, or a
            TOML file, or a folder of them.
        by WHAT: Instead of pairs: family (of languages), source, target, part (of the speakers or
            sentences of a corpus); or one table over all shots or all features. With --format
            table, md or latex.
    """
    from clser_bench.features.encoders.names import exposure
    from clser_bench.files import shipped
    from clser_bench.report.render import render
    from clser_bench.report.table import leaderboard as tables_of
    from clser_bench.store.sqlite import Store

    if published == Path("papers") and not published.exists():
        published = shipped("results/published")
    papers: Sequence[Published] = ()
    if published:
        from clser_bench.report.published import published_rows, published_tables, read_published

        papers = read_published(published)
    with Store(results, create=False, read_only=True) as store:
        if html is not None:
            for path in _page(store, wanted, methods, against, html):
                typer.echo(str(path))
            return
        made = tables_of(
            store.shown(wanted),
            store,
            methods=options.words(methods),
            extras=options.words(with_),
            against=against,
            intervals=not papers,
            exposure=exposure,
        )
    if papers and format_ in ("csv", "json"):
        from clser_bench.report.formats import csv_of, json_of

        write = csv_of if format_ == "csv" else json_of
        typer.echo(write(published_rows(made, papers)), nl=False)
    elif papers:
        _echo(published_tables(made, papers), format_, transposed=transpose)
    elif by:
        _echo(_arranged(made, by), format_, transposed=transpose)
    else:
        text = render(
            made, format_, width=columns(), transposed=transpose, explain=explain, pairs=pairs
        )
        typer.echo(text, nl=False)


def _echo(tables: Sequence[TextTable], format_: str, *, transposed: bool = False) -> None:
    from clser_bench.report.formats import write_tables

    shown = [table.transposed for table in tables] if transposed else tables
    typer.echo(write_tables(shown, format_, width=columns()), nl=False)


def _arranged(made: Sequence[Leaderboard], by: str) -> Sequence[TextTable]:
    from clser_bench.corpora.definitions import definitions
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.protocol import family
    from clser_bench.report import render

    if by not in render.BY:
        raise SpecError(f"--by '{by}' is unknown{did_you_mean(by, render.BY)}")
    if by in render.ACROSS:
        return render.across(made, by)
    families = {code: family(spec.language) for code, spec in definitions().corpora.items()}
    return [render.grouped(table, by, families) for table in made]


@options.examples(
    "clser-bench compare --suite bcro --shots 5 --methods sere,coral,logistic",
    "clser-bench compare --suite bcro --shots 5 --format md > comparison.md",
    "clser-bench compare --shots 5 --format json > comparison.json",
)
@rules.condition_options()
def compare(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    format_: str = "table",
    results: options.Results = options.RESULTS,
) -> None:
    """Compare the methods of each table with each other.

    Prints means with intervals of ranks; for every two methods the difference of their means with
    its simultaneous 95 % interval, p value and effect size; on how many pairs of corpora the one
    wins, ties or loses; and how much easier two corpora are one way than the other. Bounds,
    references and methods with missing cells are left out. The correction is for all ranked
    methods of a table, whichever --methods shows. Needs neither corpora nor methods.

    Options:
        format_ FORMAT: table, md, latex or json.
    """
    from clser_bench.features.encoders.names import exposure
    from clser_bench.report import comparison
    from clser_bench.report.formats import json_of
    from clser_bench.report.table import leaderboard as tables_of
    from clser_bench.store.sqlite import Store

    options.check("format", (format_,), COMPARE_FORMATS)
    with Store(results, create=False, read_only=True) as store:
        frame = store.shown(wanted)
        named = options.words(methods)
        tables = tables_of(frame, store, methods=named, exposure=exposure)
        made = [comparison.compare(store, frame, table) for table in tables]
    if format_ == "json":
        rows = [row for item in made for row in json.loads(comparison.as_json(item))]
        typer.echo(json_of(rows), nl=False)
        return
    _echo([text for item in made for text in comparison.text_tables(item)], format_)


def _page(
    store: Store, wanted: Mapping[str, str], methods: str, against: str, folder: Path
) -> Iterator[Path]:
    """Write the page and its numbers; yields the files."""
    from clser_bench.errors import SpecError
    from clser_bench.features.encoders.names import exposure
    from clser_bench.files import write_whole
    from clser_bench.report.page.data import page, page_data
    from clser_bench.report.render import render
    from clser_bench.report.table import leaderboard as tables_of

    frame = store.shown(wanted)
    shown = options.words(methods)
    made = tables_of(frame, store, methods=shown, against=against, exposure=exposure)
    names = {line.method for table in made for line in table.lines}
    data = page_data(made, frame, store, documented=dict(_documented(names)))
    contents = {"index.html": page(data), "leaderboard.csv": render(made, "csv")}
    for name, content in contents.items():
        write_whole(folder / name, content, error=SpecError)
        yield folder / name


def _documented(names: Collection[str]) -> Iterator[tuple[str, Documented]]:
    """The documentation of those methods that are installed, from files that are not executed."""
    from clser_bench import registry
    from clser_bench.report.page.data import Documented
    from clser_bench.scoring.within_target import ROUTINES

    for name, entry in registry.entries().items():
        if name in names:
            text = ast.get_docstring(ast.parse(entry.file.read_text(encoding="utf-8"))) or ""
            parts: dict[str, str] = {}
            for paragraph in text.split("\n\n")[1:]:
                heading, _, rest = " ".join(paragraph.split()).partition(": ")
                parts.setdefault(heading, rest)
            yield (
                name,
                Documented(
                    summary=entry.summary,
                    reference=parts.get("Reference", ""),
                    departures=parts.get("Departures", ""),
                ),
            )
    for routine in ROUTINES.values():
        if routine.name in names:
            yield routine.name, Documented(summary=routine.about)


@options.examples(
    "clser-bench status",
    "clser-bench status --results results/night.sqlite",
)
def status(results: options.Results = options.RESULTS) -> None:
    """Show the progress of each suite in a results file.

    And why trials failed or do not apply.
    """
    from clser_bench.store.sqlite import Store

    with Store(results, create=False, read_only=True) as store:
        rows = _progress(store)
        reasons = _reasons(store)
        skipped = store.skipped()
    names = ("suite", "planned", "ok", "not applicable", "failed", "missing", "stored")
    print_rows(names, rows, header=True)
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
    from clser_bench.store.records import one_line

    kinds = (("failed", "failed"), ("not_applicable", "not applicable"))
    return Counter(
        (kind, record.trial.method, one_line(record.reason))
        for status_, kind in kinds
        for record in store.records(status=status_)
    )
