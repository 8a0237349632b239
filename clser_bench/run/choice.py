"""Which suite a run is about, and where its corpora lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clser_bench.corpora.definitions import corpus_specs, suites
from clser_bench.corpora.find import find_corpora
from clser_bench.corpora.manifest import read_manifest
from clser_bench.corpora.model import Corpus
from clser_bench.demo import demo_corpora
from clser_bench.errors import CorpusError, SpecError, did_you_mean
from clser_bench.progress import Progress
from clser_bench.protocol import CorpusSpec, Pair, Suite, classes_of

if TYPE_CHECKING:
    from clser_bench.run.request import Request

CUSTOM = "custom"
"""Name of the suite that is made of whatever corpora the user has."""

Say = Callable[[str], None]
"""What is told lines for the user."""

_AUTOMATIC = ("bceo", "bcro")
"""Suites chosen unasked where all their corpora are there; of equal size the first."""

_NO_CORPORA = (
    "no corpora given (--corpora DIR or CLSER_CORPORA): running on the synthetic demo corpora, "
    "whose scores say nothing about real speech"
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a run is about, before anything large is read.

    Attributes:
        suite: its name.
        pairs: ordered pairs that are run.
        table: ordered pairs of the whole suite, which a table shows.
        folders: corpus code to its folder, for corpora with a definition.
        manifests: corpus code to corpus, for corpora from manifests.
    """

    suite: str
    pairs: tuple[Pair, ...]
    table: tuple[Pair, ...]
    folders: Mapping[str, Path]
    manifests: Mapping[str, Corpus]

    @property
    def codes(self) -> tuple[str, ...]:
        """The corpora that the pairs need, in the order of their first use."""
        return tuple(
            dict.fromkeys(code for pair in self.pairs for code in (pair.source, pair.target))
        )

    @property
    def known(self) -> tuple[str, ...]:
        """The corpora of the whole table: an encoder set is named alike whatever pairs are run."""
        return tuple(
            dict.fromkeys(code for pair in self.table for code in (pair.source, pair.target))
        )

    def spec(self, code: str) -> CorpusSpec:
        """The definition of a corpus."""
        return self.manifests[code].spec if code in self.manifests else corpus_specs()[code]


def choose(
    request: Request, *, cache: Path, progress: Progress, say: Say = lambda _: None
) -> Choice:
    """Decide the suite, its pairs and where its corpora lie.

    Args:
        request: what was asked for.
        cache: the cache folder; the demo corpora are made in it.
        progress: told about manifests and the making of the demo corpora.
        say: told what was chosen unasked, and what is left out.

    Raises:
        SpecError: unknown suite, or pairs that the suite has not.
        CorpusError: corpora are missing, or there twice.
    """
    _check_suite(request)
    manifests = _manifests(request, cache=cache, progress=progress)
    demo = suites()["demo"]
    if request.condition.suite == demo.name or _empty(request):
        if not request.condition.suite:
            say(_NO_CORPORA)
        specs = {code: corpus_specs()[code] for code in demo.corpora}
        folders = find_corpora(demo_corpora(cache / demo.name, progress=progress), specs)
        return _of_suite(demo, request, folders, {})
    folders = {} if request.corpora is None else find_corpora(request.corpora, corpus_specs())
    both = sorted(set(manifests) & set(folders))
    if both:
        raise CorpusError(
            f"corpus '{both[0]}' is in a manifest and below {request.corpora}; "
            "rename it in the manifest"
        )
    suite = _defined(request, folders)
    if suite is None:
        return _custom(request, folders, manifests, say=say)
    if not request.condition.suite:
        say(f"suite {suite.name}: all its corpora are there")
    return _of_suite(suite, request, folders, manifests)


def _empty(request: Request) -> bool:
    return not request.condition.suite and request.corpora is None and not request.manifests


def _check_suite(request: Request) -> None:
    allowed = (*suites(), CUSTOM)
    named = request.condition.suite
    if named and named not in allowed:
        raise SpecError(f"suite '{named}' is unknown{did_you_mean(named, allowed)}")


def _manifests(request: Request, *, cache: Path, progress: Progress) -> dict[str, Corpus]:
    found: dict[str, Corpus] = {}
    for path in request.manifests:
        for corpus in read_manifest(
            path, cache=cache, skip_bad=request.skip_bad, workers=request.workers, progress=progress
        ):
            if corpus.spec.code in found:
                raise CorpusError(
                    f"{path}: corpus '{corpus.spec.code}' is also in another manifest; "
                    "name them apart in the column 'corpus'"
                )
            found[corpus.spec.code] = corpus
    return found


