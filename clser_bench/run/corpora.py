"""Which suite a run is about, and its corpora with their feature tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench.data.corpus import read_corpus
from clser_bench.data.definitions import corpus_specs, suites
from clser_bench.data.demo import demo_corpora
from clser_bench.data.find import find_corpora
from clser_bench.data.manifest import read_manifest
from clser_bench.data.progress import Progress
from clser_bench.errors import CorpusError, SpecError, did_you_mean
from clser_bench.features.extract import feature_table
from clser_bench.run.config import RunConfig
from clser_bench.spec import CorpusSpec, Pair, Suite, classes_of
from clser_bench.trial import Corpus, Table

CUSTOM = "custom"
"""Name of the suite that is made of whatever corpora the user has."""

_AUTOMATIC = ("bceo", "bcro")
"""Suites chosen unasked where all their corpora are there; of equal size the first."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a run is about, before anything large is read.

    Attributes:
        suite: its name.
        pairs: ordered pairs that are run.
        table: ordered pairs of the whole suite, which a table shows.
        folders: corpus code to its folder, for corpora with a definition.
        manifests: corpus code to corpus, for corpora from manifests.
        said: lines to tell the user.
    """

    suite: str
    pairs: tuple[Pair, ...]
    table: tuple[Pair, ...]
    folders: Mapping[str, Path]
    manifests: Mapping[str, Corpus]
    said: tuple[str, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """The corpora that the pairs need, in the order of their first use."""
        return tuple(
            dict.fromkeys(code for pair in self.pairs for code in (pair.source, pair.target))
        )

    def spec(self, code: str) -> CorpusSpec:
        """The definition of a corpus."""
        return self.manifests[code].spec if code in self.manifests else corpus_specs()[code]


@dataclass(frozen=True, kw_only=True)
class Read:
    """Corpora with their features, by code.

    Attributes:
        corpora: utterances.
        tables: features before normalisation.
    """

    corpora: Mapping[str, Corpus]
    tables: Mapping[str, Table]


def choose(config: RunConfig, *, cache: Path, progress: Progress) -> Choice:
    """Decide the suite, its pairs and where its corpora lie.

    Args:
        config: what was asked for.
        cache: the cache folder; the demo corpora are made in it.
        progress: told about manifests and the making of the demo corpora.

    Raises:
        SpecError: unknown suite, or pairs that the suite has not.
        CorpusError: corpora are missing.
    """
    _check_suite(config)
    manifests = _manifests(config, cache=cache, progress=progress)
    suite, folders, said = _suite(config, manifests, cache=cache, progress=progress)
    normalisation = config.protocol.normalisation
    table = tuple(pair for pair in suite.pairs(normalisation))
    if suite.name == CUSTOM:
        table, more = _with_shared_classes(table, folders, manifests, config)
        said += more
    pairs = _filtered(config, suite, table)
    choice = Choice(
        suite=suite.name, pairs=pairs, table=table, folders=folders, manifests=manifests, said=said
    )
    missing = [code for code in choice.codes if code not in folders and code not in manifests]
    if missing:
        raise CorpusError(_missing(missing, config))
    return choice


def read(choice: Choice, config: RunConfig, *, cache: Path, progress: Progress) -> Read:
    """Read the corpora of a choice and extract their features, both from the cache where there.

    Args:
        choice: from `choose`.
        config: what was asked for.
        cache: the cache folder.
        progress: told about reading and extraction.

    Raises:
        ClserError: a corpus or a file is not what it should be.
    """
    corpora = {}
    for code in choice.codes:
        corpora[code] = (
            choice.manifests[code]
            if code in choice.manifests
            else read_corpus(
                choice.spec(code),
                choice.folders[code],
                cache=cache,
                skip_bad=config.skip_bad,
                workers=config.workers,
                progress=progress,
            )
        )
    tables = {
        code: feature_table(
            corpus,
            config.protocol.features,
            cache=cache,
            workers=config.workers,
            progress=progress,
        )
        for code, corpus in corpora.items()
    }
    return Read(corpora=corpora, tables=tables)


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


def _suite(
    config: RunConfig, manifests: Mapping[str, Corpus], *, cache: Path, progress: Progress
) -> tuple[Suite, dict[str, Path], tuple[str, ...]]:
    known, specs = suites(), corpus_specs()
    demo = known["demo"]
    if config.suite == demo.name or (not config.suite and not manifests and config.corpora is None):
        said = () if config.suite else (_NO_CORPORA,)
        folder = demo_corpora(cache / "demo", progress=progress)
        inside = {code: specs[code] for code in demo.corpora}
        return demo, find_corpora(folder, inside), said
    folders = {} if config.corpora is None else find_corpora(config.corpora, specs)
    if config.suite in known:
        return known[str(config.suite)], folders, ()
    if not manifests and config.suite is None:
        asked = {code for pair in config.pairs for code in (pair.source, pair.target)}
        for name in _AUTOMATIC:
            whole = set(known[name].corpora)
            if whole <= set(folders) and asked <= whole:
                return known[name], folders, (f"suite {name}: all its corpora are there",)
    codes = tuple(dict.fromkeys((*manifests, *folders)))
    if len(codes) < 2:
        raise CorpusError(_too_few(codes, config))
    both = sorted(set(manifests) & set(folders))
    if both:
        raise CorpusError(
            f"corpus '{both[0]}' is in a manifest and below {config.corpora}; "
            "rename it in the manifest"
        )
    suite = Suite(name=CUSTOM, corpora=codes, use="all ordered pairs of the corpora at hand")
    return suite, folders, (f"suite {CUSTOM}: all ordered pairs of {' '.join(codes)}",)


_NO_CORPORA = (
    "no corpora given (--corpora DIR or CLSER_CORPORA): running on the synthetic demo corpora, "
    "whose scores say nothing about real speech"
)


def _with_shared_classes(
    pairs: Iterable[Pair],
    folders: Mapping[str, Path],
    manifests: Mapping[str, Corpus],
    config: RunConfig,
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Leave out the pairs of a custom suite that share fewer than two emotions."""
    specs = {**{code: corpus_specs()[code] for code in folders}}
    specs.update({code: corpus.spec for code, corpus in manifests.items()})
    kept, said = [], []
    for pair in pairs:
        try:
            classes_of(specs[pair.source], specs[pair.target], fixed4=config.protocol.fixed4)
        except SpecError as error:
            said.append(f"{pair} is left out: {error}")
        else:
            kept.append(pair)
    if not kept:
        raise SpecError(said[0])
    return tuple(kept), tuple(said)


def _filtered(config: RunConfig, suite: Suite, table: tuple[Pair, ...]) -> tuple[Pair, ...]:
    for pair in config.pairs:
        if pair in table:
            continue
        normalisation = config.protocol.normalisation
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
