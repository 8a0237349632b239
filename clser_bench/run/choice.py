"""Which suite a run is about, and which of its pairs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clser_bench.corpora.assemble import reasons as reasons_of
from clser_bench.corpora.definitions import Suite, classes_of, definitions
from clser_bench.corpora.locate import Located, locate
from clser_bench.corpora.model import rows_of_part
from clser_bench.demo import demo_corpora
from clser_bench.errors import CorpusError, SpecError, did_you_mean
from clser_bench.features.sets import FeatureAssignment, resolve_feature_sets
from clser_bench.hashing import digest
from clser_bench.problem import SkippedFile
from clser_bench.progress import Progress
from clser_bench.protocol import Condition, Pair, base_code, same_language

if TYPE_CHECKING:
    from clser_bench.run.request import Request

CUSTOM = "custom"
"""What the name of a suite that is made of whatever corpora are at hand begins with."""

Say = Callable[[str], None]
"""Takes lines for the user."""

_AUTOMATIC = ("bceo", "bcro")
"""Suites chosen unasked where all their corpora are there; of equal size the first."""

_NO_CORPORA = (
    "no corpora given (--corpora DIR or CLSER_CORPORA): running on the synthetic demo corpora, "
    "whose scores say nothing about real speech"
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a run is about, before anything large is read."""

    suite: str
    pairs: tuple[Pair, ...]  # ordered pairs that are run
    table: tuple[Pair, ...]  # ordered pairs of the whole suite, which a table shows
    located: Located  # the corpora at hand
    added: tuple[str, ...] = ()  # corpora whose speech is used without labels

    @property
    def codes(self) -> tuple[str, ...]:
        """The corpora that the pairs need, in the order of their first use, then added ones."""
        return tuple(dict.fromkeys((*_ends(self.pairs), *self.added)))

    @property
    def known(self) -> tuple[str, ...]:
        """The corpora of the whole table: an encoder set is named alike whatever pairs are run."""
        return tuple(dict.fromkeys((*_ends(self.table), *self.added)))

    def resolved(self, condition: Condition) -> tuple[Condition, FeatureAssignment]:
        """Rules with nothing left open but the shots, and the feature set of each corpus."""
        specs = {code: self.located.spec(code) for code in self.known}
        assigned = resolve_feature_sets(condition.features, specs)
        alignment = "" if assigned.one else condition.alignment
        closed = condition.replace(suite=self.suite, features=assigned.name, alignment=alignment)
        return closed, assigned


def _ends(pairs: Iterable[Pair]) -> dict[str, None]:
    """The corpora of pairs, in the order of their first use."""
    return dict.fromkeys(code for pair in pairs for code in (pair.source, pair.target))


def choose(
    request: Request, *, cache: Path, progress: Progress, say: Say = lambda _: None
) -> Choice:
    """Find the corpora that a request names, and decide its suite.

    SpecError for a suite, pairs or an added corpus that cannot be; CorpusError where corpora are
    missing, or there twice.
    """
    rules, suites = request.condition, definitions().suites
    if rules.suite and not is_custom(rules.suite) and rules.suite not in suites:
        near = did_you_mean(rules.suite, (*suites, CUSTOM), command="list suites")
        raise SpecError(f"suite '{rules.suite}' is unknown{near}")
    nothing = not rules.suite and request.corpora is None and not request.manifests
    if nothing or rules.suite == "demo":
        if nothing:
            say(_NO_CORPORA)
        demo, place = suites["demo"], demo_corpora(cache / "demo", progress=progress)
        choice = _of_suite(demo, request, locate(place, codes=demo.corpora), say)
    else:
        choice = resolve_suite(request, locate(request.corpora, request.manifests), say=say)
    choice.located.require(rules.unlabelled)
    for code in rules.unlabelled:
        if all(code in (pair.source, pair.target) for pair in choice.pairs):
            raise SpecError(
                f"--unlabelled {code}: it is the source or the target of every pair; name a "
                "corpus that is neither in one of them"
            )
    return dataclasses.replace(choice, added=rules.unlabelled)


def is_custom(name: str) -> bool:
    """Whether a suite is made of whatever corpora are at hand."""
    return re.fullmatch(rf"{CUSTOM}(-[0-9a-f]{{6}})?", name) is not None


def resolve_suite(request: Request, located: Located, *, say: Say = lambda _: None) -> Choice:
    """Decide the suite of a request and its pairs.

    A suite of whatever is at hand is named by what it is made of, `custom-1a2b3c`: two sets of
    corpora in one results file have a table each.
    """
    known = definitions().suites
    if request.condition.suite in known:
        return _of_suite(known[request.condition.suite], request, located, say)
    if not request.condition.suite and not request.manifests:
        for name in _AUTOMATIC:
            whole = set(known[name].corpora)
            if whole <= set(located.listings) and set(_ends(request.pairs)) <= whole:
                say(f"suite {name}: all its corpora are there")
                return _of_suite(known[name], request, located, say)
        for name in _AUTOMATIC:
            missing = [code for code in known[name].corpora if code not in located.listings]
            if len(missing) == 1 and not request.pairs:
                title = definitions().corpora[missing[0]].title
                why = located.conflicts.get(missing[0], "it is not there")
                say(f"not suite {name}: {title} ({missing[0]}) is missing ({why})")
    return _custom(request, located, say)


def _of_suite(suite: Suite, request: Request, located: Located, say: Say) -> Choice:
    if not suite.corpora:
        return _custom(request, located, say, kind=suite)
    table = suite.pairs(request.condition.normalisation)
    asked = _filtered(request, suite, table)
    reasons = {pair: why for pair in table if (why := _apart(pair, located, suite))}
    pairs = tuple(pair for pair in asked if pair not in reasons)
    _report_left_out(reasons, request, say, none_left=not pairs)
    table = tuple(pair for pair in table if pair not in reasons)
    choice = Choice(suite=suite.name, pairs=pairs, table=table, located=located)
    located.require(choice.codes)
    return choice


