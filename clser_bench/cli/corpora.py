"""`corpus check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars
from clser_bench.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clser_bench.corpora.metadata import Check
    from clser_bench.corpora.model import Corpus

BAD_FILES = 1
_SHOWN = 5

corpus_app = typer.Typer(help="Check corpora.", no_args_is_help=True, rich_markup_mode=None)


@corpus_app.callback()
def _corpus() -> None:
    pass


@corpus_app.command("check")
@options.examples(
    "clser-bench corpus check ~/corpora",
    "clser-bench corpus check my_recordings.csv",
)
def check(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A folder of corpora, a manifest, or a data set of another system."
        ),
    ],
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    workers: options.Workers = None,
) -> None:
    """Check the corpora of a folder or a manifest.

    Decodes every recording and prints counts, durations, and what is odd. Ends with 1 if a
    recording or a corpus cannot be used.
    """
    from clser_bench.corpora import outside
    from clser_bench.corpora.locate import load_corpora, locate
    from clser_bench.corpora.metadata import check as figures_of

    one = place.is_file() or outside.recognised(place)
    located = locate(manifests=[place]) if one else locate(place)
    bad = bool(located.conflicts)
    with Bars() as bars:
        corpora = load_corpora(
            place,
            codes=tuple(located.listings) if located.conflicts else None,
            located=located,
            skip_bad=True,
            keep_empty=True,
            recall=False,
            workers=workers,
            progress=bars,
        )
        bars.stop()
        for corpus in corpora.values():
            for line in _lines(corpus, figures_of(corpus)):
                typer.echo(printable(line))
            bad = bad or bool(corpus.skipped)
    for line in (*located.conflicts.values(), *(found.sentence for found in located.findings)):
        typer.echo(printable(line))
    if bad:
        raise typer.Exit(BAD_FILES)


def _lines(corpus: Corpus, figures: Check) -> Iterator[str]:
    from clser_bench.corpora.assemble import reasons

    yield f"{corpus.spec.title} ({corpus.spec.code}) in {corpus.root}"
    yield (
        f"  {len(corpus.utterances)} utterances, {figures.seconds / 60:.1f} minutes "
        f"({figures.shortest:.2f} to {figures.longest:.2f} s), {len(figures.speakers)} speakers"
    )
    yield "  emotions: " + ", ".join(f"{name} {count}" for name, count in figures.emotions)
    yield "  rates: " + ", ".join(f"{rate} Hz {count}" for rate, count in figures.rates)
    empty = sum(not count for _, _, count in figures.cells)
    if empty:
        yield f"  {empty} of {len(figures.cells)} combinations of speaker and emotion are empty"
    for what, names in (("silent", figures.silent), ("clipped", figures.clipped)):
        if names:
            yield f"  {what}: {_some(names)}"
    for reason, count in corpus.left_out:
        yield f"  left out on purpose: {count} ({reason})"
    for finding in corpus.findings:
        yield f"  {finding.sentence}"
    if corpus.skipped:
        yield f"  {len(corpus.skipped)} recordings cannot be used:"
        yield from (f"  {line}" for line in reasons(corpus.skipped))
    yield "  see above" if corpus.skipped or corpus.findings else "  complete"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{more}"
