"""`corpus check` and `doctor`: what is on this machine, and what is odd about it."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench import __version__
from clser_bench.cli import options
from clser_bench.cli.output import Bars
from clser_bench.errors import ClserError, printable
from clser_bench.files import cache_folder, shipped

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
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"  {what}: {len(names)}: {', '.join(names[:_SHOWN])}{more}"
    for reason, count in corpus.left_out:
        yield f"  left out on purpose: {count} ({reason})"
    for finding in corpus.findings:
        yield f"  {finding.sentence}"
    if corpus.skipped:
        yield f"  {len(corpus.skipped)} recordings cannot be used:"
        yield from (f"  {line}" for line in reasons(corpus.skipped))
    yield "  see above" if corpus.skipped or corpus.findings else "  complete"


_EXTRAS = (
    ("demo corpora", "espeakng_loader", "demo"),
    ("eGeMAPS features", "opensmile", "opensmile"),
    ("joules of trials", "codecarbon", "energy"),
)


@options.examples(
    "clser-bench doctor",
    "clser-bench doctor --corpora ~/corpora",
)
def doctor(corpora: options.Corpora = None, results: options.Results = options.RESULTS) -> None:
    """Show what is installed and found on this machine.

    Versions, cores, extras, corpora, cache, results and documents.
    """
    from clser_bench.run import provenance

    here, packages = provenance.hardware(), provenance.code()["packages"]
    memory = here["memory_gib"]
    lines = {
        "clser-bench": __version__,
        "python": platform.python_version(),
        **{
            name: packages.get(name, "missing: reinstall clser-bench")
            for name in provenance.PACKAGES
            if name in packages or name not in provenance.OF_EXTRAS
        },
        "cores": here["cores"],
        "memory": "unknown" if memory is None else f"{memory:.1f} GiB",
        "gpu": _gpu(),
        "methods run": here["methods"],
        "torchaudio works": _torchaudio(),
    }
    for what, module, extra in _EXTRAS:
        there = importlib.util.find_spec(module) is not None
        lines[what] = "installed" if there else f"missing: pip install 'clser-bench[{extra}]'"
    lines |= {"corpora": _corpora(corpora), "cache": _cache(), "results": _results(results)}
    lines["documents"] = str(shipped("docs"))
    width = max(map(len, lines))
    for name, value in lines.items():
        typer.echo(f"{name:<{width}}  {value}")


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none (none is needed)"


def _torchaudio() -> str:
    from clser_bench.features.sets import feature_set
    from clser_bench.protocol import DEFAULT_FEATURES

    try:
        feature_set(DEFAULT_FEATURES).check()
    except ClserError as error:
        return f"no: {error}"
    module = sys.modules.get("torchaudio._extension")
    stubbed = module is not None and getattr(module, "__file__", None) is None
    return "yes, without its compiled extension, which is not needed" if stubbed else "yes"


def _corpora(folder: Path | None) -> str:
    from clser_bench.corpora.locate import locate

    if folder is None:
        return "none named (--corpora or CLSER_CORPORA); the demo corpora are made when needed"
    try:
        located = locate(folder)
    except ClserError as error:
        return str(error)
    lines = [f"{code} in {listing.root}" for code, listing in located.listings.items()]
    return ", ".join([*lines, *located.conflicts.values()]) or f"none recognised below {folder}"


def _cache() -> str:
    from clser_bench.features.storage import cache_size

    try:
        folder = cache_folder()
    except ClserError as error:
        return str(error)
    return f"{folder} ({cache_size(folder) / 2**20:.0f} MiB)"


def _results(file: Path) -> str:
    from clser_bench.store.sqlite import Store

    if not file.exists():
        return f"{file} (none yet)"
    try:
        with Store(file, create=False, read_only=True) as store:
            tally = store.progress()
    except ClserError as error:
        return str(error)
    return f"{file} ({tally.planned} trials planned, {tally.ok} ok, {tally.failed} failed)"
