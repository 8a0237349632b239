"""`leaderboard`, `compare`, `status`, `breakdown` and `robustness`: tables of a results file."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from clser_bench.cli import figures, options, rules
from clser_bench.cli.output import Bars, columns, complain, print_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from clser_bench.report.breakdown import Facts
    from clser_bench.report.formats import TextTable
    from clser_bench.report.model import Leaderboard
    from clser_bench.report.published import Published
    from clser_bench.report.robustness import Scale
    from clser_bench.store.sqlite import Store

_Recorded = Literal["gender", "length", "loudness", "human"]
By = Literal["emotion", "confusion", "speaker", _Recorded]
"""What a table is broken down by."""

COMPARE_FORMATS = ("table", "md", "latex", "json")


def _arrangements() -> tuple[str, ...]:
    from clser_bench.report.render import BY

    return BY


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
    by: Annotated[str, typer.Option(autocompletion=options.completed(_arrangements))] = "",
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
    from clser_bench.report.render import render
    from clser_bench.report.table import leaderboard as tables_of
    from clser_bench.store.sqlite import Store

    if published == Path("papers") and not published.exists():
        from clser_bench.files import shipped

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
            exposure=_exposure,
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


def _exposure(features: str, corpus: str) -> str:
    """What the encoders of a feature set were trained with; the built-in sets have none."""
    if ":" not in features:
        return "no"
    from clser_bench.features.encoders.names import exposure

    return exposure(features, corpus)


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
    from clser_bench.report import comparison
    from clser_bench.report.table import leaderboard as tables_of
    from clser_bench.store.sqlite import Store

    options.check("format", (format_,), COMPARE_FORMATS)
    with Store(results, create=False, read_only=True) as store:
        frame = store.shown(wanted)
        named = options.words(methods)
        tables = tables_of(frame, store, methods=named, exposure=_exposure)
        made = [comparison.compare(store, frame, table) for table in tables]
    typer.echo(comparison.render(made, format_, width=columns()), nl=False)


def _page(
    store: Store, wanted: Mapping[str, str], methods: str, against: str, folder: Path
) -> Iterator[Path]:
    """Write the page and its numbers; yields the files."""
    from clser_bench.errors import SpecError
    from clser_bench.files import write_whole
    from clser_bench.report.page import page, page_data
    from clser_bench.report.render import render
    from clser_bench.report.table import leaderboard as tables_of

    frame = store.shown(wanted)
    shown = options.words(methods)
    made = tables_of(frame, store, methods=shown, against=against, exposure=_exposure)
    names = {line.method for table in made for line in table.lines}
    data = page_data(made, frame, store, documented=dict(_documented(names)))
    contents = {"index.html": page(data), "leaderboard.csv": render(made, "csv")}
    for name, content in contents.items():
        write_whole(folder / name, content, error=SpecError)
        yield folder / name


def _documented(names: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The documentation of those methods that are installed, from files that are not executed."""
    from clser_bench import registry
    from clser_bench.scoring.within_target import ROUTINES

    for name, entry in registry.entries().items():
        if name in names:
            text = ast.get_docstring(ast.parse(entry.file.read_text(encoding="utf-8"))) or ""
            parts = {"summary": entry.summary}
            for paragraph in text.split("\n\n")[1:]:
                heading, _, rest = " ".join(paragraph.split()).partition(": ")
                parts.setdefault(heading.lower(), rest)
            yield name, parts
    for routine in ROUTINES.values():
        if routine.name in names:
            yield routine.name, {"summary": routine.about}


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


@options.examples(
    "clser-bench breakdown --suite bcro --shots 5 --methods sere,logistic",
    "clser-bench breakdown --by confusion --shots 5 --methods sere --each-pair",
    "clser-bench breakdown --by speaker --shots 5 --format csv > speakers.csv",
    "clser-bench breakdown --by human --shots 5 --corpora ~/corpora",
)
@rules.condition_options()
def breakdown(
    *,
    by: By = "emotion",
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    each_pair: bool = False,
    corpora: options.Corpora = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    manifest: options.Manifest = None,
    workers: options.Workers = None,
    format_: options.Format = "table",
    results: options.Results = options.RESULTS,
) -> None:
    """Show where methods fail.

    By emotion, by confusion of emotions, by speaker, gender, length and loudness of the
    utterance, and by how well people recognise it: over all pairs of each table.

    Options:
        by: gender, length, loudness and human (how many listeners recognised the emotion; EMO-DB
            has it) read the recordings, and need --corpora.
        each_pair: Add a table for each pair; csv and json have all.
    """
    from clser_bench.report import breakdown_text
    from clser_bench.report.breakdown import break_down
    from clser_bench.report.table import leaderboard
    from clser_bench.store.sqlite import Store

    options.check("format", (format_,), options.FORMATS)
    with Store(results, create=False) as store:
        frame = store.shown(wanted)
        tables = leaderboard(frame, store, methods=options.words(methods), intervals=False)
        read = by in get_args(_Recorded)
        facts = _facts(by, tables, corpora, manifest or (), workers) if read else None
        made = [
            break_down(store, frame, table, by=by, facts=facts)
            for table in tables
            if facts is None or any(pair.target in facts for pair in table.pairs)
        ]
    text = breakdown_text.render(made, format_, width=columns(), each_pair=each_pair)
    typer.echo(text, nl=False)


