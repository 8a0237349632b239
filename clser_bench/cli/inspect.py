"""`breakdown` and `robustness`: what lies behind a table."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from clser_bench.cli import figures, options, rules
from clser_bench.cli.output import Bars, columns, complain

if TYPE_CHECKING:
    from clser_bench.report.breakdown import Facts
    from clser_bench.report.model import Leaderboard
    from clser_bench.report.robustness import Scale


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
@rules.condition_options()
def breakdown(
    *,
    by: By = By.emotion,
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
        facts = _facts(by, tables, corpora, manifest or (), workers) if by in _RECORDED else None
        made = [
            break_down(store, frame, table, by=by.value, facts=facts)
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
    wanted = [code for code in targets if by is not By.human or code in rated]
    if targets and not wanted:
        raise SpecError(
            "how many people recognised an utterance is known of EMO-DB (B) only, and the results "
            f"have {', '.join(targets)} as targets; choose another suite with --suite"
        )
    if folder is None and not manifests and not set(wanted) <= set(made):
        raise SpecError(
            f"a breakdown by {by.value} reads the recordings of {', '.join(wanted)}: name the "
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
            if by is By.human and all(item.human is None for item in facts):
                raise CorpusError(
                    f"{corpus.root}: {RECOGNITION[corpus.spec.name]} is not there or names none of "
                    f"its files; put the one that {corpus.spec.title} comes with into this folder"
                )
            found[code] = {
                item.name: Facts(
                    gender=item.gender, length=item.seconds, loudness=item.level, human=item.human
                )
                for item in facts
            }
    return found
