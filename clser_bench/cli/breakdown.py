"""`breakdown`."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, columns

if TYPE_CHECKING:
    from clser_bench.corpora.model import Corpus
    from clser_bench.report.board import LeaderboardTable
    from clser_bench.report.breakdown_rows import Known


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
    manifest: options.Manifest = None,
    workers: options.Workers = None,
    format_: options.Format = "table",
    results: options.Results = options.RESULTS,
) -> None:
    """Tell where methods fail.

    By emotion, by what is taken for what, by speaker, gender, length and loudness of the
    utterance, and by how well people recognise it: over all pairs of each table.
    """
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import breakdown_text
    from clser_bench.report.breakdown import break_down
    from clser_bench.report.tables import leaderboard
    from clser_bench.store.sqlite import Store

    if format_ not in options.FORMATS:
        raise SpecError(f"there is no format '{format_}'{did_you_mean(format_, options.FORMATS)}")
    named = options.words(methods)
    with Store(results, create=False, read_only=True) as store:
        tables = leaderboard(
            store,
            wanted=wanted,
            methods=named or None,
            intervals=False,
        )
        options.check_methods(named, {item.method for item in store.slices()})
        known = _known(by, tables, corpora, manifest or (), workers) if by in _RECORDED else None
        made = [
            break_down(store, table, by=by.value, known=known)
            for table in tables
            if known is None or any(pair.target in known for pair in table.pairs)
        ]
    text = breakdown_text.render(made, format_, width=columns(), each_pair=each_pair)
    typer.echo(text, nl=False)


def _known(
    by: By,
    tables: Sequence[LeaderboardTable],
    folder: Path | None,
    manifests: Sequence[Path],
    workers: int | None,
) -> dict[str, dict[str, Known]]:
    """What is known of the utterances of the tables' targets."""
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


def _joined(corpus: Corpus, by: By, workers: int | None, bars: Bars) -> dict[str, Known]:
    from clser_bench.corpora.metadata import RECOGNITION, utterance_metadata
    from clser_bench.errors import CorpusError
    from clser_bench.files import cache_folder
    from clser_bench.report.breakdown_rows import Known

    facts = utterance_metadata(corpus, cache=cache_folder(), workers=workers, progress=bars)
    if by is By.human and all(item.human is None for item in facts):
        raise CorpusError(
            f"{corpus.root}: {RECOGNITION[corpus.spec.name]} is not there or names none of its "
            f"files; put the one that {corpus.spec.title} comes with into this folder"
        )
    return {
        item.name: Known(
            gender=item.gender, length=item.seconds, loudness=item.level, human=item.human
        )
        for item in facts
    }
