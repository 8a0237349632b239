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
    from clser_bench.cli.named import Means
    from clser_bench.corpora.model import Corpus
    from clser_bench.report.breakdown import Facts
    from clser_bench.report.model import Leaderboard


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
    """Show where methods fail.

    By emotion, by confusion of emotions, by speaker, gender, length and loudness of the
    utterance, and by how well people recognise it: over all pairs of each table.
    """
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import breakdown_text
    from clser_bench.report.breakdown import break_down
    from clser_bench.report.table import leaderboard
    from clser_bench.store.database import Store

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


def _facts(
    by: By,
    tables: Sequence[Leaderboard],
    folder: Path | None,
    manifests: Sequence[Path],
    workers: int | None,
) -> dict[str, dict[str, Facts]]:
    """Facts of the utterances of the tables' targets."""
    from clser_bench.cli.named import Means, read_named
    from clser_bench.files import cache_folder

    targets = dict.fromkeys(pair.target for table in tables for pair in table.pairs)
    wanted = [code for code in targets if by is not By.human or _has_human_rates(code)]
    _check_wanted(by, wanted, list(targets), folder=folder, manifests=manifests)
    with Bars() as bars:
        means = Means(cache=cache_folder(), workers=workers, skip_bad=True, bars=bars)
        found = read_named(wanted, folder, manifests, means) if wanted else []
        return {corpus.spec.code: _joined(corpus, by, means) for corpus in found}


def _check_wanted(
    by: By,
    wanted: Sequence[str],
    targets: Sequence[str],
    *,
    folder: Path | None,
    manifests: Sequence[Path],
) -> None:
    from clser_bench.corpora.definitions import suites
    from clser_bench.errors import SpecError

    if targets and not wanted:
        raise SpecError(
            "how many people recognised an utterance is known of EMO-DB (B) only, and the results "
            f"have {', '.join(targets)} as targets; choose another suite with --suite"
        )
    made = suites()["demo"].corpora
    if folder is None and not manifests and any(code not in made for code in wanted):
        raise SpecError(
            f"a breakdown by {by.value} reads the recordings of {', '.join(wanted)}: name the "
            "folder that holds them with --corpora DIR (or set CLSER_CORPORA); emotion, confusion "
            "and speaker need none"
        )


def _has_human_rates(code: str) -> bool:
    from clser_bench.corpora.definitions import corpus_specs
    from clser_bench.corpora.facts import RECOGNITION

    specs = corpus_specs()
    return code in specs and specs[code].name in RECOGNITION


def _joined(corpus: Corpus, by: By, means: Means) -> dict[str, Facts]:
    from clser_bench.corpora.facts import RECOGNITION, utterance_facts
    from clser_bench.errors import CorpusError
    from clser_bench.report.breakdown import Facts

    facts = utterance_facts(corpus, cache=means.cache, workers=means.workers, progress=means.bars)
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
