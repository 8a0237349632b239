"""Corpora that a command names one by one, by code or name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clser_bench.cli.output import Bars
    from clser_bench.corpora.model import Corpus
    from clser_bench.protocol import CorpusSpec


@dataclass(frozen=True, kw_only=True)
class Means:
    """With what corpora are read.

    Attributes:
        cache: the cache folder; demo corpora are made in it.
        workers: threads that decode; None for one per core.
        skip_bad: whether a file that cannot be read is listed instead of stopping.
        bars: told of each file.
    """

    cache: Path
    workers: int | None
    skip_bad: bool
    bars: Bars


def read_named(
    chosen: Sequence[str], folder: Path | None, manifests: Iterable[Path], means: Means
) -> list[Corpus]:
    """Read the corpora that are named, in that order, each once.

    Args:
        chosen: codes or names of defined corpora, or of those in the manifests.
        folder: holds defined corpora; None where there is none. The demo corpora need none.
        manifests: tables of further corpora.
        means: with what.

    Raises:
        SpecError: a corpus is unknown.
        CorpusError: it is not there, or cannot be read.
        MissingExtraError: demo corpora must be made and espeak-ng is not installed.
    """
    from clser_bench.corpora.corpus import read_corpus
    from clser_bench.corpora.definitions import corpus_specs

    listed = _listed(manifests, means)
    specs = {**corpus_specs(), **{code: corpus.spec for code, corpus in listed.items()}}
    codes = list(dict.fromkeys(_code(name, specs) for name in chosen))
    folders = _folders([code for code in codes if code not in listed], folder, means)
    return [
        listed[code]
        if code in listed
        else read_corpus(
            specs[code],
            folders[code],
            cache=means.cache,
            skip_bad=means.skip_bad,
            workers=means.workers,
            progress=means.bars,
        )
        for code in codes
    ]


def _listed(manifests: Iterable[Path], means: Means) -> dict[str, Corpus]:
    from clser_bench.corpora.manifest import read_manifest
    from clser_bench.errors import CorpusError

    listed: dict[str, Corpus] = {}
    for path in manifests:
        for corpus in read_manifest(
            path,
            cache=means.cache,
            skip_bad=means.skip_bad,
            workers=means.workers,
            progress=means.bars,
        ):
            code = corpus.spec.code
            if code in listed:
                raise CorpusError(f"{path}: corpus '{code}' is also in another manifest")
            listed[code] = corpus
    return listed


def _code(name: str, specs: Mapping[str, CorpusSpec]) -> str:
    """The code of a corpus that is called by its code or its name."""
    from clser_bench.errors import SpecError, did_you_mean

    if name in specs:
        return name
    named = {spec.name.lower(): code for code, spec in specs.items()}
    if name.lower() not in named:
        known = [*specs, *(spec.name for spec in specs.values())]
        raise SpecError(f"corpus '{name}' is unknown{did_you_mean(name, known)}")
    return named[name.lower()]


def _folders(codes: Sequence[str], folder: Path | None, means: Means) -> dict[str, Path]:
    """Where corpora with a definition lie; the demo corpora are made where they are not there."""
    from clser_bench.corpora.definitions import corpus_specs, suites
    from clser_bench.corpora.find import find_corpora
    from clser_bench.demo import demo_corpora
    from clser_bench.errors import CorpusError

    specs = corpus_specs()
    found: dict[str, Path] = {}
    if folder is not None and codes:
        found = find_corpora(folder, specs)
    demo = suites()["demo"]
    if any(code in demo.corpora and code not in found for code in codes):
        made = demo_corpora(means.cache / demo.name, progress=means.bars)
        found = {**find_corpora(made, {code: specs[code] for code in demo.corpora}), **found}
    missing = [f"{specs[code].title} ({code})" for code in codes if code not in found]
    if missing:
        where = "no folder of corpora was given" if folder is None else f"not below {folder}"
        raise CorpusError(
            f"missing: {', '.join(missing)}: {where}; name the folder with --corpora or "
            "CLSER_CORPORA, and see what is recognised with `clser-bench corpus check DIR`"
        )
    return found
