"""`leaderboard`, `compare`, `status`, `breakdown` and `robustness`: tables of a results file."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, columns, complain, opened, print_rows
from clser_bench.errors import CorpusError, SpecError, did_you_mean
from clser_bench.files import cache_folder, shipped, write_whole
from clser_bench.protocol import family
from clser_bench.store.records import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from clser_bench.report.breakdown import Facts
    from clser_bench.report.published import Published
    from clser_bench.report.robustness import Scale
    from clser_bench.report.table import Leaderboard
    from clser_bench.store.sqlite import Store

_Recorded = Literal["gender", "length", "loudness", "human"]
By = Literal["emotion", "confusion", "speaker", _Recorded]
"""Ways to break a table down."""

GROUPED, ACROSS = ("family", "source", "target", "part"), ("shots", "features")
"""Arrangements of a leaderboard other than by pairs: by groups of pairs, over several tables."""

_BY = options.completed(lambda: (*GROUPED, *ACROSS))


@options.examples(
    "clser-bench leaderboard",
    "clser-bench leaderboard --suite bcro --shots 5 --explain",
    "clser-bench leaderboard --format csv > table.csv",
    "clser-bench leaderboard --suite bcro --shots 5 --format latex > table.tex",
    "clser-bench leaderboard --suite bcro --html site",
    "clser-bench leaderboard --suite bcro --by shots",
    "clser-bench leaderboard --suite bcro --published papers",
)
@options.condition_options()
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
    by: Annotated[str, typer.Option(autocompletion=_BY)] = "",
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
    from clser_bench.report import formats, render
    from clser_bench.report.table import leaderboard as tables_of

    if published == Path("papers") and not published.exists():
        published = shipped("results/published")
    papers: Sequence[Published] = ()
    if published:
        from clser_bench.report.published import published_rows, published_tables, read_published

        papers = read_published(published)
    kinds: dict[str, Any] = {"methods": options.words(methods), "against": against}
    kinds |= {"extras": options.words(with_), "exposure": _exposure}
    with opened(results) as store:
        frame = store.shown(wanted)
        if html is not None:
            made = tables_of(frame, store, **kinds | {"extras": ()})
            _write_page(store, frame, made, html)
            return
        made = tables_of(frame, store, intervals=not papers, **kinds)
    how: dict[str, Any] = {"width": columns(), "transposed": transpose}
    if papers and format_ in ("csv", "json"):
        text = formats.write(published_rows(made, papers), (), format_)
    elif papers:
        text = formats.write_tables(published_tables(made, papers), format_, **how)
    elif by in ACROSS:
        text = formats.write_tables(render.across(made, by), format_, **how)
    elif by:
        if by not in GROUPED:
            raise SpecError(f"--by '{by}' is unknown{did_you_mean(by, (*GROUPED, *ACROSS))}")
        from clser_bench.corpora.definitions import definitions

        families = {code: family(spec.language) for code, spec in definitions().corpora.items()}
        grouped = [render.grouped(table, by, families) for table in made]
        text = formats.write_tables(grouped, format_, **how)
    else:
        text = render.render(made, format_, explain=explain, pairs=pairs, **how)
    typer.echo(text, nl=False)


def _exposure(features: str, corpus: str) -> str:
    """Whether encoders of a feature set were trained on a corpus; built-in sets have none."""
    if ":" not in features:
        return "no"
    from clser_bench.features.encoders.models import exposure

    return exposure(features, corpus)


def _write_page(
    store: Store, frame: pd.DataFrame, made: Sequence[Leaderboard], folder: Path
) -> None:
    """Write the page of tables and its numbers; prints the files."""
    from clser_bench import registry
    from clser_bench.report.page import page, page_data
    from clser_bench.report.render import render
    from clser_bench.scoring.within_target import ROUTINES

    # the documentation of methods that are installed, from files that are not executed
    documented = {routine.name: {"summary": routine.about} for routine in ROUTINES.values()}
    shown = {line.method for table in made for line in table.lines}
    for name in shown & set(registry.entries()):
        entry = registry.entry(name)
        text = ast.get_docstring(ast.parse(entry.file.read_text(encoding="utf-8"))) or ""
        parts = documented[name] = {"summary": entry.summary}
        for paragraph in text.split("\n\n")[1:]:
            heading, _, rest = " ".join(paragraph.split()).partition(": ")
            parts.setdefault(heading.lower(), rest)
    data = page_data(made, frame, store, documented=documented)
    contents = {"index.html": page(data), "leaderboard.csv": render(made, "csv")}
    for name, content in contents.items():
        write_whole(folder / name, content, error=SpecError)
        typer.echo(str(folder / name))


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

    options.check("format", (format_,), ("table", "md", "latex", "json"))
    with opened(results) as store:
        frame = store.shown(wanted)
        named = options.words(methods)
        tables = tables_of(frame, store, methods=named, exposure=_exposure)
        made = [comparison.compare(store, frame, table) for table in tables]
    typer.echo(comparison.render(made, format_, width=columns()), nl=False)


@options.examples(
    "clser-bench status",
    "clser-bench status --results results/night.sqlite",
)
def status(results: options.Results = options.RESULTS) -> None:
    """Show the progress of each suite in a results file.

    And why trials failed or do not apply.
    """
    suites: dict[str, dict[str, None]] = {}
    rows: list[tuple[object, ...]] = []
    with opened(results) as store:
        store.check_rows()
        for run in store.runs():  # a trial that several runs of a suite ask for counts once
            suites.setdefault(run.suite, {}).update(dict.fromkeys(store.planned_ids(run.id)))
        for suite, ids in suites.items():
            states = Counter(store.stored(list(ids)).values())
            stored = sum(states.values())
            counts = (states["ok"], states["not_applicable"], states["failed"], len(ids) - stored)
            # rounded down, so that 100 % means all
            rows.append((suite, len(ids), *counts, f"{100 * stored // max(1, len(ids))} %"))
        reasons = Counter(
            (kind.replace("_", " "), record.trial.method, one_line(record.reason))
            for kind in ("failed", "not_applicable")
            for record in store.records(status=kind)
        )
        skipped = store.skipped()
    names = ("suite", "planned", "ok", "not applicable", "failed", "missing", "stored")
    print_rows(names, rows, header=True)
    for (kind, method, reason), count in sorted(reasons.items()):
        complain(f"{kind}: {method}: {count} trials: {reason}")
    for item in skipped:
        complain(f"left out: {item.corpus}: {item.name}: {item.reason}")


@options.examples(
    "clser-bench breakdown --suite bcro --shots 5 --methods sere,logistic",
    "clser-bench breakdown --by confusion --shots 5 --methods sere --each-pair",
    "clser-bench breakdown --by speaker --shots 5 --format csv > speakers.csv",
    "clser-bench breakdown --by human --shots 5 --corpora ~/corpora",
)
@options.condition_options()
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

    options.check("format", (format_,), options.FORMATS)
    with opened(results) as store:
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
@options.condition_options(without=("corruption",))
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
    from clser_bench.report import robustness as report
    from clser_bench.report.render import condition_line

    options.check("format", (format_,), options.FORMATS)
    if figure is not None:
        from clser_bench.cli.figures import check_ending, save
        from clser_bench.report.figures import corruption_curves

        check_ending(figure, "--figure")
    names = options.words(methods)
    with opened(results) as store:
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
        complain(str(save(figure, drawn, "--figure")))
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
    from clser_bench.corpora.figures import RECOGNITION, utterance_metadata
    from clser_bench.corpora.locate import load_corpora
    from clser_bench.demo import demo_corpora
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
        work: dict[str, Any] = {"workers": workers, "progress": bars}
        demo = functools.partial(demo_corpora, cache / "demo", progress=bars)
        more: dict[str, Any] = {"codes": wanted, "demo": demo, "skip_bad": True}
        corpora = load_corpora(folder, manifests, **more, **work)
        for code, corpus in corpora.items():
            facts = utterance_metadata(corpus, cache=cache, **work)
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
