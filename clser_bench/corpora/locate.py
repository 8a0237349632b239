"""Where corpora lie: in folders by their layout, in manifests, or made on the spot for the demo."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clser_bench.corpora import outside
from clser_bench.corpora.assemble import assemble, refuse_bad
from clser_bench.corpora.definitions import CorpusSpec, definitions
from clser_bench.corpora.listings import (
    MediaFile,
    list_corpus,
    list_manifest,
    media_files,
    unread_findings,
)
from clser_bench.corpora.model import Corpus, Listing
from clser_bench.errors import CorpusError, SpecError, did_you_mean
from clser_bench.files import cache_folder, is_file
from clser_bench.problem import Finding
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import base_code

_Parts = tuple[str, ...]
_PLACES = 8  # folders of stray recordings that are named


@dataclass(frozen=True, kw_only=True)
class Located:
    """The corpora at hand, before a recording is decoded."""

    listings: Mapping[str, Listing]  # by code, those of manifests first
    listed: frozenset[str] = frozenset()  # codes of corpora that come from manifests
    # codes of corpora that are there and cannot be read, with the reason
    conflicts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()  # what is odd beside them
    folder: Path | None = None  # where defined corpora were looked for; None for nowhere

    def spec(self, code: str) -> CorpusSpec:
        """The definition of a corpus, whether it is at hand or not."""
        base = base_code(code)
        spec = self.listings[base].spec if base in self.listings else definitions().corpora[base]
        return spec if base == code else spec.model_copy(update={"code": code})

    def require(self, codes: Iterable[str]) -> None:
        """Refuse (CorpusError, with the remedy) corpora that are not at hand."""
        wanted = list(dict.fromkeys(map(base_code, codes)))
        for code in wanted:
            if code in self.conflicts:
                raise CorpusError(self.conflicts[code])
        known = definitions().corpora
        missing = [code for code in wanted if code not in self.listings]
        if missing:
            names = ", ".join(known[code].heading if code in known else code for code in missing)
            where = f"not below {self.folder}" if self.folder else "no folder of corpora was given"
            raise CorpusError(
                f"missing: {names}: {where}; name the folder with --corpora or CLSER_CORPORA, and "
                "see what is recognised with `clser-bench corpus check DIR`"
            )


def locate(
    folder: Path | None = None,
    manifests: Sequence[Path] = (),
    *,
    codes: Iterable[str] | None = None,
) -> Located:
    """Find corpora below a folder, at any depth, and in manifests; nothing is decoded.

    Manifests may be data sets of other systems; `codes` are the defined corpora to look for, None
    for all. CorpusError where the folder is missing, a manifest cannot be read, or one corpus is in
    two manifests or in a manifest and below the folder.
    """
    listings: dict[str, Listing] = {}
    for path in dict.fromkeys(manifests):
        for listing in list_manifest(path):
            code = listing.spec.code
            if code in listings:
                raise CorpusError(
                    f"{path}: corpus '{code}' is also in {listings[code].origin}; "
                    "name them apart in the column 'corpus'"
                )
            listings[code] = listing
    listed = frozenset(listings)
    if folder is None:
        return Located(listings=listings, listed=listed)
    known = definitions().corpora
    search = _Search(folder, {code: known[code] for code in (known if codes is None else codes)})
    places, conflicts = search.corpora()
    if both := sorted(listed & set(places)):
        raise CorpusError(
            f"corpus '{both[0]}' is in a manifest and below {folder}; rename it in the manifest"
        )
    listings |= {code: list_corpus(known[code], place) for code, place in places.items()}
    used = {item.path for listing in listings.values() for item in listing.utterances}
    strays = tuple(search.strays(places.values(), used)) if codes is None else ()
    return Located(
        listings=listings, listed=listed, conflicts=conflicts, findings=strays, folder=folder
    )


def load_corpora(
    folder: Path | None = None,
    manifests: Sequence[Path] = (),
    *,
    codes: Sequence[str] | None = None,
    located: Located | None = None,
    demo: Callable[[], Path] | None = None,
    cache: Path | None = None,
    skip_bad: bool = False,
    keep_empty: bool = False,
    recall: bool = True,
    workers: int | None = None,
    progress: Progress = SILENT,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Corpus]:
    """Read corpora: who speaks, with which emotion, and a hash of the decoded sound.

    Each file is decoded once; later calls recall what did not change, unless `recall` is False.

    Args:
        folder: as for `locate`; or a folder that is a data set of another system.
        codes: codes or names of the corpora wanted, in that order; None for all that are at hand.
        located: what `locate` found; in place of `folder` and `manifests`.
        demo: makes the demo corpora, where one is wanted and not at hand, and gives their folder.
        skip_bad: list bad files in `Corpus.skipped`, instead of raising.
        keep_empty: return corpora of which nothing is left, instead of raising.
        workers: threads that decode; None takes the cores this process may use.
        say: takes the sentence of each finding.

    Raises:
        SpecError: a corpus is unknown.
        CorpusError: a corpus is not at hand, nothing is recognised, or files are bad (all are
            named, with reasons).
    """
    if located is None:
        if folder is not None and outside.recognised(folder):
            located = locate(None, (folder, *manifests))
        else:
            located = locate(folder, manifests)
    if codes is None:
        if not located.listings:
            located.require(located.conflicts)
            raise CorpusError(
                f"{folder or 'no folder given'}: no corpus is recognised; `clser-bench list "
                "corpora` names those that are, and --manifest reads any other"
            )
        chosen = list(located.listings)
    else:
        chosen = list(dict.fromkeys(_code(name, located) for name in codes))
        suite = definitions().suites["demo"].corpora
        if demo is not None and {code for code in chosen if code not in located.listings} & {
            *suite
        }:
            made = locate(demo(), codes=suite).listings
            located = dataclasses.replace(located, listings={**made, **located.listings})
        located.require(chosen)
    place = cache_folder() if cache is None else cache
    corpora: dict[str, Corpus] = {}
    for code in chosen:
        listing = located.listings[code]
        corpus = assemble(listing, cache=place, recall=recall, workers=workers, progress=progress)
        corpora[code] = corpus
        if not keep_empty:
            refuse_bad(corpus, listing.origin, skip_bad=skip_bad)
    findings = (*located.findings, *(f for one in corpora.values() for f in one.findings))
    for sentence in dict.fromkeys(finding.sentence for finding in findings):
        say(sentence)
    return corpora


def _code(name: str, located: Located) -> str:
    """The code of a corpus that is called by its code or its name."""
    known = {**definitions().corpora, **{c: item.spec for c, item in located.listings.items()}}
    named = {spec.name.lower(): code for code, spec in known.items()}
    if name in known:
        return name
    if name.lower() in named:
        return named[name.lower()]
    names = [*known, *(spec.name for spec in known.values())]
    near = did_you_mean(name, names, command="list corpora")
    raise SpecError(f"corpus '{name}' is unknown{near}")


class _Search:
    """One walk through a folder for all layouts.

    A folder is a corpus when more than half of the recordings below it lie as the corpus's pattern
    says (all of them, unless the copy is damaged: reading names those that do not), or when it
    holds the table that the corpus comes with. Of such folders within each other the outermost
    counts. The root itself may be a corpus.
    """

    def __init__(self, root: Path, specs: Mapping[str, CorpusSpec]) -> None:
        self.root, self.specs = root, specs
        self.files = list(media_files(root, skip_unreadable=True))
        self.total: Counter[_Parts] = Counter()  # recordings below each folder
        # of each layout, what fits it below each folder, and how many the definition leaves out
        self.matched: dict[str, dict[_Parts, list[str]]] = {}
        self.passed: dict[str, Counter[_Parts]] = {}
        layouts = []
        for code, spec in specs.items():
            if spec.pattern:
                self.matched[code], self.passed[code] = defaultdict(list), Counter()
                # a slash in a character class only makes the search look one folder too deep
                depth = spec.pattern.count("/") + 1
                ignored = tuple(map(re.compile, spec.ignored))
                layouts.append((code, depth, re.compile(spec.pattern), ignored))
        deepest = max((depth for _, depth, _, _ in layouts), default=0)
        for file in self.files:
            if file.kind == "unread":
                continue
            parts = tuple(file.stem.split("/"))
            extension = file.name[len(file.stem) :]
            self.total.update(parts[:length] for length in range(len(parts)))
            for length in range(1, min(deepest, len(parts)) + 1):
                folder, tail = parts[:-length], "/".join(parts[-length:])
                for code, depth, pattern, ignored in layouts:
                    if length > depth:
                        continue
                    if any(expression.fullmatch(tail + extension) for expression in ignored):
                        self.passed[code][folder] += 1
                    elif pattern.fullmatch(tail):
                        self.matched[code][folder].append(tail)

    def corpora(self) -> tuple[dict[str, Path], dict[str, str]]:
        """Code to folder, in the order of the definitions; and code to why it cannot be read."""
        places: dict[str, Path] = {}
        conflicts: dict[str, str] = {}
        fitting = {code: self._outermost(code) for code in self.matched}
        # what lies in a folder that bears a corpus's name is of that corpus
        named = [place for code in fitting if self.specs[code].in_folder for place in fitting[code]]
        for code, every in fitting.items():
            folders = [
                folder
                for folder in every
                if not any(folder != other and folder[: len(other)] == other for other in named)
            ]
            if len(folders) > 1:
                conflicts[code] = self._conflict(code, folders)
            elif folders:
                places[code] = self.root.joinpath(*folders[0])
        # corpora that are recognised by the table that they come with
        everywhere = {self.root.joinpath(*parts) for parts in self.total}
        for code, spec in self.specs.items():
            holding = [place for place in everywhere if spec.table and is_file(place / spec.table)]
            if holding:
                places[code] = min(holding, key=lambda place: (len(place.parts), str(place)))
        # the usual folder names decide where one folder has the layout of several corpora
        kept = {}
        for code, place in places.items():
            rivals = [other for other, its in places.items() if its == place]
            bearing = [name for name in rivals if place.name.lower() in _hints(self.specs[name])]
            if not bearing or code in bearing:
                kept[code] = place
        return kept, conflicts

    def _outermost(self, code: str) -> list[_Parts]:
        """The outermost folders of which more than half fits a layout."""
        spec, passed, hints = self.specs[code], self.passed[code], _hints(self.specs[code])
        fitting = {
            folder
            for folder, tails in self.matched[code].items()
            if 2 * len(tails) > self.total[folder] - passed[folder]
            and not (spec.in_folder and hints.isdisjoint(map(str.lower, (self.root.name, *folder))))
        }
        return sorted(
            folder
            for folder in fitting
            if not any(folder[:length] in fitting for length in range(len(folder)))
        )

    def _conflict(self, code: str, folders: Sequence[_Parts]) -> str:
        title = self.specs[code].heading
        named = " and ".join(str(self.root.joinpath(*parts)) for parts in folders)
        tails = [tail for folder in folders for tail in self.matched[code][folder]]
        what = f"is there {len(folders)} times"
        remedy = "move all but one away, or name a folder that holds only the one you want"
        if len(set(tails)) == len(tails):
            what = f"lies in {len(folders)} folders with different files"
            remedy = "put the files into one folder"
        return f"{title} {what}: {named}; {remedy}"

    def strays(self, places: Iterable[Path], used: set[Path]) -> Iterator[Finding]:
        """Recordings that belong to no corpus, by their topmost folder."""
        roots = tuple(
            "" if place == self.root else f"{place.relative_to(self.root).as_posix()}/"
            for place in places
        )
        groups: dict[str, list[MediaFile]] = defaultdict(list)
        for file in self.files:
            if file.path not in used and not file.name.startswith(roots):
                groups[file.name.partition("/")[0] if "/" in file.name else "."].append(file)
        for top, files in sorted(groups.items())[:_PLACES]:
            place = self.root.name if top == "." else f"{self.root.name}/{top}"
            unread = [file for file in files if file.kind == "unread"]
            yield from unread_findings(place, "", unread, self.files)
            names = tuple(file.name for file in files if file.kind != "unread")
            if names:
                hints = (
                    f"; those of {spec.heading} lie as {spec.pattern or spec.table}"
                    for spec in self.specs.values()
                    if top.lower() in _hints(spec)
                )
                sentence = (
                    f"{place}: {len(names)} recording(s), such as {names[0]}, belong to no known "
                    f"corpus{next(hints, '')}"
                )
                yield Finding(kind="stray", corpus="", files=names, sentence=sentence)
        rest = len(groups) - _PLACES
        if rest > 0:
            sentence = f"{self.root.name}: {rest} more folders hold recordings of no known corpus"
            yield Finding(kind="stray", corpus="", sentence=sentence)


def _hints(spec: CorpusSpec) -> set[str]:
    return {name.lower() for name in spec.folders}
