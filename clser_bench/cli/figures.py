"""`figures`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from clser_bench.report.board import LeaderboardTable, Line, Rules
    from clser_bench.store.sqlite import Store

    Job = tuple[str, Callable[[], Figure]]
    """Name of a file without its ending, and what draws the figure."""

_LONGEST = 120  # characters of a file's name before its hash


@options.examples(
    "clser-bench figures figures",
    "clser-bench figures figures --suite bcro --shots 5 --formats svg,pdf",
    "clser-bench figures figures --suite bcro --methods sere,coral,logistic --width 7",
)
@options.condition_options(without=("shots",))
def figures(
    out_dir: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Made where it is not there.")],
    *,
    wanted: Mapping[str, str],
    shots: Annotated[
        str, typer.Option(metavar="K", help="Only these numbers of shots: a comma list.")
    ] = "",
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Only these: a comma list. Draws their confusion matrices too."
        ),
    ] = "",
    against: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="The reference; logistic where not given."),
    ] = None,
    formats: Annotated[
        str, typer.Option(metavar="LIST", help="png, svg, pdf: a comma list.")
    ] = "png",
    width: Annotated[
        float,
        typer.Option(
            metavar="INCHES",
            min=2.0,
            max=40.0,
            help="3.4 is a column of a paper, 7 a page; wider where the text needs it.",
        ),
    ] = 3.4,
    results: options.Results = options.RESULTS,
) -> None:
    """Draw the tables of a results file.

    For each table a forest plot (means with intervals), a heat map (methods and pairs) and, of
    two or more ranked methods, their average ranks; curves where there are several numbers of
    shots. Prints the files written. Needs neither corpora nor methods.
    """
    from clser_bench.report.tables import leaderboard
    from clser_bench.store.sqlite import Store

    kinds, names = _kinds(formats), options.words(methods)
    asked = [{"shots": str(number)} for number in dict.fromkeys(options.shots(shots))]
    with Store(results, create=False, read_only=True) as store, Bars() as bars:
        bars.start("intervals", max(1, len(asked)))
        tables: list[LeaderboardTable] = []
        for number in asked or [{}]:
            tables += leaderboard(
                store,
                wanted={**wanted, **number},
                methods=names or None,
                against=against,
            )
            bars.advance()
        _check(tables, names, results)
        jobs = list(_jobs(store, tables, names, width))
        bars.start("figures", len(jobs))
        written = [path for job in jobs for path in _write(out_dir, job, kinds, bars)]
    for path in written:
        typer.echo(str(path))


def file_name(what: str, rules: Rules, *, shots: bool = True) -> str:
    """A name made of a table's rules: lower-case ASCII letters, digits and hyphens.

    Where that leaves something out, a hash of the rules follows, so that no two tables share one.

    Args:
        what: the kind of figure.
        rules: of the table.
        shots: name the number of shots too.
    """
    from clser_bench.hashing import digest

    values = dataclasses.asdict(rules)
    if not shots:
        del values["shots"]
    parts = [re.sub("[^a-z0-9]+", "-", value.lower()).strip("-") for value in values.values()]
    name = "-".join([what, *filter(None, parts)])
    if parts == list(values.values()) and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{digest(values)[:8]}"


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


def _check(tables: Sequence[LeaderboardTable], names: Sequence[str], results: Path) -> None:
    from clser_bench.errors import SpecError

    if not tables:
        raise SpecError(
            f"{results}: no results are what was asked for; `clser-bench leaderboard --results "
            f"{results}` shows what there is"
        )
    known = {line.method for table in tables for line in table.lines}
    missing = [name for name in names if name not in known]
    if missing:
        raise SpecError(f"{results}: no results of {', '.join(missing)}; leave them out, or run")


def _jobs(
    store: Store, tables: Sequence[LeaderboardTable], names: Sequence[str], width: float
) -> Iterator[Job]:
    from functools import partial

    from clser_bench.report.curve_figure import learning_curves
    from clser_bench.report.forest_figure import forest
    from clser_bench.report.heat_figure import heat_map

    groups: dict[Rules, list[LeaderboardTable]] = {}
    for table in tables:
        groups.setdefault(dataclasses.replace(table.rules, shots=""), []).append(table)
        yield file_name("forest", table.rules), partial(forest, table, width=width)
        yield file_name("heat-map", table.rules), partial(heat_map, table, width=width)
        whole = [
            line for line in table.lines if line.kind == "ranked" and line.mean.mean is not None
        ]
        if len(whole) > 1:
            yield file_name("ranks", table.rules), partial(_ranks, table, whole, width)
        if names:
            draw = partial(_confusion, store, table, names, width)
            yield file_name("confusion", table.rules), draw
    for rules, group in groups.items():
        if len(group) > 1:
            there = {line.method for table in group for line in table.lines}
            shown = [name for name in names if name in there]
            draw = partial(learning_curves, group, methods=shown, width=width)
            yield file_name("shots", rules, shots=False), draw


def _ranks(table: LeaderboardTable, lines: Sequence[Line], width: float) -> Figure:
    """Average ranks of the ranked methods that have a result on every pair."""
    import numpy as np

    from clser_bench.report.figure_parts import heading
    from clser_bench.report.rank_figure import rank_diagram
    from clser_bench.report.ranking import LEVEL, rank

    uar = np.array([[cell.mean for cell in line.cells] for line in lines], np.float64).T
    found = rank(uar)
    left_out = sum(line.kind == "ranked" for line in table.lines) - len(lines)
    about = f"ranks, pairs: {len(uar)}; Nemenyi at {LEVEL}, as if pairs were independent"
    about += f"; {left_out} methods with holes left out" if left_out else ""
    return rank_diagram(
        [line.method for line in lines],
        found.average,
        found.critical or 0.0,
        found.cliques,
        heading=heading([table], about, width),
        width=width,
    )


def _confusion(store: Store, table: LeaderboardTable, names: Sequence[str], width: float) -> Figure:
    """Confusion matrices of the methods asked for that the table has."""
    from clser_bench.report.confusion_figure import confusion, count_confusions
    from clser_bench.report.figure_parts import heading

    kinds = {line.method: line.kind for line in table.lines if line.method in names}
    matrices, classes = count_confusions(store, table, list(kinds))
    titles = [name if kind == "ranked" else f"{name} ({kind})" for name, kind in kinds.items()]
    about = f"sums over all draws, pairs: {len(table.pairs)}"
    return confusion(matrices, classes, titles, heading=heading([table], about, width), width=width)


def _write(folder: Path, job: Job, kinds: Sequence[str], bars: Bars) -> Iterator[Path]:
    from clser_bench.errors import ClserError
    from clser_bench.report.drawing import render

    name, draw = job
    figure = draw()
    for kind in kinds:
        path = folder / f"{name}.{kind}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(render(figure, kind))
        except OSError as error:
            raise ClserError(
                f"{path}: cannot be written ({error.strerror}); choose another OUT_DIR"
            ) from error
        yield path
    bars.advance()
