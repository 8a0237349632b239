"""`breakdown`, `figures` and `robustness`: what lies behind a table."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, columns, complain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from clser_bench.corpora.model import Corpus
    from clser_bench.protocol import Condition
    from clser_bench.report.breakdown import Facts
    from clser_bench.report.model import Leaderboard
    from clser_bench.report.robustness import Robustness, Scale
    from clser_bench.store.sqlite import Store

    Job = tuple[str, Callable[[], Figure]]
    """Name of a file without its ending, and what draws the figure."""

_LONGEST = 120  # characters of the name of a file before its hash

Width = Annotated[
    float,
    typer.Option(
        "--width",
        metavar="INCHES",
        min=2.0,
        max=40.0,
        help="3.4 is a column of a paper, 7 a page; wider where the text needs it.",
    ),
]
NoTitle = Annotated[
    bool, typer.Option("--no-title", help="Leave titles out: a paper has a caption.")
]


class By(enum.StrEnum):
    """What a table is broken down by."""

    emotion = "emotion"
    confusion = "confusion"
    speaker = "speaker"
    gender = "gender"
    length = "length"
    loudness = "loudness"
    human = "human"


_RECORDED = (By.gender, By.length, By.loudness, By.human)


@options.examples(
    "clser-bench breakdown --suite bcro --shots 5 --methods sere,logistic",
    "clser-bench breakdown --by confusion --shots 5 --methods sere --each-pair",
    "clser-bench breakdown --by speaker --shots 5 --format csv > speakers.csv",
    "clser-bench breakdown --by human --shots 5 --corpora ~/corpora",
)
@options.condition_options()
def breakdown(
    *,
    by: Annotated[
        By,
        typer.Option(
            help="gender, length, loudness and human (how many listeners recognised the emotion; "
            "EMO-DB has it) read the recordings, and need --corpora."
        ),
    ] = By.emotion,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    each_pair: Annotated[
        bool, typer.Option("--each-pair", help="Add a table for each pair; csv and json have all.")
    ] = False,
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
    """
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import breakdown_text
    from clser_bench.report.breakdown import break_down
    from clser_bench.report.table import leaderboard
    from clser_bench.store.sqlite import Store

    if format_ not in options.FORMATS:
        raise SpecError(f"there is no format '{format_}'{did_you_mean(format_, options.FORMATS)}")
    with Store(results, create=False) as store:
        frame = store.frame(wanted)
        tables = leaderboard(frame, store, methods=options.words(methods), intervals=False)
        facts = _facts(by, tables, corpora, manifest or (), workers) if by in _RECORDED else None
        made = [
            break_down(store, frame, table, by=by.value, facts=facts)
            for table in tables
            if facts is None or any(pair.target in facts for pair in table.pairs)
        ]
    text = breakdown_text.render(made, format_, width=columns(), each_pair=each_pair)
    typer.echo(text, nl=False)


@options.examples(
    "clser-bench figures",
    "clser-bench figures --suite bcro --shots 5,all --formats svg,pdf --out paper",
    "clser-bench figures --suite bcro --methods sere,coral,logistic --width 7",
)
@options.condition_options(without=("shots",))
def figures(
    former: Annotated[Path | None, typer.Argument(metavar="DIR", hidden=True)] = None,
    *,
    wanted: Mapping[str, str],
    shots: Annotated[
        str, typer.Option(metavar="K", help="Only these numbers of shots: a comma list.")
    ] = "",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder; created where absent.")
    ] = Path("figures"),
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Only these: a comma list. Draws their confusion matrices too."
        ),
    ] = "",
    against: Annotated[
        str, typer.Option(metavar="METHOD", help="The reference; logistic where not given.")
    ] = "",
    formats: Annotated[
        str, typer.Option(metavar="LIST", help="png, svg, pdf: a comma list.")
    ] = "png",
    width: Width = 3.4,
    no_title: NoTitle = False,
    results: options.Results = options.RESULTS,
) -> None:
    """Draw the tables of a results file.

    For each table a forest plot (differences to the reference with simultaneous intervals) and a
    heat map (methods and pairs); curves where there are several numbers of shots. Prints the
    files written. Needs neither corpora nor methods.
    """
    from clser_bench.errors import SpecError
    from clser_bench.report.table import leaderboard
    from clser_bench.store.sqlite import Store

    kinds, names = _kinds(formats), options.words(methods)
    asked = {str(number) for number in options.shots(shots)}
    with Store(results, create=False) as store, Bars() as bars:
        frame = store.frame(wanted)
        frame = frame[frame.shots.isin(asked)] if asked else frame
        bars.start("intervals", 1)
        tables = leaderboard(frame, store, methods=names, against=against)
        if not tables:
            raise SpecError(
                f"{results}: there are no results of these conditions; `clser-bench leaderboard "
                f"--results {results}` shows what there is"
            )
        jobs = list(_jobs(store, frame, tables, names, width=width, title=not no_title))
        bars.start("figures", len(jobs))
        for name, draw in jobs:
            figure = draw()
            for kind in kinds:
                path = (former or out) / f"{name}.{kind}"
                _save(path, figure, kind, "--out")
                typer.echo(str(path))
            bars.advance()


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
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the curves: .png, .svg or .pdf."),
    ] = None,
    width: Width = 3.4,
    no_title: NoTitle = False,
    format_: options.Format = "table",
    results: options.Results = options.RESULTS,
) -> None:
    """Show how methods perform on corrupted targets.

    Means on clean speech and under each corruption of `run --corruption`, and the change against
    clean speech. Needs neither corpora nor methods.
    """
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import robustness as report
    from clser_bench.store.sqlite import Store

    if format_ not in options.FORMATS:
        raise SpecError(f"there is no format '{format_}'{did_you_mean(format_, options.FORMATS)}")
    kind = _ending(figure) if figure else ""
    with Store(results, create=False) as store:
        frame = store.frame(wanted)
        found = report.robustness(frame, store, scales(), methods=options.words(methods))
    if not found:
        raise SpecError(
            f"{results}: there are no results with a corrupted target; run some with `clser-bench "
            "run --corruption noise:20,10,0`"
        )
    if figure is not None:
        _draw_curves(figure, found, options.words(methods), kind, width=width, title=not no_title)
    typer.echo(report.render(found, format_, width=columns()), nl=False)