def _defined(request: Request, folders: Mapping[str, Path]) -> Suite | None:
    """The suite asked for, or the first whose corpora are all there; None for a custom one."""
    known = suites()
    if request.condition.suite or request.manifests:
        return known.get(request.condition.suite or CUSTOM)
    for name in _AUTOMATIC:
        whole = set(known[name].corpora)
        if whole <= set(folders) and _named(request) <= whole:
            return known[name]
    return None


def _named(request: Request) -> set[str]:
    """Corpora that the user named by pairs."""
    return {code for pair in request.pairs for code in (pair.source, pair.target)}


def _of_suite(
    suite: Suite,
    request: Request,
    folders: Mapping[str, Path],
    manifests: Mapping[str, Corpus],
) -> Choice:
    table = suite.pairs(request.condition.normalisation)
    pairs = _filtered(request, suite, table)
    choice = Choice(
        suite=suite.name, pairs=pairs, table=table, folders=folders, manifests=manifests
    )
    missing = [code for code in choice.codes if code not in folders and code not in manifests]
    if missing:
        raise CorpusError(_missing(missing, request))
    return choice


def _custom(
    request: Request,
    folders: Mapping[str, Path],
    manifests: Mapping[str, Corpus],
    *,
    say: Say,
) -> Choice:
    """All ordered pairs of what is there that share two emotions.

    Manifests with two corpora or more stand alone, unless the suite `custom` is asked for or a
    pair names others: who exports CLSER_CORPORA does not want every corpus in every run.
    """
    unasked = not request.condition.suite and len(manifests) > 1
    alone = unasked and _named(request) <= set(manifests)
    codes = tuple(manifests) if alone else (*manifests, *folders)
    if len(codes) < 2:
        raise CorpusError(_too_few(codes, request))
    suite = Suite(name=CUSTOM, corpora=codes, use="all ordered pairs of the corpora at hand")
    pairs = _filtered(request, suite, suite.pairs())
    choice = Choice(suite=CUSTOM, pairs=pairs, table=pairs, folders=folders, manifests=manifests)
    say(f"suite {CUSTOM}: {len(pairs)} ordered pairs of {' '.join(choice.codes)}")
    kept, reasons = [], []
    for pair in pairs:
        source, target = choice.spec(pair.source), choice.spec(pair.target)
        try:
            classes_of(source, target, classes=request.condition.classes)
        except SpecError as error:
            reasons.append(f"{pair} is left out: {error}")
        else:
            kept.append(pair)
    if not kept or (request.pairs and reasons):
        raise SpecError(reasons[0])
    for reason in reasons:
        say(reason)
    return dataclasses.replace(choice, pairs=tuple(kept), table=tuple(kept))


def _filtered(request: Request, suite: Suite, table: tuple[Pair, ...]) -> tuple[Pair, ...]:
    for pair in request.pairs:
        if pair in table:
            continue
        normalisation = request.condition.normalisation
        out = suite.not_under.get(normalisation, ())
        for code in (pair.source, pair.target):
            if code in out:
                raise SpecError(
                    f"pair {pair}: {code} drops out of suite {suite.name} under {normalisation} "
                    "normalisation"
                )
        raise SpecError(
            f"pair {pair} is not in suite {suite.name}; it has {' '.join(map(str, table))}"
        )
    return tuple(pair for pair in table if not request.pairs or pair in request.pairs)


def _missing(codes: Iterable[str], request: Request) -> str:
    specs = corpus_specs()
    names = ", ".join(f"{specs[code].title} ({code})" if code in specs else code for code in codes)
    where = (
        "no folder of corpora was given"
        if request.corpora is None
        else f"not below {request.corpora}"
    )
    return (
        f"missing: {names}: {where}; name the folder with --corpora or CLSER_CORPORA, and see what "
        "is recognised with `clser-bench corpus check DIR`"
    )


def _too_few(codes: tuple[str, ...], request: Request) -> str:
    places = [str(place) for place in (*request.manifests, request.corpora) if place]
    got = f"only {codes[0]}" if codes else "none"
    return (
        f"{', '.join(places) or 'no folder given'}: a pair needs two corpora, found {got}; "
        "see what is recognised with `clser-bench list corpora` and `clser-bench corpus check DIR`"
    )