@options.examples(
    "clser-bench robustness --suite bcro --methods sere,logistic",
    "clser-bench robustness --suite bcro --shots 5 --figure robustness.png",
    "clser-bench robustness --format csv > robustness.csv",
)
@rules.condition_options(without=("corruption",))
def robustness(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    figure: Path | None = None,
    width: options.Width = 3.4,
    no_title: options.NoTitle = False,
    format_: options.Format = "table",
    results: options.Results = options.RESULTS,
) -> None:
    """Show how methods perform on corrupted targets.

    Means on clean speech and under each corruption of `run --corruption`, and the change against
    clean speech. Needs neither corpora nor methods.

    Options:
        figure FILE: Also draw the curves: .png, .svg or .pdf.
    """
    from clser_bench.errors import SpecError
    from clser_bench.report import robustness as report
    from clser_bench.report.figures import corruption_curves
    from clser_bench.report.render import condition_line
    from clser_bench.store.sqlite import Store

    options.check("format", (format_,), options.FORMATS)
    if figure is not None:
        figures.check_ending(figure, "--figure")
    names = options.words(methods)
    with Store(results, create=False) as store:
        found = report.robustness(store.shown(wanted), store, scales(), methods=names)
    if not found:
        raise SpecError(
            f"{results}: there are no results with a corrupted target; run some with `clser-bench "
            "run --corruption noise:20,10,0`"
        )
    if figure is not None:
        if len(found) > 1:
            tables = "; ".join(f"{one.table.title}, {condition_line(one.table)}" for one in found)
            raise SpecError(
                f"--figure draws one table, and {len(found)} were asked for: narrow them down by "
                f"--suite, --shots, --features and the like ({tables})"
            )
        drawn = corruption_curves(found[0], methods=names, width=width, title=not no_title)
        complain(str(figures.save(figure, drawn, "--figure")))
    typer.echo(report.render(found, format_, width=columns()), nl=False)


def scales() -> dict[str, Scale]:
    """Unit and clean level of each kind of corruption."""
    from clser_bench.corpora.corrupt import KINDS
    from clser_bench.report.robustness import Scale

    return {name: Scale(unit=kind.unit, clean=kind.clean) for name, kind in KINDS.items()}


def _facts(
    by: By,
    tables: Sequence[Leaderboard],
    folder: Path | None,
    manifests: Sequence[Path],
    workers: int | None,
) -> dict[str, dict[str, Facts]]:
    """Facts of the utterances of the tables' targets, by the code of the target."""
    from clser_bench.corpora.definitions import definitions
    from clser_bench.corpora.locate import load_corpora
    from clser_bench.corpora.metadata import RECOGNITION, utterance_metadata
    from clser_bench.demo import demo_corpora
    from clser_bench.errors import CorpusError, SpecError
    from clser_bench.files import cache_folder
    from clser_bench.report.breakdown import Facts

    specs, made = definitions().corpora, definitions().suites["demo"].corpora
    rated = {code for code, spec in specs.items() if spec.name in RECOGNITION}
    targets = dict.fromkeys(pair.target for table in tables for pair in table.pairs)
    wanted = [code for code in targets if by != "human" or code in rated]
    if targets and not wanted:
        raise SpecError(
            "how many people recognised an utterance is known of EMO-DB (B) only, and the results "
            f"have {', '.join(targets)} as targets; choose another suite with --suite"
        )
    if folder is None and not manifests and not set(wanted) <= set(made):
        raise SpecError(
            f"a breakdown by {by} reads the recordings of {', '.join(wanted)}: name the "
            "folder that holds them with --corpora DIR (or set CLSER_CORPORA); emotion, confusion "
            "and speaker need none"
        )
    if not wanted:
        return {}
    found: dict[str, dict[str, Facts]] = {}
    cache = cache_folder()
    with Bars() as bars:
        corpora = load_corpora(
            folder,
            manifests,
            codes=wanted,
            demo=functools.partial(demo_corpora, cache / "demo", progress=bars),
            skip_bad=True,
            workers=workers,
            progress=bars,
        )
        for code, corpus in corpora.items():
            facts = utterance_metadata(corpus, cache=cache, workers=workers, progress=bars)
            if by == "human" and all(item.human is None for item in facts):
                raise CorpusError(
                    f"{corpus.root}: {RECOGNITION[corpus.spec.name]} is not there or names none of "
                    f"its files; put the one that {corpus.spec.title} comes with into this folder"
                )
            of_corpus = found.setdefault(code, {})
            for item in facts:
                own = {"length": item.seconds, "loudness": item.level, "human": item.human}
                of_corpus[item.name] = Facts(gender=item.gender, **own)
    return found