def scales() -> dict[str, Scale]:
    """Unit and clean level of each kind of corruption."""
    from clser_bench.corpora.corrupt import KINDS
    from clser_bench.report.robustness import Scale

    return {name: Scale(unit=kind.unit, clean=kind.clean) for name, kind in KINDS.items()}


def file_name(about: str, condition: Condition, *, shots: bool = True) -> str:
    """A name made of a condition: lower-case ASCII letters, digits and hyphens.

    Where that leaves something out, a hash of the condition follows, so that no two share one.

    Args:
        about: the kind of file.
        condition: of the table.
        shots: name the number of shots too.
    """
    from clser_bench.hashing import digest
    from clser_bench.protocol import CLEAN

    usual = {"corruption": CLEAN, "classes": "shared"}
    values = {
        name: value
        for name, value in condition.texts().items()
        if name != "protocol_version" and (shots or name != "shots") and value != usual.get(name)
    }
    parts = [re.sub("[^a-z0-9]+", "-", value.lower()).strip("-") for value in values.values()]
    name = "-".join([about, *filter(None, parts)])
    if [part for part in parts if part] == [v for v in values.values() if v] and len(
        name
    ) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{digest(values)[:8]}"


def _jobs(
    store: Store,
    frame: pd.DataFrame,
    tables: Sequence[Leaderboard],
    names: Sequence[str],
    *,
    width: float,
    title: bool,
) -> Iterator[Job]:
    from functools import partial

    from clser_bench.report import figures as draw

    groups: dict[Condition, list[Leaderboard]] = {}
    for table in tables:
        rules = table.condition
        groups.setdefault(rules.replace(shots=1), []).append(table)
        if any(line.difference for line in table.lines if line.role == "ranked"):
            yield file_name("forest", rules), partial(draw.forest, table, width=width, title=title)
        yield file_name("heat-map", rules), partial(draw.heat_map, table, width=width, title=title)
        if names:
            job = partial(_confusion, store, frame, table, width=width, title=title)
            yield file_name("confusion", rules), job
    for rules, group in groups.items():
        if len(group) > 1:
            known = {line.method for table in group for line in table.lines}
            shown = [name for name in names if name in known]
            job = partial(draw.learning_curves, group, methods=shown, width=width, title=title)
            yield file_name("shots", rules, shots=False), job


def _confusion(
    store: Store, frame: pd.DataFrame, table: Leaderboard, *, width: float, title: bool
) -> Figure:
    from clser_bench.report import figures as draw
    from clser_bench.report.table import rows_of

    lines = {line.method: line.shown for line in table.lines}
    matrices, classes = draw.count_confusions(store, rows_of(frame, table), list(lines))
    about = f"sums over all draws of {len(table.pairs)} pairs"
    heading = draw.heading_of([table], about, width) if title else ""
    return draw.confusion(matrices, classes, list(lines.values()), heading=heading, width=width)


