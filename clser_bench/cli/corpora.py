"""`corpus check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars
from clser_bench.cli.reading import read_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clser_bench.corpora.check import Check

BAD_FILES = 1
_SHOWN = 5

corpus_app = typer.Typer(help="Look after corpora.", no_args_is_help=True, rich_markup_mode=None)


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
        Path, typer.Argument(metavar="DIR", help="A folder of corpora, or a manifest file.")
    ],
    workers: options.Workers = None,
) -> None:
    """Tell what is in a folder of corpora.

    Counts, durations, and what is odd. Ends with 1 if a file cannot be used.
    """
    from clser_bench.corpora.check import check as look_over

    bad = False
    with Bars() as bars:
        for corpus in read_place(place, workers=workers, bars=bars):
            bars.stop()
            for line in _lines(look_over(corpus)):
                typer.echo(line)
            bad = bad or bool(corpus.skipped)
    if bad:
        raise typer.Exit(BAD_FILES)


def _lines(found: Check) -> Iterator[str]:
    yield f"{found.title} ({found.code}) in {found.root}"
    yield (
        f"  {found.utterances} utterances, {found.seconds / 60:.1f} minutes "
        f"({found.shortest:.2f} to {found.longest:.2f} s), {len(found.speakers)} speakers"
    )
    yield "  emotions: " + ", ".join(f"{name} {count}" for name, count in found.emotions)
    yield "  rates: " + ", ".join(f"{rate} Hz {count}" for rate, count in found.rates)
    empty = sum(not count for _, _, count in found.cells)
    if empty:
        yield f"  {empty} of {len(found.cells)} combinations of speaker and emotion are empty"
    for what, names in (("silent", found.silent), ("clipped", found.clipped)):
        if names:
            yield f"  {what}: {_some(names)}"
    if found.duplicates:
        yield f"  the same audio: {_some(tuple(' = '.join(group) for group in found.duplicates))}"
    for reason, count in found.left_out:
        yield f"  left out on purpose: {count} ({reason})"
    for item in found.skipped:
        yield f"  cannot be used: {item.name}: {item.reason}"
    for difference in found.differences:
        yield f"  differs from its definition: {difference}"
    yield "  complete" if not (found.skipped or found.differences) else "  see above"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{more}"