def _custom(request: Request, located: Located, say: Say, kind: Suite | None = None) -> Choice:
    """All ordered pairs of what is at hand that share two emotions and no language.

    Manifests with two corpora or more stand alone, unless the suite is asked for or a pair names
    others: who exports CLSER_CORPORA does not want every corpus in every run.
    """
    wanted, named = request.condition.suite, set(_ends(request.pairs))
    listed = tuple(code for code in located.listings if code in located.listed)
    alone = not wanted and len(listed) > 1 and named <= set(listed)
    codes = listed if alone else tuple(located.listings)
    located.require(code for code in located.conflicts if code in named)
    if len(codes) < 2:
        raise CorpusError(_too_few(codes, request, located))
    begins = kind.name if kind else CUSTOM
    name = f"{begins}-{_fingerprint(codes, located)}"
    if wanted not in ("", name, begins):
        # a card that is run again names a suite; more corpora may be at hand than it was made of
        codes = tuple(code for code in codes if code in (named or listed))
        if wanted != f"{begins}-{_fingerprint(codes, located)}":
            raise SpecError(f"suite {wanted} is made of other corpora: those at hand make {name}")
        name = wanted
    suite = Suite(
        name=name,
        corpora=codes,
        use="all ordered pairs of the corpora at hand",
        kind=kind.kind if kind else "cross-lingual",
    )
    asked = _filtered(request, suite, suite.pairs())
    reasons = {}
    for pair in asked:
        why = _apart(pair, located, suite)
        if not why:
            specs = located.spec(pair.source), located.spec(pair.target)
            try:
                classes_of(*specs, classes=request.condition.classes)
            except SpecError as error:
                why = str(error)
        if why:
            reasons[pair] = why
    pairs = tuple(pair for pair in asked if pair not in reasons)
    say(f"suite {name}: {len(pairs)} ordered pairs of {' '.join(codes)}")
    for code, conflict in located.conflicts.items():
        say(f"{code} is left out: {conflict}")
    bad = [item for code in codes for item in located.listings[code].bad]
    _report_left_out(reasons, request, say, none_left=not pairs, bad=bad)
    return Choice(suite=name, pairs=pairs, table=pairs, located=located)


def _apart(pair: Pair, located: Located, suite: Suite) -> str:
    """Why a pair is not of the suite's kind; empty where it is."""
    languages = [located.spec(code).language for code in (pair.source, pair.target)]
    same = same_language(*languages)
    if same != (suite.kind == "same-language"):
        return f"{' and '.join(languages)} are {'one language' if same else 'two languages'}"
    base = base_code(pair.source)
    if base == base_code(pair.target) and base in located.listings:  # two parts of one corpus
        items = located.listings[base].utterances
        first, second = (
            {items[row].speaker for row in rows_of_part(items, code)}
            for code in (pair.source, pair.target)
        )
        if first & second:
            return "they have the same speakers"
    return ""


def _report_left_out(
    reasons: Mapping[Pair, str],
    request: Request,
    say: Say,
    *,
    none_left: bool,
    bad: Iterable[SkippedFile] = (),
) -> None:
    """Say which pairs are left out; refuse where one was asked for by name, or none is left.

    Recordings that cannot be used may be why, so a refusal names them.
    """
    lines = {pair: f"{pair} is left out: {why}" for pair, why in reasons.items()}
    if lines and (none_left or any(pair in lines for pair in request.pairs)):
        first = next(iter(lines.values()))
        text = f"no pair of {len(lines)} is left; {first}" if none_left else first
        raise SpecError("\n".join([text, *reasons_of(list(bad))]))
    for pair, line in lines.items():
        if "." not in f"{pair}":  # most pairs of parts are not of the suite's kind
            say(line)


def _fingerprint(codes: Iterable[str], located: Located) -> str:
    """Six hexadecimal digits of a set of corpora: of those in manifests, the files listed.

    Labels do not enter: a mended label makes new trials, not another suite.
    """
    parts = []
    for code in sorted(codes):
        listing = located.listings[code]
        names = sorted(item.name for item in listing.utterances)
        parts.append([code, listing.spec.language, names if code in located.listed else []])
    return digest(parts)[:6]


def _filtered(request: Request, suite: Suite, table: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """The pairs asked for; SpecError for one that the suite has not."""
    how = request.condition.normalisation
    for pair in request.pairs:
        if pair in table:
            continue
        for code in (pair.source, pair.target):
            if code in suite.not_under.get(how, ()):
                raise SpecError(
                    f"pair {pair}: {code} drops out of suite {suite.name} under {how} normalisation"
                )
        raise SpecError(
            f"pair {pair} is not in suite {suite.name}; it has {' '.join(map(str, table))}"
        )
    return tuple(pair for pair in table if not request.pairs or pair in request.pairs)


def _too_few(codes: tuple[str, ...], request: Request, located: Located) -> str:
    places = [str(place) for place in (*request.manifests, request.corpora) if place]
    got = f"only {codes[0]}" if codes else "none"
    head = (
        f"{', '.join(places) or 'no folder given'}: a pair needs two corpora, found {got}; "
        "see what is recognised with `clser-bench list corpora` and `clser-bench corpus check DIR`"
    )
    own = [found.sentence for code in codes for found in located.listings[code].findings]
    found = [finding.sentence for finding in located.findings]
    return "\n".join([head, *located.conflicts.values(), *found, *own])