def _draw_curves(
    path: Path,
    found: Sequence[Robustness],
    methods: Sequence[str],
    kind: str,
    *,
    width: float,
    title: bool,
) -> None:
    from clser_bench.errors import SpecError
    from clser_bench.report.figures import corruption_curves
    from clser_bench.report.render import condition_line

    if len(found) > 1:
        rules = "; ".join(f"{one.table.title}, {condition_line(one.table)}" for one in found)
        raise SpecError(
            f"--figure draws one table, and {len(found)} were asked for: narrow them down by "
            f"--suite, --shots, --features and the like ({rules})"
        )
    figure = corruption_curves(found[0], methods=methods, width=width, title=title)
    _save(path, figure, kind, "--figure")
    complain(str(path))


def _kinds(text: str) -> tuple[str, ...]:
    """Refuse a format before the work, not after it."""
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import drawing

    kinds = tuple(dict.fromkeys(options.words(text.lower())))
    for kind in kinds:
        if kind not in drawing.FORMATS:
            near = did_you_mean(kind, drawing.FORMATS)
            raise SpecError(f"--formats: a figure cannot be a '{kind}'{near}")
    if not kinds:
        raise SpecError(f"--formats is empty; choose of {', '.join(drawing.FORMATS)}")
    return kinds


def _ending(path: Path) -> str:
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report.drawing import FORMATS

    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        known = [f".{name}" for name in FORMATS]
        raise SpecError(
            f"--figure {path}: the ending names the format, and '{path.suffix}' is none"
            f"{did_you_mean(path.suffix, known)}"
        )
    return kind


def _save(path: Path, figure: Figure, kind: str, option: str) -> None:
    from clser_bench.errors import ClserError
    from clser_bench.report.drawing import render

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(figure, kind))
    except OSError as error:
        raise ClserError(
            f"{path}: cannot be written ({error.strerror}); choose another {option}"
        ) from error


def _facts(
    by: By,
    tables: Sequence[Leaderboard],
    folder: Path | None,
    manifests: Sequence[Path],
    workers: int | None,
) -> dict[str, dict[str, Facts]]:
    """Facts of the utterances of the tables' targets."""
    import functools

    from clser_bench.corpora.locate import load_corpora
    from clser_bench.demo import demo_corpora
    from clser_bench.files import cache_folder

    targets = dict.fromkeys(pair.target for table in tables for pair in table.pairs)
    wanted = [code for code in targets if by is not By.human or _has_human_rates(code)]
    _check_wanted(by, wanted, list(targets), folder=folder, manifests=manifests)
    if not wanted:
        return {}
    with Bars() as bars:
        corpora = load_corpora(
            folder,
            manifests,
            codes=wanted,
            demo=functools.partial(demo_corpora, cache_folder() / "demo", progress=bars),
            skip_bad=True,
            workers=workers,
            progress=bars,
        )
        return {code: _joined(corpus, by, workers, bars) for code, corpus in corpora.items()}


def _check_wanted(
    by: By,
    wanted: Sequence[str],
    targets: Sequence[str],
    *,
    folder: Path | None,
    manifests: Sequence[Path],
) -> None:
    from clser_bench.corpora.definitions import definitions
    from clser_bench.errors import SpecError

    if targets and not wanted:
        raise SpecError(
            "how many people recognised an utterance is known of EMO-DB (B) only, and the results "
            f"have {', '.join(targets)} as targets; choose another suite with --suite"
        )
    made = definitions().suites["demo"].corpora
    if folder is None and not manifests and any(code not in made for code in wanted):
        raise SpecError(
            f"a breakdown by {by.value} reads the recordings of {', '.join(wanted)}: name the "
            "folder that holds them with --corpora DIR (or set CLSER_CORPORA); emotion, confusion "
            "and speaker need none"
        )


def _has_human_rates(code: str) -> bool:
    from clser_bench.corpora.definitions import definitions
    from clser_bench.corpora.metadata import RECOGNITION

    specs = definitions().corpora
    return code in specs and specs[code].name in RECOGNITION


def _joined(corpus: Corpus, by: By, workers: int | None, bars: Bars) -> dict[str, Facts]:
    from clser_bench.corpora.metadata import RECOGNITION, utterance_metadata
    from clser_bench.errors import CorpusError
    from clser_bench.files import cache_folder
    from clser_bench.report.breakdown import Facts

    facts = utterance_metadata(corpus, cache=cache_folder(), workers=workers, progress=bars)
    if by is By.human and all(item.human is None for item in facts):
        raise CorpusError(
            f"{corpus.root}: {RECOGNITION[corpus.spec.name]} is not there or names none of its "
            f"files; put the one that {corpus.spec.title} comes with into this folder"
        )
    return {
        item.name: Facts(
            gender=item.gender, length=item.seconds, loudness=item.level, human=item.human
        )
        for item in facts
    }
