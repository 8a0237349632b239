"""Which suite a run is about, and where its corpora lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench.corpora.definitions import corpus_specs, suites
from clser_bench.corpora.find import find_corpora
from clser_bench.corpora.manifest import read_manifest
from clser_bench.corpora.model import Corpus
from clser_bench.demo import demo_corpora
from clser_bench.errors import CorpusError, SpecError, did_you_mean
from clser_bench.progress import Progress
from clser_bench.protocol import CorpusSpec, Pair, Suite, classes_of
from clser_bench.run.config import RunConfig

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
    config: RunConfig, *, cache: Path, progress: Progress, say: Say = lambda _: None
) -> Choice:
    """Decide the suite, its pairs and where its corpora lie.

    Args:
        config: what was asked for.
        cache: the cache folder; the demo corpora are made in it.
        progress: told about manifests and the making of the demo corpora.
        say: told what was chosen unasked, and what is left out.

    Raises:
        SpecError: unknown suite, or pairs that the suite has not.
        CorpusError: corpora are missing, or there twice.
    """
    _check_suite(config)
    manifests = _manifests(config, cache=cache, progress=progress)
    demo = suites()["demo"]
    if config.suite == demo.name or _empty(config):
        if not config.suite:
            say(_NO_CORPORA)
        specs = {code: corpus_specs()[code] for code in demo.corpora}
        folders = find_corpora(demo_corpora(cache / demo.name, progress=progress), specs)
        return _of_suite(demo, config, folders, {})
    folders = {} if config.corpora is None else find_corpora(config.corpora, corpus_specs())
    both = sorted(set(manifests) & set(folders))
    if both:
        raise CorpusError(
            f"corpus '{both[0]}' is in a manifest and below {config.corpora}; "
            "rename it in the manifest"
        )
    suite = _defined(config, folders)
    if suite is None:
        return _custom(config, folders, manifests, say=say)
    if config.suite is None:
        say(f"suite {suite.name}: all its corpora are there")
    return _of_suite(suite, config, folders, manifests)


def _empty(config: RunConfig) -> bool:
    return config.suite is None and config.corpora is None and not config.manifests


def _check_suite(config: RunConfig) -> None:
    allowed = (*suites(), CUSTOM)
    if config.suite is not None and config.suite not in allowed:
        raise SpecError(f"suite '{config.suite}' is unknown{did_you_mean(config.suite, allowed)}")


def _manifests(config: RunConfig, *, cache: Path, progress: Progress) -> dict[str, Corpus]:
    found: dict[str, Corpus] = {}
    for path in config.manifests:
        for corpus in read_manifest(
            path, cache=cache, skip_bad=config.skip_bad, workers=config.workers, progress=progress
        ):
            if corpus.spec.code in found:
                raise CorpusError(
                    f"{path}: corpus '{corpus.spec.code}' is also in another manifest; "
                    "name them apart in the column 'corpus'"
                )
            found[corpus.spec.code] = corpus
    return found


def _defined(config: RunConfig, folders: Mapping[str, Path]) -> Suite | None:
    """The suite asked for, or the first whose corpora are all there; None for a custom one."""
    known = suites()
    if config.suite is not None or config.manifests:
        return known.get(config.suite or CUSTOM)
    for name in _AUTOMATIC:
        whole = set(known[name].corpora)
        if whole <= set(folders) and _named(config) <= whole:
            return known[name]
    return None


def _named(config: RunConfig) -> set[str]:
    """Corpora that the user named by pairs."""
    return {code for pair in config.pairs for code in (pair.source, pair.target)}


def _of_suite(
    suite: Suite,
    config: RunConfig,
    folders: Mapping[str, Path],
    manifests: Mapping[str, Corpus],
) -> Choice:
    table = suite.pairs(config.condition.normalisation)
    pairs = _filtered(config, suite, table)
    choice = Choice(
        suite=suite.name, pairs=pairs, table=table, folders=folders, manifests=manifests
    )
    missing = [code for code in choice.codes if code not in folders and code not in manifests]
    if missing:
        raise CorpusError(_missing(missing, config))
    return choice


def _custom(
    config: RunConfig,
    folders: Mapping[str, Path],
    manifests: Mapping[str, Corpus],
    *,
    say: Say,
) -> Choice:
    """All ordered pairs of what is there that share two emotions.

    Manifests with two corpora or more stand alone, unless the suite `custom` is asked for or a
    pair names others: who exports CLSER_CORPORA does not want every corpus in every run.
    """
    alone = config.suite is None and len(manifests) > 1 and _named(config) <= set(manifests)
    codes = tuple(manifests) if alone else (*manifests, *folders)
    if len(codes) < 2:
        raise CorpusError(_too_few(codes, config))
    suite = Suite(name=CUSTOM, corpora=codes, use="all ordered pairs of the corpora at hand")
    pairs = _filtered(config, suite, suite.pairs())
    choice = Choice(suite=CUSTOM, pairs=pairs, table=pairs, folders=folders, manifests=manifests)
    say(f"suite {CUSTOM}: {len(pairs)} ordered pairs of {' '.join(choice.codes)}")
    kept, reasons = [], []
    for pair in pairs:
        source, target = choice.spec(pair.source), choice.spec(pair.target)
        try:
            classes_of(source, target, classes=config.condition.classes)
        except SpecError as error:
            reasons.append(f"{pair} is left out: {error}")
        else:
            kept.append(pair)
    if not kept or (config.pairs and reasons):
        raise SpecError(reasons[0])
    for reason in reasons:
        say(reason)
    return dataclasses.replace(choice, pairs=tuple(kept), table=tuple(kept))


def _filtered(config: RunConfig, suite: Suite, table: tuple[Pair, ...]) -> tuple[Pair, ...]:
    for pair in config.pairs:
        if pair in table:
            continue
        normalisation = config.condition.normalisation
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
    return tuple(pair for pair in table if not config.pairs or pair in config.pairs)


def _missing(codes: Iterable[str], config: RunConfig) -> str:
    specs = corpus_specs()
    names = ", ".join(f"{specs[code].title} ({code})" if code in specs else code for code in codes)
    where = (
        "no folder of corpora was given"
        if config.corpora is None
        else f"not below {config.corpora}"
    )
    return (
        f"missing: {names}: {where}; name the folder with --corpora or CLSER_CORPORA, and see what "
        "is recognised with `clser-bench corpus check DIR`"
    )


def _too_few(codes: tuple[str, ...], config: RunConfig) -> str:
    places = [str(place) for place in (*config.manifests, config.corpora) if place]
    got = f"only {codes[0]}" if codes else "none"
    return (
        f"{', '.join(places) or 'no folder given'}: a pair needs two corpora, found {got}; "
        "see what is recognised with `clser-bench list corpora` and `clser-bench corpus check DIR`"
    )
