"""Corpora that a command names by a folder or a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clser_bench.cli.output import Bars
    from clser_bench.corpora.model import Corpus


def read_place(
    place: Path, *, workers: int | None, bars: Bars, skip_bad: bool = True
) -> Iterator[Corpus]:
    """Read the corpora of a place, one after the other.

    Args:
        place: a folder that holds corpora, or a manifest file.
        workers: threads that decode; None for one per core.
        bars: told of each file.
        skip_bad: whether a file that cannot be read is listed instead of stopping.

    Raises:
        CorpusError: no corpus is recognised, or one cannot be read.
    """
    from clser_bench.corpora.corpus import read_corpus
    from clser_bench.corpora.definitions import corpus_specs
    from clser_bench.corpora.find import find_corpora
    from clser_bench.corpora.manifest import read_manifest
    from clser_bench.errors import CorpusError
    from clser_bench.files import cache_folder

    cache = cache_folder()
    if place.is_file():
        yield from read_manifest(
            place, cache=cache, skip_bad=skip_bad, workers=workers, progress=bars
        )
        return
    specs = corpus_specs()
    found = find_corpora(place, specs)
    if not found:
        raise CorpusError(
            f"{place}: no corpus is recognised; `clser-bench list corpora` names those that are, "
            "and --manifest reads any other"
        )
    for code, folder in found.items():
        yield read_corpus(
            specs[code], folder, cache=cache, skip_bad=skip_bad, workers=workers, progress=bars
        )
